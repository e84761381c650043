//! Samples of followed streams: what they say of themselves now and then, so that what nobody reported is found out, and
//! how far back their history reaches is known.

use super::Follower;
use super::batch_result::BatchResult;
use super::reach::reach;
use crate::backplane::{Link, StreamState};
use crate::channel::Channel;
use crate::hub::feed::Life;

/// Streams that are looked at each second, as long as their answers are small.
const SAMPLE: usize = 64;
/// Of those that changed and were not counted, so many each second.
const UNCOUNTED: usize = 512;
/// What the answers of one second should weigh at most, of either kind; each carries two entries.
const SAMPLE_BYTES: usize = 256 << 10;

impl Follower {
    /// Asks some streams what they say of themselves: those that changed first, then as a round over all has them.
    pub(super) fn sample_some(&mut self, link: Link) {
        self.publish_reaches();
        let mut channels = Vec::new();
        if link == Link::Up {
            self.choose_uncounted(&mut channels);
            self.choose_next(&mut channels);
        }
        if !channels.is_empty() {
            let backplane = self.hub.backplane.clone();
            self.batches.push(Box::pin(async move {
                let answer = backplane.inspect(channels.clone()).await;
                BatchResult::Sampled(channels, answer)
            }));
        }
    }

    /// Chooses streams that changed and were not counted with that: all of them once, before any of them again.
    fn choose_uncounted(&mut self, channels: &mut Vec<Channel>) {
        if self.to_count.is_empty() {
            self.to_count.extend(self.uncounted.drain());
        }
        let mut bytes = 0;
        while channels.len() < UNCOUNTED
            && bytes < SAMPLE_BYTES
            && let Some(channel) = self.to_count.pop_front()
        {
            let Some(followed) = self.followed.get(&channel) else { continue };
            let mean = followed.feed.lock().mean_bytes as usize;
            if !self.hub.backplane.reads_apart(&channel) {
                bytes += 2 * mean;
                channels.push(channel);
            }
        }
    }

    /// Chooses those whose turn it is as a round over all has them.
    fn choose_next(&mut self, channels: &mut Vec<Channel>) {
        let (most, mut bytes) = (channels.len() + SAMPLE, 0);
        while channels.len() < most
            && bytes < SAMPLE_BYTES
            && let Some(followed) = self.followed.step(&mut self.sample)
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
    }

    /// Takes what a stream says of itself; `None`: nothing, or there is none.
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

    /// Tells how far back streams reach that are followed still.
    fn publish_reaches(&mut self) {
        let followed = &self.followed;
        let mut found = self.hub.reaches.lock();
        found.retain(|channel, _| followed.contains(channel));
        self.reaches.publish(&found, &self.hub.metrics);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::memory::{Memory, Settings};
    use crate::clock::Clock;
    use crate::hash::HashSet;
    use crate::hub::bell::FeedNumber;
    use crate::hub::feed::Feed;
    use crate::hub::fixture;
    use crate::hub::follower::followed::Followed;
    use std::sync::Arc;
    use std::time::Duration;

    /// A follower of so many streams, and their channels.
    fn follower(streams: usize, mean_bytes: u32) -> (Follower, Vec<Channel>) {
        let (hub, _) = fixture::hub(Memory::new(Settings::default()));
        let mut follower = Follower::new(hub, Clock::default(), Duration::ZERO);
        let channels: Vec<Channel> = (0..streams).map(|n| Channel::new(&format!("c{n}")).unwrap()).collect();
        for channel in &channels {
            let feed = Arc::new(Feed::new(FeedNumber::new(0), channel.clone()));
            feed.lock().mean_bytes = mean_bytes;
            follower.followed.insert(channel, |_| Followed::awake(feed, 1));
        }
        (follower, channels)
    }

    #[test]
    fn of_many_that_changed_each_is_counted_before_any_is_again() {
        let (mut follower, channels) = follower(3 * UNCOUNTED, 100);
        let mut counted = HashSet::default();
        for round in 1..=3 {
            follower.uncounted.extend(channels.iter().cloned());
            let mut chosen = Vec::new();
            follower.choose_uncounted(&mut chosen);
            counted.extend(chosen);
            assert_eq!(counted.len(), round * UNCOUNTED);
        }
    }

    #[test]
    fn large_ones_are_few_at_a_time() {
        let (mut follower, channels) = follower(100, 64 << 10);
        follower.uncounted.extend(channels);
        let mut chosen = Vec::new();
        follower.choose_uncounted(&mut chosen);
        assert_eq!(chosen.len(), SAMPLE_BYTES / (2 * (64 << 10)));
    }
}
