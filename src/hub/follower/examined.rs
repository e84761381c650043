//! What the follower makes of a stream's state and entries of one instant: whether anything was lost, and where it goes on.

use super::Follower;
use super::absorb::begin;
use super::followed::{Followed, Retrace};
use super::retrace::{Back, back};
use crate::backplane::continuity::{Resume, Verdict, Witness, all_behind, judge, rank_before};
use crate::backplane::{Entry, Examined, StreamState};
use crate::channel::Channel;
use crate::control_event::{Gap, GapReason};
use crate::frame::Frame;
use crate::hub::feed::Life;
use crate::position::Position;
use std::sync::Arc;
use tracing::info;

/// A feed that slept through more than this is begun anew: reading on would cost more than its tail is worth.
const WORTH_READING: u64 = 1_000;

impl Follower {
    /// Takes an examination; how many entries were behind the known one.
    pub(super) fn examined(&mut self, channel: Channel, count: usize, examined: Examined) -> usize {
        let Some(followed) = self.followed.get_mut(&channel) else { return 0 };
        let Examined { state, mut entries } = examined;
        let state = state.as_ref();
        let more = entries.len() == count;
        followed.swept = false;
        if !followed.found_again(state, &entries) {
            return self.look_again(&channel, None);
        }
        let (position, rank, slept) = {
            let feed = followed.feed.lock();
            (feed.log.position(), feed.log.rank(), feed.life == Life::Dormant)
        };
        if slept && more && missed(rank, state).is_none_or(|missed| missed > WORTH_READING) {
            let before = followed.feed.lock().log.bytes();
            begin(&followed.feed, state);
            self.hub.account(-(before as isize));
            followed.absent = false;
            self.settled(&channel, false);
            return 0;
        }
        let witness = followed.witness(position, &entries);
        let behind = all_behind(position, &entries, state, count);
        let verdict = match followed.is_retracing() && state.is_some() {
            true => Verdict::Broken { reason: GapReason::Reset, after: position, lost: None },
            false => judge(Resume { at: position, rank, entry: true, witness, behind }, state),
        };
        let all = |after: Position| all_behind(after, &entries, state, count);
        let counted = |after: Position, first: Option<Position>| {
            let exact =
                state.and_then(|state| state.added).zip(all(after)).and_then(|(added, all)| added.checked_sub(all));
            exact.or_else(|| rank_before(first, state))
        };
        let after = match (verdict, state) {
            (Verdict::Continuous, _) if witness == Witness::Present => position,
            // Nothing is left before its last id.
            (Verdict::Continuous, Some(state)) if state.length == 0 => state.last,
            (Verdict::Continuous, _) => position,
            (Verdict::Broken { reason: GapReason::Reset, .. }, Some(state)) => {
                let retrace = followed.retrace.take();
                match back(&followed.feed, state, witness, retrace.as_deref(), &entries, more) {
                    Back::Ask(retrace) => return self.look_again(&channel, Some(retrace)),
                    Back::On(after) => after,
                }
            }
            (Verdict::Broken { after, .. }, _) => after,
        };
        let all_after = entries.iter().filter(|entry| entry.position > after).count();
        let first = entries.iter().map(|entry| entry.position).find(|p| *p > after);
        let mut rank = counted(after, first);
        let is_reset = matches!(verdict, Verdict::Broken { reason: GapReason::Reset, .. });
        entries.retain(|entry| entry.position > after && !(is_reset && super::retrace::had(&followed.feed, entry)));
        if entries.len() < all_after {
            rank = None;
        }
        match verdict {
            Verdict::Broken { reason, lost, .. } => {
                if reason == GapReason::Missing {
                    followed.remember(position);
                }
                let mut feed = followed.feed.lock();
                if after != position {
                    feed.digest = 0;
                }
                if let (GapReason::Reset, Some(state)) = (reason, state) {
                    (feed.first, feed.digest) = (state.first.unwrap_or(state.last.after()), 0);
                }
                drop(feed);
                let at = entries.first().map_or(after, |entry| entry.position);
                self.announce(&channel, (position, after, rank), (reason, at, lost));
            }
            Verdict::Continuous if witness != Witness::Present => {
                let mut feed = followed.feed.lock();
                if after != position {
                    feed.digest = 0;
                }
                feed.log.continue_after(after, rank, None);
            }
            Verdict::Continuous => {}
        }
        if let Some(followed) = self.followed.get_mut(&channel) {
            followed.absent = entries.is_empty() && witness != Witness::Present;
        }
        let grown = entries.len();
        self.append(&channel, entries);
        if !more
            && self.recount(&channel, state)
            && let Some(followed) = self.followed.get_mut(&channel)
            && followed.feed.lock().log.position() == state.map_or(Position::ZERO, |state| state.last)
        {
            (followed.absent, followed.dirty) = (true, true);
        }
        self.settled(&channel, more);
        if verdict == Verdict::Continuous { grown } else { 0 }
    }

    /// Asks for a stream's state and entries once more, from elsewhere.
    fn look_again(&mut self, channel: &Channel, retrace: Option<Retrace>) -> usize {
        if let Some(followed) = self.followed.get_mut(channel) {
            (followed.retrace, followed.absent, followed.busy) = (retrace.map(Box::new), true, false);
            self.mark(channel);
        }
        0
    }

    /// Tells who is here that something was lost.
    fn announce(
        &self,
        channel: &Channel,
        (from, after, rank): (Position, Position, Option<u64>),
        (reason, continues_at, lost): (GapReason, Position, Option<u64>),
    ) {
        let Some(followed) = self.followed.get(channel) else { return };
        let (resume_from, continues) = (Some(from), Some(continues_at));
        let gap = Gap { channel: channel.to_string(), reason, resume_from, continues_at: continues, lost };
        info!(%channel, ?reason, %from, at = %continues_at, lost, "gap: history was lost");
        self.hub.metrics.gaps.inc(reason);
        // Behind the event before it, or where ids went back, before those that follow.
        let frame = Arc::new(Frame::control(from.min(after), gap.block().as_bytes()));
        let grown = followed.feed.announce((after, rank), frame, self.hub.share(), &self.hub.posts);
        self.hub.account(grown);
    }

    /// At the stream's newest entry its count says whether all have come: what was added and removed between two reads has
    /// left no other trace. Whether another examination must tell.
    fn recount(&mut self, channel: &Channel, state: Option<&StreamState>) -> bool {
        let (Some(followed), Some(state)) = (self.followed.get(channel), state) else { return false };
        let (at, rank) = {
            let feed = followed.feed.lock();
            (feed.log.position(), feed.log.rank())
        };
        if followed.retrace.is_some() || at != state.last {
            return false;
        }
        self.uncounted.remove(channel);
        if rank.is_some() && rank != state.added {
            match judge(Resume { at, rank, entry: true, witness: Witness::Absent, behind: Some(0) }, Some(state)) {
                Verdict::Broken { reason, lost: Some(lost), .. } => {
                    self.announce(channel, (at, at, state.added), (reason, at, Some(lost)));
                    return false;
                }
                Verdict::Broken { .. } => return true,
                Verdict::Continuous => {}
            }
        }
        followed.feed.lock().log.set_rank(state.added);
        false
    }

    /// What was read behind the known entry, all of it, and the state of a moment later: tells what is missing in its place.
    /// Whether that could be said.
    pub(super) fn count_read(&mut self, channel: &Channel, entries: &[Entry], state: Option<&StreamState>) -> bool {
        let (Some(followed), Some(state)) = (self.followed.get_mut(channel), state) else { return false };
        let (at, rank) = {
            let feed = followed.feed.lock();
            (feed.log.position(), feed.log.rank())
        };
        let newest = entries.last().map_or(at, |entry| entry.position);
        if state.last != newest {
            // What was added last is deleted already, or more was added since.
            followed.absent |= entries.is_empty() && rank.is_some() && rank != state.added;
            followed.dirty |= followed.absent;
            return false;
        }
        let behind = Some(entries.len() as u64);
        match judge(Resume { at, rank, entry: true, witness: Witness::Present, behind }, Some(state)) {
            Verdict::Broken { reason, after, lost: Some(lost) } if after == at => {
                let next = entries.first().map_or(at, |entry| entry.position);
                let rank = state.added.and_then(|added| added.checked_sub(entries.len() as u64));
                self.announce(channel, (at, at, rank), (reason, next, Some(lost)));
                true
            }
            Verdict::Broken { .. } if rank.is_some() => {
                (followed.absent, followed.dirty) = (true, true);
                false
            }
            _ => rank.is_some(),
        }
    }

    /// A mere state shows that something is to be found out, but not what.
    pub(super) fn counted(&mut self, channel: &Channel, state: Option<&StreamState>) {
        let (Some(followed), Some(state)) = (self.followed.get_mut(channel), state) else { return };
        let (at, rank) = {
            let feed = followed.feed.lock();
            if feed.life != Life::Live {
                return;
            }
            (feed.log.position(), feed.log.rank())
        };
        if followed.retrace.is_some() || rank.is_none() || rank == state.added {
            return;
        }
        if at != state.last && followed.busy {
            // It has gone on, or will have.
            self.uncounted.insert(channel.clone());
            return;
        }
        followed.absent = true;
        self.mark(channel);
    }
}

impl Followed {
    fn witness(&self, position: Position, entries: &[Entry]) -> Witness {
        match entries.iter().find(|entry| entry.position == position) {
            Some(entry) if position != Position::ZERO => match self.feed.lock().recognizes(entry) {
                true => Witness::Present,
                false => Witness::Replaced,
            },
            _ => Witness::Absent,
        }
    }
}

/// How many entries came since, where counts are known.
fn missed(rank: Option<u64>, state: Option<&StreamState>) -> Option<u64> {
    state?.added?.checked_sub(rank?)
}
