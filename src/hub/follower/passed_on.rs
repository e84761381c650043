//! What the follower does with what nodes pass on to each other: when it believes it, when it reads for itself, and what it
//! passes on in turn.

use super::Follower;
use super::followed::{Followed, Turn};
use super::relayed::{Fit, fit};
use crate::backplane::{Entry, Relayed};
use crate::channel::Channel;
use crate::probe::{self, Probe};
use std::time::Duration;
use tokio::time::Instant;

/// How often it is looked whether something is missing.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// With every so many looks, what is relayed is read.
const LOOKS: u32 = 20;

impl Follower {
    /// Streams were reported as changed: of those that are relayed it is heard what is new.
    pub(super) fn reported(&mut self, channels: impl IntoIterator<Item = Channel>) {
        let now = Instant::now();
        for channel in channels {
            if !self.busy.holds(&channel, now) {
                self.mark(&channel);
            }
        }
    }

    /// Takes what another node has passed on.
    pub(super) fn relayed(&mut self, relayed: Relayed) {
        let (channel, now) = (relayed.channel.clone(), Instant::now());
        let about_all = self.hub.backplane.changes().about_all();
        let Some(followed) = self.followed.get(&channel) else { return };
        let Some(last) = relayed.entries.last() else { return self.mark(&channel) };
        self.busy.heard(&channel, last.position, now);
        if followed.is_asked() {
            // The answer on its way is of before or behind it; then it is known which.
            return self.hub.metrics.relayed_passed_over.inc();
        }
        let is_clear = !followed.absent && followed.retrace.is_none();
        match if is_clear { fit(&followed.feed, relayed, about_all) } else { Fit::Unclear } {
            Fit::Known => self.hub.metrics.relayed_passed_over.inc(),
            Fit::New(entries) => {
                probe::reached(Probe::FollowRelayed);
                let taken = entries.len();
                self.hub.metrics.relayed_events.inc_by(taken as u64);
                self.append(&channel, entries);
                if !self.uncounted.contains(&channel) {
                    self.uncounted.insert(channel.clone());
                }
                if self.busy.took(&channel, taken) {
                    self.mark(&channel);
                }
            }
            Fit::Unclear => {
                probe::reached(Probe::FollowUnclear);
                self.hub.metrics.relayed_unclear.inc();
                self.mark(&channel);
            }
        }
    }

    /// A stream was read for this node, and had so many new entries; whether others pass on what comes next.
    pub(super) fn is_passed_on(&mut self, Turn { channel, .. }: &Turn, grown: usize) -> bool {
        if !self.hub.backplane.may_relay() {
            return false;
        }
        let now = Instant::now();
        if self.busy.grew(channel, grown, now) {
            self.hub.backplane.busy(channel, true);
        }
        let newest = self.busy.newest(channel);
        let behind = |followed: &Followed| followed.newest().0 < newest;
        if self.followed.get(channel).is_some_and(behind) {
            // It was passed on while the answer was on its way, and is not in that.
            self.mark(channel);
        }
        self.busy.is_relayed(channel, now)
    }

    /// Passes on what was read behind the known entry, if this node is the stream's relay.
    pub(super) fn pass_on(&self, followed: &Followed, known: &Entry, entries: &[Entry]) {
        let channel = &followed.feed.channel;
        let (false, Some(doubts)) = (entries.is_empty(), followed.verifies()) else { return };
        let (_, Some(rank)) = followed.newest() else { return };
        if !self.hub.backplane.relays(channel) || known.is_too_large() || entries.iter().any(Entry::is_too_large) {
            return;
        }
        let entries = std::iter::once(known).chain(entries).cloned().collect();
        self.hub.backplane.relay(Relayed { channel: channel.clone(), rank, entries }, doubts);
    }

    /// Looks whether anything is missing of what should have been heard.
    pub(super) fn look_at_relayed(&mut self) {
        self.looks = (self.looks + 1) % LOOKS;
        let (second, now) = (self.looks == 0, Instant::now());
        for channel in self.busy.due(second, now) {
            self.mark(&channel);
        }
        if second {
            self.busy.prune(now).iter().for_each(|channel| self.hub.backplane.busy(channel, false));
            self.hub.metrics.relayed_streams.set(self.busy.relayed(now) as i64);
        }
    }

    /// Nobody here follows a stream any more.
    pub(super) fn not_busy(&mut self, channel: &Channel) {
        if self.busy.remove(channel) {
            self.hub.backplane.busy(channel, false);
        }
    }
}
