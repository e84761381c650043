//! What replay may cost the node: entries of history that it reads a second, and bytes of them in memory. At either limit
//! subscribers wait for their turn, and lose nothing.

use crate::planted::{self, Fault};
use parking_lot::Mutex;
use prometheus::IntGauge;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Entries of the smallest page: the one that the leg has had, which must still be there, and the next.
pub const LEAST: usize = 2;
/// What was not read for so long may be read at once: timers are no more exact than a few milliseconds.
const CREDIT: Duration = Duration::from_millis(50);
/// Joins never wait, and what they read holds pages up for so long at most.
const JOINS_DEBT: Duration = Duration::from_millis(50);

/// An even rate (as GCRA has), but with debts: what a read will bring is known only after it.
pub struct Pace {
    /// Entries a second; `None`: any number.
    rate: Option<NonZeroU32>,
    /// The time at which what was taken so far is paid off.
    free: Mutex<Instant>,
}

impl Pace {
    /// A rate of so many entries a second; 0: any number.
    pub fn new(rate: u32, now: Instant) -> Pace {
        Pace { rate: NonZeroU32::new(rate), free: Mutex::new(now) }
    }

    /// How long nothing more may be taken; `None`: something may be taken now.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let left = self.free.lock().saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Takes so many entries, be it more than may be taken now.
    pub fn take(&self, entries: usize, now: Instant) {
        let mut free = self.free.lock();
        *free = now.checked_sub(CREDIT).map_or(*free, |least| free.max(least)) + self.cost(entries);
    }

    /// Gives back what was taken and not read.
    pub fn give_back(&self, entries: usize) {
        let mut free = self.free.lock();
        *free = free.checked_sub(self.cost(entries)).unwrap_or(*free);
    }

    /// Takes note that a join has read so many entries. It was not held up, and what it holds up is bounded.
    pub fn joined(&self, entries: usize, now: Instant) {
        let mut free = self.free.lock();
        *free = (*free).max((*free + self.cost(entries)).min(now + JOINS_DEBT));
    }

    fn cost(&self, entries: usize) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1).mul_f64(entries as f64 / f64::from(rate.get())))
    }
}

/// Bytes of history in memory.
pub struct Store {
    limit: usize,
    used: AtomicUsize,
    gauge: IntGauge,
    /// Rung when something was given back.
    pub room: Notify,
}

/// A part of the store, given back when it goes.
pub struct Ration {
    store: Arc<Store>,
    bytes: usize,
}

impl Store {
    pub fn new(limit: usize, gauge: IntGauge) -> Arc<Store> {
        Arc::new(Store { limit, used: AtomicUsize::new(0), gauge, room: Notify::new() })
    }

    /// Takes room for `most` entries of `each` so many bytes, or for as many as fit; returns how many those are. `None` where
    /// less than a quarter fits: many small pages would cost the backplane more than the wait costs the reader. Where nothing
    /// else is kept anything fits, so that no page is too large for ever.
    pub fn reserve(self: &Arc<Store>, most: usize, each: usize) -> Option<(usize, Ration)> {
        let used = self.used.load(Ordering::Relaxed);
        let room = self.limit.saturating_sub(used);
        let count = if used == 0 { most } else { most.min(room / each.max(1)) };
        (count >= LEAST.max(most / 4)).then(|| (count, self.grab(count * each)))
    }

    /// Takes room, be there any or not.
    pub fn grab(self: &Arc<Store>, bytes: usize) -> Ration {
        let mut ration = Ration { store: self.clone(), bytes: 0 };
        ration.resize(bytes);
        ration
    }
}

impl Ration {
    /// Changes the part to so many bytes, once it is known how many are needed.
    pub fn resize(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        let store = &self.store;
        // Wraps around where it shrinks, as the sum does.
        store.used.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
        store.gauge.add(bytes as i64 - before as i64);
        if bytes < before {
            store.room.notify_one();
        }
    }
}

impl Drop for Ration {
    fn drop(&mut self) {
        if !planted::is(Fault::RationKept) {
            self.resize(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_rate_is_kept_to_and_what_was_not_read_is_given_back() {
        let now = Instant::now();
        let pace = Pace::new(1_000, now);
        assert_eq!(pace.wait(now), None);
        pace.take(10_000, now);
        assert_eq!(pace.wait(now), Some(10 * SECOND));
        pace.give_back(9_000);
        assert_eq!((pace.wait(now), pace.wait(now + SECOND)), (Some(SECOND), None));
        // Of a long rest little is made up for.
        pace.take(1_000, now + 100 * SECOND);
        assert_eq!(pace.wait(now + 100 * SECOND), Some(SECOND - CREDIT));
        let any = Pace::new(0, now);
        any.take(usize::MAX, now);
        assert_eq!(any.wait(now), None);
    }

    #[test]
    fn joins_hold_pages_up_for_a_moment_only() {
        let now = Instant::now();
        let pace = Pace::new(1, now);
        pace.joined(1_000, now);
        assert_eq!(pace.wait(now), Some(JOINS_DEBT));
        pace.take(100, now);
        pace.joined(1_000, now);
        assert_eq!(pace.wait(now), Some(JOINS_DEBT + 100 * SECOND), "debts of pages stay");
    }

    #[tokio::test]
    async fn room_is_given_back_and_told_and_one_page_always_fits() {
        let gauge = IntGauge::new("g", "g").expect("a name");
        let store = Store::new(100, gauge.clone());
        let large = store.reserve(10, 100).expect("nothing else is there");
        assert!(store.reserve(2, 1).is_none());
        drop(large);
        let (_, mut one) = store.reserve(6, 10).expect("room");
        assert!(store.reserve(20, 10).is_none(), "four of twenty are too few");
        one.resize(40);
        let (count, two) = store.reserve(20, 10).expect("room");
        assert_eq!(count, 6, "as many as fit");
        let beside = Store::new(1_000, IntGauge::new("h", "h").expect("a name"));
        let _kept = beside.grab(50);
        assert_eq!(beside.reserve(11, 100).map(|(count, _)| count), Some(9), "more than there is room for at all");
        assert_eq!(gauge.get(), 100);
        store.room.notified().await;
        drop((one, two));
        store.room.notified().await;
        assert_eq!((gauge.get(), store.used.load(Ordering::Relaxed)), (0, 0));
    }
}
