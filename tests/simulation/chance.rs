//! All chance of a run: sources that a seed and a name determine, so that what one part draws moves nobody else.

use fantail::random::Random;
use fastrand::Rng;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A source of random numbers that a seed and a name determine.
pub fn source(seed: u64, name: &str) -> Rng {
    let mut mixed = seed ^ 0x9e37_79b9_7f4a_7c15;
    for byte in name.bytes() {
        mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
    Rng::with_seed(mixed)
}

/// The chance of a node.
pub fn of_node(seed: u64, name: &str) -> Random {
    let numbers = Arc::new(Mutex::new(source(seed, name)));
    Random::given(move || numbers.lock().expect("nobody panics").u64(..))
}

/// Draws that every part makes in its own way.
pub trait Draw {
    /// True once in `of` times.
    fn once_in(&mut self, of: u32) -> bool;

    /// Mostly nothing, often a millisecond or two, rarely up to `most`.
    fn delay(&mut self, most: Duration) -> Duration;
}

impl Draw for Rng {
    fn once_in(&mut self, of: u32) -> bool {
        self.u32(0..of.max(1)) == 0
    }

    fn delay(&mut self, most: Duration) -> Duration {
        match self.u8(0..20) {
            0..12 => Duration::ZERO,
            12..19 => Duration::from_millis(self.u64(1..=2)).min(most),
            _ => Duration::from_millis(self.u64(0..=most.as_millis() as u64)),
        }
    }
}
