//! What couriers need of the rest of the node.

use super::leftover::Ledger;
use super::mailbox::{CatchUp, JoinAsk};
use super::metrics::CourierMetrics;
use crate::auth::order::ChangeMemory;
use crate::auth::revocation::Revocations;
use crate::clock::Clock;
use crate::config::RetryRange;
use crate::hub::Idle;
use crate::limits::Limits;
use crate::random::Random;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What couriers need of the rest of the node.
#[derive(Clone)]
pub struct CourierDeps {
    /// Time before the end of a grant at which its subscriber is told; zero: not.
    pub expiring: Duration,
    pub revocations: Arc<Revocations>,
    /// Changes of channels that have been ordered.
    pub changes: Arc<ChangeMemory>,
    /// Where legs in channels that are joined are asked for; at most one request per channel of a subscriber is on its way.
    pub joins: mpsc::UnboundedSender<JoinAsk>,
    /// Whether grants may be extended.
    pub extends: bool,
    /// Longest time in which a subscriber is sent nothing.
    pub heartbeat: Duration,
    /// Longest time in which a full socket takes nothing.
    pub stall_timeout: Duration,
    /// Longest time without an event; zero: no end.
    pub idle_timeout: Duration,
    /// Delays of which one is told to each subscriber that is to come back.
    pub retry: RetryRange,
    pub metrics: Arc<CourierMetrics>,
    pub limits: Arc<Limits>,
    /// Feeds whose last leg left.
    pub idle: Arc<Idle>,
    /// Where legs behind the tail ask for history; at most one request per leg is on its way.
    pub catch_ups: mpsc::UnboundedSender<CatchUp>,
    /// What full sockets of all couriers left over.
    pub leftovers: Arc<Ledger>,
    /// Says when grants end, and how late an event is.
    pub clock: Clock,
    /// Chooses from the range of delays.
    pub random: Random,
}
