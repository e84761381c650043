//! Delivery: walks the members of feeds that advanced and writes what is due.

use super::broadcast::Broadcast;
use super::conversion::Kept;
use super::ending::Reason;
use super::key::Key;
use super::leftover::Leftover;
use super::mirror::Member;
use super::out::write_by;
use super::socket::Socket;
use super::state::Courier;
use super::subscriber::Route;
use crate::hub::bell::FeedNumber;
use crate::invariant::{self, Invariant};
use std::time::Duration;

/// A turn ends after this, and sockets and messages are looked at: joins and hang-ups wait for one turn at most.
const TURN: Duration = Duration::from_millis(2);
/// Writes between two looks at the clock.
const WRITES_PER_LOOK: usize = 100;
/// Members whose memory is asked for at once, before it is needed: they lie apart, and the waits overlap.
const TOUCHED: usize = 16;

impl Courier {
    /// Feeds have new frames: takes them, so that a subscriber of several gets all that is due at once.
    pub fn advance(&mut self, feeds: impl Iterator<Item = FeedNumber>) {
        for feed in feeds {
            if let Some(mirror) = self.mirrors.get(feed) {
                mirror.feed.looked(self.number);
                self.take_fresh(feed);
            }
        }
    }

    /// Takes a feed's new frames, and lets go of those that left its log.
    pub fn take_fresh(&mut self, feed: FeedNumber) {
        let Some(mirror) = self.mirrors.get(feed) else { return };
        let mut fresh = std::mem::take(&mut self.buffers.fresh);
        let extent = mirror.look(&mut fresh);
        if extent.start > mirror.end() {
            // More came at once than the log keeps: nobody here has a place in it any more.
            self.let_go(feed, extent.start);
        }
        self.mirrors.take(feed, extent, &mut fresh);
        self.buffers.fresh = fresh;
        self.let_go(feed, extent.start);
    }

    /// Delivers for one turn.
    pub fn deliver(&mut self) {
        let begun = (self.stopwatch)();
        let mut left = WRITES_PER_LOOK;
        while let Some(broadcast) = self.broadcast.take().or_else(|| self.next_broadcast()) {
            left = self.walk(broadcast, left);
            if left == 0 {
                if (self.stopwatch)().saturating_duration_since(begun) >= TURN {
                    return;
                }
                left = WRITES_PER_LOOK;
            }
        }
    }

    fn next_broadcast(&mut self) -> Option<Broadcast> {
        loop {
            let feed = self.mirrors.pop_due()?;
            let several = self.mirrors.any_due();
            let Some(mirror) = self.mirrors.get_mut(feed) else { continue };
            if mirror.offered >= mirror.end() {
                continue;
            }
            // What came and left memory since is nothing to write, but members are to ask for it.
            let from = mirror.offered.max(mirror.start());
            let finale = mirror.last_after(from);
            let to = finale.unwrap_or(mirror.end());
            mirror.offered = to;
            let broadcast = Broadcast::new(feed, mirror, from..to, finale.is_some(), several);
            if to < mirror.end() {
                self.mirrors.push_due(feed);
            }
            return Some(broadcast);
        }
    }

    /// Goes on with a broadcast for so many writes at most; returns how many are left.
    fn walk(&mut self, mut broadcast: Broadcast, mut left: usize) -> usize {
        let mut whole = 0;
        let mut touched = 0;
        self.buffers.verdicts.begin(broadcast.feed);
        while left > 0 {
            let Some(mirror) = self.mirrors.get(broadcast.feed) else { break };
            let Some(member) = mirror.members.get(broadcast.next).copied() else { break };
            if broadcast.next >= touched {
                touched = broadcast.next + TOUCHED;
                self.touch(&mirror.members[broadcast.next..touched.min(mirror.members.len())]);
            }
            broadcast.next += 1;
            left -= 1;
            whole += u64::from(self.offer(&broadcast, member));
        }
        self.buffers.verdicts.end();
        self.observe_lag(&broadcast, whole);
        let mirror = self.mirrors.get(broadcast.feed);
        if mirror.is_some_and(|mirror| broadcast.next < mirror.members.len()) {
            self.broadcast = Some(broadcast);
        }
        left
    }

    /// Brings what members will need into the processor's caches.
    fn touch(&self, members: &[Member]) {
        let mut seen = 0;
        for member in members {
            match self.subscribers.get(member.key).map(|subscriber| &subscriber.route) {
                Some(Route::Composed(composed)) => {
                    composed.legs.iter().for_each(|leg| seen ^= leg.feed.channel.as_str().as_bytes()[0]);
                }
                Some(Route::Single(single)) => seen ^= single.skipped as u8,
                Some(Route::Plain(_)) | None => {}
            }
        }
        std::hint::black_box(seen);
    }

    /// Offers a broadcast to one member; whether it took all of it.
    fn offer(&mut self, broadcast: &Broadcast, member: Member) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(member.key) else { return false };
        if subscriber.blocked {
            return false;
        }
        let Route::Plain(plain) = &mut subscriber.route else {
            let only = (!broadcast.several).then_some(member.leg);
            return self.flow(member.key, only);
        };
        if plain.at >= broadcast.to {
            return false;
        }
        if plain.at < broadcast.from {
            // It joined before these frames came and has not had its turn since.
            self.flow(member.key, None);
            return false;
        }
        let at = plain.at;
        let write = |socket: &mut Socket| broadcast.write(socket, at);
        let Ok(n) = write_by(&mut subscriber.connection, &mut self.tally, self.now, write) else {
            self.subscribers.end(member.key, Reason::Client);
            return false;
        };
        plain.at = at.plus(n);
        invariant::holds(Invariant::PlainWithinMirror, || plain.at <= broadcast.to && at >= broadcast.from);
        if n > 0 {
            subscriber.connection.event = self.now;
        }
        if plain.at < broadcast.to {
            self.cut_off(broadcast, member.key);
            return false;
        }
        self.tally.delivered += broadcast.events;
        if broadcast.finale {
            self.subscribers.end(member.key, Reason::Final);
        }
        true
    }

    /// A plain member's socket is full in the middle of a broadcast. Where its place has left memory, the rest of the
    /// broadcast is kept for it.
    fn cut_off(&mut self, broadcast: &Broadcast, key: Key) {
        let gone = match &self.subscribers[key].route {
            Route::Plain(plain) if self.mirrors.get(broadcast.feed).is_some_and(|m| plain.at < m.start()) => {
                Some(plain.at)
            }
            _ => None,
        };
        if let Some(at) = gone {
            let mut leftover = Leftover::default();
            leftover.share(broadcast.source(), at.since(broadcast.from), &self.deps.leftovers);
            let at = broadcast.to;
            self.make_composed_at(key, Kept { leftover, at, standing: broadcast.newest, last: broadcast.finale });
        }
        self.block(key);
    }

    /// A member moved to a place that a running broadcast has passed already.
    pub fn moved(&mut self, feed: FeedNumber, place: u32, member: Member) {
        if self.broadcast.as_ref().is_some_and(|b| b.feed == feed && (place as usize) < b.next) {
            let broadcast = self.broadcast.take().expect("just seen");
            self.offer(&broadcast, member);
            self.broadcast = Some(broadcast);
        }
    }

    fn observe_lag(&self, broadcast: &Broadcast, times: u64) {
        if times == 0 {
            return;
        }
        let now = self.deps.clock.backplane_ms() as i64;
        let each = broadcast.events / (broadcast.times.len() as u64).max(1);
        for ms in &broadcast.times {
            let lag = (now - *ms as i64).max(0) as f64 / 1000.0;
            self.deps.metrics.delivery_lag.observe(lag, times * each.max(1));
        }
        broadcast.traced.iter().for_each(|delivery| delivery.reached(times));
    }
}
