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
/// What the answers of one second should weigh at most; each carries two entries.
const SAMPLE_BYTES: usize = 256 << 10;

impl Follower {
    /// Asks some streams what they say of themselves: those that changed first, then as a round over all has them.
    pub(super) fn sample_some(&mut self, link: Link) {
        self.publish_reaches();
        let (mut channels, mut bytes) = (Vec::new(), 0);
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
        if !channels.is_empty() {
            let backplane = self.hub.backplane.clone();
            self.batches.push(Box::pin(async move {
                let answer = backplane.inspect(channels.clone()).await;
                BatchResult::Sampled(channels, answer)
            }));
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
