//! The gap and reset rule: whether a subscriber, or the node itself, can go on after a position without loss.
//!
//! Pure, and the only place where a position is judged. Not judged, for they are plain: entries that are too large
//! (`hub/frames`), ids that are no position and holes in the log (`hub/found`), what was not counted on the way into the log
//! (`hub/catch_up`), and how a stream is read after its reset (`hub/follower/retrace`, `hub/follower/examined`).
//!
//! It rests on what Redis promises of stream ids: within one life of a key they only grow; trimming keeps
//! `last-generated-id`; deleting the key loses it; `XDEL` records the greatest id that it removed, trimming does not.

use super::{Entry, StreamState, may_hold_more};
use crate::control_event::GapReason;
use crate::position::Position;

/// What has become of the entry that was passed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The stream has it, as far as is known the same.
    Present,
    Absent,
    /// The stream has another entry under its id.
    Replaced,
}

impl From<bool> for Witness {
    fn from(present: bool) -> Witness {
        if present { Witness::Present } else { Witness::Absent }
    }
}

/// What is known of the place where somebody wants to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The last position that was passed.
    pub at: Position,
    /// How many entries the stream had ever had up to and including `at`, where that is known. Who began in the middle
    /// of a stream counts what lay before; so at `0-0` too.
    pub rank: Option<u64>,
    /// Whether `at` was an entry, not just a place between two.
    pub entry: bool,
    /// What has become of the entry `at`.
    pub witness: Witness,
    /// How many entries the stream holds behind `at`, where all of them were seen.
    pub behind: Option<u64>,
    /// The newest position that is known of the stream in which `rank` was counted; `at` where that is all.
    pub known: Position,
}

/// How delivery goes on after a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was lost: everything after `at` is there.
    Continuous,
    /// Something was lost, and delivery goes on after `after` (exclusive).
    Broken { reason: GapReason, after: Position, lost: Option<u64> },
}

/// Decides. `state` is `None` where the stream does not exist.
pub fn judge(resume: Resume, state: Option<&StreamState>) -> Verdict {
    let at = resume.at;
    // Who is at the beginning and knows no better has had nothing of the stream.
    let resume = Resume { rank: resume.rank.or((at == Position::ZERO).then_some(0)), ..resume };
    let Some(state) = state else {
        return match (at, resume.rank) {
            (Position::ZERO, Some(0)) => Verdict::Continuous,
            _ => broken(GapReason::Missing, Position::ZERO, None),
        };
    };
    match (resume.witness, state.first) {
        // All of that stream is another's.
        (Witness::Replaced, _) => broken(GapReason::Reset, Position::ZERO, None),
        (Witness::Present, _) => present(resume, state),
        _ if at == state.last => at_last(resume, state),
        _ if at > state.last => broken(GapReason::Reset, state.last, None),
        (_, Some(first)) if at >= first => inside(resume, state),
        _ => before(resume, state),
    }
}

/// What is told of a position that is known to be of another stream than the one that is there now, of which the rule says that.
pub fn of_another(at: Position, verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Continuous => broken(GapReason::Reset, at, None),
        Verdict::Broken { reason: GapReason::Missing, .. } => verdict,
        Verdict::Broken { after, .. } => broken(GapReason::Reset, after, None),
    }
}

/// The entry is there, so nothing but what was taken out behind it is lost.
fn present(resume: Resume, state: &StreamState) -> Verdict {
    let Resume { at, rank, .. } = resume;
    match counted(resume, state) {
        Some(Ok(lost)) => missing_behind(at, lost, state),
        Some(Err(Impossible)) => broken(GapReason::Reset, Position::ZERO, None),
        // Entries that were counted are not counted any more.
        None if rank.zip(state.added).is_some_and(|(rank, added)| added < rank) => {
            broken(GapReason::Reset, Position::ZERO, None)
        }
        None if deleted_after(at, state) => broken(GapReason::Deleted, at, None),
        None => Verdict::Continuous,
    }
}

/// The last id that was given, whose entry is gone: nothing can come behind it.
fn at_last(resume: Resume, state: &StreamState) -> Verdict {
    match counted(Resume { behind: Some(0), ..resume }, state) {
        Some(Ok(lost)) if resume.at != Position::ZERO => missing_behind(resume.at, lost, state),
        Some(Err(Impossible)) => broken(GapReason::Reset, Position::ZERO, None),
        _ => Verdict::Continuous,
    }
}

/// Between the oldest entry and the last id, but not there: deleted by a producer, or never of this stream. Redis 6.2 does
/// not tell which: it is announced, for a loss must not be silent.
fn inside(resume: Resume, state: &StreamState) -> Verdict {
    let Resume { at, rank, entry, .. } = resume;
    let reset = || broken(GapReason::Reset, at, None);
    let is_place = !entry || is_time(at);
    let Some(deleted) = state.max_deleted else {
        return if is_place { Verdict::Continuous } else { reset() };
    };
    let kept = resume.behind.map(|behind| state.length.saturating_sub(behind));
    let fits = is_place || kept.zip(rank).is_none_or(|(kept, rank)| kept < rank);
    match counted(resume, state) {
        Some(Err(Impossible)) => reset(),
        // It may have been taken out by trimming in the middle (`ACKED`), which no deletion tells of.
        Some(Ok(lost)) if fits => missing_behind(at, lost, state),
        Some(Ok(_)) => reset(),
        None if is_place => match deleted > at {
            true => broken(GapReason::Deleted, at, None),
            false => Verdict::Continuous,
        },
        None if deleted == at => Verdict::Continuous,
        None if deleted < at || removed(state) < Some(2) => reset(),
        None => broken(GapReason::Deleted, at, None),
    }
}

/// Before the oldest entry, or the stream is empty though it has gone on.
fn before(resume: Resume, state: &StreamState) -> Verdict {
    let Resume { at, rank, entry, known, .. } = resume;
    // Of an empty stream nothing can come any more but what is after its last id.
    let after = if state.first.is_some() { at } else { state.last };
    let Some(removed) = removed(state) else {
        return before_uncounted(at, after, state);
    };
    let is_place = !entry || is_time(at);
    let reason = if deleted_after(at, state) { GapReason::Deleted } else { GapReason::Trimmed };
    // All that the stream holds lies after `at`, so of the entries ever added those not held are `removed`; as
    // `rank` of them were passed, `removed - rank` were not.
    let sure = at == Position::ZERO && rank == Some(0) || reaches_back(state, known);
    match rank {
        Some(rank) if rank == removed => Verdict::Continuous,
        // More was passed than is gone, but nothing of it is held: another stream's life counted it.
        Some(rank) if rank > removed => broken(GapReason::Reset, after, None),
        Some(rank) => broken(reason, after, sure.then_some(removed - rank)),
        None if removed == 0 && is_place => Verdict::Continuous,
        // The one that is gone was deleted, and lay before.
        None if removed == 1 && is_place && deleted_up_to(at, state) => Verdict::Continuous,
        // Nothing was ever removed, so an entry before the first one was never of this stream: it was made anew.
        None if removed == 0 => broken(GapReason::Reset, after, None),
        None if removed == 1 && !is_place && state.max_deleted == Some(at) => Verdict::Continuous,
        // The one that was removed is another.
        None if removed == 1 && !is_place && reason == GapReason::Deleted => broken(GapReason::Reset, after, None),
        None => broken(reason, after, None),
    }
}

/// Whether a stream still has, or has given last, something of what is known, so that it is the same one. One that was deleted and made
/// anew since, with ids that go on, looks as one does that went on and was trimmed; but its counts are its own.
pub fn reaches_back(state: &StreamState, known: Position) -> bool {
    state.first.unwrap_or(state.last) <= known
}

/// More was had, or is held, than was ever added: the counts are of two lives.
struct Impossible;

/// How many entries behind the position are gone, where counts tell.
fn counted(Resume { rank, behind, .. }: Resume, state: &StreamState) -> Option<Result<u64, Impossible>> {
    Some(state.added?.checked_sub(rank?.checked_add(behind?)?).ok_or(Impossible))
}

/// What is gone from the middle: deleted, or trimmed by `ACKED`.
fn missing_behind(at: Position, lost: u64, state: &StreamState) -> Verdict {
    match lost {
        0 => Verdict::Continuous,
        lost if state.max_deleted.is_none_or(|deleted| deleted == Position::ZERO) => {
            broken(GapReason::Trimmed, at, Some(lost))
        }
        lost => broken(GapReason::Deleted, at, Some(lost)),
    }
}

fn deleted_after(at: Position, state: &StreamState) -> bool {
    state.max_deleted.is_some_and(|deleted| deleted > at)
}

fn deleted_up_to(at: Position, state: &StreamState) -> bool {
    state.max_deleted.is_some_and(|deleted| deleted != Position::ZERO && deleted <= at)
}

/// Entries that were added and are not held.
fn removed(state: &StreamState) -> Option<u64> {
    Some(state.added?.saturating_sub(state.length))
}

/// The end of a millisecond, where no entry is: a subscription began at a time, and has received nothing since.
fn is_time(at: Position) -> bool {
    at.seq == u64::MAX
}

/// Redis 6.2 does not count: only who had nothing, of a stream that holds something, is taken to have lost nothing.
fn before_uncounted(at: Position, after: Position, state: &StreamState) -> Verdict {
    match at {
        Position::ZERO if state.length > 0 => Verdict::Continuous,
        _ => broken(GapReason::Trimmed, after, None),
    }
}

/// How many entries a stream holds behind a position, if what was read after it, at most `count` of them, is all.
pub fn all_behind(at: Position, read: &[Entry], state: Option<&StreamState>, count: usize) -> Option<u64> {
    let last = state?.last;
    let behind = || read.iter().filter(|entry| entry.position > at && entry.position <= last).count() as u64;
    (!may_hold_more(read, count)).then(behind)
}

/// How many entries the stream ever had before `first`, its first one after some position (`None`: it has none there),
/// where that is sure. That is the rank of the position.
pub fn rank_before(first: Option<Position>, state: Option<&StreamState>) -> Option<u64> {
    let Some(state) = state else { return Some(0) };
    let added = state.added?;
    match first {
        None => Some(added),
        Some(first) if Some(first) == state.first && state.max_deleted.is_some_and(|deleted| deleted < first) => {
            added.checked_sub(state.length)
        }
        Some(_) => None,
    }
}

fn broken(reason: GapReason, after: Position, lost: Option<u64>) -> Verdict {
    Verdict::Broken { reason, after, lost }
}

#[cfg(test)]
mod tests;
