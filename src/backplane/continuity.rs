//! The gap and reset rule: whether a subscriber, or the node itself, can go on after a position without loss.
//!
//! Pure, and the only place where this is decided. It rests on what Redis promises of stream ids: within one life
//! of a key they only grow; trimming keeps `last-generated-id`; deleting the key loses it; `XDEL` records the
//! greatest id that it removed, trimming does not.

use super::StreamState;
use crate::frame::GapReason;
use crate::position::Position;

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
    /// Whether the entry `at` itself is still in the stream.
    pub present: bool,
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
    let Resume { at, rank, entry, present } = resume;
    if present {
        return Verdict::Continuous;
    }
    // Who is at the beginning and knows no better has had nothing of the stream.
    let rank = rank.or((at == Position::ZERO).then_some(0));
    let Some(state) = state else {
        return match (at, rank) {
            (Position::ZERO, Some(0)) => Verdict::Continuous,
            _ => broken(GapReason::Missing, Position::ZERO, None),
        };
    };
    if at == state.last {
        return Verdict::Continuous;
    }
    if at > state.last {
        return broken(GapReason::Reset, state.last, None);
    }
    let is_place = !entry || is_time(at);
    match state.first {
        Some(first) if at >= first => inside(at, is_place, state),
        _ => before(at, rank, is_place, state),
    }
}

/// The end of a millisecond, where no entry is: a subscription began at a time, and has received nothing since.
fn is_time(at: Position) -> bool {
    at.seq == u64::MAX
}

/// Between the oldest entry and the last id, but not there: deleted by a producer, or never of this stream. Redis 6.2 does
/// not tell which: it is announced, for a loss must not be silent.
fn inside(at: Position, is_place: bool, state: &StreamState) -> Verdict {
    let may_be_deleted = state.max_deleted.is_some_and(|deleted| deleted >= at);
    match is_place || may_be_deleted {
        true => Verdict::Continuous,
        false => broken(GapReason::Reset, at, None),
    }
}

/// Before the oldest entry, or the stream is empty though it has gone on.
fn before(at: Position, rank: Option<u64>, is_place: bool, state: &StreamState) -> Verdict {
    // Of an empty stream nothing can come any more but what is after its last id.
    let after = if state.first.is_some() { at } else { state.last };
    let Some(added) = state.added else {
        return before_uncounted(at, after, state);
    };
    // All that the stream holds lies after `at`, so of the entries ever added those not held are `removed`; as
    // `rank` of them were passed, `removed - rank` were not.
    let removed = added.saturating_sub(state.length);
    match rank {
        Some(rank) if rank == removed => Verdict::Continuous,
        // More was passed than is gone, but nothing of it is held: another stream's life counted it.
        Some(rank) if rank > removed => broken(GapReason::Reset, after, None),
        Some(rank) => {
            // What a producer deleted was not lost, and is not told apart from what was trimmed.
            let exact = state.max_deleted == Some(Position::ZERO);
            broken(GapReason::Trimmed, after, exact.then_some(removed - rank))
        }
        None if removed == 0 && is_place => Verdict::Continuous,
        // Nothing was ever removed, so an entry before the first one was never of this stream: it was made anew.
        None if removed == 0 => broken(GapReason::Reset, after, None),
        None => broken(GapReason::Trimmed, after, None),
    }
}

/// Redis 6.2 does not count: only who had nothing, of a stream that holds something, is taken to have lost nothing.
fn before_uncounted(at: Position, after: Position, state: &StreamState) -> Verdict {
    match at {
        Position::ZERO if state.length > 0 => Verdict::Continuous,
        _ => broken(GapReason::Trimmed, after, None),
    }
}

/// How many entries the stream ever had before `first`, its first one after some position (`None`: it has none there),
/// where that is sure. That is the rank of the position.
pub fn rank_before(first: Option<Position>, state: Option<&StreamState>) -> Option<u64> {
    let Some(state) = state else { return Some(0) };
    let added = state.added?;
    match first {
        None => Some(added),
        Some(first) if Some(first) == state.first && state.max_deleted == Some(Position::ZERO) => {
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
