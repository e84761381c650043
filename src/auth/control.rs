//! Reads the control stream, `<key-prefix>~control`, and carries out what it says.
//!
//! It is read when the backplane tells that it has changed, and now and then; where that is not told, or not answered,
//! twice a second as history, which nothing that a failover, a full tail or a busy follower does could hold up.

use super::revocation::{Disconnect, Revocations, TOKEN_MEMORY_MS};
use crate::backplane::{Ask, Backplane, BackplaneError, Entry, Span, Toward};
use crate::channel::Channel;
use crate::metrics::Metrics;
use crate::pace;
use crate::position::Position;
use crate::telemetry::Seldom;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The channel; no client can subscribe to it or publish to it.
pub const CHANNEL: &str = "~control";
/// Between reads where changes are not told.
const EVERY: Duration = Duration::from_millis(500);
/// Between reads where they are.
const SELDOM: Duration = Duration::from_secs(2);
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
    let bell = backplane.changes().listen(channel.clone());
    let (mut often, mut now_and_then) = (pace::in_step(EVERY), pace::in_step(SELDOM));
    loop {
        let mut told = false;
        loop {
            let entries = match next(&*backplane, &channel, at, &mut told).await {
                Ok(entries) => entries,
                Err(BackplaneError::Refused(why)) => {
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
        tokio::select! {
            () = bell.notified() => {}
            _ = often.tick(), if !told => {}
            _ = now_and_then.tick(), if told => {}
        }
    }
}

/// What follows a position. `told`: it was read by the connection that will tell of what comes next.
async fn next(
    backplane: &dyn Backplane,
    channel: &Channel,
    at: Position,
    told: &mut bool,
) -> Result<Vec<Entry>, BackplaneError> {
    let nothing = || BackplaneError::Down("no answer".into());
    if backplane.facts().follow != Some("block") {
        let ask = Ask { channel: channel.clone(), after: at, count: PAGE };
        let answers = timeout(EVERY, backplane.read(vec![ask])).await;
        if let Some(Ok(entries)) = answers.ok().and_then(Result::ok).and_then(|mut answers| answers.pop()) {
            *told = true;
            return Ok(entries);
        }
    }
    *told = false;
    let span = Span {
        channel: channel.clone(),
        oldest: at.after(),
        newest: Position::MAX,
        count: PAGE,
        toward: Toward::Newest,
    };
    let answers = timeout(READ_TIMEOUT, backplane.history(vec![span])).await;
    answers.map_err(|_| nothing())??.pop().unwrap_or_else(|| Err(nothing()))
}
