//! What a courier keeps of a subscriber: a few dozen bytes for one channel, a small box where it asked for more than all
//! events of that as they are, a larger one for several.

use super::beat::Beat;
use super::leftover::Leftover;
use super::ordered::Ordered;
use super::socket::Socket;
use super::terms::{Framing, Terms};
use super::tick::Tick;
use crate::channel::Channel;
use crate::cursor::{Changes, Since};
use crate::frame::{Frame, Rank, Standing};
use crate::gzip::Gzip;
use crate::hub::bell::FeedNumber;
use crate::hub::feed::Feed;
use crate::hub::offset::Offset;
use crate::hub::page::Page;
use crate::hub::replay::Ration;
use crate::invariant::{self, Invariant};
use crate::position::Position;
use crate::probe::{self, Probe};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;

/// One connected client.
pub struct Subscriber {
    pub connection: Connection,
    /// Tells it from an earlier one under the same key.
    pub serial: u32,
    /// Tick in which it came.
    pub came: Tick,
    pub route: Route,
    /// Tick at which it must end.
    pub expires: Tick,
    /// The socket is full: wait for writable.
    pub blocked: bool,
    pub beat: Beat,
    pub peer: IpAddr,
}

/// A node holds as many as it has clients; mio adds a word to each socket of a debug build.
const _: () = assert!(
    size_of::<Subscriber>() <= if cfg!(debug_assertions) { 88 } else { 80 } || cfg!(any(test, feature = "testing"))
);

/// Where a subscriber's bytes go, and when it was sent some.
pub struct Connection {
    pub socket: Socket,
    /// Tick of the last write of which the socket took something.
    pub wrote: Tick,
    /// Tick of the last event.
    pub event: Tick,
}

/// How events reach it.
pub enum Route {
    /// One channel, all events, chunked: shared bytes, and one number that says where it is, in mid-frame too.
    Plain(Seat),
    /// One channel on any terms, while nothing is to be written.
    Single(Box<Single>),
    /// Anything else.
    Composed(Box<Composed>),
}

impl Route {
    /// Whether nothing marks the parts of its body, so that only the connection's end ends it.
    pub fn is_bare(&self) -> bool {
        match self {
            Route::Plain(_) => false,
            Route::Single(single) => single.framing == Framing::Bare,
            Route::Composed(composed) => composed.framing == Framing::Bare,
        }
    }

    /// What says where it is.
    pub fn whereabouts(&self) -> Whereabouts<'_> {
        match self {
            Route::Plain(seat) => Whereabouts::Seat(seat),
            Route::Single(single) => Whereabouts::Seat(&single.seat),
            Route::Composed(composed) => Whereabouts::Legs(composed),
        }
    }

    /// What it asked for; `None`: all events as they are.
    pub fn terms(&self) -> Option<&Terms> {
        match self {
            Route::Plain(_) => None,
            Route::Single(single) => Some(&single.terms),
            Route::Composed(composed) => Some(&composed.terms),
        }
    }
}

/// What says where a subscriber is in its channels.
pub enum Whereabouts<'a> {
    /// Of one that is plain or single.
    Seat(&'a Seat),
    /// Of one that is composed.
    Legs(&'a Composed),
}

/// Where a subscriber of one channel is.
#[derive(Clone, Copy)]
pub struct Seat {
    pub feed: FeedNumber,
    /// Its place among the feed's members.
    pub place: u32,
    /// Offset in the feed's log of the next byte to send.
    pub at: Offset,
}

/// What is left of a composed subscriber of one channel between two writes: its position is that of its place in the log.
pub struct Single {
    pub seat: Seat,
    pub terms: Terms,
    pub framing: Framing,
    /// A filter skipped events since the last `id:` was sent.
    pub skipped: bool,
}

/// A node that speaks HTTP/2 holds as many as it has clients.
const _: () = assert!(size_of::<Single>() <= 48 && size_of::<Composed>() <= 48);

/// Several channels, a filter, an envelope, HTTP/1.0, or a position behind the tail.
pub struct Composed {
    pub legs: Box<[Leg]>,
    pub terms: Terms,
    pub framing: Framing,
    /// A filter skipped events since the last `id:` was sent.
    pub skipped: bool,
    /// `None` for nearly all.
    pub rest: Option<Box<Rest>>,
}

/// What few subscribers have beside their legs.
#[derive(Default)]
pub struct Rest {
    /// Its body is a gzip stream.
    pub gzip: Option<Gzip>,
    /// What a full socket left over.
    pub leftover: Leftover,
    /// Legs that are behind the tail.
    pub behind: Vec<(u16, Behind)>,
    /// Set while legs are still to come.
    pub ticket: Option<Ticket>,
    /// Set from the first order on that has changed its channels, or that it would be given when it comes back.
    pub changed: Option<Box<Changed>>,
}

/// A set of channels that orders change.
#[derive(Default)]
pub struct Changed {
    pub changes: Changes,
    /// Channels that the hub is asked for.
    pub awaited: Vec<Awaited>,
    /// Where it was in channels that it left after it had been sent what lies behind the order.
    had: VecDeque<(Channel, Position)>,
}

impl Changed {
    /// Those that are remembered: of orders that follow each other as closely as nodes read them.
    const MOST_HAD: usize = 16;

    /// As an id carried it.
    pub fn new(changes: Changes) -> Changed {
        Changed { changes, ..Changed::default() }
    }

    /// It leaves a channel in which it was further than the order.
    pub fn had(&mut self, channel: &Channel, position: Position) {
        if self.had.len() == Self::MOST_HAD {
            self.had.pop_front();
        }
        self.had.push_back((channel.clone(), position));
    }

    /// From where on a channel is read that is joined by an order of that time: nothing comes twice.
    pub fn since(&self, channel: &Channel, since_ms: u64) -> Since {
        let since = Since::Time(since_ms);
        let theirs = self.had.iter().filter(|(had, _)| had == channel).map(|(_, position)| *position);
        theirs.max().filter(|had| *had > since.after()).map_or(since, Since::Behind)
    }
}

/// A channel that was joined and has no leg yet.
pub struct Awaited {
    pub channel: Channel,
    /// Names the request; it is given up when this goes.
    pub here: Arc<()>,
    /// How many revocations there had been when it was asked for.
    pub seen: u64,
}

/// A subscriber's place in one feed.
pub struct Leg {
    pub feed: Arc<Feed>,
    /// Its place among the feed's members.
    pub place: u32,
    /// Offset in the feed's log, at a frame's boundary; meaningless while behind.
    pub at: Offset,
    /// The last event that was sent or skipped.
    pub position: Position,
    /// The rank that the next event has.
    pub due: Rank,
    /// See [`Standing::entry`].
    pub entry: bool,
    /// The channel's last event was sent.
    pub finished: bool,
}

/// A leg that is caught up from history.
#[derive(Default)]
pub struct Behind {
    /// A request is on its way; it is given up when this goes.
    pub asked: Option<Arc<()>>,
    pub page: VecDeque<Arc<Frame>>,
    /// The memory that the page takes.
    pub ration: Option<Arc<Ration>>,
    /// The last frame that it took from the page is a control event. Behind a gap stands no entry that a read could begin at.
    pub control: bool,
    /// After this page.
    pub arrived: Option<Arrival>,
    /// Where the feed's log ended when it was known where the leg stands.
    pub known_to: Offset,
    /// Nothing is owed yet: it begins with its first page.
    pub fresh: bool,
    /// Events of history it got since it fell behind, or gave a page back.
    pub given: u32,
}

/// A frame that was taken off a page of history, and how its leg stood before that.
pub struct Popped {
    pub frame: Arc<Frame>,
    /// See [`Behind::fresh`].
    fresh: bool,
    /// See [`Behind::control`].
    control: bool,
}

/// Names the messages that bring legs, and tells who looks for them that the subscriber is still here.
pub struct Ticket {
    pub number: u64,
    #[allow(dead_code, reason = "its end is what tells")]
    pub here: oneshot::Sender<()>,
    /// How many revocations there had been when it was admitted.
    pub seen: u64,
    /// Which orders are to be carried out when all legs are here.
    pub ordered: Ordered,
    /// Where it stands in channels without a leg: as it came, so that no `id:` forgets them.
    pub owed: Vec<(Channel, Position)>,
}

/// Where a page leads to.
pub struct Arrival {
    pub standing: Standing,
    /// Offset in the feed's log; `None`: there is more history.
    pub at: Option<Offset>,
    /// Where the log ended when the page was asked for.
    pub known_to: Offset,
}

impl Leg {
    /// Where the leg stands in its stream.
    pub fn standing(&self) -> Standing {
        Standing { position: self.position, due: self.due, entry: self.entry }
    }

    /// Moves the leg to another place in its stream.
    pub fn stand(&mut self, standing: Standing) {
        Standing { position: self.position, due: self.due, entry: self.entry } = standing;
    }
}

impl Behind {
    /// Takes the next frame of its page.
    pub fn pop(&mut self) -> Option<Popped> {
        let frame = self.page.pop_front()?;
        let popped = Popped { frame, fresh: self.fresh, control: self.control };
        self.control = !popped.frame.is_event();
        self.fresh &= self.control;
        Some(popped)
    }

    /// Puts back what it took last.
    pub fn undo(&mut self, popped: Popped) {
        self.page.push_front(popped.frame);
        (self.fresh, self.control) = (popped.fresh, popped.control);
    }

    /// Takes a page.
    pub fn take(&mut self, page: Page) {
        invariant::holds(Invariant::OnePage, || self.page.is_empty() && self.arrived.is_none());
        self.asked = None;
        self.given = self.given.saturating_add(page.frames.len() as u32);
        self.control = false;
        self.page = page.frames.into();
        self.ration = page.ration;
        self.arrived = Some(Arrival { standing: page.standing, at: page.at, known_to: page.known_to });
    }

    /// Gives the rest of a page back, to be read again when it is needed: in small pages at first, as its socket takes little, and
    /// what is read again counts for the rate that all share.
    pub fn give_back(&mut self) {
        if !self.control && !self.page.is_empty() {
            probe::reached(Probe::PageGivenBack);
            (self.page, self.ration, self.arrived) = (VecDeque::new(), None, None);
            self.given = 0;
        }
    }
}

impl Composed {
    /// Without legs yet.
    pub fn new(terms: Terms, framing: Framing) -> Composed {
        Composed { legs: Box::default(), terms, framing, skipped: false, rest: None }
    }

    /// Whether all its channels have ended.
    pub fn finished(&self) -> bool {
        let waits = self.ticket().is_some() || self.changed().is_some_and(|changed| !changed.awaited.is_empty());
        // Who has left all channels waits for others.
        !waits && !self.legs.is_empty() && self.legs.iter().all(|leg| leg.finished)
    }

    /// Whether a full socket left something over.
    pub fn has_leftover(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| !rest.leftover.is_empty())
    }

    /// The state of its gzip stream, if its body is one.
    pub fn gzip(&self) -> Option<&Gzip> {
        self.rest.as_ref()?.gzip.as_ref()
    }

    /// Its ticket, while legs are still to come.
    pub fn ticket(&self) -> Option<&Ticket> {
        self.rest.as_ref()?.ticket.as_ref()
    }

    /// How orders have changed its channels.
    pub fn changed(&self) -> Option<&Changed> {
        self.rest.as_ref()?.changed.as_deref()
    }

    /// How orders have changed its channels, to be written.
    pub fn changed_mut(&mut self) -> Option<&mut Changed> {
        self.rest.as_mut()?.changed.as_deref_mut()
    }

    /// The leg behind the tail that asked for a page.
    pub fn behind_that_asked(&mut self, here: &Weak<()>) -> Option<&mut Behind> {
        let asked = |behind: &Behind| behind.asked.as_ref().is_some_and(|asked| Arc::as_ptr(asked) == here.as_ptr());
        self.rest.as_mut()?.behind.iter_mut().map(|(_, behind)| behind).find(|behind| asked(behind))
    }

    /// What a leg has while it is behind the tail.
    pub fn behind(&mut self, leg: usize) -> Option<&mut Behind> {
        find_behind(&mut self.rest, leg)
    }

    /// A leg falls behind the tail.
    pub fn fall_behind(&mut self, leg: usize, behind: Behind) {
        self.rest().behind.push((leg as u16, behind));
    }

    /// A leg is in the tail again.
    pub fn caught_up(&mut self, leg: usize) {
        self.rest().behind.retain(|(of, _)| *of as usize != leg);
        self.tidy();
    }

    /// What few have, made where there is nothing of it yet.
    pub fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// Gives the rest's memory back where nothing is in it.
    pub fn tidy(&mut self) {
        let empty = |rest: &Rest| {
            let waits = !rest.leftover.is_empty() || !rest.behind.is_empty() || rest.ticket.is_some();
            !waits && rest.gzip.is_none() && rest.changed.is_none()
        };
        if self.rest.as_deref().is_some_and(empty) {
            self.rest = None;
        }
    }
}

/// What a leg has while it is behind the tail.
pub fn find_behind(rest: &mut Option<Box<Rest>>, leg: usize) -> Option<&mut Behind> {
    let behind = &mut rest.as_mut()?.behind;
    behind.iter_mut().find(|(of, _)| *of as usize == leg).map(|(_, behind)| behind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Entry;
    use crate::event::Event;

    fn entry(ms: u64) -> Entry {
        Entry { position: Position::new(ms, 0), fields: vec![("data".into(), "x".into())] }
    }

    #[test]
    fn who_gives_a_page_back_begins_with_small_ones_again() {
        let event = |ms| Arc::new(Frame::new(Position::new(ms, 0), Event::from_entry(&entry(ms))));
        let standing = Standing { position: Position::new(40, 0), due: None, entry: true };
        let (frames, known_to) = (|| (1..=40).map(event).collect(), Offset::default());
        let page = || Page { frames: frames(), standing, at: None, known_to, ration: None };
        let mut behind = Behind::default();
        behind.take(page());
        assert_eq!(behind.given, 40);
        behind.pop();
        behind.give_back();
        assert_eq!((behind.given, behind.page.len(), behind.arrived.is_none()), (0, 0, true));
    }

    #[test]
    fn a_page_is_kept_right_behind_a_gap_alone() {
        let gap = Arc::new(Frame::control(Position::new(5, 0), b"event: fantail.gap\ndata: {}\n\n"));
        let event = |ms| Arc::new(Frame::new(Position::new(ms, 0), Event::from_entry(&entry(ms))));
        let standing = Standing { position: Position::new(8, 0), due: None, entry: true };
        let frames = vec![gap, event(6), event(7), event(8)];
        let mut behind = Behind { fresh: true, ..Behind::default() };
        behind.take(Page { frames, standing, at: None, known_to: Offset::default(), ration: None });
        let gap = behind.pop().expect("a gap");
        behind.give_back();
        assert_eq!((behind.page.len(), behind.fresh), (3, true), "no entry stands where it is");
        let event = behind.pop().expect("an event");
        assert!(!behind.fresh);
        behind.undo(event);
        behind.give_back();
        assert_eq!((behind.page.len(), behind.fresh), (3, true));
        behind.undo(gap);
        behind.give_back();
        assert_eq!(behind.page.len(), 0, "it has had nothing of it");
    }
}
