//! What a courier keeps of a subscriber: a few dozen bytes for one channel, a box for several.

use super::post::{Framing, Terms};
use crate::frame::{Frame, Rank};
use crate::gzip::Gzip;
use crate::hub::feed::Feed;
use crate::position::Position;
use mio::net::TcpStream;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// One connected client.
pub struct Subscriber {
    pub socket: TcpStream,
    /// Tells it from an earlier one under the same key.
    pub serial: u32,
    pub route: Route,
    /// Tick of the last write that the socket took.
    pub wrote: u32,
    /// Tick of the last event.
    pub event: u32,
    /// Tick at which it must end; `u32::MAX`: none.
    pub expires: u32,
    /// The socket is full: wait for writable.
    pub blocked: bool,
    pub peer: IpAddr,
}

/// How events reach it.
pub enum Route {
    /// One channel, all events, chunked: shared bytes, and one number that says where it is, in mid-frame too.
    Plain(Plain),
    /// Anything else.
    Composed(Box<Composed>),
}

pub struct Plain {
    pub feed: u32,
    /// Its place among the feed's members.
    pub place: u32,
    /// Offset in the feed's log of the next byte to send.
    pub at: u64,
}

/// Several channels, a filter, an envelope, HTTP/1.0, or a position behind the tail.
pub struct Composed {
    pub legs: Vec<Leg>,
    pub terms: Terms,
    pub framing: Framing,
    /// Its body is a gzip stream.
    pub gzip: Option<Box<Gzip>>,
    /// Bytes that a full socket left over, of whole blocks; bounded by one write and one frame.
    pub leftover: Vec<u8>,
    /// A filter skipped events since the last `id:` was sent.
    pub skipped: bool,
    /// Set while no legs have come.
    pub ticket: Option<Box<Ticket>>,
}

/// A subscriber's place in one feed.
pub struct Leg {
    pub feed: Arc<Feed>,
    pub place: u32,
    /// Offset in the feed's log, at a frame's boundary; meaningless while behind.
    pub at: u64,
    /// The last event that was sent or skipped.
    pub position: Position,
    /// That event's rank.
    pub rank: Rank,
    /// The channel's last event was sent.
    pub finished: bool,
    pub behind: Option<Box<Behind>>,
}

/// A leg that is caught up from history.
#[derive(Default)]
pub struct Behind {
    pub asked: bool,
    pub page: VecDeque<Arc<Frame>>,
    /// After this page.
    pub arrived: Option<Arrival>,
    /// Its position is a time, not an entry that it received.
    pub unreceived: bool,
    /// Events of history it got so far.
    pub given: u32,
}

/// Names the letter that brings the legs, and tells who looks for them that the subscriber is still here.
pub struct Ticket {
    pub number: u64,
    #[expect(dead_code, reason = "it tells by being dropped with the subscriber")]
    pub here: oneshot::Sender<()>,
}

/// Where a page leads to.
pub struct Arrival {
    pub position: Position,
    pub rank: Rank,
    /// Offset in the feed's log; `None`: there is more history.
    pub at: Option<u64>,
}

impl Composed {
    /// Whether all its channels have ended.
    pub fn finished(&self) -> bool {
        self.ticket.is_none() && self.legs.iter().all(|leg| leg.finished)
    }
}
