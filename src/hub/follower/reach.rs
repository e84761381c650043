//! How far back the history of followed streams reaches, sampled.
//!
//! A client that is away longer than its stream keeps entries comes back to a gap: operators see it coming here. A
//! stream that was never trimmed reaches back to its beginning and is not counted.

use super::{Done, Follower};
use crate::backplane::{Link, StreamState};
use crate::channel::Channel;
use crate::hub::feed::{Life, Reach};
use crate::telemetry::Seldom;
use std::time::Duration;
use tracing::warn;

/// Streams that are looked at each second, as long as their answers are small.
const SAMPLE: usize = 64;
/// What the answers of one second should weigh at most; each carries two entries.
const SAMPLE_BYTES: usize = 256 << 10;
/// Between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The sampling of streams; what is found of those that have been trimmed is in the hub.
pub struct Reaches {
    needed: Duration,
    /// Where the round over all stands.
    hand: usize,
    warned: Seldom,
}

impl Reaches {
    pub fn new(needed: Duration) -> Reaches {
        Reaches { needed, hand: 0, warned: Seldom::new(WARN_EVERY) }
    }
}

/// What a stream's state says of its history; `now_ms` by the backplane's clock. `None`: it never lost any.
fn reach(state: &StreamState, now_ms: i64) -> Option<Reach> {
    // Where entries are not counted, any stream may have been trimmed.
    let complete = state.added.is_some_and(|added| added == state.length);
    // An id of the producer's own says nothing of how old its entry is.
    let first = state.first.filter(|first| !complete && first.is_time())?;
    let ms = now_ms.saturating_sub(first.ms as i64).max(0);
    Some(Reach { entries: state.length, seconds: ms as f64 / 1000.0 })
}

impl Follower {
    pub(super) fn sample_some(&mut self, link: Link) {
        self.publish_reaches();
        let (mut channels, mut bytes) = (Vec::new(), 0);
        // Those that changed first.
        let uncounted: Vec<Channel> = self.uncounted.iter().take(SAMPLE).cloned().collect();
        for channel in uncounted {
            self.uncounted.remove(&channel);
            let mean = self.followed.get(&channel).map(|followed| followed.feed.lock().mean_bytes as usize);
            if let Some(mean) = mean.filter(|_| link == Link::Up && !self.hub.backplane.reads_apart(&channel)) {
                bytes += 2 * mean;
                channels.push(channel);
            }
        }
        while link == Link::Up
            && channels.len() < 2 * SAMPLE
            && bytes < SAMPLE_BYTES
            && let Some(followed) = self.followed.step(&mut self.reaches.hand)
        {
            let Some(followed) = followed else { continue };
            let state = followed.feed.lock();
            // Its state would bring its first and its last entry, each time.
            if state.life == Life::Live && !self.hub.backplane.reads_apart(&followed.feed.channel) {
                bytes += 2 * state.mean_bytes as usize;
                drop(state);
                channels.push(followed.feed.channel.clone());
            }
        }
        if !channels.is_empty() {
            let backplane = self.hub.backplane.clone();
            self.batches.push(Box::pin(async move {
                let answer = backplane.inspect(channels.clone()).await;
                Done::Sampled(channels, answer)
            }));
        }
    }

    pub(super) fn sampled(&mut self, channel: Channel, state: Option<StreamState>) {
        self.counted(&channel, state.as_ref());
        let Some(followed) = self.followed.get(&channel) else { return };
        let now_ms = self.clock.backplane_ms() as i64;
        let found = state.and_then(|state| reach(&state, now_ms));
        let channel = followed.feed.channel.clone();
        let mut reaches = self.hub.reaches.lock();
        match found {
            Some(reach) => reaches.insert(channel, reach),
            None => reaches.remove(&channel),
        };
    }

    /// The shortest histories, and a warning where a typical reconnect would fall off one.
    fn publish_reaches(&mut self) {
        let followed = &self.followed;
        let mut reaches = self.hub.reaches.lock();
        reaches.retain(|channel, _| followed.contains(channel));
        let needed = self.reaches.needed.as_secs_f64();
        let (mut seconds, mut entries, mut short) = (f64::INFINITY, f64::INFINITY, 0);
        let mut shortest = None;
        for (channel, reach) in reaches.iter() {
            entries = entries.min(reach.entries as f64);
            short += i64::from(reach.seconds < needed);
            if reach.seconds < seconds {
                (seconds, shortest) = (reach.seconds, Some(channel));
            }
        }
        let metrics = &self.hub.metrics;
        metrics.history_seconds.set(seconds);
        metrics.history_entries.set(entries);
        metrics.history_short.set(short);
        if short > 0
            && let (Some(channel), Some(suppressed)) = (shortest, self.reaches.warned.turn("history"))
        {
            warn!(
                %channel, seconds, needed, channels = short, suppressed,
                "history is short: who reconnects may find a gap; keep more entries (MAXLEN)"
            );
        }
    }
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
