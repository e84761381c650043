//! What the follower does with answers: attach, append, judge.

use super::{Arrival, Done, Follower};
use crate::backplane::{BackplaneError, Entry, StreamState};
use crate::channel::Channel;
use crate::event::Event;
use crate::frame::{Frame, Gap};
use crate::hub::feed::{Feed, Life};
use crate::hub::frames::too_large;
use crate::hub::log::Mark;
use crate::position::Position;
use std::num::NonZeroU64;
use std::sync::Arc;
use tracing::{debug, warn};

impl Follower {
    /// Takes a batch's answer; whether the backplane gave one.
    pub(super) fn finish(&mut self, done: Done) -> bool {
        match done {
            Done::Attached(turns, Ok(states)) => {
                for (turn, state) in turns.into_iter().zip(states) {
                    self.current(&turn).is_some().then(|| self.attached(turn.0, state));
                }
                true
            }
            Done::Read(turns, count, Ok(answers), states) => {
                let states = states.into_iter().chain(std::iter::repeat(None));
                for ((turn, answer), state) in turns.into_iter().zip(answers).zip(states) {
                    match answer {
                        _ if self.current(&turn).is_none() => {}
                        Ok(entries) => {
                            let grown = self.read(turn.0.clone(), count, entries, state.as_ref());
                            self.heat(turn, grown);
                        }
                        Err(error) => self.refused(turn.0, error),
                    }
                }
                true
            }
            Done::Examined(turns, count, Ok(answers)) => {
                for (turn, answer) in turns.into_iter().zip(answers) {
                    match answer {
                        _ if self.current(&turn).is_none() => {}
                        Ok(examined) => {
                            let grown = self.examined(turn.0.clone(), count, examined);
                            self.heat(turn, grown);
                        }
                        Err(error) => self.refused(turn.0, error),
                    }
                }
                true
            }
            Done::Sampled(channels, Ok(states)) => {
                channels
                    .into_iter()
                    .zip(states)
                    .for_each(|(channel, state)| self.sampled(channel, state.ok().flatten()));
                true
            }
            // The next sample comes by itself.
            Done::Sampled(_, Err(_)) => true,
            Done::Attached(turns, Err(_)) => {
                self.fresh.extend(turns);
                false
            }
            Done::Read(turns, _, Err(_), _) | Done::Examined(turns, _, Err(_)) => {
                for turn in turns {
                    if let Some(followed) = self.current(&turn) {
                        followed.feed.lock().ask_for_less();
                        followed.busy = false;
                        self.mark(&turn.0);
                    }
                }
                false
            }
        }
    }

    fn attached(&mut self, channel: Channel, state: Result<Option<StreamState>, BackplaneError>) {
        let state = match state {
            Ok(state) => state,
            Err(error) => return self.refused(channel, error),
        };
        self.hub.unreadable.read(&channel);
        let Some(followed) = self.followed.get_mut(&channel) else { return };
        // Asked twice where a feed was forgotten and made anew meanwhile; who is there already must not be moved.
        if followed.feed.lock().life == Life::Unattached {
            begin(&followed.feed, state.as_ref());
            followed.absent = state.is_none_or(|s| s.length == 0);
        }
        self.settled(&channel, false);
    }

    /// Entries from the known one on, and the stream's state of a moment later; how many were behind it.
    pub(super) fn read(
        &mut self,
        channel: Channel,
        count: usize,
        mut entries: Vec<Entry>,
        state: Option<&StreamState>,
    ) -> usize {
        let Some(followed) = self.followed.get_mut(&channel) else { return 0 };
        let position = followed.feed.lock().log.position();
        if std::mem::take(&mut followed.swept) && entries.is_empty() {
            self.settled(&channel, false);
            return 0;
        }
        let known = |entry: &Entry| entry.position == position && followed.feed.lock().recognizes(entry);
        if !entries.first().is_some_and(known) {
            followed.absent = true;
            followed.busy = false;
            self.mark(&channel);
            return 0;
        }
        self.hub.unreadable.read(&channel);
        let more = entries.len() == count;
        let known = entries.remove(0);
        let grown = entries.len();
        if grown == 0 {
            followed.feed.lock().learn(known.size());
        }
        // What came and went between two reads shows in the counts alone.
        let is_counted = !more && self.count_read(&channel, &entries, state);
        if !is_counted && !self.uncounted.contains(&channel) {
            self.uncounted.insert(channel.clone());
        }
        self.append(&channel, entries);
        self.settled(&channel, more);
        grown
    }

    /// Encodes entries and appends them to the feed.
    pub(super) fn append(&mut self, channel: &Channel, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let Some(followed) = self.followed.get(channel) else { return };
        let (offset, now) = (self.clock.ahead_ms(), self.clock.backplane_ms() as i64);
        let mut mean = followed.feed.lock().mean_bytes as usize;
        self.hub.metrics.events_received.inc_by(entries.len() as u64);
        self.hub.distinct.add(channel, entries.iter().map(|entry| entry.position), now.max(0) as u64);
        let (rank, before) = {
            let state = followed.feed.lock();
            (state.log.rank(), Some(state.log.position()).filter(|position| *position != Position::ZERO))
        };
        let events: Vec<Arc<Frame>> = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                match entry.position.is_time() {
                    true => {
                        let lag = (now - entry.position.ms as i64).max(0) as f64 / 1000.0;
                        self.hub.metrics.follower_lag.observe(lag);
                    }
                    false => self.hub.metrics.untimed_events.inc(),
                }
                let rank = rank.and_then(|rank| NonZeroU64::new(rank + 1 + index as u64));
                if entry.is_too_large() {
                    let gap = self.too_large(channel, &entries, index, before);
                    return Arc::new(Frame::too_large(entry.position, &gap).ranked(rank));
                }
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
                let frame = Frame::new(entry.position, event).ranked(rank).traced(delivery);
                mean = (mean * 7 + frame.chunk().len()) / 8;
                Arc::new(frame)
            })
            .collect();
        {
            let mut state = followed.feed.lock();
            (state.mean_bytes, state.digest) = (mean as u32, entries.last().map_or(0, Entry::digest));
        }
        let grown = followed.feed.append(events, self.hub.share(), &self.hub.posts);
        self.hub.account(grown);
    }

    /// An entry that is announced instead of delivered.
    fn too_large(&self, channel: &Channel, entries: &[Entry], index: usize, before: Option<Position>) -> Gap {
        let gap = too_large(channel, entries, index, before);
        warn!(%channel, position = %entries[index].position, "an entry is too large: subscribers are told of a gap");
        self.hub.metrics.gaps.inc(gap.reason);
        gap
    }

    /// A read of the stream is over.
    pub(super) fn settled(&mut self, channel: &Channel, more: bool) {
        let Some(followed) = self.followed.get_mut(channel) else { return };
        followed.busy = false;
        let (position, mark) = {
            let mut state = followed.feed.lock();
            if !more {
                state.life = Life::Live;
            }
            if state.legs == 0 {
                // Everybody left while it was read: the hub puts it to sleep.
                self.hub.idle.push(followed.feed.clone());
            }
            (state.log.position(), state.log.mark())
        };
        if !more {
            self.answer(channel, &Ok(mark));
        }
        self.hub.backplane.followed(channel, position);
        if more || self.followed.get(channel).is_some_and(|f| f.dirty) {
            self.mark(channel);
        }
    }

    /// This stream cannot be read: who waits is told, who is there keeps waiting for the sweep. Where its part of the
    /// backplane is down all keep waiting.
    fn refused(&mut self, channel: Channel, error: BackplaneError) {
        if let BackplaneError::Down { text: why, .. } = &error {
            debug!(channel = %channel, %why, "a stream waits for its part of the backplane");
            if let Some(followed) = self.followed.get_mut(&channel) {
                // What has no position yet must not be read: only `unpark` brings it back.
                followed.busy = followed.feed.lock().life == Life::Unattached;
                followed.dirty = true;
                self.parked.insert(channel);
            }
            return;
        }
        if self.hub.unreadable.refused(&channel, &error) {
            warn!(channel = %channel, %error, "a stream cannot be read");
        }
        let Some(followed) = self.followed.get_mut(&channel) else { return };
        followed.busy = false;
        let unattached = followed.feed.lock().life == Life::Unattached;
        if unattached {
            self.followed.remove(&channel);
        }
        self.answer(&channel, &Err(error));
    }

    /// Tells all who wait for a feed.
    fn answer(&mut self, channel: &Channel, answer: &Result<Mark, BackplaneError>) {
        for (waiting, anew) in self.waiting.remove(channel).into_iter().flatten() {
            let _ = waiting.send(answer.clone().map(|mark| Arrival { anew, mark }));
        }
    }
}

/// Begins a feed at the newest entry of its stream.
pub(super) fn begin(feed: &Arc<Feed>, state: Option<&StreamState>) {
    let mut feed = feed.lock();
    (feed.digest, feed.first) = (0, state.map_or(Position::ZERO, |state| state.first.unwrap_or(state.last.after())));
    match state {
        Some(state) => feed.log.begin_at(state.last, state.added, state.finished),
        None => feed.log.begin_at(Position::ZERO, Some(0), false),
    }
}
