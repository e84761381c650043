//! The sweep, once a tick: heartbeats, stalled and idle and old subscribers, trimmed logs, the pace of a drain.

use super::ending::Reason;
use super::key::Key;
use super::out::{begin_blocks, framed};
use super::schedule::Schedule;
use super::state::Courier;
use super::subscriber::{Route, Whereabouts};
use super::terms::Framing;
use super::tick::Tick;
use crate::control_event::ControlEvent;
use crate::hub::bell::FeedNumber;
use crate::hub::offset::Offset;

/// A comment as one chunk.
const BEAT_CHUNK: &[u8] = b"2\r\n:\n\r\n";
/// Ticks in which each mirror is compared with its log once.
const TICKS_PER_TRIM_ROUND: usize = 100;

impl Courier {
    /// Does what is due by time, for a bounded number of subscribers.
    pub fn sweep(&mut self) {
        let (mut round, passed) = self.schedule.begin(self.now, self.subscribers.slots());
        while let Some(block) = self.schedule.next(&mut round, self.now) {
            let due = Schedule::keys(block).map(|key| self.visit(key)).min();
            self.schedule.put_off(block, due.unwrap_or(Tick::NEVER));
        }
        self.lingering.see_off(self.now);
        self.follow_trims(passed as usize);
        self.drain_some();
    }

    /// Does what is due to one subscriber; returns the tick before which nothing will be.
    fn visit(&mut self, key: Key) -> Tick {
        let Some(subscriber) = self.subscribers.get(key) else { return Tick::NEVER };
        if let Some(reason) = self.schedule.verdict(subscriber, self.now) {
            self.subscribers.end(key, reason);
            return self.now;
        }
        let beats = self.schedule.wants_beat(subscriber, self.now);
        match self.behind_by(&subscriber.route) {
            0 => self.tally.abreast += 1,
            events => self.deps.metrics.subscriber_lag.observe(events as f64, 1),
        }
        if beats {
            self.beat(key);
        }
        self.schedule.next_due(&self.subscribers[key])
    }

    /// Events that a subscriber has still to get, of those in memory.
    fn behind_by(&self, route: &Route) -> usize {
        let count = |feed: FeedNumber, at: Offset| {
            let mirror = self.mirrors.get(feed).filter(|mirror| at < mirror.end());
            mirror.map_or(0, |mirror| mirror.count_after(at))
        };
        match route.whereabouts() {
            Whereabouts::Seat(seat) => count(seat.feed, seat.at),
            Whereabouts::Legs(composed) => composed.legs.iter().map(|leg| count(leg.feed.number, leg.at)).sum(),
        }
    }

    /// Writes a comment or an event, or the id that a filter's skips have advanced to.
    fn beat(&mut self, key: Key) {
        let subscriber = &self.subscribers[key];
        if !self.is_at_boundary(subscriber) {
            return;
        }
        let every_ms = || subscriber.beat.every_ms(self.deps.heartbeat);
        let event = subscriber.beat.told.then(|| ControlEvent::Heartbeat { every_ms: every_ms() }.to_string());
        self.unfold(key);
        let mut blocks = std::mem::take(&mut self.buffers.scratch);
        begin_blocks(&mut blocks);
        let framing = match (self.subscribers.composed_mut(key), event) {
            (Some(composed), event) => {
                composed.write_beat(event.as_deref(), &mut blocks);
                composed.framing
            }
            (None, Some(event)) => {
                blocks.extend_from_slice(event.as_bytes());
                Framing::Chunked
            }
            (None, None) => {
                self.buffers.scratch = blocks;
                return self.write_own(key, BEAT_CHUNK);
            }
        };
        self.write_own(key, framed(&mut blocks, framing));
        self.settle(key);
        self.buffers.scratch = blocks;
    }

    /// Quiet feeds are trimmed by the hub's budget too: lets go of what they dropped.
    fn follow_trims(&mut self, passed: usize) {
        let slots = self.mirrors.slots();
        for _ in 0..(slots * passed).div_ceil(TICKS_PER_TRIM_ROUND).min(slots) {
            let feed = self.mirrors.step();
            if let Some(mirror) = self.mirrors.get(feed)
                && mirror.start() < mirror.end()
            {
                let start = mirror.feed.lock().log.start();
                self.let_go(feed, start);
            }
        }
    }

    fn drain_some(&mut self) {
        if let Some(drain) = &mut self.drain {
            let count = drain.take(self.now, self.subscribers.len());
            self.subscribers.end_first(count, Reason::Drain);
        }
    }
}
