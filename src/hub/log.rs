//! A feed's log: the newest frames of a channel, addressed by byte offset and by position. Pure.
//!
//! The offset of a frame counts the bytes of all frames before it, so a subscriber of one channel needs a single
//! number to say where it is, in the middle of a frame too. Offsets begin far from zero, because a log also grows
//! backwards when somebody needs older history.

use super::stretch::Stretch;
use crate::frame::{Frame, Rank, Standing, due_after};
use crate::position::Position;
use std::sync::Arc;

/// Room for a terabyte of history before the first frame.
const ORIGIN: u64 = 1 << 40;

/// What a frame takes beside its wire bytes: its handle here and the frame's own fields.
const FRAME_OVERHEAD: usize = size_of::<(u64, Arc<Frame>)>() + size_of::<Frame>() + 48;

/// No count of entries gets that far.
const UNKNOWN: u64 = u64::MAX;

/// See the module.
///
/// A channel may be quiet for ever, and a node may have hundreds of thousands: without frames it is 88 bytes.
pub struct Log {
    frames: Stretch,
    end: u64,
    /// Frames before this offset are only for those who are there already: ids went back behind them.
    floor: u64,
    /// Everything after this position, up to `position`, is in the log from `floor` on.
    base: Position,
    position: Position,
    /// Entries that the stream ever had up to `position`; [`UNKNOWN`] where that is not known.
    rank: u64,
    /// Frames were trimmed since the log began.
    trimmed: bool,
    /// Whether `base` is an entry (or the beginning), not just a place between two.
    base_known: bool,
    /// The channel's newest event is its last.
    finished: bool,
    /// Before this position entries may be missing that were deleted before they were read.
    hole: Position,
    /// Grows whenever the stream turned out not to be what it was.
    era: u32,
}

/// Where a log ended at some moment.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Offset.
    pub end: u64,
    pub standing: Standing,
}

/// Why a position has no place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Before what the log covers.
    Older,
    /// Within what it covers, but no entry of that id passed by; what follows it begins at the offset.
    Absent(u64),
    /// After the newest.
    Ahead,
}

impl Log {
    pub fn new() -> Log {
        Log {
            frames: Stretch::default(),
            end: ORIGIN,
            floor: ORIGIN,
            base: Position::ZERO,
            position: Position::ZERO,
            rank: UNKNOWN,
            trimmed: false,
            base_known: true,
            finished: false,
            hole: Position::ZERO,
            era: 0,
        }
    }

    /// Begins anew at a position of the stream, without frames. Offsets go on, so nobody mistakes them: where the log ended
    /// before is before its start.
    pub fn begin_at(&mut self, position: Position, rank: Option<u64>, finished: bool) {
        self.era += 1;
        self.end += 1;
        self.frames = Stretch::default();
        (self.floor, self.trimmed, self.hole) = (self.end, false, Position::ZERO);
        (self.base, self.position, self.finished) = (position, position, finished);
        self.set_rank(rank);
        self.base_known = true;
    }

    /// The stream is back that was missing: goes on behind an entry that was had of it, as if nothing was known of what lies
    /// before that.
    pub fn return_to(&mut self, position: Position, rank: Option<u64>) {
        self.continue_after(position, rank, None);
        (self.floor, self.base, self.base_known, self.hole) = (self.end, position, true, Position::ZERO);
    }

    /// Before this position, entries may be missing that were deleted before they were read.
    pub fn hole(&self) -> Position {
        self.hole
    }

    pub fn set_hole(&mut self, hole: Position) {
        self.hole = hole;
    }

    /// The newest life's frame of an entry.
    pub fn frame_of(&self, position: Position) -> Option<&Frame> {
        let after = self.frames.partition_point(|(offset, frame)| {
            *offset < self.floor || frame.position < position || (frame.is_entry() && frame.position == position)
        });
        let (offset, frame) = self.frames.get(after.checked_sub(1)?)?;
        (*offset >= self.floor && frame.is_entry() && frame.position == position).then_some(frame)
    }

    /// Appends a frame: an event, or a control event that stands behind the newest event.
    pub fn push(&mut self, frame: Arc<Frame>) {
        if frame.is_entry() {
            self.position = frame.position;
            self.set_rank(self.rank().map(|rank| rank + 1));
            self.finished = frame.last;
        }
        let offset = self.end;
        self.end += frame.chunk().len() as u64;
        self.frames.make().push_back((offset, frame));
    }

    /// Continues at another position (a gap or reset was found), and says so to those who are here. Where ids go back,
    /// older frames are kept only for those who are in the middle of them; who joins from then on has lost nothing, and
    /// begins behind the announcement.
    pub fn continue_after(&mut self, position: Position, rank: Option<u64>, announcement: Option<Arc<Frame>>) {
        self.era += 1;
        if let Some(announcement) = announcement {
            self.push(announcement);
        }
        if position < self.position {
            (self.floor, self.base, self.base_known, self.hole) = (self.end, position, true, Position::ZERO);
        }
        self.finished &= position == self.position;
        self.position = position;
        self.set_rank(rank);
    }

    /// Corrects the count of entries up to the newest position.
    pub fn set_rank(&mut self, rank: Option<u64>) {
        self.rank = rank.unwrap_or(UNKNOWN);
    }

    /// Puts older events before the first frame: all that lie between `base` and the old base. `known` says whether
    /// there is an entry at `base` itself.
    pub fn prepend(&mut self, events: Vec<Arc<Frame>>, base: Position, known: bool) {
        debug_assert!(self.extendable());
        for frame in events.into_iter().rev() {
            let offset = self.start() - frame.chunk().len() as u64;
            self.frames.make().push_front((offset, frame));
        }
        self.floor = self.start();
        self.base = base;
        self.base_known = known;
    }

    /// Whether older frames can be put before it: not while frames of other ids stand there, nor once frames were
    /// trimmed. What is read again may differ from what stood there (gaps, deleted entries), and couriers and legs
    /// still know that by its offsets.
    pub fn extendable(&self) -> bool {
        self.floor == self.start() && !self.trimmed
    }

    /// Drops the oldest frames until at most `limit` bytes are left, or only the newest `keep` frames.
    pub fn trim(&mut self, limit: usize, keep: usize) {
        while self.bytes() > limit && self.frames.len() > keep {
            let after = self.frames.get(1).map(|(_, frame)| frame.position);
            // Nobody may begin right behind a gap: who comes from before it would not be told.
            let announces = self.frames.front().is_some_and(|(_, frame)| !frame.is_entry());
            if announces && after.is_none() {
                return;
            }
            let Some((offset, frame)) = self.frames.make().pop_front() else { return };
            self.trimmed = true;
            let start = offset + frame.chunk().len() as u64;
            if start > self.floor {
                self.floor = start;
                self.base = after.filter(|_| announces).map_or(frame.position, Position::before);
                self.base_known = !announces;
            }
        }
    }

    /// Where the frames after `position` begin.
    pub fn locate(&self, position: Position) -> Result<u64, Gone> {
        if position < self.base {
            return Err(Gone::Older);
        }
        if position > self.position {
            return Err(Gone::Ahead);
        }
        if position == self.base {
            return if self.base_known { Ok(self.floor) } else { Err(Gone::Absent(self.floor)) };
        }
        let first = self.frames.partition_point(|(offset, _)| *offset < self.floor);
        // A control event has the position of the event before it, so it comes after that event's place.
        let after = self.frames.partition_point(|(offset, frame)| {
            *offset < self.floor || frame.position < position || (frame.is_entry() && frame.position == position)
        });
        let place = self.frames.get(after).map_or(self.end, |(offset, _)| *offset);
        let known = position == self.position
            || (after > first && self.frames[after - 1].1.is_entry() && self.frames[after - 1].1.position == position);
        if known { Ok(place) } else { Err(Gone::Absent(place)) }
    }

    /// The place before the newest `count` events, or as many as there are.
    pub fn newest(&self, count: usize) -> u64 {
        let located = self.frames.iter().rev().take_while(|(offset, _)| *offset >= self.floor);
        let events = located.filter(|(_, frame)| frame.is_event());
        events.take(count).last().map_or(self.end, |(offset, _)| *offset)
    }

    /// The first event at or after an offset.
    pub fn event_from(&self, at: u64) -> Option<Position> {
        let first = self.frames.partition_point(|(offset, _)| *offset < at);
        self.frames.range(first..).map(|(_, frame)| frame).find(|frame| frame.is_event()).map(|frame| frame.position)
    }

    /// How many events can be located.
    pub fn events(&self) -> usize {
        self.frames.iter().rev().take_while(|(offset, _)| *offset >= self.floor).filter(|(_, f)| f.is_event()).count()
    }

    /// Copies the frames at and after an offset.
    pub fn copy_from(&self, from: u64, into: &mut Vec<(u64, Arc<Frame>)>) {
        // Nearly always few frames are new: look from the back.
        let fresh = self.frames.iter().rev().take_while(|(offset, _)| *offset >= from).count();
        into.extend(self.frames.iter().skip(self.frames.len() - fresh).cloned());
    }

    /// Where somebody stands who has all before the frames at and after an offset.
    pub fn standing_at(&self, at: u64) -> Standing {
        let newest = Standing { position: self.position, due: due_after(self.rank()), entry: true };
        if at >= self.end {
            return newest;
        }
        let index = self.frames.partition_point(|(offset, _)| *offset < at);
        let due = self.frames.get(index).map_or(newest.due, |(_, frame)| frame.rank);
        match (index.checked_sub(1).filter(|_| at != self.floor), self.frames.get(index)) {
            (Some(before), _) => Standing::behind(&self.frames[before].1, due),
            // Of the life before a reset, whose base is forgotten.
            (None, Some((offset, frame))) if *offset < self.floor => {
                Standing { position: frame.position.before(), due, entry: false }
            }
            (None, _) => Standing { position: self.base, due, entry: self.base_known },
        }
    }

    /// Where it ends now.
    pub fn mark(&self) -> Mark {
        Mark { end: self.end, standing: self.standing_at(self.end) }
    }

    /// How many entries the stream ever had before an offset; `None` also where an announcement stands there, which tells what
    /// is missing.
    pub fn counted_to(&self, at: u64) -> Option<u64> {
        let next = self.frames.partition_point(|(offset, _)| *offset < at);
        match self.frames.get(next) {
            Some((_, frame)) => frame.rank.filter(|_| frame.is_entry()).map(|rank| rank.get() - 1),
            None => self.rank().filter(|_| at == self.end),
        }
    }

    /// The rank that the oldest frame has: what an older one put before it counts from.
    pub fn oldest_rank(&self) -> Rank {
        self.standing_at(self.start()).due
    }

    pub fn start(&self) -> u64 {
        self.frames.front().map_or(self.end, |(offset, _)| *offset)
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn base(&self) -> Position {
        self.base
    }

    /// The newest event's id, or where the stream stood when following began.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What was read of the stream in another era is not to be believed any more.
    pub fn era(&self) -> u32 {
        self.era
    }

    pub fn rank(&self) -> Option<u64> {
        (self.rank != UNKNOWN).then_some(self.rank)
    }

    pub fn finished(&self) -> bool {
        self.finished
    }

    /// Bytes that the kept frames take in memory.
    pub fn bytes(&self) -> usize {
        (self.end - self.start()) as usize + self.frames.len() * FRAME_OVERHEAD
    }
}

impl Default for Log {
    fn default() -> Log {
        Log::new()
    }
}

#[cfg(test)]
mod tests;
