//! The time: this node's, and the backplane's as far as it is known.
//!
//! All parts of a node hold one [`Clock`], which may be given from outside, as a simulation does. What only measures how
//! long something takes asks `Instant` instead.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The clock of one node. Clones are one clock.
#[derive(Clone, Default)]
pub struct Clock(Arc<Inner>);

struct Inner {
    /// `None`: the system's.
    given: Option<Box<dyn Fn() -> SystemTime + Send + Sync>>,
    /// The backplane's time minus this node's, in milliseconds.
    ahead_ms: AtomicI64,
    made: Instant,
}

impl Inner {
    fn new(given: Option<Box<dyn Fn() -> SystemTime + Send + Sync>>) -> Inner {
        Inner { given, ahead_ms: AtomicI64::new(0), made: Instant::now() }
    }
}

impl Default for Inner {
    fn default() -> Inner {
        Inner::new(None)
    }
}

impl Clock {
    /// A clock that shows what `time` gives.
    pub fn given(time: impl Fn() -> SystemTime + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(Inner::new(Some(Box::new(time)))))
    }

    /// This node's time since 1970; zero before.
    pub fn since_epoch(&self) -> Duration {
        let now = self.0.given.as_ref().map_or_else(SystemTime::now, |time| time());
        now.duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// This node's time in Unix milliseconds.
    pub fn unix_ms(&self) -> u64 {
        self.since_epoch().as_millis() as u64
    }

    /// When the clock was made: what is done in step counts from there.
    pub fn made(&self) -> Instant {
        self.0.made
    }

    /// The backplane's time in Unix milliseconds, as far as it is known.
    pub fn backplane_ms(&self) -> u64 {
        self.unix_ms().saturating_add_signed(self.ahead_ms())
    }

    /// How far the backplane's time is ahead of this node's, in milliseconds.
    pub fn ahead_ms(&self) -> i64 {
        self.0.ahead_ms.load(Ordering::Relaxed)
    }

    /// Takes over how far the backplane's time was found ahead of this node's.
    pub fn set_ahead_ms(&self, ahead_ms: i64) {
        self.0.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({} ms, ahead {} ms)", self.unix_ms(), self.ahead_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_clock_is_believed_and_clones_share_what_is_known_of_the_backplane() {
        let clock = Clock::given(|| UNIX_EPOCH + Duration::from_millis(5_000));
        assert_eq!((clock.unix_ms(), clock.backplane_ms()), (5_000, 5_000));
        clock.clone().set_ahead_ms(-1_500);
        assert_eq!((clock.unix_ms(), clock.backplane_ms()), (5_000, 3_500));
        clock.set_ahead_ms(-9_000);
        assert_eq!(clock.backplane_ms(), 0, "no time is before 1970");
        let early = Clock::given(|| UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(early.unix_ms(), 0);
    }
}
