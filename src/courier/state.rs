//! A courier: what it has and knows. What it does with that is in `join` and `admission`, `deliver`, `flow`, `compose`, `set_changes`,
//! `history`, `conversion`, `sweep` and `leave`; `event_loop` calls them.

use super::broadcast::Broadcast;
use super::carriers::Carriers;
use super::deps::CourierDeps;
use super::draft::Draft;
use super::expiry::ExpiryTable;
use super::key::Key;
use super::lingering::LingeringCloses;
use super::mailbox::Mailbox;
use super::mirrors::Mirrors;
use super::pipe::Watcher;
use super::schedule::{Drain, Schedule};
use super::spare::Spare;
use super::subscribers::Subscribers;
use super::tally::Tally;
use super::tick::Tick;
use super::wanted::Verdicts;
use crate::frame::Frame;
use crate::hash::HashMap;
use crate::hub::offset::Offset;
use crate::telemetry::LogThrottle;
use mio::Registry;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LOG_PERIOD: Duration = Duration::from_secs(10);

/// One delivery thread's subscribers, and what it needs to serve them.
pub struct Courier {
    pub number: usize,
    pub registry: Registry,
    pub mailbox: Arc<Mailbox>,
    /// Puts what pipes tell into the mailbox.
    pub watcher: Arc<Watcher>,
    pub deps: CourierDeps,
    /// Asked how long a turn has taken so far. All else goes by `now`.
    pub stopwatch: fn() -> Instant,
    /// The tick in which the turn began.
    pub now: Tick,
    pub subscribers: Subscribers,
    /// Connections of HTTP/2.
    pub carriers: Carriers,
    pub mirrors: Mirrors,
    /// The walk over a feed's members that the last turn did not end.
    pub broadcast: Option<Broadcast>,
    pub lingering: LingeringCloses,
    /// Keys of subscribers whose legs have not come yet.
    pub tickets: HashMap<u64, Key>,
    pub schedule: Schedule,
    pub drain: Option<Drain>,
    pub expiry: ExpiryTable,
    pub tally: Tally,
    pub log_throttle: LogThrottle,
    pub buffers: Buffers,
}

/// Memory that is used again and again; nothing in it outlives its use.
#[derive(Default)]
pub struct Buffers {
    pub scratch: Vec<u8>,
    pub draft: Draft,
    pub fresh: Vec<(Offset, Arc<Frame>)>,
    pub verdicts: Verdicts,
    pub spare: Spare,
}

impl Courier {
    /// A courier without subscribers, at its first tick. `stopwatch` shows the time.
    pub fn new(
        number: usize,
        registry: Registry,
        mailbox: Arc<Mailbox>,
        deps: CourierDeps,
        stopwatch: fn() -> Instant,
    ) -> Courier {
        Courier {
            number,
            registry,
            watcher: Watcher::new(mailbox.clone()),
            mailbox,
            tally: Tally::new(&deps.metrics, number),
            expiry: ExpiryTable::new(deps.extends),
            schedule: Schedule::new(deps.heartbeat, deps.stall_timeout, deps.idle_timeout),
            deps,
            log_throttle: LogThrottle::new(LOG_PERIOD),
            stopwatch,
            now: Tick::default(),
            subscribers: Subscribers::default(),
            carriers: Carriers::default(),
            mirrors: Mirrors::default(),
            broadcast: None,
            lingering: LingeringCloses::default(),
            tickets: HashMap::default(),
            drain: None,
            buffers: Buffers::default(),
        }
    }
}
