//! A feed as the follower sees it.

use crate::channel::Channel;
use crate::hub::feed::Feed;
use crate::hub::index::Named;
use crate::position::Position;
use std::sync::Arc;

/// A feed as the follower sees it: 32 bytes, as there are as many as channels.
pub(super) struct Followed {
    pub feed: Arc<Feed>,
    /// Its stream may have something new.
    pub dirty: bool,
    /// A read is on its way, or waits in the queue.
    pub busy: bool,
    /// The entry at its position is not in the stream (empty, trimmed), so only an examination tells anything.
    pub absent: bool,
    /// Only the sweep doubts it: whether there is anything new is enough to know.
    pub swept: bool,
    /// What an examination must look for, beside what is new.
    pub retrace: Option<Box<Retrace>>,
    /// Tells it from an earlier one of the same channel, whose answers may still be on their way.
    pub serial: u64,
}

impl Named for Followed {
    fn channel(&self) -> &Channel {
        &self.feed.channel
    }
}

/// What an examination looks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Retrace {
    /// What is new of a stream that was reset: after this position.
    After(Position),
    /// The entry that was the newest when the stream went missing: if it is there again, so is the stream.
    Former { position: Position, digest: u64, rank: Option<u64> },
}

impl Retrace {
    /// After what position it must be asked for.
    pub fn after(&self) -> Position {
        match self {
            Retrace::After(after) => *after,
            Retrace::Former { position, .. } => position.before(),
        }
    }
}
