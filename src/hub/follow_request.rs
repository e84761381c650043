//! What the follower is asked by the rest of the hub, and what it answers.

use super::feed::Feed;
use super::log::Mark;
use crate::backplane::BackplaneError;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What the follower is asked.
pub enum FollowRequest {
    /// Make the feed live, and read it behind all doubts; the answer comes when its position is known so.
    Attach(Arc<Feed>, Waiting),
    /// Somebody knows of a newer entry.
    Refresh(Arc<Feed>),
    /// The feed has no legs any more, or has been forgotten.
    Unfollow(Arc<Feed>),
}

/// What is told of a feed that has become live.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The feed has been read since it was asked for, so it is as new as can be.
    pub anew: bool,
    /// Where its log ended by then.
    pub mark: Mark,
}

/// Somebody who waits until a feed is up to date, or is told why it cannot be.
pub type Waiting = oneshot::Sender<Result<Arrival, BackplaneError>>;
