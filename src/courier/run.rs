//! A courier's thread and loop.

use super::Surroundings;
use super::broadcast::Broadcast;
use super::draft::Draft;
use super::leave::Reason;
use super::mirror::Mirror;
use super::passes::Passes;
use super::post::{Letter, Mail, Post};
use super::socket::Farewell;
use super::subscriber::Subscriber;
use super::sweep::Sweep;
use super::tally::Tally;
use crate::frame::Frame;
use hashbrown::HashMap;
use mio::{Events, Poll, Token, Waker};
use slab::Slab;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Coarse time of a courier: ticks since it started. Wraps after thirteen years.
pub const TICK: Duration = Duration::from_millis(100);
const WAKE: Token = Token(usize::MAX);
/// Letters that are opened before sockets and feeds have their turn again.
const LETTERS_PER_TURN: usize = 256;

/// A courier that has its letter box but no thread yet.
pub struct Prepared {
    number: usize,
    poll: Poll,
    pub post: Arc<Post>,
}

impl Prepared {
    pub fn new(number: usize) -> io::Result<Prepared> {
        let poll = Poll::new()?;
        let post = Arc::new(Post::new(Waker::new(poll.registry(), WAKE)?));
        Ok(Prepared { number, poll, post })
    }

    pub fn start(self, surroundings: Surroundings) -> io::Result<()> {
        let name = format!("courier-{}", self.number);
        let courier = Courier::new(self, surroundings);
        std::thread::Builder::new().name(name).stack_size(512 << 10).spawn(move || courier.run())?;
        Ok(())
    }
}

/// One delivery thread.
pub struct Courier {
    pub number: usize,
    pub poll: Poll,
    pub post: Arc<Post>,
    pub around: Surroundings,
    pub subscribers: Slab<Subscriber>,
    /// By feed number.
    pub mirrors: Vec<Option<Box<Mirror>>>,
    /// Feeds with frames that were not offered to all members yet.
    pub due: VecDeque<u32>,
    pub broadcast: Option<Broadcast>,
    /// Who is to be ended after the current walk, since an event may still name a key.
    pub dead: Vec<(u32, Reason)>,
    /// Connections that have ended but for their last bytes, and the tick by which these must be out.
    pub farewells: Vec<(u32, Farewell)>,
    /// Keys of subscribers whose legs have not come yet.
    pub tickets: HashMap<u64, u32>,
    pub serial: u32,
    pub now: u32,
    epoch: Instant,
    pub sweep: Sweep,
    pub passes: Passes,
    pub tally: Tally,
    letters: VecDeque<Letter>,
    /// Reused buffers.
    pub scratch: Vec<u8>,
    pub draft: Draft,
    pub fresh: Vec<(u64, Arc<Frame>)>,
    pub stopped: bool,
}

impl Courier {
    fn new(prepared: Prepared, around: Surroundings) -> Courier {
        Courier {
            number: prepared.number,
            poll: prepared.poll,
            post: prepared.post,
            tally: Tally::new(&around.metrics, prepared.number),
            sweep: Sweep::new(&around),
            passes: Passes::default(),
            around,
            subscribers: Slab::new(),
            mirrors: Vec::new(),
            due: VecDeque::new(),
            broadcast: None,
            dead: Vec::new(),
            farewells: Vec::new(),
            tickets: HashMap::new(),
            serial: 0,
            now: 0,
            epoch: Instant::now(),
            letters: VecDeque::new(),
            scratch: Vec::new(),
            draft: Draft::default(),
            fresh: Vec::new(),
            stopped: false,
        }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut mail = Mail::default();
        while !self.stopped {
            let wait = self.wait();
            if let Err(error) = self.poll.poll(&mut events, Some(wait)) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                // Nothing can be delivered without it, and no retry would change that.
                panic!("epoll_wait failed: {error}");
            }
            let woken = Instant::now();
            self.now = (self.epoch.elapsed().as_millis() / TICK.as_millis()) as u32;
            for event in events.iter().filter(|event| event.token() != WAKE) {
                let key = event.token().0 as u32;
                if event.is_read_closed() || event.is_write_closed() || event.is_error() {
                    self.dead.push((key, Reason::Client));
                } else if event.is_writable() {
                    self.writable(key);
                }
            }
            self.bury();
            if self.post.collect(&mut mail) {
                self.letters.extend(mail.letters.drain(..));
                self.advance(mail.advanced.drain(..));
            }
            for _ in 0..LETTERS_PER_TURN.min(self.letters.len()) {
                if let Some(letter) = self.letters.pop_front() {
                    self.open(letter);
                }
            }
            self.bury();
            self.deliver();
            self.bury();
            if self.around.leftovers.is_over() {
                self.end_slowest();
            }
            if self.sweep.is_due(self.now) {
                self.sweep();
                self.check_passes();
                self.bury();
                self.tally.publish();
            }
            let turn = woken.elapsed();
            self.tally.busy += turn;
            self.around.metrics.courier_turn.observe(turn.as_secs_f64(), 1);
        }
    }

    /// Until the next tick, or not at all while there is work.
    fn wait(&self) -> Duration {
        if self.letters.is_empty() && self.due.is_empty() && self.broadcast.is_none() {
            let next = TICK * (self.now + 1);
            next.saturating_sub(self.epoch.elapsed()).min(TICK) + Duration::from_millis(1)
        } else {
            Duration::ZERO
        }
    }

    fn open(&mut self, letter: Letter) {
        match letter {
            Letter::Join(newcomer) => self.join(*newcomer),
            Letter::Legs { ticket, start, more } => self.seat_held(ticket, start, more),
            Letter::Dismiss { ticket } => {
                if let Some(key) = self.tickets.get(&ticket) {
                    self.dead.push((*key, Reason::Drain));
                }
            }
            Letter::Page { key, serial, leg, page } => self.turn_page(key, serial, leg, page),
            Letter::GivePagesBack => self.give_pages_back(),
            Letter::Disconnect(order) => self.disconnect(&order),
            Letter::Room { key, serial } if self.is(key, serial) => self.writable(key),
            Letter::Deserted { key, serial } if self.is(key, serial) => self.dead.push((key, Reason::Client)),
            Letter::Room { .. } | Letter::Deserted { .. } => {}
            Letter::Drain { window_ms } => self.sweep.start_drain(self.now, self.subscribers.len(), window_ms),
            Letter::Stop => self.stopped = true,
        }
    }

    /// Whether a key still stands for the subscriber that it was given to.
    fn is(&self, key: u32, serial: u32) -> bool {
        self.subscribers.get(key as usize).is_some_and(|subscriber| subscriber.serial == serial)
    }

    pub fn mirror(&self, feed: u32) -> Option<&Mirror> {
        self.mirrors.get(feed as usize)?.as_deref()
    }
}
