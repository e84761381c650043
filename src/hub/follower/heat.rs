//! Which streams become hot and cool again. A hot stream is busy, as one with any other read on its way is; a report of it
//! meanwhile says what the read will. It cools when it was waited for in vain or has a burst, and is then read once more,
//! so that its changes are reported again.

use super::followed::Turn;
use super::hot::{Waited, is_few, is_light};
use super::{BATCH_BYTES, ENTRIES, Follower};
use crate::backplane::Ask;
use crate::probe::{self, Probe};
use tokio::time::Instant;

impl Follower {
    /// A stream was read, and what it had is appended.
    pub(super) fn heat(&mut self, turn: Turn, grown: usize) {
        if !self.is_passed_on(&turn, grown) && self.hot.is_heated(turn.serial, grown, Instant::now()) {
            self.wait_for(turn);
        }
    }

    /// Waits for a stream's next entry, if it may.
    fn wait_for(&mut self, turn: Turn) {
        let backplane = self.hub.backplane.clone();
        let doubts = backplane.changes().stated();
        if self.hot.is_full() || !backplane.waits() {
            return;
        }
        let Some(followed) = self.current(&turn).filter(|f| !f.is_busy() && !f.absent && f.retrace.is_none()) else {
            return;
        };
        let (after, count, mean) = {
            let state = followed.feed.lock();
            (state.log.position().before(), state.entries_within(BATCH_BYTES, ENTRIES), state.mean_bytes)
        };
        if !is_light(mean as usize) {
            return;
        }
        probe::reached(Probe::FollowHot);
        followed.ask(doubts);
        let ask = Ask { channel: turn.channel.clone(), after, count };
        self.hot.wait(turn, ask, backplane);
        self.tell_hot();
    }

    /// Takes what a wait for a hot stream's next entry brought.
    pub(super) fn waited(&mut self, Waited { turn, count, answer }: Waited) {
        self.hot.over(&turn);
        if let Some(followed) = self.current(&turn) {
            followed.answered();
            let entries = answer.unwrap_or_default();
            if entries.len() > 1 {
                followed.acquit();
            }
            let grown = if entries.is_empty() { 0 } else { self.read(turn.channel.clone(), count, entries, None) };
            if !self.is_passed_on(&turn, grown) && is_few(grown) {
                self.wait_for(turn.clone());
            }
            if self.current(&turn).is_some_and(|followed| !followed.is_busy()) {
                self.mark(&turn.channel);
            }
        }
        self.tell_hot();
    }

    /// Waits no more: all is read in the usual way, which finds out whatever has become of the backplane.
    pub(super) fn cool_all(&mut self) {
        for turn in self.hot.clear() {
            probe::reached(Probe::FollowCooled);
            if let Some(followed) = self.current(&turn) {
                followed.answered();
                self.mark(&turn.channel);
            }
        }
        self.tell_hot();
    }

    fn tell_hot(&self) {
        self.hub.metrics.hot_streams.set(self.hot.len() as i64);
    }
}
