//! Delivery: walks the members of feeds that advanced and writes what is due.

use super::broadcast::Broadcast;
use super::compose::Kept;
use super::leave::Reason;
use super::leftover::Leftover;
use super::mirror::{Member, Mirror};
use super::run::Courier;
use super::subscriber::{Plain, Route, Subscriber};
use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

/// A turn ends after this, and sockets and letters are looked at: joins and hang-ups wait for one turn at most.
const TURN: Duration = Duration::from_millis(2);
/// Writes between two looks at the clock.
const WRITES_PER_LOOK: usize = 100;
/// Members whose memory is asked for at once, before it is needed: they lie apart, and the waits overlap.
const TOUCHED: usize = 16;
/// What is copied together at most for one write of a subscriber that is behind the others.
pub const WRITE_BYTES: usize = 64 << 10;

/// What became of a write.
pub enum Wrote {
    All,
    /// The socket is full.
    Blocked,
    /// The channel's last event is out.
    Finished,
    Failed,
}

impl Courier {
    /// Feeds have new frames: takes them, so that a subscriber of several gets all that is due at once.
    pub fn advance(&mut self, feeds: impl Iterator<Item = u32>) {
        for number in feeds {
            if let Some(Some(mirror)) = self.mirrors.get(number as usize) {
                mirror.feed.looked(self.number);
                self.take_fresh(number);
            }
        }
    }

    /// Takes a feed's new frames, and lets go of those that left its log.
    pub fn take_fresh(&mut self, feed: u32) {
        let mut fresh = std::mem::take(&mut self.fresh);
        let Some(Some(mirror)) = self.mirrors.get(feed as usize) else { return };
        let extent = mirror.look(&mut fresh);
        if extent.start > mirror.end() {
            // More came at once than the log keeps: nobody here has a place in it any more.
            self.let_go(feed, extent.start);
        }
        if let Some(Some(mirror)) = self.mirrors.get_mut(feed as usize) {
            mirror.take(extent, &mut fresh);
            if !mirror.due {
                mirror.due = true;
                self.due.push_back(feed);
            }
        }
        self.fresh = fresh;
        self.let_go(feed, extent.start);
    }

    /// Delivers for one turn.
    pub fn deliver(&mut self) {
        let begun = Instant::now();
        let mut left = WRITES_PER_LOOK;
        while let Some(broadcast) = self.broadcast.take().or_else(|| self.next_broadcast()) {
            left = self.walk(broadcast, left);
            if left == 0 {
                if begun.elapsed() >= TURN {
                    return;
                }
                left = WRITES_PER_LOOK;
            }
        }
    }

    fn next_broadcast(&mut self) -> Option<Broadcast> {
        loop {
            let number = self.due.pop_front()?;
            let several = !self.due.is_empty();
            let Some(Some(mirror)) = self.mirrors.get_mut(number as usize) else { continue };
            mirror.due = false;
            let from = mirror.offered.max(mirror.start());
            if from >= mirror.end() {
                continue;
            }
            let finale = mirror.last_after(from);
            let to = finale.unwrap_or(mirror.end());
            if to < mirror.end() {
                mirror.due = true;
                self.due.push_back(number);
            }
            mirror.offered = to;
            return Some(Broadcast::new(number, mirror, from..to, finale.is_some(), several));
        }
    }

    /// Goes on with a broadcast for so many writes at most; returns how many are left.
    fn walk(&mut self, mut broadcast: Broadcast, mut left: usize) -> usize {
        let mut whole = 0;
        let mut touched = 0;
        while left > 0 {
            let Some(mirror) = self.mirrors[broadcast.feed as usize].as_deref() else { break };
            let Some(member) = mirror.members.get(broadcast.next).copied() else { break };
            if broadcast.next >= touched {
                touched = broadcast.next + TOUCHED;
                self.touch(&mirror.members[broadcast.next..touched.min(mirror.members.len())]);
            }
            broadcast.next += 1;
            left -= 1;
            whole += u64::from(self.offer(&broadcast, member));
        }
        self.observe_lag(&broadcast, whole);
        let mirror = self.mirrors[broadcast.feed as usize].as_deref();
        if mirror.is_some_and(|mirror| broadcast.next < mirror.members.len()) {
            self.broadcast = Some(broadcast);
        }
        left
    }

    /// Brings what members will need into the processor's caches.
    fn touch(&self, members: &[Member]) {
        let mut seen = 0;
        for member in members {
            let Some(subscriber) = self.subscribers.get(member.key as usize) else { continue };
            let Route::Composed(composed) = &subscriber.route else { continue };
            for leg in &composed.legs {
                seen ^= leg.feed.channel.as_str().as_bytes()[0];
            }
        }
        std::hint::black_box(seen);
    }

    /// Offers a broadcast to one member; whether it took all of it.
    fn offer(&mut self, broadcast: &Broadcast, member: Member) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(member.key as usize) else { return false };
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
        match broadcast.write(&mut subscriber.socket, plain.at) {
            Ok(n) => {
                plain.at += n as u64;
                let all = plain.at == broadcast.to;
                subscriber.wrote = self.now;
                subscriber.event = self.now;
                self.tally.bytes += n as u64;
                if !all {
                    self.cut_off(broadcast, member.key);
                } else {
                    self.tally.delivered += broadcast.events;
                    if broadcast.finale {
                        self.dead.push((member.key, Reason::Final));
                    }
                }
                all
            }
            Err(error) => {
                if error.kind() == ErrorKind::WouldBlock {
                    self.cut_off(broadcast, member.key);
                } else {
                    self.refused(member.key, &error);
                }
                false
            }
        }
    }

    /// A plain member's socket is full in the middle of a broadcast. Where its place has left memory, the rest of the
    /// broadcast is kept for it.
    fn cut_off(&mut self, broadcast: &Broadcast, key: u32) {
        let gone = match &self.subscribers[key as usize].route {
            Route::Plain(plain) if self.mirror(broadcast.feed).is_some_and(|m| plain.at < m.start()) => Some(plain.at),
            _ => None,
        };
        if let Some(at) = gone {
            let mut leftover = Leftover::default();
            leftover.share(broadcast.source(), (at - broadcast.from) as usize, &self.around.leftovers);
            let at = broadcast.to;
            self.enrich_with(key, Kept { leftover, at, standing: broadcast.newest, last: broadcast.finale });
        }
        self.block(key);
    }

    /// A member moved to a place that a running broadcast has passed already.
    pub fn moved(&mut self, feed: u32, place: u32, member: Member) {
        if self.broadcast.as_ref().is_some_and(|b| b.feed == feed && (place as usize) < b.next) {
            let broadcast = self.broadcast.take().expect("just seen");
            self.offer(&broadcast, member);
            self.broadcast = Some(broadcast);
        }
    }

    /// Writes all that is due to one subscriber, on one leg or on all; whether it took all of it.
    pub fn flow(&mut self, key: u32, only: Option<u16>) -> bool {
        let wrote = match self.subscribers.get(key as usize).map(|s| &s.route) {
            None => return false,
            Some(Route::Plain(_)) => self.flow_plain(key),
            Some(Route::Composed(_)) => self.flow_composed(key, only),
        };
        match wrote {
            Ok(Wrote::All) => return true,
            Ok(Wrote::Blocked) => self.block(key),
            Ok(Wrote::Finished) => self.dead.push((key, Reason::Final)),
            Ok(Wrote::Failed) => self.dead.push((key, Reason::Client)),
            Err(error) => self.refused(key, &error),
        }
        false
    }

    fn flow_plain(&mut self, key: u32) -> io::Result<Wrote> {
        let subscriber = &mut self.subscribers[key as usize];
        let Route::Plain(plain) = &mut subscriber.route else { return Ok(Wrote::Failed) };
        let Some(Some(mirror)) = self.mirrors.get(plain.feed as usize) else { return Ok(Wrote::Failed) };
        let finale = mirror.last_after(plain.at);
        let end = finale.unwrap_or(mirror.end());
        while plain.at < end {
            collect(mirror, plain, end, &mut self.scratch);
            let n = subscriber.socket.write(&self.scratch)?;
            let before = mirror.index(plain.at);
            plain.at += n as u64;
            self.tally.bytes += n as u64;
            self.tally.delivered += (mirror.index(plain.at) - before) as u64;
            subscriber.wrote = self.now;
            subscriber.event = self.now;
            if n < self.scratch.len() {
                return Ok(Wrote::Blocked);
            }
        }
        Ok(if finale.is_some() { Wrote::Finished } else { Wrote::All })
    }

    /// A socket has room again.
    pub fn writable(&mut self, key: u32) {
        let Some(subscriber) = self.subscribers.get_mut(key as usize) else { return };
        match subscriber.socket.push() {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => return self.dead.push((key, Reason::Client)),
        }
        if !subscriber.blocked {
            return;
        }
        subscriber.blocked = false;
        self.sweep.hasten(key);
        if let Route::Plain(plain) = &subscriber.route
            && let Some(Some(mirror)) = self.mirrors.get_mut(plain.feed as usize)
        {
            mirror.blocked -= 1;
        }
        if self.flow(key, None) {
            self.watch(key, false);
            self.settle(key);
        }
    }

    /// A write failed.
    pub fn refused(&mut self, key: u32, error: &io::Error) {
        match error.kind() {
            ErrorKind::WouldBlock => self.block(key),
            ErrorKind::Interrupted => {
                self.flow(key, None);
            }
            _ => self.dead.push((key, Reason::Client)),
        }
    }

    /// Waits until the socket is writable.
    pub fn block(&mut self, key: u32) {
        let Some(subscriber) = self.subscribers.get_mut(key as usize).filter(|s| !s.blocked) else { return };
        subscriber.blocked = true;
        self.sweep.hasten(key);
        if let Route::Plain(plain) = &subscriber.route
            && let Some(Some(mirror)) = self.mirrors.get_mut(plain.feed as usize)
        {
            mirror.blocked += 1;
        }
        self.watch(key, true);
    }

    fn observe_lag(&self, broadcast: &Broadcast, times: u64) {
        if times == 0 {
            return;
        }
        let now = self.around.clock.backplane_ms() as i64;
        let each = broadcast.events / (broadcast.times.len() as u64).max(1);
        for ms in &broadcast.times {
            let lag = (now - *ms as i64).max(0) as f64 / 1000.0;
            self.around.metrics.delivery_lag.observe(lag, times * each.max(1));
        }
        broadcast.traced.iter().for_each(|delivery| delivery.reached(times));
    }
}

/// Copies what is due to one plain subscriber, bounded.
fn collect(mirror: &Mirror, plain: &Plain, end: u64, into: &mut Vec<u8>) {
    into.clear();
    for (offset, frame) in mirror.after(plain.at) {
        if *offset >= end || into.len() >= WRITE_BYTES {
            break;
        }
        let due = &frame.chunk()[plain.at.saturating_sub(*offset) as usize..];
        into.extend_from_slice(&due[..due.len().min(WRITE_BYTES)]);
        if due.len() > WRITE_BYTES {
            break;
        }
    }
}

impl Subscriber {
    /// Whether a comment or control block may be written now: at a frame's boundary, with nothing left over.
    pub fn at_boundary(&self, mirrors: &[Option<Box<Mirror>>]) -> bool {
        match &self.route {
            Route::Composed(composed) => !composed.has_leftover(),
            Route::Plain(plain) => match mirrors.get(plain.feed as usize) {
                Some(Some(mirror)) => {
                    plain.at == mirror.end()
                        || mirror.frame(mirror.index(plain.at)).is_some_and(|(offset, _)| *offset == plain.at)
                }
                _ => false,
            },
        }
    }
}
