//! How fast one client may do something (GCRA: an even rate with a second's worth of burst).

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::time::Instant;

/// Clients remembered at once; more share one allowance.
const MAX_CLIENTS: usize = 65_536;

/// Allowances per second, each client its own.
pub struct Rate<K: Hash + Eq + Clone> {
    per_second: NonZeroU32,
    allowances: RateLimiter<Option<K>, HashMapStateStore<Option<K>>, Since, NoOpMiddleware<Duration>>,
    clock: Since,
    swept: Mutex<Instant>,
    max_clients: usize,
}

/// The time that allowances go by: since a moment.
#[derive(Clone, Copy)]
struct Since(Instant);

impl Clock for Since {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Why there is no allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooFast {
    /// Not now: in so many seconds.
    Wait(u32),
    /// So many at once never fit.
    Never,
}

impl<K: Hash + Eq + Clone> Rate<K> {
    /// `None` for a rate of 0: no limit.
    pub fn new(per_second: u32) -> Option<Rate<K>> {
        NonZeroU32::new(per_second).map(|per_second| Rate::with_room(per_second, MAX_CLIENTS))
    }

    fn with_room(per_second: NonZeroU32, max_clients: usize) -> Rate<K> {
        let clock = Since(Instant::now());
        let allowances = RateLimiter::hashmap_with_clock(Quota::per_second(per_second), clock);
        Rate { per_second, allowances, clock, swept: Mutex::new(clock.0), max_clients }
    }

    pub fn per_second(&self) -> NonZeroU32 {
        self.per_second
    }

    /// Takes an allowance of `count` for `client`, or nothing.
    pub fn take(&self, client: K, count: NonZeroU32) -> Result<(), TooFast> {
        match self.allowances.check_key_n(&self.key(client), count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.clock.now()).as_secs_f64().ceil().max(1.0);
                Err(TooFast::Wait(wait as u32))
            }
            Err(_) => Err(TooFast::Never),
        }
    }

    /// A client that finds no room uses the shared allowance.
    fn key(&self, client: K) -> Option<K> {
        if self.allowances.len() >= self.max_clients {
            self.sweep();
            if self.allowances.len() >= self.max_clients {
                return None;
            }
        }
        Some(client)
    }

    /// Forgets clients whose allowance is whole again; not more than once a second, since it looks at all.
    fn sweep(&self) {
        let mut swept = self.swept.lock();
        if swept.elapsed() >= Duration::from_secs(1) {
            *swept = Instant::now();
            self.allowances.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn rate(per_second: u32, room: usize) -> Rate<&'static str> {
        Rate::with_room(NonZeroU32::new(per_second).unwrap(), room)
    }

    #[test]
    fn each_client_has_its_own() {
        let rate = rate(1, 100);
        for first in ["a", "b"] {
            assert_eq!(rate.take(first, ONE), Ok(()), "{first}");
        }
        assert_eq!(rate.take("a", ONE), Err(TooFast::Wait(1)));
        assert!(Rate::<u32>::new(0).is_none());
    }

    #[test]
    fn a_batch_counts_its_events() {
        let rate = rate(10, 100);
        let n = |n| NonZeroU32::new(n).unwrap();
        assert_eq!(rate.take("a", n(11)), Err(TooFast::Never));
        assert_eq!(rate.take("a", n(10)), Ok(()));
        assert!(rate.take("a", n(10)).is_err());
    }

    #[test]
    fn clients_without_room_share() {
        let rate = rate(1, 2);
        for first in ["a", "b", "c"] {
            assert_eq!(rate.take(first, ONE), Ok(()), "{first}");
        }
        assert!(rate.take("d", ONE).is_err());
        assert_eq!(rate.allowances.len(), 3);
    }
}
