//! Carries out what the control stream, `<key-prefix>~control`, says.
//!
//! It is read when the backplane tells that it has changed, and now and then; where that is not told, or not answered,
//! twice a second. How it is read, and found again after its ids went back, is `reading`'s.

pub(super) mod reading;

use super::metrics::{AuthMetrics, Order};
use super::revocation::{Disconnect, Revocations};
use crate::backplane::{Backplane, BackplaneError, Entry};
use crate::channel::Channel;
use crate::pace;
use crate::planted::{self, Fault};
use crate::telemetry::LogThrottle;
use reading::{Page, Reading};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The channel; no client can subscribe to it or publish to it.
pub const CHANNEL: &str = "~control";
/// Between reads where changes are not told.
const EVERY: Duration = Duration::from_millis(500);
/// Between reads where they are.
const SELDOM: Duration = Duration::from_secs(2);
const LOG_PERIOD: Duration = Duration::from_secs(10);
/// How long before the node's start an order may be dated and still be carried out: clocks are known to some precision.
pub(super) const CLOCKS_MS: u64 = 5_000;
/// Pages of one round; whoever writes faster than they are read must not keep the node from all else.
const MAX_PAGES: usize = 1_000;

/// Follows the stream for as long as the node lives; `disconnect` tells the couriers.
pub async fn follow(
    backplane: Arc<dyn Backplane>,
    revocations: Arc<Revocations>,
    metrics: Arc<AuthMetrics>,
    disconnect: impl Fn(Arc<Disconnect>),
) {
    let channel = Channel::new(CHANNEL).expect("a good name");
    let bell = backplane.changes().listen(channel.clone());
    let mut reading = Reading::new(backplane.clone(), channel);
    let executor = Executor {
        revocations,
        metrics,
        disconnect,
        begun: Instant::now(),
        log_throttle: LogThrottle::new(LOG_PERIOD),
    };
    let clock = executor.revocations.clock().clone();
    let (mut often, mut now_and_then) = (pace::in_step(&clock, EVERY), pace::in_step(&clock, SELDOM));
    loop {
        if let Err(error) = executor.round(&mut reading, &*backplane).await {
            executor.revocations.set_blind();
            if let BackplaneError::Refused { text: why, .. } = error
                && let Some(suppressed) = executor.log_throttle.turn("control")
            {
                tracing::error!(why, suppressed, "the control stream cannot be read: revocations are not known");
            }
        }
        executor.metrics.auth_barred.set(executor.revocations.barred(executor.revocations.now_ms()) as i64);
        tokio::select! {
            biased;
            () = bell.notified() => {}
            _ = often.tick(), if !reading.told() => {}
            _ = now_and_then.tick(), if reading.told() => {}
        }
    }
}

/// What is done about an entry.
struct Executor<F> {
    revocations: Arc<Revocations>,
    metrics: Arc<AuthMetrics>,
    disconnect: F,
    begun: Instant,
    log_throttle: LogThrottle,
}

impl<F: Fn(Arc<Disconnect>)> Executor<F> {
    /// Reads and carries out all that is new.
    async fn round(&self, reading: &mut Reading, backplane: &dyn Backplane) -> Result<(), BackplaneError> {
        for _ in 0..MAX_PAGES {
            // Known as soon as a connection is, and measured again and again.
            let offset_ms = if planted::is(Fault::OrdersByNodeClock) { 0 } else { backplane.facts().clock_offset_ms };
            self.revocations.set_clock(offset_ms);
            match reading.next(self.revocations.now_ms()).await? {
                Page::Anew(had) => {
                    self.metrics.control_rereads.inc();
                    tracing::warn!(
                        %had,
                        "the control stream was cut or made anew: what is there of its last day is read again"
                    );
                }
                Page::Entries { entries, whole } => {
                    entries.iter().for_each(|entry| self.carry_out(entry));
                    if whole {
                        self.revocations.set_known();
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn carry_out(&self, entry: &Entry) {
        let now_ms = self.revocations.now_ms();
        let order = match Disconnect::from_entry(entry, now_ms) {
            Ok(order) => Arc::new(order),
            Err(why) => {
                self.metrics.revocations.inc(Order::Unreadable);
                tracing::warn!(id = %entry.position, why = why.to_string(), "an entry of the control stream cannot be read");
                return;
            }
        };
        let full = match self.is_done(entry, now_ms) {
            true => self.revocations.recall(&order, now_ms),
            false => {
                let (target, name) = (order.target.label(), &order.name);
                tracing::info!(target, %name, id = %entry.position, "told to disconnect");
                self.metrics.revocations.inc(Order::Disconnect(order.target));
                let full = self.revocations.add(&order, now_ms);
                (self.disconnect)(order);
                full
            }
        };
        if full && let Some(suppressed) = self.log_throttle.turn("full") {
            tracing::warn!(suppressed, "more is kept out than can be remembered: the first to end is let go");
        }
    }

    /// Whether it was carried out before this node was there. That is asked of the history that it finds alone: what comes
    /// later is an order whatever its id says.
    fn is_done(&self, entry: &Entry, now_ms: u64) -> bool {
        let begun_ms = now_ms.saturating_sub(self.begun.elapsed().as_millis() as u64);
        !self.revocations.is_known() && entry.position.ms < begun_ms.saturating_sub(CLOCKS_MS)
    }
}
