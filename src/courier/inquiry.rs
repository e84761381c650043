//! What a courier is asked about its subscribers, and what it tells of one of them. No token is in it.

use super::key::SubscriberId;
use crate::channel::Channel;
use crate::position::Position;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Which subscribers are asked for; what is `None` is any.
#[derive(Clone, Debug, Default)]
pub struct Sought {
    pub channel: Option<Channel>,
    pub address: Option<IpAddr>,
    pub subject: Option<Arc<str>>,
    pub state: Option<State>,
    /// This one alone.
    pub serial: Option<u32>,
}

/// A question to one courier. Who no longer waits for the answer costs it nothing.
pub struct Inquiry {
    pub sought: Sought,
    /// The first place of the slab that is looked at.
    pub from: usize,
    /// Subscribers of the answer at most.
    pub most: usize,
    /// Channels that are told of each at most.
    pub channels: usize,
    pub answer: oneshot::Sender<Listed>,
}

/// A courier's answer.
#[derive(Debug, Default)]
pub struct Listed {
    pub seen: Vec<Seen>,
    /// The place at which the next question goes on; `None`: there is no more.
    pub next: Option<usize>,
}

/// What a subscriber waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The next event.
    Live,
    /// Room in its socket, which is full.
    Blocked,
    /// History of a channel, in which it is behind the tail.
    History,
    /// Channels that have not come.
    Held,
}

impl State {
    pub const ALL: [State; 4] = [State::Live, State::Blocked, State::History, State::Held];

    /// As it stands in the console's JSON.
    pub const fn label(self) -> &'static str {
        match self {
            State::Live => "live",
            State::Blocked => "blocked",
            State::History => "history",
            State::Held => "held",
        }
    }
}

/// One subscriber as it was at a moment.
#[derive(Clone, Debug)]
pub struct Seen {
    pub id: SubscriberId,
    /// The client's, behind trusted proxies.
    pub address: IpAddr,
    /// Who it is, where that is known.
    pub subject: Option<Arc<str>>,
    /// Since it came.
    pub age_ms: u64,
    /// Since its socket took something.
    pub silent_ms: u64,
    pub transport: &'static str,
    /// Its bytes are put together for it alone.
    pub composed: bool,
    pub state: State,
    /// Bytes that its full socket did not take, beside its place in the log.
    pub leftover_bytes: usize,
    /// Events of all its channels that it has still to get, where that is known of all.
    pub behind: Option<u64>,
    /// How many channels it has.
    pub count: usize,
    /// The first of them.
    pub channels: Vec<SeenChannel>,
}

/// A subscriber's place in one channel.
#[derive(Clone, Debug)]
pub struct SeenChannel {
    pub channel: Channel,
    pub state: State,
    /// What it was sent last, or where it begins; `None`: it has no place there yet.
    pub position: Option<Position>,
    /// The channel's newest event on this node.
    pub newest: Option<Position>,
    /// Events that lie between the two, where they can be counted.
    pub behind: Option<u64>,
}
