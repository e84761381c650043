//! A courier's thread: waits for sockets and messages, and has the courier take its turns.

use super::carrier::CARRIERS;
use super::deps::CourierDeps;
use super::event_loop::{EventLoop, Readiness};
use super::key::Key;
use super::mailbox::Mailbox;
use super::state::Courier;
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};
use std::io;
use std::sync::Arc;
use std::time::Instant;

const WAKE: Token = Token(usize::MAX);
const EVENTS_PER_TURN: usize = 1024;

/// A courier that has its mailbox but no thread yet.
pub struct Prepared {
    number: usize,
    poll: Poll,
    pub mailbox: Arc<Mailbox>,
}

impl Prepared {
    /// Fails where the system has no more descriptors.
    pub fn new(number: usize) -> io::Result<Prepared> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        // Fails only when the eventfd's counter is full, and then the courier is awake.
        let mailbox = Mailbox::new(move || drop(waker.wake()));
        Ok(Prepared { number, poll, mailbox: Arc::new(mailbox) })
    }

    /// A courier that somebody else turns, who is told by `wake` when there is something to do.
    #[cfg(feature = "testing")]
    pub fn in_steps(number: usize, wake: impl Fn() + Send + Sync + 'static) -> io::Result<Prepared> {
        Ok(Prepared { number, poll: Poll::new()?, mailbox: Arc::new(Mailbox::new(wake)) })
    }

    /// Its turns, without a thread; `stopwatch` shows how long one has taken.
    #[cfg(feature = "testing")]
    pub fn event_loop(self, deps: CourierDeps, now: Instant, stopwatch: fn() -> Instant) -> io::Result<EventLoop> {
        let registry = self.poll.registry().try_clone()?;
        Ok(EventLoop::new(Courier::new(self.number, registry, self.mailbox, deps, stopwatch), now))
    }

    /// Starts the thread, which ends with [`Message::Stop`](super::mailbox::Message::Stop).
    pub fn start(self, deps: CourierDeps) -> io::Result<()> {
        let name = format!("courier-{}", self.number);
        let Prepared { number, poll, mailbox } = self;
        let courier = Courier::new(number, poll.registry().try_clone()?, mailbox, deps, Instant::now);
        std::thread::Builder::new().name(name).stack_size(512 << 10).spawn(move || run(poll, courier))?;
        Ok(())
    }
}

fn run(mut poll: Poll, courier: Courier) {
    let mut events = Events::with_capacity(EVENTS_PER_TURN);
    let mut turns = EventLoop::new(courier, Instant::now());
    while !turns.is_stopped() {
        if let Err(error) = poll.poll(&mut events, Some(turns.wait(Instant::now()))) {
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            // Nothing can be delivered without it, and no retry would change that.
            panic!("epoll_wait failed: {error}");
        }
        let woken = Instant::now();
        turns.turn(woken, events.iter().flat_map(readiness));
        turns.took(woken.elapsed());
    }
}

/// What an event tells of a subscriber's socket, or of a connection of HTTP/2.
fn readiness(event: &Event) -> impl Iterator<Item = (Key, Readiness)> + use<> {
    let told = match (event.token(), event.is_read_closed() || event.is_write_closed() || event.is_error()) {
        (WAKE, _) => [None, None],
        (Token(token), _) if token >= CARRIERS => [Some(Readiness::Carrier), None],
        (_, true) => [Some(Readiness::PeerGone), None],
        (_, false) => {
            [event.is_readable().then_some(Readiness::Readable), event.is_writable().then_some(Readiness::Writable)]
        }
    };
    // The places of carriers are behind all keys.
    let key = Key::of(event.token().0 % CARRIERS);
    told.into_iter().flatten().map(move |readiness| (key, readiness))
}
