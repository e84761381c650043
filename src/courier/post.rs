//! A courier's letter box: all that other threads may touch of a courier.

use super::passes::Stay;
use super::socket::Socket;
use super::subscriber::Ticket;
use crate::auth::revocation::Disconnect;
use crate::channel::Channel;
use crate::cursor::Form;
use crate::frame::{Frame, Standing};
use crate::gzip::Gzip;
use crate::hub::feed::Feed;
use crate::hub::replay::Ration;
use crate::subscription::Filter;
use mio::Waker;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Letters that wait for the courier. A mutex and one flag: one wake covers many letters.
pub struct Post {
    waker: Waker,
    woken: AtomicBool,
    mail: Mutex<Mail>,
    /// Newcomers of so many batches are on their way, and their letters wait for each other.
    gathering: AtomicUsize,
    /// Subscribers there or on their way.
    pub load: AtomicUsize,
}

/// What the courier finds in its box.
#[derive(Default)]
pub struct Mail {
    pub letters: Vec<Letter>,
    /// Numbers of feeds that have new frames; each at most once until the courier looks.
    pub advanced: Vec<u32>,
}

/// What a courier is told.
pub enum Letter {
    /// A new subscriber, its response head written.
    Join(Box<Newcomer>),
    /// Legs of a subscriber that came while their part of the backplane was away; `more`: others will follow.
    Legs { ticket: u64, start: Opening, more: bool },
    /// That subscriber cannot be given what it asked for: end it.
    Dismiss { ticket: u64 },
    /// History that a leg behind the tail asked for.
    Page { key: u32, serial: u32, leg: u16, page: Page },
    /// Others wait for the memory that pages take: give back those that wait for their sockets.
    GivePagesBack,
    /// End all whom this order concerns.
    Disconnect(Arc<Disconnect>),
    /// A pipe that was full has room again.
    Room { key: u32, serial: u32 },
    /// Nobody reads that subscriber's pipe any more.
    Deserted { key: u32, serial: u32 },
    /// End all subscribers evenly within so many milliseconds (0: now).
    Drain { window_ms: u64 },
    /// The thread ends.
    Stop,
}

/// A subscriber that a courier takes over.
pub struct Newcomer {
    pub socket: Socket,
    pub peer: IpAddr,
    pub framing: Framing,
    pub terms: Terms,
    /// Its body is a gzip stream, which the head began.
    pub gzip: Option<Gzip>,
    pub start: Waiting,
    /// When it must end, in milliseconds from now.
    pub max_age_ms: Option<u64>,
    /// What is kept for it while it stays; nothing for most.
    pub stay: Option<Box<Stay>>,
    /// How many revocations there had been when it was admitted.
    pub seen: u64,
}

/// Whether a newcomer knows where it begins.
pub enum Waiting {
    /// It does.
    Ready(Opening),
    /// Not in all of its channels: legs come with later letters of this ticket.
    Held(Ticket, Opening),
}

/// Where a subscription begins.
pub struct Opening {
    pub legs: Vec<LegStart>,
    /// Written behind the `id:` of legs that come by letter, in event-stream format; empty where the head carried all.
    pub preamble: Vec<u8>,
}

/// Where a leg begins.
pub struct LegStart {
    pub feed: Arc<Feed>,
    pub standing: Standing,
    /// Offset in the feed's log; `None`: behind it, to be caught up from history.
    pub at: Option<u64>,
    /// Behind the log: nothing is owed yet, it begins with whatever its first page has.
    pub fresh: bool,
    /// Its channel has ended, and nothing of it is left to deliver.
    pub finished: bool,
}

/// How bytes are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// HTTP/1.1 chunks.
    Chunked,
    /// HTTP/1.0, where the close ends them, and HTTP/2, which has frames of its own: bare.
    Bare,
}

/// What a subscription asked for beside its channels.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    pub filter: Option<Filter>,
    pub envelope: bool,
    /// How `id:` names its channels; `None` where one was asked for.
    pub ids: Option<Form>,
}

/// A piece of history for one leg.
pub struct Page {
    /// Oldest first, control events among them.
    pub frames: Vec<Arc<Frame>>,
    /// After these frames.
    pub standing: Standing,
    /// Where the leg then goes on in the log; `None`: there is more history.
    pub at: Option<u64>,
    /// The memory that the frames take; `None` where they take none.
    pub ration: Option<Arc<Ration>>,
}

/// A leg behind the tail asks for history.
pub struct CatchUp {
    pub courier: usize,
    pub key: u32,
    pub serial: u32,
    pub leg: u16,
    pub feed: Arc<Feed>,
    pub standing: Standing,
    /// Nothing is owed yet: it begins with whatever comes.
    pub fresh: bool,
    /// Events of history that it was given since it fell behind.
    pub given: u32,
    /// Dead once the leg has gone.
    pub here: Weak<()>,
}

impl CatchUp {
    pub fn channel(&self) -> &Channel {
        &self.feed.channel
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_gone(&self) -> bool {
        self.here.strong_count() == 0
    }
}

impl Post {
    pub fn new(waker: Waker) -> Post {
        Post {
            waker,
            woken: AtomicBool::new(false),
            mail: Mutex::default(),
            gathering: AtomicUsize::new(0),
            load: AtomicUsize::new(0),
        }
    }

    /// Puts a letter into the box. A newcomer counts as load from here on.
    pub fn send(&self, letter: Letter) {
        let joins = matches!(letter, Letter::Join(_));
        if joins {
            self.load.fetch_add(1, Ordering::Relaxed);
        }
        self.mail.lock().letters.push(letter);
        // Looked at behind the push: either this sees that a batch is complete, or the batch's end sees the letter.
        if !joins || self.gathering.load(Ordering::SeqCst) == 0 {
            self.wake();
        }
    }

    /// Newcomers who came together are on their way; [`gathered`](Post::gathered) must follow.
    pub fn gather(&self) {
        self.gathering.fetch_add(1, Ordering::SeqCst);
    }

    /// A batch of newcomers is complete.
    pub fn gathered(&self) {
        self.gathering.fetch_sub(1, Ordering::SeqCst);
        let any = !self.mail.lock().letters.is_empty();
        if any {
            self.wake();
        }
    }

    /// A feed has new frames.
    pub fn advanced(&self, feed: u32) {
        self.mail.lock().advanced.push(feed);
        self.wake();
    }

    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // Fails only when the eventfd's counter is full, and then the courier is awake.
            let _ = self.waker.wake();
        }
    }

    /// Takes everything, if there is anything; `into` must be empty and is swapped in as the new box.
    pub fn collect(&self, into: &mut Mail) -> bool {
        if !self.woken.load(Ordering::Acquire) {
            return false;
        }
        // Before looking: a letter from now on wakes again.
        self.woken.store(false, Ordering::Release);
        std::mem::swap(&mut *self.mail.lock(), into);
        true
    }
}
