//! Places in a feed: what a join has found.

use super::feed::Feed;
use super::log::{Mark, NotInLog};
use super::offset::Offset;
use super::outcome::Outcome;
use crate::channel::Channel;
use crate::control_event::{Gap, GapReason};
use crate::frame::Standing;
use crate::position::Position;
use std::sync::Arc;

/// A place in a feed, without its leg.
pub(super) struct Found {
    pub standing: Standing,
    pub at: Option<Offset>,
    pub fresh: bool,
    pub gap: Option<Gap>,
    pub outcome: Outcome,
}

impl Found {
    /// The place where the log ends now.
    pub fn at_end(feed: &Arc<Feed>) -> Found {
        let mark = feed.lock().log.mark();
        Found::at(feed, mark)
    }

    /// The place where the log ended once; whatever has come since follows.
    pub fn at(feed: &Arc<Feed>, Mark { end, standing }: Mark) -> Found {
        let kept = feed.lock().log.start() <= end;
        Found { standing, at: kept.then_some(end), fresh: false, gap: None, outcome: Outcome::Live }
    }

    /// A place that is older than the tail. `entry`: whether an entry is there, so that what follows it is owed.
    pub fn behind(position: Position, entry: bool) -> Found {
        let standing = Standing { position, due: None, entry };
        Found { standing, at: None, fresh: !entry, gap: None, outcome: Outcome::History }
    }
}

/// The log's end, for a client whose last event id is no position.
pub(super) fn foreign(feed: &Arc<Feed>) -> Found {
    let found = Found::at_end(feed);
    let gap = foreign_gap(&feed.channel, Some(found.standing.position));
    Found { gap: Some(gap), outcome: Outcome::Reset, ..found }
}

/// A place in the log behind which entries were deleted before they were read.
pub(super) fn deleted(feed: &Arc<Feed>, standing: Standing, at: Offset) -> Found {
    let next = feed.lock().log.event_from(at);
    let gap = Gap {
        channel: feed.channel.to_string(),
        reason: GapReason::Deleted,
        resume_from: Some(standing.position),
        continues_at: Some(next.unwrap_or(standing.position)),
        lost: None,
    };
    Found { standing, at: Some(at), fresh: false, gap: Some(gap), outcome: Outcome::Gap }
}

/// What a client is told whose last event id is no position.
pub fn foreign_gap(channel: &Channel, continues_at: Option<Position>) -> Gap {
    Gap { channel: channel.to_string(), reason: GapReason::Reset, resume_from: None, continues_at, lost: None }
}

/// The place behind a position, whether or not an entry of that id is known.
pub(super) fn place(feed: &Arc<Feed>, position: Position) -> Found {
    let state = feed.lock();
    let log = &state.log;
    let at = match log.locate(position) {
        Ok(at) | Err(NotInLog::Absent(at)) => at,
        Err(NotInLog::Ahead) => log.end(),
        Err(NotInLog::Older) => return Found::behind(position, false),
    };
    let before = log.standing_at(at);
    let standing = match before.entry {
        // As good a place as the one between the two, and its absence means something.
        true => before,
        false => Standing { position: position.min(log.position()), ..before },
    };
    Found { standing, at: Some(at), fresh: false, gap: None, outcome: Outcome::History }
}
