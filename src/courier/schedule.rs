//! When something is due to subscribers. Nobody has a timer: each block of the slab has one, and a bounded number of
//! its subscribers is looked at each tick.

use super::beat::{Beat, INTERVALS};
use super::ending::Reason;
use super::key::Key;
use super::subscriber::Subscriber;
use super::tick::{Tick, ticks};
use std::ops::Range;
use std::time::Duration;

/// Where all have something due, a round over them takes a heartbeat divided by this; a heartbeat is early by as much.
const ROUNDS_PER_BEAT: u32 = 8;
/// Slots of the slab that are looked at together.
const BLOCK: usize = 64;

/// What is due to subscribers by time, and where the walk over them stands. Times are in ticks.
pub struct Schedule {
    last: Tick,
    heartbeat: u32,
    /// How many subscribers have each interval of their own.
    own: Box<[u32; INTERVALS]>,
    stall: u32,
    /// 0: never.
    idle: u32,
    /// Of each block the first tick at which one of its subscribers may have something due. What they do in between
    /// puts that off; where it does not, the block is [hastened](Schedule::hasten).
    due: Vec<Tick>,
    /// The block that was looked at last.
    hand: usize,
}

/// What a sweep may still do.
pub struct Round {
    blocks: usize,
    visits: usize,
}

impl Schedule {
    /// `idle`: zero is never.
    pub fn new(heartbeat: Duration, stall: Duration, idle: Duration) -> Schedule {
        Schedule {
            last: Tick::default(),
            heartbeat: ticks(heartbeat).max(1),
            own: Box::new([0; INTERVALS]),
            stall: ticks(stall).max(1),
            idle: ticks(idle),
            due: Vec::new(),
            hand: 0,
        }
    }

    /// Whether the last sweep was in an earlier tick.
    pub fn is_due(&self, now: Tick) -> bool {
        now != self.last
    }

    /// Somebody is there who has such a heartbeat.
    pub fn comes(&mut self, beat: Beat) {
        self.own[beat.number()] += 1;
    }

    /// Somebody has gone who had such a heartbeat.
    pub fn goes(&mut self, beat: Beat) {
        self.own[beat.number()] -= 1;
    }

    /// The shortest interval that anybody has.
    fn shortest(&self) -> u32 {
        let own = self.own.iter().enumerate().skip(1).find(|(_, there)| **there > 0);
        own.and_then(|(number, _)| Beat::ticks_of(number)).map_or(self.heartbeat, |own| own.min(self.heartbeat))
    }

    /// Something of a subscriber may be due earlier than it was when its block was looked at.
    pub fn hasten(&mut self, key: Key) {
        if let Some(due) = self.due.get_mut(key.index() / BLOCK) {
            *due = Tick::default();
        }
    }

    /// Begins a sweep over so many slots; how many ticks have passed since the last one, too.
    pub fn begin(&mut self, now: Tick, slots: usize) -> (Round, u32) {
        let passed = now.since(self.last).max(1);
        self.last = now;
        self.due.resize(slots.div_ceil(BLOCK), Tick::default());
        let rounds = (self.shortest() / ROUNDS_PER_BEAT).max(1);
        let visits = (slots * passed as usize).div_ceil(rounds as usize);
        (Round { blocks: self.due.len(), visits }, passed)
    }

    /// The next block in which something may be due.
    pub fn next(&mut self, round: &mut Round, now: Tick) -> Option<usize> {
        while round.blocks > 0 && round.visits > 0 {
            round.blocks -= 1;
            self.hand = (self.hand + 1) % self.due.len();
            if now >= self.due[self.hand] {
                round.visits = round.visits.saturating_sub(BLOCK);
                return Some(self.hand);
            }
        }
        None
    }

    /// Keys that a block has.
    pub fn keys(block: usize) -> impl Iterator<Item = Key> {
        let slots: Range<usize> = block * BLOCK..(block + 1) * BLOCK;
        slots.map(Key::of)
    }

    /// Nothing of a block is due before that tick.
    pub fn put_off(&mut self, block: usize, until: Tick) {
        self.due[block] = until;
    }

    /// Why a subscriber must end now, if it must.
    pub fn verdict(&self, subscriber: &Subscriber, now: Tick) -> Option<Reason> {
        let connection = &subscriber.connection;
        if now >= subscriber.expires {
            Some(Reason::MaxAge)
        } else if subscriber.blocked && now.since(connection.wrote) > self.stall {
            Some(Reason::Stalled)
        } else if self.idle > 0 && now.since(connection.event) > self.idle {
            Some(Reason::Idle)
        } else {
            None
        }
    }

    /// Whether it is time for a subscriber's heartbeat.
    pub fn wants_beat(&self, subscriber: &Subscriber, now: Tick) -> bool {
        !subscriber.blocked && now.since(subscriber.connection.wrote) >= self.quiet(subscriber)
    }

    /// The tick before which nothing is due to a subscriber, as it is now.
    pub fn next_due(&self, subscriber: &Subscriber) -> Tick {
        let connection = &subscriber.connection;
        let quiet = if subscriber.blocked { self.stall + 1 } else { self.quiet(subscriber) };
        let idle = if self.idle > 0 { connection.event.plus(self.idle + 1) } else { Tick::NEVER };
        connection.wrote.plus(quiet).min(subscriber.expires).min(idle)
    }

    /// How long a subscriber may be sent nothing.
    fn quiet(&self, subscriber: &Subscriber) -> u32 {
        let every = subscriber.beat.ticks().unwrap_or(self.heartbeat);
        every - every / ROUNDS_PER_BEAT
    }
}

/// A drain's pace: all who are there when it begins, and those who join beside it, have ended when its window is over.
pub struct Drain {
    begin: Tick,
    window: u32,
    total: usize,
    ended: usize,
}

impl Drain {
    /// A drain of so many subscribers, evenly within the window.
    pub fn new(begin: Tick, total: usize, window: Duration) -> Drain {
        Drain { begin, window: ticks(window), total, ended: 0 }
    }

    /// How many of those that are there are to end now, which are then taken for ended.
    pub fn take(&mut self, now: Tick, there: usize) -> usize {
        let passed = now.since(self.begin);
        self.total = self.total.max(self.ended + there);
        let due = match passed >= self.window {
            true => usize::MAX,
            false => self.total * (passed as usize + 1) / (self.window as usize + 1),
        };
        let count = due.saturating_sub(self.ended).min(there);
        self.ended += count;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_even_and_over_in_its_window() {
        let mut drain = Drain::new(Tick::default(), 100, Duration::from_secs(1));
        let (mut there, mut most) = (100, 0);
        for tick in 0..11 {
            let ends = drain.take(Tick::default().plus(tick), there);
            (there, most) = (there - ends, most.max(ends));
        }
        assert!(there == 0 && most <= 10, "{there} left, {most} at once");
    }

    #[test]
    fn a_sweep_visits_what_is_due_and_no_more_than_its_share() {
        let mut schedule = Schedule::new(Duration::from_secs(8), Duration::from_secs(60), Duration::ZERO);
        let slots = 10 * BLOCK;
        let now = Tick::default().plus(1);
        let (mut round, passed) = schedule.begin(now, slots);
        assert_eq!((passed, round.visits), (1, BLOCK), "a round takes ten ticks");
        let block = schedule.next(&mut round, now).expect("all may have something due");
        schedule.put_off(block, Tick::NEVER);
        assert_eq!(schedule.next(&mut round, now), None);
        schedule.hasten(Key::of(block * BLOCK));
        let (mut round, _) = schedule.begin(now.plus(20), slots);
        let visited: Vec<usize> = std::iter::from_fn(|| schedule.next(&mut round, now.plus(20))).collect();
        assert!(visited.len() == 10 && visited.contains(&block));
    }
}
