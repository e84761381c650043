//! What an examination brings: a stream's state and entries of one instant. Pure.

use crate::backplane::continuity::{all_behind, rank_before};
use crate::backplane::{Entry, StreamState};
use crate::position::Position;

/// A stream's state and entries of one instant.
pub(super) struct Seen<'a> {
    /// `None`: there is no such stream.
    pub state: Option<&'a StreamState>,
    pub entries: &'a [Entry],
    /// Entries that were asked for.
    pub count: usize,
}

impl Seen<'_> {
    /// Whether the stream may hold more than these entries.
    pub fn more(&self) -> bool {
        self.entries.len() == self.count
    }

    /// How many entries the stream holds behind a position, where all of them were seen.
    pub fn all_behind(&self, position: Position) -> Option<u64> {
        all_behind(position, self.entries, self.state, self.count)
    }

    /// How many entries the stream ever had up to a position, where that is known.
    pub fn counted(&self, position: Position) -> Option<u64> {
        let added = self.state.and_then(|state| state.added);
        let exact = added.zip(self.all_behind(position)).and_then(|(added, behind)| added.checked_sub(behind));
        let first = self.entries.iter().map(|entry| entry.position).find(|first| *first > position);
        exact.or_else(|| rank_before(first, self.state))
    }

    /// How many entries came since there had been so many, where counts are known.
    pub fn missed(&self, rank: Option<u64>) -> Option<u64> {
        self.state?.added?.checked_sub(rank?)
    }
}
