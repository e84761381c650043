//! Carries out what the control stream, `<key-prefix>~control`, says.
//!
//! When it is read is `following`'s; how, and how it is found again after its ids went back, is `reading`'s.

pub(super) mod following;
mod reading;

use super::metrics::{self, AuthMetrics};
use super::order::{Change, ChangeMemory, Order};
use super::revocation::{Disconnect, Revocations};
use crate::backplane::{Backplane, BackplaneError, Entry, Publication};
use crate::channel::Channel;
use crate::planted::{self, Fault};
use crate::position::Position;
use crate::telemetry::LogThrottle;
use bytes::Bytes;
use following::Follower;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The channel; no client can subscribe to it or publish to it.
pub const CHANNEL: &str = "~control";
const LOG_PERIOD: Duration = Duration::from_secs(10);
/// How long before the node's start an order may be dated and still be carried out: clocks are known to some precision.
pub(super) const CLOCKS_MS: u64 = 5_000;

/// What couriers are told.
pub enum Told {
    Disconnect(Arc<Disconnect>),
    Change(Arc<Change>),
}

/// What orders are kept in, beside being carried out.
pub struct Memory {
    pub revocations: Arc<Revocations>,
    pub changes: Arc<ChangeMemory>,
}

/// The entry that disconnects those whom a name of this [kind](super::revocation::Target::label) concerns, and keeps them out
/// `until` then, in Unix seconds.
pub fn disconnect(kind: &str, name: &str, until: Option<u64>) -> Publication {
    let mut fields = vec![("disconnect", kind.to_owned()), ("name", name.to_owned())];
    fields.extend(until.map(|until| ("until", until.to_string())));
    let fields = fields.into_iter().map(|(name, value)| (Bytes::from_static(name.as_bytes()), value.into())).collect();
    Publication::new(Channel::new(CHANNEL).expect("a good name"), fields)
}

/// Writes one entry within a time; its id.
pub async fn write(backplane: &dyn Backplane, entry: Publication, limit: Duration) -> Result<Position, BackplaneError> {
    let silent = || BackplaneError::down("no answer");
    let answers = timeout(limit, backplane.append(vec![entry])).await.map_err(|_| silent())??;
    answers.into_iter().next().unwrap_or_else(|| Err(silent()))
}

/// Follows the stream for as long as the node lives; `tell` tells the couriers.
pub async fn follow(backplane: Arc<dyn Backplane>, memory: Memory, metrics: Arc<AuthMetrics>, tell: impl Fn(Told)) {
    let Memory { revocations, changes } = memory;
    let clock = revocations.clock().clone();
    let executor = Executor {
        backplane: backplane.clone(),
        revocations,
        changes,
        metrics,
        tell,
        begun: Instant::now(),
        log_throttle: LogThrottle::new(LOG_PERIOD),
    };
    following::follow(backplane, CHANNEL, &clock, executor).await;
}

/// What is done about an entry.
struct Executor<F> {
    backplane: Arc<dyn Backplane>,
    revocations: Arc<Revocations>,
    changes: Arc<ChangeMemory>,
    metrics: Arc<AuthMetrics>,
    tell: F,
    begun: Instant,
    log_throttle: LogThrottle,
}

impl<F: Fn(Told)> Follower for Executor<F> {
    fn now_ms(&self) -> u64 {
        // Known as soon as a connection is, and measured again and again.
        let measured = || self.backplane.facts().clock_offset_ms;
        self.revocations.set_clock(if planted::is(Fault::OrdersByNodeClock) { 0 } else { measured() });
        self.revocations.now_ms()
    }

    fn carry_out(&self, entry: &Entry) {
        let now_ms = self.revocations.now_ms();
        match Order::from_entry(entry, now_ms) {
            Ok(Order::Disconnect(order)) => self.disconnect(entry, Arc::new(order), now_ms),
            Ok(Order::Change(change)) => self.change(entry, Arc::new(change), now_ms),
            Err(why) => {
                self.metrics.revocations.inc(metrics::Order::Unreadable);
                tracing::warn!(id = %entry.position, why = why.to_string(), "an entry of the control stream cannot be read");
            }
        }
    }

    fn anew(&self, had: Position) {
        self.metrics.control_rereads.inc();
        tracing::warn!(%had, "the control stream was cut or made anew: what is there of its last day is read again");
    }

    fn caught_up(&self) {
        self.revocations.set_known();
    }

    fn failed(&self, error: BackplaneError) {
        self.revocations.set_blind();
        if let BackplaneError::Refused { text: why, .. } = error
            && let Some(suppressed) = self.log_throttle.turn("control")
        {
            tracing::error!(why, suppressed, "the control stream cannot be read: revocations are not known");
        }
    }

    fn rests(&self) {
        self.metrics.auth_barred.set(self.revocations.barred(self.revocations.now_ms()) as i64);
    }
}

impl<F: Fn(Told)> Executor<F> {
    fn disconnect(&self, entry: &Entry, order: Arc<Disconnect>, now_ms: u64) {
        let full = match self.is_done(entry, now_ms) {
            true => self.revocations.recall(&order, now_ms),
            false => {
                let (target, name) = (order.target.label(), &order.name);
                tracing::info!(target, %name, id = %entry.position, "told to disconnect");
                self.metrics.revocations.inc(metrics::Order::Disconnect(order.target));
                let full = self.revocations.add(&order, now_ms);
                (self.tell)(Told::Disconnect(order));
                full
            }
        };
        if full && let Some(suppressed) = self.log_throttle.turn("full") {
            tracing::warn!(suppressed, "more is kept out than can be remembered: the first to end is let go");
        }
    }

    /// Whoever comes back is judged by what is remembered, so that is also done for what was carried out before this node was there.
    fn change(&self, entry: &Entry, change: Arc<Change>, now_ms: u64) {
        self.changes.add(&change, now_ms);
        if !self.is_done(entry, now_ms) {
            let (kind, target, name) = (change.kind.label(), change.target.label(), &change.name);
            tracing::info!(kind, target, %name, id = %entry.position, "told to change streams' channels");
            self.metrics.revocations.inc(metrics::Order::Change(change.kind));
            (self.tell)(Told::Change(change));
        }
    }

    /// Whether it was carried out before this node was there. That is asked of the history that it finds alone: what comes
    /// later is an order whatever its id says.
    fn is_done(&self, entry: &Entry, now_ms: u64) -> bool {
        let begun_ms = now_ms.saturating_sub(self.begun.elapsed().as_millis() as u64);
        !self.revocations.is_known() && entry.position.ms < begun_ms.saturating_sub(CLOCKS_MS)
    }
}
