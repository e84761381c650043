//! Hot streams: those few that have entries again and again, whose next entry is waited for at the backplane. That saves
//! the way of a report, and that of the question after it.
//!
//! A hot stream is busy, as one with any other read on its way is; a report of it meanwhile says what the read will. It
//! cools when it was waited for in vain or has a burst, and is then read once more, so that its changes are reported again.

use super::batch::entries_of;
use super::{Follower, Turn};
use crate::backplane::{Ask, BackplaneError, Entry};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// Streams that are waited for at once, each on a connection of its own; and how many others may have something between
/// two entries of a stream that becomes one. Where many are busy, asking for all of them in one go costs less.
const MOST: usize = 4;
/// Two entries so close to each other are expected to be followed by a third.
const CLOSE: Duration = Duration::from_millis(500);
/// Entries at once. More are a burst: waiting ends at the first of them, and then with as many as Redis had read by then; a
/// push and a read bring all, and so each subscriber has them in one send.
const FEW: std::ops::RangeInclusive<usize> = 1..=4;
/// Mean bytes of an event: each is sent here three times, twice while it is waited for and once as the next one's witness.
const LIGHT: usize = 4 << 10;

/// What a wait brought: whose, the most entries that it might have, and those.
pub(super) struct Waited(Turn, usize, Result<Vec<Entry>, BackplaneError>);

/// See the module.
#[derive(Default)]
pub(super) struct Hot {
    reads: FuturesUnordered<Pin<Box<dyn Future<Output = Waited> + Send>>>,
    turns: Vec<Turn>,
    /// By serial, the streams that had something last, and when.
    recent: VecDeque<(u64, Instant)>,
}

impl Hot {
    /// Cancel safe; `None` where nothing is waited for.
    pub async fn next(&mut self) -> Option<Waited> {
        self.reads.next().await
    }

    /// A stream has had something; whether it had so just before.
    fn again(&mut self, serial: u64, now: Instant) -> bool {
        let before = self.recent.iter().position(|(known, _)| *known == serial);
        let before = before.and_then(|index| self.recent.remove(index));
        if self.recent.len() == MOST {
            self.recent.pop_front();
        }
        self.recent.push_back((serial, now));
        before.is_some_and(|(_, at)| now.duration_since(at) < CLOSE)
    }
}

impl Follower {
    /// A stream was read, and what it had is appended.
    pub(super) fn heat(&mut self, turn: Turn, grown: usize) {
        if FEW.contains(&grown) && self.hot.again(turn.1, Instant::now()) {
            self.wait_for(turn);
        }
    }

    /// Waits for a stream's next entry, if it may.
    fn wait_for(&mut self, turn: Turn) {
        let backplane = self.hub.backplane.clone();
        if self.hot.turns.len() == MOST || !backplane.waits() {
            return;
        }
        let Some(followed) = self.current(&turn).filter(|f| !f.busy && !f.absent && f.retrace.is_none()) else {
            return;
        };
        let (after, mean) = {
            let state = followed.feed.lock();
            (state.log.position().before(), state.mean_bytes as usize)
        };
        if mean > LIGHT {
            return;
        }
        (followed.busy, followed.dirty) = (true, false);
        self.hot.turns.push(turn.clone());
        self.tell_hot();
        let count = entries_of(mean);
        self.hot.reads.push(Box::pin(async move {
            let answer = backplane.read_next(Ask { channel: turn.0.clone(), after, count }).await;
            Waited(turn, count, answer)
        }));
    }

    pub(super) fn waited(&mut self, Waited(turn, count, answer): Waited) {
        self.hot.turns.retain(|hot| *hot != turn);
        if let Some(followed) = self.current(&turn) {
            followed.busy = false;
            let entries = answer.unwrap_or_default();
            if entries.len() > 1 {
                // Reported was what is here.
                followed.dirty = false;
            }
            if !entries.is_empty() && FEW.contains(&self.read(turn.0.clone(), count, entries, None)) {
                self.wait_for(turn.clone());
            }
            if self.current(&turn).is_some_and(|followed| !followed.busy) {
                self.mark(&turn.0);
            }
        }
        self.tell_hot();
    }

    /// Waits no more: all is read in the usual way, which finds out whatever has become of the backplane.
    pub(super) fn cool_all(&mut self) {
        self.hot.reads.clear();
        for turn in std::mem::take(&mut self.hot.turns) {
            if let Some(followed) = self.current(&turn) {
                followed.busy = false;
                self.mark(&turn.0);
            }
        }
        self.tell_hot();
    }

    fn tell_hot(&self) {
        self.hub.metrics.hot_streams.set(self.hot.turns.len() as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_hot_when_few_others_came_between_and_little_time() {
        let (mut hot, now) = (Hot::default(), Instant::now());
        assert!(!hot.again(1, now));
        assert!(hot.again(1, now));
        (2..MOST as u64 + 1).for_each(|serial| assert!(!hot.again(serial, now)));
        assert!(hot.again(1, now), "as many as are remembered");
        (10..10 + MOST as u64).for_each(|serial| assert!(!hot.again(serial, now)));
        assert!(!hot.again(1, now), "others came between");
        assert!(!hot.again(1, now + CLOSE), "too late");
    }
}
