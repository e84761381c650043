//! What the follower does with answers: attach, append, judge.

use super::{Arrival, Done, Follower};
use crate::backplane::continuity::{Resume, Verdict, judge, rank_before};
use crate::backplane::{BackplaneError, Entry, Examined, StreamState};
use crate::channel::Channel;
use crate::event::Event;
use crate::frame::{Frame, Gap, GapReason};
use crate::hub::feed::{Feed, Life};
use crate::hub::found::has;
use crate::hub::frames::too_large;
use crate::hub::log::Mark;
use crate::position::Position;
use std::num::NonZeroU64;
use std::sync::Arc;
use tracing::{debug, info, warn};

/// A feed that slept through more than this is begun anew: reading on would cost more than its tail is worth.
const WORTH_READING: u64 = 1_000;

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
            Done::Read(turns, count, Ok(answers)) => {
                for (turn, answer) in turns.into_iter().zip(answers) {
                    match answer {
                        _ if self.current(&turn).is_none() => {}
                        Ok(entries) => {
                            let grown = self.read(turn.0.clone(), count, entries);
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
                        Ok(examined) => self.examined(turn.0, count, examined),
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
            Done::Read(turns, _, Err(_)) | Done::Examined(turns, _, Err(_)) => {
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

    /// Entries from the known one on; how many were behind it.
    pub(super) fn read(&mut self, channel: Channel, count: usize, mut entries: Vec<Entry>) -> usize {
        let Some(followed) = self.followed.get_mut(&channel) else { return 0 };
        let position = followed.feed.lock().log.position();
        if std::mem::take(&mut followed.swept) && entries.is_empty() {
            self.settled(&channel, false);
            return 0;
        }
        if entries.first().is_none_or(|entry| entry.position != position) {
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
        self.append(&channel, entries);
        self.settled(&channel, more);
        grown
    }

    fn examined(&mut self, channel: Channel, count: usize, examined: Examined) {
        let Some(followed) = self.followed.get_mut(&channel) else { return };
        let Examined { state, mut entries } = examined;
        let (position, rank, slept) = {
            let feed = followed.feed.lock();
            (feed.log.position(), feed.log.rank(), feed.life == Life::Dormant)
        };
        let retraced = followed.retrace.take().map(|after| *after);
        let present = position != Position::ZERO && has(&entries, position);
        let more = entries.len() == count;
        if slept && more && missed(rank, state.as_ref()).is_none_or(|missed| missed > WORTH_READING) {
            let before = followed.feed.lock().log.bytes();
            begin(&followed.feed, state.as_ref());
            self.hub.account(-(before as isize));
            followed.absent = false;
            return self.settled(&channel, false);
        }
        followed.absent = false;
        if present {
            entries.retain(|entry| entry.position > position);
        } else {
            let verdict = judge(Resume { at: position, rank, entry: true, present }, state.as_ref());
            let after = match verdict {
                // Nothing is left before its last id.
                Verdict::Continuous if state.as_ref().is_some_and(|state| state.length == 0) => {
                    state.as_ref().map_or(position, |state| state.last)
                }
                Verdict::Continuous => position,
                Verdict::Broken { reason: GapReason::Reset, after, .. } => {
                    match common(&followed.feed, (after, state.as_ref()), retraced, &entries, more) {
                        Ok(common) => common,
                        Err(after) => {
                            (followed.retrace, followed.absent, followed.busy) = (Some(Box::new(after)), true, false);
                            return self.mark(&channel);
                        }
                    }
                }
                Verdict::Broken { after, .. } => after,
            };
            entries.retain(|entry| entry.position > after);
            let rank = rank_before(entries.first().map(|entry| entry.position), state.as_ref());
            if let Verdict::Broken { reason, lost, .. } = verdict {
                let continues_at = entries.first().map_or(after, |entry| entry.position);
                let gap = Gap {
                    channel: channel.to_string(),
                    reason,
                    resume_from: Some(position),
                    continues_at: Some(continues_at),
                    lost,
                };
                info!(channel = %channel, ?reason, from = %position, at = %continues_at, lost, "gap: history was lost");
                self.hub.metrics.gaps.inc(reason);
                // Behind the event before it, or where ids went back, before those that follow.
                let frame = Arc::new(Frame::control(position.min(after), gap.block().as_bytes()));
                let grown = followed.feed.announce((after, rank), frame, self.hub.share(), &self.hub.posts);
                self.hub.account(grown);
            } else {
                followed.feed.lock().log.continue_after(after, rank, None);
            }
            followed.absent = entries.is_empty();
        }
        self.append(&channel, entries);
        self.correct_rank(&channel, state.as_ref());
        self.settled(&channel, more);
    }

    /// At the stream's newest entry its count is the rank, whatever was deleted on the way.
    fn correct_rank(&mut self, channel: &Channel, state: Option<&StreamState>) {
        let (Some(followed), Some(state)) = (self.followed.get(channel), state) else { return };
        let mut feed = followed.feed.lock();
        if feed.log.position() == state.last {
            feed.log.set_rank(state.added);
        }
    }

    /// Encodes entries and appends them to the feed.
    fn append(&mut self, channel: &Channel, entries: Vec<Entry>) {
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
        followed.feed.lock().mean_bytes = mean as u32;
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
    fn settled(&mut self, channel: &Channel, more: bool) {
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

/// After a reset: the last position that the log and the stream have in common, so that what is new comes, smaller ids
/// included, and nothing that came already. `after`: where to go on if that cannot be known; `retraced`: after what
/// position the entries are. `Err`: after what position they must be.
fn common(
    feed: &Feed,
    (after, state): (Position, Option<&StreamState>),
    retraced: Option<Position>,
    entries: &[Entry],
    more: bool,
) -> Result<Position, Position> {
    let base = feed.lock().log.base();
    // What the log never covered is not known to be new; and there may be nothing up to there.
    if base > after || state.and_then(|state| state.first).is_none_or(|first| first > after) {
        return Ok(after);
    }
    // Entries were lost at the end, as in a failover, and nothing has come since.
    if state.is_some_and(|state| state.last == after) && feed.locate(after).is_ok() {
        return Ok(after);
    }
    let Some(begin) = retraced.filter(|begin| *begin >= base) else { return Err(base) };
    let is_known = |entry: &&Entry| feed.locate(entry.position).is_ok();
    match entries.iter().rfind(is_known).map(|entry| entry.position) {
        // There may be others behind them.
        Some(known) if more && entries.last().is_some_and(|last| last.position == known) => Err(known),
        Some(known) => Ok(known),
        None => Ok(begin),
    }
}

/// Begins a feed at the newest entry of its stream.
fn begin(feed: &Arc<Feed>, state: Option<&StreamState>) {
    let mut feed = feed.lock();
    match state {
        Some(state) => feed.log.begin_at(state.last, state.added, state.finished),
        None => feed.log.begin_at(Position::ZERO, Some(0), false),
    }
}

/// How many entries came since, where counts are known.
fn missed(rank: Option<u64>, state: Option<&StreamState>) -> Option<u64> {
    state?.added?.checked_sub(rank?)
}
