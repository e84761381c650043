//! A courier's mailbox: all that other threads may touch of a courier.

use super::beat::Beat;
use super::ending::Reason;
use super::expiry::Admission;
use super::inquiry::Inquiry;
use super::key::SubscriberId;
use super::ordered::Ordered;
use super::pipe::PipeWatcher;
use super::requests::NewCarrier;
use super::socket::Socket;
use super::subscriber::Ticket;
use super::terms::{Framing, Terms};
use crate::auth::order::Change;
use crate::auth::renewal::Renewal;
use crate::auth::revocation::Disconnect;
use crate::channel::Channel;
use crate::control_event::Gap;
use crate::cursor::{Changes, Since};
use crate::frame::Standing;
use crate::gzip::Gzip;
use crate::hub::bell::{Bell, FeedNumber};
use crate::hub::feed::Feed;
use crate::hub::join::Start;
use crate::hub::offset::Offset;
use crate::hub::page::{Page, PageRequest};
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Messages that wait for the courier. A mutex and one flag: one wake covers many messages.
pub struct Mailbox {
    wake: Box<dyn Fn() + Send + Sync>,
    woken: AtomicBool,
    inbox: Mutex<Inbox>,
    /// New subscribers of so many batches are on their way, and their messages wait for each other.
    gathering: AtomicUsize,
    /// Subscribers there or on their way.
    pub load: AtomicUsize,
}

/// What the courier finds in its mailbox.
#[derive(Default)]
pub struct Inbox {
    pub messages: Vec<Message>,
    /// Feeds that have new frames; each at most once until the courier looks.
    pub advanced: Vec<FeedNumber>,
}

/// What a courier is told.
pub enum Message {
    /// A new subscriber, its response head written.
    Join(Box<NewSubscriber>),
    /// A new connection of HTTP/2.
    Carry(Box<NewCarrier>),
    /// Legs of a subscriber that came while their part of the backplane was away; `more`: others will follow.
    Legs { ticket: u64, batch: LegBatch, more: bool },
    /// That subscriber cannot be given what it asked for: end it.
    Dismiss { ticket: u64, reason: Reason },
    /// History that a leg behind the tail asked for; `here` tells which one it was.
    Page { id: SubscriberId, here: Weak<()>, page: Page },
    /// Change the channels of all whom this order is for.
    Change(Arc<Change>),
    /// A leg in a channel that an order added; `here` tells which one.
    Joined { id: SubscriberId, here: Weak<()>, joined: JoinAnswer },
    /// Others wait for the memory that pages take: give back those that wait for their sockets.
    GivePagesBack,
    /// End all whom this order concerns.
    Disconnect(Arc<Disconnect>),
    /// End this one, which an order names.
    End(SubscriberId),
    /// Let streams go on that this is for.
    Extend(Arc<Renewal>),
    /// Somebody asks who is here.
    List(Box<Inquiry>),
    /// A pipe that was full has room again.
    Writable(SubscriberId),
    /// Nobody reads that subscriber's pipe any more.
    PeerGone(SubscriberId),
    /// End all subscribers evenly within so many milliseconds (0: now).
    Drain { window_ms: u64 },
    /// The thread ends.
    Stop,
}

/// A subscriber that a courier takes over.
pub struct NewSubscriber {
    pub socket: Socket,
    pub peer: IpAddr,
    pub framing: Framing,
    /// The beginning of its body, where the socket has not taken it yet.
    pub first: Vec<u8>,
    pub terms: Terms,
    pub beat: Beat,
    /// Its body is a gzip stream, which the head began.
    pub gzip: Option<Gzip>,
    pub legs: FirstLegs,
    /// When it must end, in milliseconds from now.
    pub max_age_ms: Option<u64>,
    /// What is kept for it while it stays; nothing for most.
    pub admission: Option<Box<Admission>>,
    /// How many revocations there had been when it was admitted.
    pub seen: u64,
    /// How orders have changed its channels.
    pub changes: Option<Box<Changes>>,
    /// Which orders are still to be carried out.
    pub ordered: Ordered,
}

/// The legs that a new subscriber brings.
pub enum FirstLegs {
    /// All that it has.
    All(LegBatch),
    /// Those that there are: others come with later messages of this ticket.
    Part(Ticket, LegBatch),
}

/// Legs that begin together.
pub struct LegBatch {
    pub legs: Vec<LegStart>,
    /// Written before the `id:` of legs that come by message, in event-stream format; empty where the head carried all.
    pub preamble: Vec<u8>,
    /// What stands behind the `id:` of where legs that come by message begin: an event, or the blank line of a bare one; `None`: no id is
    /// told.
    pub behind_id: Option<Vec<u8>>,
}

/// Where a leg begins.
pub struct LegStart {
    pub feed: Arc<Feed>,
    pub standing: Standing,
    /// Offset in the feed's log; `None`: behind it, to be caught up from history.
    pub at: Option<Offset>,
    /// Where the log ended when that was found.
    pub known_to: Offset,
    /// Behind the log: nothing is owed yet, it begins with whatever its first page has.
    pub fresh: bool,
    /// Its channel has ended, and nothing of it is left to deliver.
    pub finished: bool,
}

impl From<Start> for LegStart {
    fn from(start: Start) -> LegStart {
        LegStart {
            feed: start.leg.hand_over(),
            standing: start.standing,
            at: start.at,
            known_to: start.known_to,
            fresh: start.fresh,
            finished: start.finished,
        }
    }
}

/// A leg behind the tail asks for history.
pub struct CatchUp {
    pub courier: usize,
    pub id: SubscriberId,
    pub request: PageRequest,
}

/// A subscriber is to have a leg in one more channel.
pub struct JoinAsk {
    pub courier: usize,
    pub id: SubscriberId,
    pub channel: Channel,
    pub since: Since,
    /// Dead once nobody waits for the answer any more.
    pub here: Weak<()>,
}

/// A leg, and what was lost before it; `None`: the channel has as many subscribers as it may.
pub type JoinAnswer = Option<(LegStart, Option<Gap>)>;

impl Mailbox {
    /// An empty mailbox; `wake` ends the courier's wait. It must not block.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Mailbox {
        Mailbox {
            wake: Box::new(wake),
            woken: AtomicBool::new(false),
            inbox: Mutex::default(),
            gathering: AtomicUsize::new(0),
            load: AtomicUsize::new(0),
        }
    }

    /// Puts a message into the mailbox. A new subscriber counts as load from here on.
    pub fn send(&self, message: Message) {
        let joins = matches!(message, Message::Join(_));
        if joins {
            self.load.fetch_add(1, Ordering::Relaxed);
        }
        self.inbox.lock().messages.push(message);
        // Looked at behind the push: either this sees that a batch is complete, or the batch's end sees the message.
        if !joins || self.gathering.load(Ordering::SeqCst) == 0 {
            self.wake();
        }
    }

    /// New subscribers who came together are on their way; [`gathered`](Mailbox::gathered) must follow.
    pub fn gather(&self) {
        self.gathering.fetch_add(1, Ordering::SeqCst);
    }

    /// A batch of new subscribers is complete.
    pub fn gathered(&self) {
        self.gathering.fetch_sub(1, Ordering::SeqCst);
        let any = !self.inbox.lock().messages.is_empty();
        if any {
            self.wake();
        }
    }

    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }

    /// Takes everything, if there is anything; `into` must be empty and is swapped in.
    pub fn collect(&self, into: &mut Inbox) -> bool {
        if !self.woken.load(Ordering::Acquire) {
            return false;
        }
        // Before looking: a message from now on wakes again.
        self.woken.store(false, Ordering::Release);
        std::mem::swap(&mut *self.inbox.lock(), into);
        true
    }
}

impl Bell for Mailbox {
    fn advanced(&self, feed: FeedNumber) {
        self.inbox.lock().advanced.push(feed);
        self.wake();
    }
}

impl PipeWatcher for Arc<Mailbox> {
    fn writable(&self, id: SubscriberId) {
        self.send(Message::Writable(id));
    }

    fn peer_gone(&self, id: SubscriberId) {
        self.send(Message::PeerGone(id));
    }
}
