//! A hub for tests of its parts.

use super::follow_request::FollowRequest;
use super::metrics::HubMetrics;
use super::{Hub, Idle, Neighbours, Settings};
use crate::backplane::memory::Memory;
use crate::metrics::Registry;
use std::sync::Arc;
use tokio::sync::mpsc;

/// A hub of small limits without couriers, and what it asks its follower for, which whoever has it is.
pub fn hub(memory: Arc<Memory>) -> (Arc<Hub>, mpsc::UnboundedReceiver<FollowRequest>) {
    let settings = Settings {
        tail_bytes: 1 << 20,
        replay_rate: 0,
        replay_bytes: 1 << 20,
        max_channel_subscribers: 0,
        deliveries: None,
    };
    let (requests, asked) = mpsc::unbounded_channel();
    let neighbours = Neighbours { bells: Arc::new([]), requests, idle: Arc::new(Idle::default()) };
    let metrics = Arc::new(HubMetrics::new(&Registry::default()));
    (Arc::new(Hub::new(settings, neighbours, memory, metrics)), asked)
}
