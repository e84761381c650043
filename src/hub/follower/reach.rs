//! How far back the history of followed streams reaches, as of their last samples.
//!
//! A client that is away longer than its stream keeps entries comes back to a gap: operators see it coming here. A
//! stream that was never trimmed reaches back to its beginning and is not counted.

use crate::backplane::StreamState;
use crate::channel::Channel;
use crate::hash::HashMap;
use crate::hub::feed::Reach;
use crate::hub::metrics::HubMetrics;
use crate::telemetry::LogThrottle;
use std::time::Duration;
use tracing::warn;

/// Between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What operators are told of the streams that have been trimmed.
pub(super) struct Reaches {
    needed: Duration,
    warned: LogThrottle,
}

impl Reaches {
    /// `needed`: how long a client may typically be away.
    pub fn new(needed: Duration) -> Reaches {
        Reaches { needed, warned: LogThrottle::new(WARN_EVERY) }
    }

    /// Tells the shortest histories, and warns where a typical reconnect would fall off one.
    pub fn publish(&mut self, found: &HashMap<Channel, Reach>, metrics: &HubMetrics) {
        let needed = self.needed.as_secs_f64();
        let (mut seconds, mut entries, mut short) = (f64::INFINITY, f64::INFINITY, 0);
        let mut shortest = None;
        for (channel, reach) in found {
            entries = entries.min(reach.entries as f64);
            short += i64::from(reach.seconds < needed);
            if reach.seconds < seconds {
                (seconds, shortest) = (reach.seconds, Some(channel));
            }
        }
        metrics.history_seconds.set(seconds);
        metrics.history_entries.set(entries);
        metrics.history_short.set(short);
        if short > 0
            && let (Some(channel), Some(suppressed)) = (shortest, self.warned.turn("history"))
        {
            warn!(
                %channel, seconds, needed, channels = short, suppressed,
                "history is short: who reconnects may find a gap; keep more entries (MAXLEN)"
            );
        }
    }
}

/// What a stream's state says of its history; `now_ms` by the backplane's clock. `None`: it never lost any.
pub(super) fn reach(state: &StreamState, now_ms: i64) -> Option<Reach> {
    // Where entries are not counted, any stream may have been trimmed.
    let complete = state.added.is_some_and(|added| added == state.length);
    // An id of the producer's own says nothing of how old its entry is.
    let first = state.first.filter(|first| !complete && first.is_time())?;
    let ms = now_ms.saturating_sub(first.ms as i64).max(0);
    Some(Reach { entries: state.length, seconds: ms as f64 / 1000.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;

    #[test]
    fn only_what_was_trimmed_is_short() {
        const NOW: u64 = 1_700_000_000_000;
        let first = Some(Position::new(NOW - 1_000, 0));
        let state = StreamState { length: 5, added: Some(5), first, ..StreamState::default() };
        assert_eq!(reach(&state, NOW as i64), None, "all that ever was is there");
        let trimmed = StreamState { added: Some(6), ..state.clone() };
        assert_eq!(reach(&trimmed, NOW as i64), Some(Reach { entries: 5, seconds: 1.0 }));
        let uncounted = StreamState { added: None, ..state };
        assert_eq!(
            reach(&uncounted, NOW as i64 - 2_000),
            Some(Reach { entries: 5, seconds: 0.0 }),
            "a clock that is behind"
        );
        assert_eq!(
            reach(&StreamState { length: 0, first: None, ..trimmed }, NOW as i64),
            None,
            "nothing to be measured by"
        );
    }
}
