//! Thins log lines that repeat.

use crate::hash::HashMap;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Thins log lines: of each kind at most one per period, and how many were left out before it.
///
/// ```
/// # use fantail::telemetry::LogThrottle;
/// # use std::time::Duration;
/// let refusals = LogThrottle::new(Duration::from_secs(10));
/// if let Some(suppressed) = refusals.turn("node full") {
///     tracing::warn!(suppressed, "refused: node full");
/// }
/// ```
///
/// Kinds are the program's own words, so there are few of them, whatever clients send.
#[derive(Debug)]
pub struct LogThrottle {
    period: Duration,
    kinds: Mutex<HashMap<&'static str, Turn>>,
}

#[derive(Debug)]
struct Turn {
    last: Instant,
    suppressed: u64,
}

impl LogThrottle {
    pub fn new(period: Duration) -> LogThrottle {
        LogThrottle { period, kinds: Mutex::default() }
    }

    /// Whether a line of this kind is due now: the number of lines suppressed since the last one, or `None`.
    pub fn turn(&self, kind: &'static str) -> Option<u64> {
        self.turn_at(kind, Instant::now())
    }

    fn turn_at(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.kinds.lock();
        let Some(turn) = kinds.get_mut(kind) else {
            kinds.insert(kind, Turn { last: now, suppressed: 0 });
            return Some(0);
        };
        if now.duration_since(turn.last) < self.period {
            turn.suppressed += 1;
            return None;
        }
        turn.last = now;
        Some(std::mem::take(&mut turn.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_kind_and_period() {
        let throttle = LogThrottle::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(throttle.turn_at("full", at(0)), Some(0));
        assert_eq!(throttle.turn_at("full", at(1)), None);
        assert_eq!(throttle.turn_at("rate", at(1)), Some(0), "another kind has its own turn");
        assert_eq!(throttle.turn_at("full", at(9)), None);
        assert_eq!(throttle.turn_at("full", at(10)), Some(2));
        assert_eq!(throttle.turn_at("full", at(20)), Some(0), "the count begins anew");
    }
}
