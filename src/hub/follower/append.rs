//! Entries that the follower has read become frames of their feed's log, and are counted.

use super::Follower;
use crate::backplane::Entry;
use crate::channel::Channel;
use crate::control_event::Gap;
use crate::event::Event;
use crate::frame::Frame;
use crate::hub::feed::Feed;
use crate::hub::frames::too_large;
use crate::position::Position;
use std::num::NonZeroU64;
use std::sync::Arc;
use tracing::{debug, warn};

impl Follower {
    /// Encodes entries and appends them to their feed, whose couriers are told.
    pub(super) fn append(&mut self, channel: &Channel, entries: Vec<Entry>) {
        self.append_without(channel, entries, None);
    }

    /// Appends entries of which some were left out, as [`Follower::append`] does; `last`: the last that is not among them.
    pub(super) fn append_without(&mut self, channel: &Channel, entries: Vec<Entry>, last: Option<Position>) {
        if entries.is_empty() {
            return;
        }
        let Some(followed) = self.followed.get(channel) else { return };
        let feed = &followed.feed;
        self.count(channel, &entries);
        let frames = self.frames(feed, &entries);
        {
            let mut state = feed.lock();
            frames
                .iter()
                .filter(|frame| frame.is_event())
                .for_each(|frame| state.learn(frame.chunk().len() + frame.beside()));
            let newest = entries.last().filter(|entry| last.is_none_or(|last| last < entry.position));
            state.digest = newest.map_or(0, Entry::digest);
        }
        self.hub.change(feed, |log| {
            frames.into_iter().for_each(|frame| log.push(frame));
            last.into_iter().for_each(|last| log.begin_behind(last));
        });
    }

    /// Counts entries, and how old they are.
    fn count(&self, channel: &Channel, entries: &[Entry]) {
        let metrics = &self.hub.metrics;
        let now = self.clock.backplane_ms() as i64;
        metrics.events_received.inc_by(entries.len() as u64);
        self.hub.distinct.add(channel, entries.iter().map(|entry| entry.position), now.max(0) as u64);
        for entry in entries {
            match entry.position.is_time() {
                true => metrics.follower_lag.observe((now - entry.position.ms as i64).max(0) as f64 / 1000.0),
                false => metrics.untimed_events.inc(),
            }
        }
    }

    /// Frames of entries that follow all that the feed has.
    fn frames(&self, feed: &Feed, entries: &[Entry]) -> Vec<Arc<Frame>> {
        let (rank, before) = {
            let state = feed.lock();
            (state.log.rank(), Some(state.log.position()).filter(|position| *position != Position::ZERO))
        };
        let offset = self.clock.ahead_ms();
        let ranked = |(index, entry): (usize, &Entry)| {
            let rank = rank.and_then(|rank| NonZeroU64::new(rank + 1 + index as u64));
            let frame = match entry.is_too_large() {
                true => Frame::too_large(entry.position, &self.too_large(&feed.channel, entries, index, before)),
                false => self.event(&feed.channel, entry, offset),
            };
            Arc::new(frame.ranked(rank))
        };
        entries.iter().enumerate().map(ranked).collect()
    }

    /// An event's frame, traced where that is wanted. `offset`: the backplane's clock minus this node's, in milliseconds.
    fn event(&self, channel: &Channel, entry: &Entry, offset: i64) -> Frame {
        let event = Event::from_entry(entry);
        if event.renamed {
            self.hub.metrics.types_renamed.inc();
            debug!(channel = %channel, position = %entry.position, "an event of the cluster's own types is renamed");
        }
        if event.garbled {
            self.hub.metrics.invalid_utf8.inc();
            debug!(channel = %channel, position = %entry.position, "an event is not UTF-8");
        }
        let delivery = self.hub.deliveries.as_ref().and_then(|all| all.begin(channel, entry, offset));
        Frame::new(entry.position, event).traced(delivery)
    }

    /// What is said of an entry that is announced instead of delivered.
    fn too_large(&self, channel: &Channel, entries: &[Entry], index: usize, before: Option<Position>) -> Gap {
        let gap = too_large(channel, entries, index, before);
        warn!(%channel, position = %entries[index].position, "an entry is too large: subscribers are told of a gap");
        self.hub.metrics.gaps.inc(gap.reason);
        gap
    }
}
