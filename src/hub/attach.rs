//! Attaching: a feed is live before anybody is joined to it, and its log is verified behind every doubt. What was read beside a log
//! that is not may be of another stream than the log.

use super::Hub;
use super::feed::{Feed, Life, State};
use super::follow_request::{Arrival, FollowRequest};
use super::log::NotInLog;
use crate::backplane::BackplaneError;
use crate::planted::{self, Fault};
use crate::position::Position;
use crate::probe::{self, Probe};
use std::sync::Arc;
use tokio::sync::oneshot;

impl Hub {
    /// Waits until a feed is live, and verified behind all doubts that are stated by now. While the backplane is away none is, so
    /// a live feed is not waited for.
    pub(super) async fn attach(&self, feed: &Arc<Feed>) -> Result<Arrival, BackplaneError> {
        {
            let state = feed.lock();
            if state.life == Life::Live && !self.is_doubted(&state) {
                return Ok(Arrival { anew: false, mark: state.log.mark() });
            }
        }
        let (told, wait) = oneshot::channel();
        self.request(FollowRequest::Attach(feed.clone(), told));
        wait.await.unwrap_or_else(|_| Err(BackplaneError::down("the node is ending")))
    }

    /// Whether what was found by a feed's log of an era holds. Where a doubt was stated since the log was verified, that is known
    /// when it is verified again: what was read for it may be of another stream than the log.
    pub(super) async fn stands(&self, feed: &Arc<Feed>, era: u32) -> Result<bool, BackplaneError> {
        if !self.is_doubted(&feed.lock()) {
            return Ok(true);
        }
        probe::reached(Probe::JoinDoubted);
        self.attach(feed).await?;
        Ok(feed.lock().log.era() == era)
    }

    /// Whether a doubt was stated since the read was asked for by which a log was last verified.
    fn is_doubted(&self, state: &State) -> bool {
        let about_all = self.backplane.changes().about_all();
        state.verified < about_all.max(state.doubted) && !planted::is(Fault::DoubtNotAwaited)
    }

    /// The stream has an entry where its log covers the place and has none: one of the two is of another life, which the log's reader
    /// has not been told of yet. Whoever goes by this log waits until that is known.
    pub(super) fn doubt_where_absent(&self, feed: &Feed, position: Position) {
        let absent = {
            let log = &feed.lock().log;
            position > log.base() && matches!(log.locate(position), Err(NotInLog::Absent(_)))
        };
        if absent {
            self.doubt(feed);
        }
    }

    /// What a log begins with was not found, though older entries were: it was deleted, or the stream is another one. Whoever
    /// goes by this log waits until it is known which.
    pub(super) fn doubt(&self, feed: &Feed) {
        if !planted::is(Fault::ExtendedBlindly) {
            probe::reached(Probe::JoinTailDoubted);
            feed.lock().doubted = self.backplane.changes().doubt_of_one();
        }
    }
}

#[cfg(test)]
mod tests;
