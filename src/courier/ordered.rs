//! What orders to change channels are to a subscriber: which it is still to be given, and what became of them.

use crate::metrics::labels;
use crate::position::Position;

labels! {
    /// What became of a channel that a stream was told to join or leave: the label of `fantail_set_changes_total`.
    pub enum SetChange {
        Joined = "joined",
        Left = "left",
        /// Its grant does not cover it.
        Forbidden = "forbidden",
        /// It has as many channels as it may, or the channel as many subscribers, or its ids are as long as they may be.
        TooMany = "too_many",
    }
}

/// Which orders a subscriber is still to be given when it comes to its courier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ordered {
    /// So many had been read when it was admitted.
    pub count: u64,
    /// What is dated up to there is none of its.
    pub after: Position,
}
