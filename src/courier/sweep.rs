//! What is due to time: heartbeats, stalled and idle and old subscribers, the pace of a drain. A slice of the slab
//! each tick, so nobody has a timer.

use super::Surroundings;
use super::compose::{begin_blocks, framed};
use super::leave::Reason;
use super::run::{Courier, TICK};
use super::subscriber::Route;
use std::io::{ErrorKind, Write};

/// A comment as one chunk.
const BEAT_CHUNK: &[u8] = b"3\r\n:\n\n\r\n";
/// A round over the slab takes a heartbeat divided by this; a heartbeat is early by as much.
const ROUNDS_PER_BEAT: u32 = 8;

/// Where the sweep stands.
pub struct Sweep {
    last: u32,
    beat: u32,
    stall: u32,
    /// 0: never.
    idle: u32,
    hand: usize,
    mirror_hand: usize,
    drain: Option<Drain>,
}

/// A drain's pace: by `begin + window`, `total` have been ended.
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
            hand: 0,
            mirror_hand: 0,
            drain: None,
        }
    }

    pub fn is_due(&self, now: u32) -> bool {
        now != self.last
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
        let slots = self.subscribers.capacity().min(self.slots());
        let visits = (slots * passed as usize).div_ceil(rounds as usize).min(slots);
        for _ in 0..visits {
            if self.sweep.hand >= slots {
                self.sweep.hand = 0;
            }
            let key = self.sweep.hand as u32;
            self.sweep.hand += 1;
            self.visit(key);
        }
        self.see_off();
        self.follow_trims(passed);
        self.drain_some();
    }

    /// One past the greatest key that may be in use.
    fn slots(&self) -> usize {
        self.subscribers.iter().next_back().map_or(0, |(key, _)| key + 1)
    }

    fn visit(&mut self, key: u32) {
        let Some(subscriber) = self.subscribers.get(key as usize) else { return };
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
            return;
        }
        self.around.metrics.subscriber_lag.observe(self.behind_by(key) as f64, 1);
        let beat = self.sweep.beat;
        if !self.subscribers[key as usize].blocked && quiet >= beat - beat / ROUNDS_PER_BEAT {
            self.beat(key);
        }
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
            composed.rest().leftover = rest;
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
