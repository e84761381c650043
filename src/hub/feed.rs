//! A feed: one channel's live state on this node.
//!
//! It owns the channel's log (the tail) and knows which couriers have members of it. Who writes to it (the
//! follower, the joiner) and who reads it (couriers) are not its business.

use super::bell::{Bell, FeedNumber};
use super::log::{Log, NotInLog};
use super::offset::Offset;
use crate::backplane::Entry;
use crate::channel::Channel;
use crate::cursor::name_hash;
use crate::frame::{Frame, Standing};
use crate::planted::{self, Fault};
use crate::position::Position;
use parking_lot::{Mutex, MutexGuard};
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Couriers of a node at most: a feed names them by bits of a word.
pub const MAX_COURIERS: usize = 64;

/// Whether the follower keeps a feed up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The feed is new: its position is not known yet.
    Unattached,
    /// The follower keeps the feed up to date.
    Live,
    /// The feed has no legs; its tail is kept a while for those who come back.
    Dormant,
}

/// One channel's live state on this node: its log, and which couriers have members of it.
pub struct Feed {
    /// Names the feed to couriers; unique among the node's feeds.
    pub number: FeedNumber,
    pub channel: Channel,
    /// The [`name_hash`] of the channel.
    pub hash: u32,
    state: Mutex<State>,
    /// A bit per courier that has members.
    couriers: AtomicU64,
    /// A bit per courier that was told of an advance and has not looked yet.
    rung: AtomicU64,
}

/// What the feed's lock guards.
pub struct State {
    pub log: Log,
    pub life: Life,
    /// How many doubts had been stated when the read was asked for that last showed the log to be the stream's.
    pub verified: u32,
    /// The number of the last doubt about this stream alone.
    pub doubted: u32,
    /// Legs on couriers and on their way there.
    pub legs: u32,
    /// The count of legs that other nodes can read; see [`Hub::recounted`](super::Hub::recounted).
    pub told: u32,
    /// Where the log ended when quiet feeds were last looked for, as [`Offset::low`] says it.
    pub seen: u32,
    /// Somebody has begun within the log since.
    pub wanted: bool,
    /// Digest of the entry at the log's position; 0 until it was read.
    pub digest: u64,
    /// The oldest entry that the stream had when following began; what is older is of another stream. The greatest position
    /// where the stream is missing.
    pub first: Position,
    /// Mean size of an entry in bytes, for choosing how many to ask for; see [`State::learn`].
    pub mean_bytes: u32,
    /// Events per second, as of the last [`State::measure`], and the log's rank then.
    pub rate: f32,
    measured: Option<NonZeroU64>,
}

/// Mean size of entries, in bytes, before any was seen: a first answer of large ones must not be huge.
const UNKNOWN_BYTES: u32 = 16 << 10;
/// No guess of the mean size goes beyond so many bytes.
const LARGEST_GUESS: u32 = 1 << 20;

impl State {
    /// Takes note of an entry's size in bytes.
    pub fn learn(&mut self, bytes: usize) {
        let mean = (u64::from(self.mean_bytes) * 7 + bytes as u64) / 8;
        self.mean_bytes = u32::try_from(mean).unwrap_or(u32::MAX);
    }

    /// How many entries to ask for, so that they weigh about so many bytes.
    pub fn entries_within(&self, bytes: usize, bounds: RangeInclusive<usize>) -> usize {
        (bytes / (self.mean_bytes as usize).max(1)).clamp(*bounds.start(), *bounds.end())
    }

    /// Whether an entry with the id of the newest known one is that one, as far as is known.
    pub fn recognizes(&mut self, entry: &Entry) -> bool {
        let digest = entry.digest();
        let same = self.digest == 0 || digest == 0 || self.digest == digest || planted::is(Fault::WitnessNotCompared);
        if same && digest != 0 {
            self.digest = digest;
        }
        same
    }

    /// A read failed, perhaps because its answer was too large for the server: the next one asks for less.
    pub fn ask_for_less(&mut self) {
        self.mean_bytes = self.mean_bytes.saturating_mul(4).clamp(1, LARGEST_GUESS.max(self.mean_bytes));
    }

    /// Measures events per second since the last time, `seconds` ago. What a feed that was not live missed is no rate.
    pub fn measure(&mut self, seconds: f64) -> f32 {
        let rank = self.log.rank().filter(|_| self.life == Life::Live).and_then(|rank| NonZeroU64::new(rank + 1));
        let before = std::mem::replace(&mut self.measured, rank);
        let grown = rank.zip(before).map_or(0, |(now, before)| now.get().saturating_sub(before.get()));
        self.rate = (grown as f64 / seconds) as f32;
        self.rate
    }
}

/// What a stream that was trimmed still holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    pub entries: u64,
    /// Age of the oldest entry in seconds.
    pub seconds: f64,
}

impl Feed {
    pub fn new(number: FeedNumber, channel: Channel) -> Feed {
        Feed {
            number,
            hash: name_hash(&channel),
            channel,
            state: Mutex::new(State {
                log: Log::new(),
                life: Life::Unattached,
                verified: 0,
                doubted: 0,
                legs: 0,
                told: 0,
                seen: 0,
                wanted: false,
                digest: 0,
                first: Position::ZERO,
                mean_bytes: UNKNOWN_BYTES,
                rate: 0.0,
                measured: None,
            }),
            couriers: AtomicU64::new(0),
            rung: AtomicU64::new(0),
        }
    }

    /// Locks what changes of the feed. Never two feeds at once, never across an await; under the hub's map, over its `idle`
    /// and `reaches`.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Changes the log, keeps it within `limit` bytes, and rings the couriers' bells; returns how many bytes the tail grew by.
    pub fn change(&self, limit: usize, bells: &[Arc<dyn Bell>], change: impl FnOnce(&mut Log)) -> isize {
        let mut state = self.state.lock();
        let before = state.log.bytes();
        change(&mut state.log);
        // The newest stays until couriers have had the time to take it.
        state.log.trim(limit, 1);
        let grown = state.log.bytes() as isize - before as isize;
        drop(state);
        self.ring(bells);
        grown
    }

    /// Wakes every courier that has members and was not told yet.
    pub fn ring(&self, bells: &[Arc<dyn Bell>]) {
        let members = self.couriers.load(Ordering::SeqCst);
        let told = self.rung.fetch_or(members, Ordering::SeqCst);
        let mut untold = members & !told;
        while untold != 0 {
            let courier = untold.trailing_zeros() as usize;
            untold &= untold - 1;
            bells[courier].advanced(self.number);
        }
    }

    /// A courier is about to look: from now on an append rings again.
    pub fn looked(&self, courier: usize) {
        self.rung.fetch_and(!(1 << courier), Ordering::SeqCst);
    }

    /// A courier got its first member here, or lost its last.
    pub fn set_members(&self, courier: usize, any: bool) {
        let bit = 1u64 << courier;
        if any {
            self.couriers.fetch_or(bit, Ordering::SeqCst);
            // A ring that was on its way when the last member left may have marked it as told after that.
            self.rung.fetch_and(!bit, Ordering::SeqCst);
        } else {
            self.couriers.fetch_and(!bit, Ordering::SeqCst);
            self.rung.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    /// Copies frames from the offset `from` on (at most back to the log's start) for a courier's mirror.
    pub fn pull(&self, from: Offset, into: &mut Vec<(Offset, Arc<Frame>)>) -> Extent {
        let state = self.state.lock();
        state.log.copy_from(from, into);
        let log = &state.log;
        Extent { start: log.start(), end: log.end(), base: log.standing_at(from) }
    }

    /// Gives a leg back; whether it was the last.
    pub fn leave(&self) -> bool {
        let mut state = self.state.lock();
        state.legs -= 1;
        state.legs == 0
    }

    /// The offset in the log at which the frames after `position` begin.
    pub fn locate(&self, position: Position) -> Result<Offset, NotInLog> {
        self.state.lock().log.locate(position)
    }
}

/// What a log covers, at the moment of a pull.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub start: Offset,
    pub end: Offset,
    /// Where somebody stands who has all before the first frame that was copied.
    pub base: Standing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_events_that_came_while_the_feed_was_live() {
        let feed = Feed::new(FeedNumber::new(7), Channel::new("a").unwrap());
        let mut state = feed.lock();
        let mut at = |life, rank| {
            state.life = life;
            state.log.set_rank(rank);
            state.measure(2.0)
        };
        assert_eq!(at(Life::Live, Some(100)), 0.0, "what was there before");
        assert_eq!(at(Life::Live, Some(105)), 2.5);
        assert_eq!(at(Life::Live, Some(3)), 0.0, "begun anew");
        assert_eq!(at(Life::Dormant, Some(3)), 0.0);
        assert_eq!(at(Life::Live, Some(1000)), 0.0, "missed meanwhile");
        assert_eq!(at(Life::Live, None), 0.0);
        assert_eq!(at(Life::Live, Some(2000)), 0.0);
        assert_eq!(at(Life::Live, Some(2001)), 0.5);
    }

    /// A ring that was between its two steps when the last member left marks the courier as told, and nobody looks.
    #[test]
    fn a_courier_whose_first_member_comes_is_told_of_what_is_new() {
        let rung = Arc::new(Rung::default());
        let feed = Feed::new(FeedNumber::new(7), Channel::new("a").unwrap());
        feed.set_members(0, false);
        feed.rung.fetch_or(1, Ordering::SeqCst);
        feed.set_members(0, true);
        feed.ring(&[rung.clone() as Arc<dyn Bell>]);
        assert_eq!(*rung.0.lock(), [FeedNumber::new(7)]);
    }

    /// What was rung.
    #[derive(Default)]
    struct Rung(Mutex<Vec<FeedNumber>>);

    impl Bell for Rung {
        fn advanced(&self, feed: FeedNumber) {
            self.0.lock().push(feed);
        }
    }
}
