//! Chance: delays that differ, so that nodes and clients do not all act at once, and names that nobody else has.
//!
//! All parts of a node hold one [`Random`], which may be given from outside, as a simulation does. It is no source of
//! secrets.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The source of chance of one node. Clones are one source. By default each thread has numbers of its own, without a lock.
#[derive(Clone, Default)]
pub struct Random(Option<Arc<dyn Fn() -> u64 + Send + Sync>>);

impl Random {
    /// A source that gives what `numbers` does, which may be any number of 64 bits.
    pub fn given(numbers: impl Fn() -> u64 + Send + Sync + 'static) -> Random {
        Random(Some(Arc::new(numbers)))
    }

    /// Any number of 64 bits.
    pub fn number(&self) -> u64 {
        match &self.0 {
            None => fastrand::u64(..),
            Some(numbers) => numbers(),
        }
    }

    /// A number of the range, each as likely as any other; it must not be empty.
    pub fn within(&self, range: RangeInclusive<u64>) -> u64 {
        match &self.0 {
            None => fastrand::u64(range),
            Some(numbers) => fastrand::Rng::with_seed(numbers()).u64(range),
        }
    }

    /// A part of one, below one.
    pub fn part(&self) -> f64 {
        match &self.0 {
            None => fastrand::f64(),
            Some(numbers) => fastrand::Rng::with_seed(numbers()).f64(),
        }
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Random(given)" } else { "Random" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn what_is_given_decides() {
        let source = || {
            let next = AtomicU64::new(7);
            let random = Random::given(move || next.fetch_add(1, Ordering::Relaxed));
            (random.number(), random.within(10..=1_000_000), random.part())
        };
        assert_eq!(source(), source());
        assert_eq!(source().0, 7);
    }

    #[test]
    fn numbers_stay_within_their_range_and_differ() {
        let next = AtomicU64::new(0);
        for random in [Random::default(), Random::given(move || next.fetch_add(1, Ordering::Relaxed))] {
            let numbers: Vec<u64> = (0..100).map(|_| random.within(5..=1_000_000)).collect();
            assert!(numbers.iter().all(|number| (5..=1_000_000).contains(number)));
            assert!(numbers.iter().any(|number| *number != numbers[0]));
            assert!((0..100).all(|_| (0.0..1.0).contains(&random.part())));
        }
    }
}
