//! Reads the control stream, `<key-prefix>~control`, and carries out what it says.
//!
//! It is read as history twice a second, on a lane of its own: a handful of cheap commands, and nothing that a failover,
//! a full tail or a busy follower could hold up.

use super::revocation::{Disconnect, Revocations, TOKEN_MEMORY_MS};
use crate::backplane::{Backplane, BackplaneError, Span, Toward};
use crate::channel::Channel;
use crate::metrics::Metrics;
use crate::position::Position;
use crate::telemetry::Seldom;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The channel; no client can subscribe to it or publish to it.
pub const CHANNEL: &str = "~control";
const EVERY: Duration = Duration::from_millis(500);
/// Entries of one read.
const PAGE: usize = 1_000;
const LOG_PERIOD: Duration = Duration::from_secs(10);
/// How far this clock and that of the backplane may be apart.
const CLOCKS_MS: u64 = 5_000;
/// For one read; the backplane has shorter limits of its own.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Follows the stream for as long as the node lives; `disconnect` tells the couriers.
pub async fn follow(
    backplane: Arc<dyn Backplane>,
    revocations: Arc<Revocations>,
    metrics: Arc<Metrics>,
    disconnect: impl Fn(Arc<Disconnect>),
) {
    let channel = Channel::new(CHANNEL).expect("a good name");
    // What was ordered before this node was there has been carried out, give or take the clocks.
    let begun_ms = super::now_ms().saturating_sub(CLOCKS_MS);
    let mut at = Position::new(super::now_ms().saturating_sub(TOKEN_MEMORY_MS), 0);
    let seldom = Seldom::new(LOG_PERIOD);
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        loop {
            let span = Span {
                channel: channel.clone(),
                oldest: at.after(),
                newest: Position::MAX,
                count: PAGE,
                toward: Toward::Newest,
            };
            let Ok(Ok(mut answers)) = timeout(READ_TIMEOUT, backplane.history(vec![span])).await else { break };
            let entries = match answers.pop() {
                Some(Ok(entries)) => entries,
                Some(Err(BackplaneError::Refused(why))) => {
                    if let Some(suppressed) = seldom.turn("control") {
                        tracing::error!(
                            why,
                            suppressed,
                            "the control stream cannot be read: revocations are not known"
                        );
                    }
                    break;
                }
                _ => break,
            };
            for entry in &entries {
                at = entry.position;
                let order = match Disconnect::from_entry(entry) {
                    Ok(order) => Arc::new(order),
                    Err(why) => {
                        metrics.revocations.with_label_values(&["unreadable"]).inc();
                        tracing::warn!(id = %entry.position, why, "an entry of the control stream cannot be read");
                        continue;
                    }
                };
                let full = match entry.position.ms < begun_ms {
                    true => revocations.recall(&order, super::now_ms()),
                    false => {
                        let (target, name) = (order.target.label(), &order.name);
                        tracing::info!(target, %name, id = %entry.position, "told to disconnect");
                        metrics.revocations.with_label_values(&[target]).inc();
                        let full = revocations.add(&order, super::now_ms());
                        disconnect(order);
                        full
                    }
                };
                if full && let Some(suppressed) = seldom.turn("full") {
                    tracing::warn!(suppressed, "more is kept out than can be remembered: the first to end is let go");
                }
            }
            if entries.len() < PAGE {
                revocations.set_known();
                break;
            }
        }
        metrics.auth_barred.set(revocations.barred(super::now_ms()) as i64);
    }
}
