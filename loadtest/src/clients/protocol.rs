//! What the coordinator and its worker processes say to each other: JSON, one message a line.

use super::way::Way;
use crate::checker::Tally;
use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// To a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// The clients this worker has from now on, all unconnected.
    Clients(Clients),
    /// Connect everybody who is not; `rate` per second, 0 for as fast as `in_flight` at once allow.
    Connect {
        rate: f64,
        in_flight: usize,
    },
    /// Connect everybody who is not: so many connections are opened before the first of them asks, then the next.
    Gather {
        at_once: usize,
    },
    /// How fast those connect who do it by themselves; as in `Connect`.
    Pace {
        rate: f64,
        in_flight: usize,
    },
    /// Where to connect from now on; `again`: whoever loses the connection connects anew at once.
    Target {
        targets: Vec<SocketAddr>,
        again: bool,
    },
    /// Close some and connect them anew, this many per second; every other one without its last event id.
    Churn {
        rate: f64,
    },
    /// Slow readers read all there is from now on; stalled ones still nothing.
    Hurry,
    /// Close all.
    Close,
    /// Forget latencies, event times and join times, not places.
    Reset,
    Stats,
    Collect,
    /// Nothing more will come: the last number published in each channel.
    Finish {
        published: Vec<(u32, u64)>,
    },
}

/// A worker's clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Clients {
    /// Numbers `first..first + count`.
    pub first: u32,
    pub count: u32,
    pub plan: Plan,
    pub paths: Paths,
    /// Before a channel's number in its name.
    pub prefix: String,
    pub targets: Vec<SocketAddr>,
    /// Addresses to connect from.
    pub sources: Vec<std::net::Ipv4Addr>,
    /// Live with the first block behind the head (the server's position), not with the head.
    pub live_at_block: bool,
    /// Behind the channels of a request, as `&tail=1`.
    pub asks: String,
    /// Ask for a compressed stream.
    pub gzip: bool,
    pub way: Way,
    /// A stream for each channel, all of them on one connection; needs HTTP/2.
    pub stream_each: bool,
    /// TLS sessions begin with the last one's ticket, where there is one.
    pub tickets: bool,
    /// Remember the last event id, and compare ids.
    pub ids: bool,
    /// Of a thousand clients these never read once they are live.
    pub stalled: u32,
    /// Of a thousand clients these read [`SLOW_BYTES`] per second.
    pub slow: u32,
}

/// What a slow reader reads in a second.
pub const SLOW_BYTES: usize = 2_000;

/// How a server wants to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Paths {
    /// `/events?channels=a,b`
    Events,
    /// `/sub/a`
    Nchan,
    /// `/connection/uni_sse`, with a connect command; events come in a push.
    Centrifugo,
}

/// From a worker, one per command that asks: [`Command::Stats`], [`Command::Collect`], [`Command::Finish`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    Stats(Stats),
    Collected(Box<Collected>),
    Finished(Stats),
}

/// Counters, since the start unless said otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Now.
    pub live: u64,
    /// Waiting for their turn, or between connect and live. Now.
    pub pending: u64,
    pub opened: u64,
    /// Went live on a session that began with a ticket.
    pub resumed: u64,
    /// Connects that failed: refused, reset, timed out, not 200.
    pub failed: u64,
    /// Ended by the server after they were live.
    pub dropped: u64,
    /// Ended by the server among the slow and stalled.
    pub dropped_slow: u64,
    /// Events that were due and arrived, at readers that are not slow.
    pub delivered: u64,
    pub delivered_slow: u64,
    pub bytes: u64,
    pub comments: u64,
    pub violations: u64,
    /// Responses other than 200.
    pub refused: BTreeMap<u16, u64>,
    pub tally: Tally,
    /// What went wrong at slow and stalled readers.
    pub tally_slow: Tally,
    /// Since the last reset, by the common clock; 0 if none.
    pub first_connect: u64,
    pub last_live: u64,
    pub last_delivery: u64,
}

impl Stats {
    /// Sums counters; takes the outermost times.
    pub fn add(&mut self, other: &Stats) {
        self.live += other.live;
        self.pending += other.pending;
        self.opened += other.opened;
        self.resumed += other.resumed;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.dropped_slow += other.dropped_slow;
        self.delivered += other.delivered;
        self.delivered_slow += other.delivered_slow;
        self.bytes += other.bytes;
        self.comments += other.comments;
        self.violations += other.violations;
        for (status, count) in &other.refused {
            *self.refused.entry(*status).or_default() += count;
        }
        self.tally.add(&other.tally);
        self.tally_slow.add(&other.tally_slow);
        if other.first_connect > 0 && (self.first_connect == 0 || other.first_connect < self.first_connect) {
            self.first_connect = other.first_connect;
        }
        self.last_live = self.last_live.max(other.last_live);
        self.last_delivery = self.last_delivery.max(other.last_delivery);
    }
}

/// Distributions since the last reset.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Collected {
    /// Intended send time to read, value in microseconds and count.
    pub latency: Vec<(u64, u64)>,
    /// Connect to live, in microseconds.
    pub join: Vec<(u64, u64)>,
    /// Each event of the channels that [`crate::clients::TRACKED`] many share.
    pub events: Vec<EventTimes>,
}

/// One event's way to all its subscribers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct EventTimes {
    pub channel: u32,
    pub sequence: u64,
    pub intended: u64,
    pub first: u64,
    pub last: u64,
    pub count: u64,
}

impl EventTimes {
    pub fn merge(&mut self, other: &EventTimes) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.count += other.count;
    }
}
