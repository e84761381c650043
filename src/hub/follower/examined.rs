//! What the follower makes of a stream's state and entries of one instant: whether anything was lost, and where it goes on.

use super::Follower;
use super::absorb::begin;
use super::followed::{Followed, Retrace};
use super::retrace::{Again, Back, back, had};
use super::seen::Seen;
use crate::backplane::continuity::{Resume, Verdict, Witness, judge, reaches_back};
use crate::backplane::{Entry, Examined, StreamState};
use crate::channel::Channel;
use crate::control_event::{Gap, GapReason};
use crate::frame::Frame;
use crate::hub::feed::{Feed, Life};
use crate::planted::{self, Fault};
use crate::position::Position;
use crate::probe::{self, Probe};
use std::sync::Arc;
use tracing::{debug, info};

/// A feed that slept through more than this is begun anew: reading on would cost more than its tail is worth.
const WORTH_READING: u64 = 1_000;

/// What an examination says of a feed.
#[derive(Clone, Copy, Debug)]
struct Finding {
    /// Where the feed stood.
    position: Position,
    /// What has become of the entry there.
    witness: Witness,
    verdict: Verdict,
}

/// Where a feed goes on.
struct Place {
    after: Position,
    /// How many entries the stream ever had up to there, where that is known.
    rank: Option<u64>,
    /// The first entry behind it.
    first: Option<Position>,
}

/// What was lost of a stream, as those who are here are told.
pub(super) struct Loss {
    pub reason: GapReason,
    /// How many entries, where that is known.
    pub lost: Option<u64>,
    /// The last position before it.
    pub from: Position,
    /// Where the log goes on, and how many entries the stream ever had up to there.
    pub after: Position,
    pub rank: Option<u64>,
    /// The first entry behind it.
    pub continues_at: Position,
}

impl Follower {
    /// Takes an examination; how many entries were behind the known one.
    pub(super) fn examined(&mut self, channel: Channel, count: usize, examined: Examined) -> usize {
        let Some(followed) = self.followed.get_mut(&channel) else { return 0 };
        let Examined { state, mut entries } = examined;
        let seen = Seen { state: state.as_ref(), entries: &entries, count };
        match followed.found_again(&seen) {
            Again::Same { position, rank, begun } => {
                self.hub.change(&followed.feed, |log| log.return_to(position, rank, begun));
            }
            Again::Another if !planted::is(Fault::ReturnBelieved) => return self.look_again(&channel, None),
            Again::Another | Again::No => {}
        }
        if followed.slept_through_much(&seen) {
            probe::reached(Probe::FollowSleptThrough);
            return self.begin_anew(&channel, state.as_ref());
        }
        let finding = followed.judge(&seen);
        debug!(%channel, ?finding, state = ?seen.state, "a stream was examined");
        let after = match followed.goes_on(&finding, &seen) {
            Back::Ask(retrace) => {
                probe::reached(Probe::FollowRetraced);
                return self.look_again(&channel, Some(retrace));
            }
            Back::On(after) => after,
        };
        let (more, rank) = (seen.more(), seen.counted(after));
        let left_out = finding.leave_out(&followed.feed, after, &mut entries);
        let first = entries.first().map(|entry| entry.position);
        followed.absent = first.is_none() && finding.witness != Witness::Present;
        self.move_on(
            &channel,
            finding,
            state.as_ref(),
            Place { after, rank: rank.filter(|_| left_out.is_none()), first },
        );
        let grown = entries.len();
        self.append_without(&channel, entries, left_out);
        if !more {
            self.recount(&channel, state.as_ref());
        }
        self.settled(&channel, more);
        if finding.verdict == Verdict::Continuous { grown } else { 0 }
    }

    /// Asks for a stream's state and entries once more, from elsewhere.
    pub(super) fn look_again(&mut self, channel: &Channel, retrace: Option<Retrace>) -> usize {
        if let Some(followed) = self.followed.get_mut(channel) {
            (followed.retrace, followed.absent) = (retrace.map(Box::new), true);
            followed.answered();
            self.mark(channel);
        }
        0
    }

    /// Begins a feed where its stream is now, without what came meanwhile.
    fn begin_anew(&mut self, channel: &Channel, state: Option<&StreamState>) -> usize {
        if let Some(followed) = self.followed.get_mut(channel) {
            let before = followed.feed.lock().log.bytes();
            begin(&followed.feed, state);
            followed.absent = false;
            if !planted::is(Fault::RetraceKept) {
                followed.retrace = None;
            }
            self.hub.account(-(before as isize));
            self.settled(channel, false);
        }
        0
    }

    /// Moves a feed's log to where its stream goes on, and tells who is here if that is behind a loss.
    fn move_on(&mut self, channel: &Channel, finding: Finding, state: Option<&StreamState>, to: Place) {
        let Some(followed) = self.followed.get_mut(channel) else { return };
        let Place { after, rank, first } = to;
        if let Some(state) = state {
            let mut feed = followed.feed.lock();
            if feed.first == Position::MAX {
                feed.first = state.begins();
            }
        }
        match finding.verdict {
            Verdict::Continuous if finding.witness == Witness::Present => {}
            Verdict::Continuous => {
                let mut feed = followed.feed.lock();
                if after != finding.position {
                    feed.digest = 0;
                }
                // What is not counted here is as it was, where nothing was lost.
                let known =
                    feed.log.rank().filter(|_| after == finding.position && !planted::is(Fault::CountForgotten));
                let rank = rank.or(known);
                match state.is_some_and(|state| state.last == finding.position) && after == finding.position {
                    // The stream stands where it stood: what was read beside this log is of the same one.
                    true => feed.log.set_rank(rank),
                    false => feed.log.continue_after(after, rank, None),
                }
            }
            Verdict::Broken { reason, lost, .. } => {
                if reason == GapReason::Missing {
                    followed.remember(finding.position);
                }
                let mut feed = followed.feed.lock();
                if reason == GapReason::Missing && !planted::is(Fault::FirstRemembered) {
                    // What comes next is another stream, and its first entry is known when it is there.
                    feed.first = Position::MAX;
                }
                if let (GapReason::Reset, Some(state)) = (reason, state) {
                    feed.first = state.begins();
                    feed.digest = 0;
                } else if after != finding.position {
                    feed.digest = 0;
                }
                drop(feed);
                let continues_at = first.unwrap_or(after);
                self.announce(channel, Loss { reason, lost, from: finding.position, after, rank, continues_at });
            }
        }
        if state.is_some_and(|state| !reaches_back(state, finding.position))
            && let Some(followed) = self.followed.get(channel)
        {
            followed.feed.lock().log.count_anew();
        }
    }

    /// Tells who is here that something was lost.
    pub(super) fn announce(&self, channel: &Channel, loss: Loss) {
        let Some(followed) = self.followed.get(channel) else { return };
        let Loss { reason, lost, from, after, rank, continues_at } = loss;
        let (branch, silent) = match reason {
            GapReason::Reset => (Probe::FollowReset, planted::is(Fault::ResetNotTold)),
            GapReason::Deleted => (Probe::FollowDeleted, planted::is(Fault::DeletedNotTold)),
            GapReason::Missing => (Probe::FollowMissing, false),
            _ => (Probe::FollowTrimmed, planted::is(Fault::TrimmedNotTold)),
        };
        probe::reached(branch);
        if silent {
            return self.hub.change(&followed.feed, |log| log.continue_after(after, rank, None));
        }
        info!(%channel, ?reason, %from, at = %continues_at, lost, "gap: history was lost");
        self.hub.metrics.gaps.inc(reason);
        let (resume_from, continues_at) = (Some(from), Some(continues_at));
        let gap = Gap { channel: channel.to_string(), reason, resume_from, continues_at, lost };
        // Behind the event before it, or where ids went back, before those that follow.
        let frame = Arc::new(Frame::control(from.min(after), gap.block().as_bytes()));
        self.hub.change(&followed.feed, |log| {
            log.continue_after(after, rank, Some(frame));
            if matches!(reason, GapReason::Reset | GapReason::Missing) {
                log.begin_life();
            }
        });
    }
}

impl Followed {
    /// Whether it slept through so much that reading on is not worth it.
    fn slept_through_much(&self, seen: &Seen) -> bool {
        let feed = self.feed.lock();
        let much = || seen.missed(feed.log.rank()).is_none_or(|missed| missed > WORTH_READING);
        feed.life == Life::Dormant && seen.more() && much()
    }

    /// Whether anything was lost behind where the feed stands.
    fn judge(&self, seen: &Seen) -> Finding {
        let (position, rank) = self.newest();
        let witness = self.witness(position, seen.entries);
        let behind = seen.all_behind(position);
        let verdict = match self.is_retracing() && seen.state.is_some() {
            true => Verdict::Broken { reason: GapReason::Reset, after: position, lost: None },
            false => judge(Resume { at: position, rank, entry: true, witness, behind, known: position }, seen.state),
        };
        Finding { position, witness, verdict }
    }

    fn witness(&self, position: Position, entries: &[Entry]) -> Witness {
        match entries.iter().find(|entry| entry.position == position) {
            Some(entry) if position != Position::ZERO => match self.feed.lock().recognizes(entry) {
                true => Witness::Present,
                false => {
                    probe::reached(Probe::FollowReplaced);
                    Witness::Replaced
                }
            },
            _ => Witness::Absent,
        }
    }

    /// After what position the stream goes on, or what must be asked to know that.
    fn goes_on(&mut self, finding: &Finding, seen: &Seen) -> Back {
        match (finding.verdict, seen.state) {
            (Verdict::Continuous, _) if finding.witness == Witness::Present => Back::On(finding.position),
            // Nothing is left before its last id.
            (Verdict::Continuous, Some(state)) if state.length == 0 => Back::On(state.last),
            (Verdict::Continuous, _) => Back::On(finding.position),
            (Verdict::Broken { reason: GapReason::Reset, .. }, Some(state)) if planted::is(Fault::NewLifeAtItsEnd) => {
                Back::On(state.last)
            }
            (Verdict::Broken { reason: GapReason::Reset, .. }, Some(state)) => {
                let retrace = self.retrace.take();
                back(&self.feed, state, finding.witness, retrace.as_deref(), seen)
            }
            (Verdict::Broken { after, .. }, _) => Back::On(after),
        }
    }
}

impl Finding {
    /// Leaves out entries that the log has had; the last of those behind `after`, where what is left cannot be counted.
    fn leave_out(&self, feed: &Feed, after: Position, entries: &mut Vec<Entry>) -> Option<Position> {
        let is_reset = matches!(self.verdict, Verdict::Broken { reason: GapReason::Reset, .. });
        entries.retain(|entry| entry.position > after);
        let left_out = entries.extract_if(.., |entry| is_reset && had(feed, entry)).last().map(|entry| entry.position);
        if left_out.is_some() {
            probe::reached(Probe::FollowLeftOut);
        }
        left_out
    }
}
