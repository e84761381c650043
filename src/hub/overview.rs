//! What operators and other nodes are told of a node's feeds: the largest, the fastest, and how many subscribers each has.

use super::feed::{Feed, Reach, State};
use super::{Hub, STEPS};
use crate::channel::Channel;
use crate::position::Position;
use std::sync::Arc;

/// A channel on this node, for `/status` and the node's record.
pub struct Row {
    pub channel: Channel,
    pub legs: u32,
    /// Events per second; see [`Hub::fastest`].
    pub rate: f32,
    pub position: Position,
    /// Events and bytes in memory.
    pub events: usize,
    pub bytes: usize,
    pub reach: Option<Reach>,
}

impl Hub {
    /// Every channel with subscribers here, how many, and its events per second as [`Hub::fastest`] measured them.
    pub fn audience(&self) -> Vec<(Channel, u32, f32)> {
        let mut audience = Vec::new();
        self.walk(|feed| {
            let state = feed.lock();
            if state.legs > 0 {
                audience.push((feed.channel.clone(), state.legs, state.rate));
            }
        });
        audience
    }

    /// Feeds whose count of legs other nodes do not know, at most `most`, and `new` of which they know none; and channels
    /// that are forgotten since the last time though others know a count.
    pub fn recounted(&self, most: usize, mut new: usize) -> (Vec<(Arc<Feed>, u32)>, Vec<Channel>) {
        let mut changed = Vec::new();
        self.walk(|feed| {
            let state = feed.lock();
            let is_new = state.told == 0;
            if state.legs != state.told && changed.len() < most && (new > 0 || !is_new) {
                new -= usize::from(is_new);
                changed.push((feed.clone(), state.legs));
            }
        });
        (changed, std::mem::take(&mut self.feeds.lock().untold))
    }

    /// Takes note that others know no counts any more.
    pub fn recount_all(&self) {
        self.walk(|feed| feed.lock().told = 0);
    }

    /// How many subscribers a channel has on this node.
    pub fn legs(&self, channel: &Channel) -> u32 {
        let feed = self.feeds.lock().all.get(channel).cloned();
        feed.map_or(0, |feed| feed.lock().legs)
    }

    /// The most subscribed channels, at most `count`.
    pub fn overview(&self, count: usize) -> Vec<Row> {
        self.best(count, |state| Some(u64::from(state.legs)))
    }

    /// The channels with most events per second among those with subscribers, at most `count`. Measures all feeds'
    /// rates since the last time, which was `seconds` ago.
    pub fn fastest(&self, count: usize, seconds: f64) -> Vec<Row> {
        self.best(count, |state| {
            let rate = state.measure(seconds);
            (rate > 0.0 && state.legs > 0).then_some((f64::from(rate) * 1000.0) as u64)
        })
    }

    /// The feeds of which `worth` says most, at most `count`; those of which it says nothing are left out.
    fn best(&self, count: usize, mut worth: impl FnMut(&mut State) -> Option<u64>) -> Vec<Row> {
        let mut rows: Vec<(u64, Arc<Feed>)> = Vec::new();
        let mut least = 0;
        let best = |rows: &mut Vec<(u64, Arc<Feed>)>| {
            rows.sort_unstable_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.channel.cmp(&y.channel)));
            rows.truncate(count);
        };
        self.walk(|feed| {
            let Some(worth) = worth(&mut feed.lock()) else { return };
            if worth >= least {
                rows.push((worth, feed.clone()));
            }
            if rows.len() >= 4 * count.max(STEPS) {
                best(&mut rows);
                least = rows.last().map_or(0, |(worth, _)| *worth);
            }
        });
        best(&mut rows);
        rows.into_iter().map(|(_, feed)| self.row(&feed)).collect()
    }

    fn row(&self, feed: &Feed) -> Row {
        let state = feed.lock();
        let log = &state.log;
        Row {
            channel: feed.channel.clone(),
            legs: state.legs,
            rate: state.rate,
            position: log.position(),
            events: log.events(),
            bytes: log.bytes(),
            reach: self.reaches.lock().get(&feed.channel).copied(),
        }
    }
}
