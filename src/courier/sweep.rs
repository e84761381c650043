//! What is due to time: heartbeats, stalled and idle and old subscribers, the pace of a drain. Nobody has a timer: each
//! block of the slab has one, and a bounded number of its subscribers is looked at each tick.

use super::Surroundings;
use super::compose::{begin_blocks, framed};
use super::leave::Reason;
use super::run::{Courier, TICK};
use super::subscriber::Route;
use std::io::{ErrorKind, Write};

/// A comment as one chunk.
const BEAT_CHUNK: &[u8] = b"3\r\n:\n\n\r\n";
/// Where all have something due, a round over them takes a heartbeat divided by this; a heartbeat is early by as much.
const ROUNDS_PER_BEAT: u32 = 8;
/// Slots of the slab that are looked at together.
const BLOCK: usize = 64;

/// Where the sweep stands.
pub struct Sweep {
    last: u32,
    beat: u32,
    stall: u32,
    /// 0: never.
    idle: u32,
    /// Of each block the first tick at which one of its subscribers may have something due. What they do in between
    /// puts that off; where it does not, the block is [hastened](Sweep::hasten).
    due: Vec<u32>,
    /// The block that was looked at last.
    hand: usize,
    /// Subscribers that were looked at and have all there is.
    abreast: u64,
    mirror_hand: usize,
    drain: Option<Drain>,
}

/// A drain's pace: by `begin + window`, `total` have been ended, and those who joined beside it.
struct Drain {
    begin: u32,
    window: u32,
    total: usize,
    ended: usize,
}

fn ticks(duration: std::time::Duration) -> u32 {
    (duration.as_millis() / TICK.as_millis()).min(u32::MAX as u128 / 2) as u32
}

impl Sweep {
    pub fn new(around: &Surroundings) -> Sweep {
        Sweep {
            last: 0,
            beat: ticks(around.heartbeat).max(1),
            stall: ticks(around.stall_timeout).max(1),
            idle: ticks(around.idle_timeout),
            due: Vec::new(),
            hand: 0,
            abreast: 0,
            mirror_hand: 0,
            drain: None,
        }
    }

    pub fn is_due(&self, now: u32) -> bool {
        now != self.last
    }

    /// Something of a subscriber may be due earlier than it was when its block was looked at.
    pub fn hasten(&mut self, key: u32) {
        if let Some(due) = self.due.get_mut(key as usize / BLOCK) {
            *due = 0;
        }
    }

    /// From now on `total` subscribers are ended evenly; a second call may hurry.
    pub fn start_drain(&mut self, now: u32, total: usize, window_ms: u64) {
        let window = (window_ms / TICK.as_millis() as u64) as u32;
        self.drain = Some(Drain { begin: now, window, total, ended: 0 });
    }
}

impl Courier {
    pub fn sweep(&mut self) {
        let passed = self.now.wrapping_sub(self.sweep.last).max(1);
        self.sweep.last = self.now;
        let rounds = (self.sweep.beat / ROUNDS_PER_BEAT).max(1);
        let slots = self.slots();
        self.sweep.due.resize(slots.div_ceil(BLOCK), 0);
        let mut visits = (slots * passed as usize).div_ceil(rounds as usize);
        for _ in 0..self.sweep.due.len() {
            if visits == 0 {
                break;
            }
            self.sweep.hand = (self.sweep.hand + 1) % self.sweep.due.len();
            if self.now >= self.sweep.due[self.sweep.hand] {
                self.look_at(self.sweep.hand);
                visits = visits.saturating_sub(BLOCK);
            }
        }
        self.around.metrics.subscriber_lag.observe(0.0, std::mem::take(&mut self.sweep.abreast));
        self.see_off();
        self.follow_trims(passed);
        self.drain_some();
    }

    /// One past the greatest key that may be in use.
    fn slots(&self) -> usize {
        self.subscribers.iter().next_back().map_or(0, |(key, _)| key + 1)
    }

    fn look_at(&mut self, block: usize) {
        let keys = block * BLOCK..(block + 1) * BLOCK;
        self.sweep.due[block] = keys.map(|key| self.visit(key as u32)).min().unwrap_or(u32::MAX);
    }

    /// Does what is due to one subscriber; returns the tick before which nothing will be.
    fn visit(&mut self, key: u32) -> u32 {
        let Some(subscriber) = self.subscribers.get(key as usize) else { return u32::MAX };
        let quiet = self.now.wrapping_sub(subscriber.wrote);
        let reason = if self.now >= subscriber.expires {
            Some(Reason::MaxAge)
        } else if subscriber.blocked && quiet > self.sweep.stall {
            Some(Reason::Stalled)
        } else if self.sweep.idle > 0 && self.now.wrapping_sub(subscriber.event) > self.sweep.idle {
            Some(Reason::Idle)
        } else {
            None
        };
        if let Some(reason) = reason {
            self.dead.push((key, reason));
            return self.now;
        }
        let (blocked, beat) = (subscriber.blocked, self.sweep.beat - self.sweep.beat / ROUNDS_PER_BEAT);
        match self.behind_by(key) {
            0 => self.sweep.abreast += 1,
            events => self.around.metrics.subscriber_lag.observe(events as f64, 1),
        }
        if !blocked && quiet >= beat {
            self.beat(key);
        }
        let subscriber = &self.subscribers[key as usize];
        let quiet = if subscriber.blocked { self.sweep.stall + 1 } else { beat };
        let idle = if self.sweep.idle > 0 { subscriber.event.saturating_add(self.sweep.idle + 1) } else { u32::MAX };
        subscriber.wrote.saturating_add(quiet).min(subscriber.expires).min(idle)
    }

    /// Events that a subscriber has still to get, of those in memory.
    fn behind_by(&self, key: u32) -> usize {
        let count =
            |feed: u32, at: u64| self.mirror(feed).map_or(0, |m| if at >= m.end() { 0 } else { m.count_after(at) });
        match &self.subscribers[key as usize].route {
            Route::Plain(plain) => count(plain.feed, plain.at),
            Route::Composed(composed) => composed.legs.iter().map(|leg| count(leg.feed.number, leg.at)).sum(),
        }
    }

    /// A comment, or the id that a filter's skips have advanced to.
    fn beat(&mut self, key: u32) {
        if !self.subscribers[key as usize].at_boundary(&self.mirrors) {
            return;
        }
        let subscriber = &mut self.subscribers[key as usize];
        let (plain, bytes) = match &mut subscriber.route {
            Route::Plain(_) => (true, BEAT_CHUNK),
            Route::Composed(composed) => {
                begin_blocks(&mut self.scratch);
                composed.write_beat(&mut self.scratch);
                (false, framed(&mut self.scratch, composed.framing))
            }
        };
        let n = match subscriber.socket.write(bytes) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return self.dead.push((key, Reason::Client)),
        };
        if n > 0 {
            subscriber.wrote = self.now;
            self.tally.bytes += n as u64;
        }
        if n == bytes.len() {
            return;
        }
        // A cut comment must be finished before anything else, so it is kept as a leftover.
        let rest = bytes[n..].to_vec();
        if plain {
            self.enrich(key, &rest);
        } else if let Route::Composed(composed) = &mut subscriber.route {
            composed.rest().leftover.push(&rest, &self.around.leftovers);
        }
        self.block(key);
    }

    /// Quiet feeds are trimmed by the hub's budget too: lets go of what they dropped.
    fn follow_trims(&mut self, passed: u32) {
        let visits = (self.mirrors.len() * passed as usize).div_ceil(100).min(self.mirrors.len());
        for _ in 0..visits {
            self.sweep.mirror_hand = (self.sweep.mirror_hand + 1) % self.mirrors.len();
            let number = self.sweep.mirror_hand as u32;
            if let Some(mirror) = self.mirror(number)
                && mirror.start() < mirror.end()
            {
                let start = mirror.feed.lock().log.start();
                self.let_go(number, start);
            }
        }
    }

    fn drain_some(&mut self) {
        let Some(drain) = &mut self.sweep.drain else { return };
        let passed = self.now - drain.begin;
        drain.total = drain.total.max(drain.ended + self.subscribers.len());
        let due = if passed >= drain.window {
            usize::MAX
        } else {
            drain.total * (passed as usize + 1) / (drain.window as usize + 1)
        };
        let count = due.saturating_sub(drain.ended);
        drain.ended += count.min(self.subscribers.len());
        let ending = self.subscribers.iter().take(count).map(|(key, _)| (key as u32, Reason::Drain));
        self.dead.extend(ending);
    }
}
