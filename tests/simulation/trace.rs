//! All that clients were sent, and when, as one number: the same seed gives the same one.

use std::sync::Mutex;
use std::time::Duration;

/// See the module.
pub struct Trace(Mutex<(u64, u64)>);

impl Trace {
    pub fn new() -> Trace {
        Trace(Mutex::new((0xcbf2_9ce4_8422_2325, 0)))
    }

    /// Adds bytes that somebody was sent at a moment.
    pub fn note(&self, at: Duration, who: usize, bytes: &[u8]) {
        tracing::debug!(who, ns = at.subsec_nanos(), bytes = bytes.len(), text = %bytes.escape_ascii(), "sent");
        let mut state = self.0.lock().expect("nobody panics");
        let (hash, total) = &mut *state;
        let mut add = |bytes: &[u8]| {
            *hash =
                bytes.iter().fold(*hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
        };
        add(&(at.as_nanos() as u64).to_le_bytes());
        add(&(who as u32).to_le_bytes());
        add(bytes);
        *total += bytes.len() as u64;
    }

    /// The number, and how many bytes it is of.
    pub fn sum(&self) -> (u64, u64) {
        *self.0.lock().expect("nobody panics")
    }
}
