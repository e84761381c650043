//! Health: whether the backplane can be read, and what that means for readiness.
//!
//! Liveness never depends on it. Readiness fails late: when all nodes say "not ready" at once, an ingress answers 503,
//! and that ends every EventSource for good.

use crate::auth::Auth;
use crate::backplane::metrics::BackplaneMetrics;
use crate::backplane::{Backplane, Link};
use crate::clock::Clock;
use crate::config::UnreadyAfter;
use crate::pace;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// What probes are told.
pub struct Health {
    unready_after: UnreadyAfter,
    /// Since when the backplane cannot be read.
    down_since: Mutex<Option<Instant>>,
    draining: AtomicBool,
    /// Says why nobody can be let in, where that is so.
    auth: OnceLock<Arc<Auth>>,
    /// That it is down has been said. Until then, a node without its backplane is starting.
    told: AtomicBool,
}

/// The state of a node that has not found its backplane yet, and may still be about to.
pub const STARTING: &str = "starting";

/// How long a starting node may look for its backplane before it calls itself degraded.
const START: Duration = Duration::from_secs(2);

impl Health {
    pub fn new(unready_after: UnreadyAfter) -> Arc<Health> {
        Arc::new(Health {
            unready_after,
            down_since: Mutex::new(Some(Instant::now())),
            draining: AtomicBool::new(false),
            auth: OnceLock::new(),
            told: AtomicBool::new(false),
        })
    }

    pub fn is_up(&self) -> bool {
        self.down_since.lock().is_none()
    }

    pub fn down_for(&self) -> Option<Duration> {
        self.down_since.lock().map(|since| since.elapsed())
    }

    /// A node that cannot decide who may do what refuses everybody, so it should get nobody.
    pub fn depend_on(&self, auth: Arc<Auth>) {
        let _ = self.auth.set(auth);
    }

    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why the node should get no new clients; `None`: it should.
    pub fn unready(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Relaxed) {
            return Some("draining");
        }
        if let Some(why) = self.auth.get().and_then(|auth| auth.trouble()) {
            return Some(why);
        }
        let (trouble, lasts) = self.trouble()?;
        self.unready_after.0.filter(|limit| lasts >= *limit).map(|_| trouble)
    }

    /// What keeps new clients from their events, and for how long it has; the node is ready all the same until
    /// `--unready-after`.
    pub fn trouble(&self) -> Option<(&'static str, Duration)> {
        let down = self.down_for().map(|lasts| ("the backplane is down", lasts));
        let blind = || {
            let lasts = self.auth.get()?.blind_for()?;
            Some(("it is not known who has been revoked, so whoever has a token waits", lasts))
        };
        down.or_else(blind)
    }

    /// Whether it is known who has been revoked, or nobody can be.
    pub fn knows_revocations(&self) -> bool {
        self.auth.get().is_none_or(|auth| auth.blind_for().is_none())
    }

    /// In one word.
    pub fn state(&self) -> &'static str {
        if self.draining.load(Ordering::Relaxed) {
            return "draining";
        }
        // `told` changes while this is locked.
        let down_since = self.down_since.lock();
        match *down_since {
            None => "ok",
            Some(_) if self.told.load(Ordering::Relaxed) => "degraded",
            Some(_) => STARTING,
        }
    }

    /// Follows the backplane's link and clock for as long as the node lives.
    pub async fn watch(self: Arc<Health>, backplane: Arc<dyn Backplane>, metrics: Arc<BackplaneMetrics>, clock: Clock) {
        let mut link = backplane.link();
        let mut second = pace::in_step(&clock, Duration::from_secs(1));
        let mut reconnects = 0;
        loop {
            self.note(*link.borrow_and_update(), &metrics);
            let facts = backplane.facts();
            clock.set_ahead_ms(facts.clock_offset_ms);
            metrics.backplane_shards_down.set(facts.shards.iter().filter(|shard| !shard.up).count() as i64);
            metrics.backplane_reconnects.inc_by(facts.reconnects.saturating_sub(reconnects));
            reconnects = facts.reconnects;
            metrics.read_from(&facts.reads);
            tokio::select! {
                biased;
                changed = link.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                _ = second.tick() => {}
            }
        }
    }

    fn note(&self, link: Link, metrics: &BackplaneMetrics) {
        metrics.backplane_up.set(i64::from(link == Link::Up));
        let mut down_since = self.down_since.lock();
        match (link, *down_since) {
            (Link::Up, Some(since)) => {
                *down_since = None;
                self.told.store(false, Ordering::Relaxed);
                info!(down_ms = since.elapsed().as_millis() as u64, "the backplane is up");
            }
            (Link::Down, None) => {
                *down_since = Some(Instant::now());
                self.tell();
            }
            (Link::Down, Some(since)) if since.elapsed() >= START => self.tell(),
            _ => {}
        }
    }

    fn tell(&self) {
        if !self.told.swap(true, Ordering::Relaxed) {
            warn!("degraded: the backplane is down; subscribers stay, new ones are held");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Registry;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_has_just_begun_is_starting_and_one_that_has_lost_its_backplane_is_degraded() {
        let (health, metrics) = (Health::new(UnreadyAfter(None)), BackplaneMetrics::new(&Registry::default()));
        health.note(Link::Down, &metrics);
        assert_eq!(health.state(), STARTING);
        tokio::time::advance(START).await;
        health.note(Link::Down, &metrics);
        assert_eq!(health.state(), "degraded", "it has looked for long enough");
        for (link, state) in [(Link::Up, "ok"), (Link::Down, "degraded"), (Link::Up, "ok")] {
            health.note(link, &metrics);
            assert_eq!(health.state(), state);
        }
    }
}
