//! What the follower does with answers: which feeds are live, which are read again, who is told.

use super::Follower;
use super::batch_result::BatchResult;
use super::followed::{Followed, Turn};
use crate::backplane::{BackplaneError, Entry, StreamState};
use crate::channel::Channel;
use crate::hub::feed::{Feed, Life};
use crate::hub::follow_request::Arrival;
use crate::hub::log::Mark;
use crate::planted::{self, Fault};
use crate::position::Position;
use crate::probe::{self, Probe};
use std::sync::Arc;
use tracing::{debug, warn};

impl Follower {
    /// Takes a batch's answer; whether the backplane gave one.
    pub(super) fn finish(&mut self, result: BatchResult) -> bool {
        match result {
            BatchResult::Attached(turns, Ok(states)) => {
                for (turn, state) in turns.into_iter().zip(states) {
                    if self.current(&turn).is_some() {
                        self.attached(turn.channel, state);
                    }
                }
                true
            }
            BatchResult::Read(turns, count, Ok(answers), states) => {
                let states = states.into_iter().chain(std::iter::repeat(None));
                for ((turn, answer), state) in turns.into_iter().zip(answers).zip(states) {
                    self.take(turn, answer, |all, channel, entries| all.read(channel, count, entries, state.as_ref()));
                }
                true
            }
            BatchResult::Examined(turns, count, Ok(answers)) => {
                for (turn, answer) in turns.into_iter().zip(answers) {
                    self.take(turn, answer, |all, channel, examined| all.examined(channel, count, examined));
                }
                true
            }
            BatchResult::Sampled(channels, answers) => {
                // After a failure the next sample comes by itself.
                for (channel, state) in channels.into_iter().zip(answers.into_iter().flatten()) {
                    self.sampled(channel, state.ok().flatten());
                }
                true
            }
            BatchResult::Attached(turns, Err(_)) => {
                self.fresh.extend(turns);
                false
            }
            BatchResult::Read(turns, _, Err(_), _) | BatchResult::Examined(turns, _, Err(_)) => {
                turns.iter().for_each(|turn| self.failed(turn));
                false
            }
        }
    }
    /// Takes one stream's answer, unless it is nobody's any more. `absorb` returns how many entries were new.
    fn take<T>(
        &mut self,
        turn: Turn,
        answer: Result<T, BackplaneError>,
        absorb: impl FnOnce(&mut Follower, Channel, T) -> usize,
    ) {
        match answer {
            _ if self.current(&turn).is_none() => {}
            Ok(found) => {
                let grown = absorb(self, turn.channel.clone(), found);
                self.heat(turn, grown);
            }
            Err(error) => self.refused(turn.channel, error),
        }
    }

    /// A stream's batch failed as a whole: it is asked for again, for less at once.
    fn failed(&mut self, turn: &Turn) {
        if let Some(followed) = self.current(turn) {
            probe::reached(Probe::FollowFailed);
            followed.feed.lock().ask_for_less();
            followed.answered();
            self.mark(&turn.channel);
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
        } else {
            // Of what is known already, that says nothing.
            let verified = followed.feed.lock().verified;
            followed.asked_behind(verified);
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
        if followed.is_glanced_at() && entries.is_empty() {
            self.settled(&channel, false);
            return 0;
        }
        let known = |entry: &Entry| entry.position == position && followed.feed.lock().recognizes(entry);
        if !entries.first().is_some_and(known) {
            probe::reached(Probe::FollowAbsent);
            followed.absent = true;
            followed.answered();
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
        let miscounted = self.is_miscounted(&channel, &entries, state.filter(|_| !more));
        if miscounted && !planted::is(Fault::LossNotCounted) && !planted::is(Fault::CountBelieved) {
            probe::reached(Probe::FollowCountedLoss);
            return self.look_again(&channel, None);
        }
        if let Some(followed) = self.followed.get(&channel) {
            self.pass_on(followed, &known, &entries);
        }
        self.append(&channel, entries);
        self.settled(&channel, more);
        grown
    }

    /// A read of the stream is over.
    pub(super) fn settled(&mut self, channel: &Channel, more: bool) {
        let Some(followed) = self.followed.get_mut(channel) else { return };
        let verified = followed.verifies().filter(|_| !more);
        followed.answered();
        let (position, mark, verified) = {
            let mut state = followed.feed.lock();
            if !more {
                state.life = Life::Live;
            }
            state.verified = verified.unwrap_or(state.verified);
            if state.legs == 0 {
                // Everybody left while it was read: the hub puts it to sleep.
                self.hub.idle.push(followed.feed.clone());
            }
            (state.log.position(), state.log.mark(), state.verified)
        };
        let awaited = !more && self.answer(channel, verified, &Ok(mark));
        self.hub.backplane.followed(channel, position);
        if more || awaited || self.followed.get(channel).is_some_and(Followed::is_owed) {
            self.mark(channel);
        }
    }

    /// This stream cannot be read: who waits is told, who is there keeps waiting for the sweep. Where its part of the
    /// backplane is down all keep waiting.
    fn refused(&mut self, channel: Channel, error: BackplaneError) {
        if let BackplaneError::Down { text: why, .. } = &error {
            debug!(channel = %channel, %why, "a stream waits for its part of the backplane");
            if let Some(followed) = self.followed.get_mut(&channel) {
                probe::reached(Probe::FollowParked);
                followed.park();
                self.parked.insert(channel);
            }
            return;
        }
        if self.hub.unreadable.refused(&channel, &error) {
            warn!(channel = %channel, %error, "a stream cannot be read");
        }
        let Some(followed) = self.followed.get_mut(&channel) else { return };
        followed.answered();
        let unattached = followed.feed.lock().life == Life::Unattached;
        if unattached {
            self.followed.remove(&channel);
        }
        self.answer(&channel, u32::MAX, &Err(error));
    }

    /// Tells those who wait for a feed, but whom more doubts were stated before than it is verified behind; whether there are such.
    fn answer(&mut self, channel: &Channel, verified: u32, answer: &Result<Mark, BackplaneError>) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let Some(mut waiting) = self.waiting.remove(channel) else { return false };
        for waiter in waiting.extract_if(.., |waiter| waiter.doubts <= verified) {
            let _ = waiter.told.send(answer.clone().map(|mark| Arrival { anew: waiter.anew, mark }));
        }
        let awaited = !waiting.is_empty();
        if awaited {
            self.waiting.insert(channel.clone(), waiting);
        }
        awaited
    }
}

/// Begins a feed at the newest entry of its stream.
pub(super) fn begin(feed: &Arc<Feed>, state: Option<&StreamState>) {
    let mut feed = feed.lock();
    (feed.digest, feed.first) = (0, state.map_or(Position::ZERO, StreamState::begins));
    match state {
        Some(state) => feed.log.begin_at(state.last, state.added, state.finished),
        None => feed.log.begin_at(Position::ZERO, Some(0), false),
    }
}
