//! A feed's log: the newest frames of a channel, addressed by byte offset and by position. Pure.
//!
//! The offset of a frame counts the bytes of all frames before it, so a subscriber of one channel needs a single
//! number to say where it is, in the middle of a frame too. Offsets begin far from zero, because a log also grows
//! backwards when somebody needs older history.

use super::frame_deque::FrameDeque;
use super::offset::Offset;
use crate::frame::{Frame, Rank, Standing, due_after};
use crate::invariant::{self, Invariant};
use crate::planted::{self, Fault};
use crate::position::Position;
use std::sync::Arc;

/// What a frame takes beside its wire bytes: its handle here and the frame's own fields.
const FRAME_OVERHEAD: usize = size_of::<(Offset, Arc<Frame>)>() + size_of::<Frame>() + 48;

/// Stands for a count of entries that is not known: no count gets that far.
const UNKNOWN: u64 = u64::MAX;

/// The newest frames of a channel, addressed by byte offset and by position.
///
/// A channel may be quiet for ever, and a node may have hundreds of thousands: without frames a log is 112 bytes.
pub struct Log {
    frames: FrameDeque,
    end: Offset,
    /// Frames before this offset are only for those who are there already: ids went back behind them.
    floor: Offset,
    /// Here the stream turned out to be an older copy, or another one: who had got no further is of the life before.
    begun: Offset,
    /// It is another one for certain.
    another: bool,
    /// From here on entries are counted in a stream that may be another one, of which nothing tells: counts of before do not go with it.
    counted_from: Offset,
    /// Everything after this position, up to `position`, is in the log from `floor` on.
    base: Position,
    position: Position,
    /// Entries that the stream ever had up to `position`; [`UNKNOWN`] where that is not known.
    rank: u64,
    /// Frames were trimmed since the log began.
    trimmed: bool,
    /// Of those from `floor` on, some were trimmed or left out.
    cut: bool,
    /// Whether `base` is an entry (or the beginning), not just a place between two.
    base_known: bool,
    /// The channel's newest event is its last.
    finished: bool,
    /// Before this position entries may be missing that were deleted before they were read.
    hole: Position,
    /// Grows whenever the stream turned out not to be what it was.
    era: u32,
    /// Bytes that frames keep beside what they send.
    beside: u32,
}

/// Where a log ended at some moment.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Its offset.
    pub end: Offset,
    pub standing: Standing,
}

/// Whether a stream was made anew since some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It goes on.
    No,
    /// It is an older copy of itself, or another one.
    Perhaps,
    /// It is another one, or is missing.
    Yes,
}

/// Why a position has no place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotInLog {
    /// The position lies before what the log covers.
    Older,
    /// The position lies within what the log covers, but no entry of that id passed by; what follows begins at the offset.
    Absent(Offset),
    /// The position lies after the newest.
    Ahead,
}

impl Log {
    pub fn new() -> Log {
        Log {
            frames: FrameDeque::default(),
            end: Offset::ORIGIN,
            floor: Offset::ORIGIN,
            begun: Offset::ORIGIN,
            another: true,
            counted_from: Offset::ORIGIN,
            base: Position::ZERO,
            position: Position::ZERO,
            rank: UNKNOWN,
            trimmed: false,
            cut: false,
            base_known: true,
            finished: false,
            hole: Position::ZERO,
            era: 0,
            beside: 0,
        }
    }

    /// Begins anew at a position of the stream, without frames. Offsets go on, so nobody mistakes them: where the log ended
    /// before is before its start.
    pub fn begin_at(&mut self, position: Position, rank: Option<u64>, finished: bool) {
        self.era += 1;
        self.end = self.end.plus(1);
        (self.frames, self.beside) = (FrameDeque::default(), 0);
        (self.floor, self.trimmed, self.cut, self.hole) = (self.end, false, false, Position::ZERO);
        (self.begun, self.another) = (self.end, true);
        (self.base, self.position, self.finished) = (position, position, finished);
        self.set_rank(rank);
        self.base_known = true;
    }

    /// The stream is back that was missing, and had begun there: goes on behind an entry that was had of it, as if nothing was known of
    /// what lies before that. Who is here is sent a comment, by which it stands there, too.
    pub fn return_to(&mut self, position: Position, rank: Option<u64>, begun: Offset) {
        let comment = Arc::new(Frame::control(position, b":\n"));
        self.continue_after(position, rank, Some(comment).filter(|_| !planted::is(Fault::ReturnNotTold)));
        (self.floor, self.base, self.base_known, self.hole) = (self.end, position, true, Position::ZERO);
        self.cut = false;
        self.begun = begun;
    }

    /// Where the stream's present life began.
    pub fn begun(&self) -> Offset {
        self.begun
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
            invariant::holds(Invariant::LogGrows, || frame.position > self.position);
            self.position = frame.position;
            self.set_rank(self.rank().map(|rank| rank + 1));
            self.finished = frame.last;
        }
        let offset = self.end;
        self.end = offset.plus(frame.chunk().len());
        self.beside = self.beside.saturating_add(frame.beside() as u32);
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
            // What was there in the life before may be no entry of this one, and who had it must be told; and so must who had
            // nothing, if something is gone.
            let known = position == Position::ZERO && rank == Some(0) || planted::is(Fault::BaseBelieved);
            (self.floor, self.base, self.base_known, self.hole) = (self.end, position, known, Position::ZERO);
            self.cut = false;
        }
        self.finished &= position == self.position;
        self.position = position;
        self.set_rank(rank);
    }

    /// The stream is another one from here on, or an older copy of the one before, which has what the log had of that up to where it
    /// goes on now.
    pub fn begin_life(&mut self) {
        (self.begun, self.another) = (self.end, self.position == Position::ZERO);
    }

    /// Nothing that was known of the stream is there any more: whether it went on or was made anew, its counts do not tell.
    pub fn count_anew(&mut self) {
        self.counted_from = self.end;
    }

    /// Whether entries are counted in the same stream as where this log ended at an offset.
    pub fn counts_on_since(&self, known_to: Offset) -> bool {
        known_to >= self.counted_from
    }

    /// Who comes from before an entry finds what lies up to it in the stream, not here: who is here has had it in another place.
    pub fn begin_behind(&mut self, position: Position) {
        if position > self.position {
            self.position = position;
            self.set_rank(None);
        }
        let first = self.frames.partition_point(|(offset, frame)| *offset < self.floor || frame.position <= position);
        self.floor = self.frames.get(first).map_or(self.end, |(offset, _)| *offset);
        (self.base, self.base_known, self.cut) = (position, true, true);
    }

    /// Corrects the count of entries up to the newest position.
    pub fn set_rank(&mut self, rank: Option<u64>) {
        self.rank = rank.unwrap_or(UNKNOWN);
    }

    /// Says whether the newest event is the channel's last, where that was not read with it.
    pub fn set_finished(&mut self, finished: bool) {
        self.finished = finished;
    }

    /// Puts older events before the first frame: all that lie between `base` and the old base. `known` says whether
    /// there is an entry at `base` itself.
    pub fn prepend(&mut self, events: Vec<Arc<Frame>>, base: Position, known: bool) {
        debug_assert!(self.extendable());
        for frame in events.into_iter().rev() {
            let offset = self.start().minus(frame.chunk().len());
            self.beside = self.beside.saturating_add(frame.beside() as u32);
            self.frames.make().push_front((offset, frame));
        }
        self.floor = self.start();
        // Of the same life, though their offsets lie before those that it began with.
        self.begun = self.begun.min(self.floor);
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
            if self.frames.is_empty() {
                // Its memory, too.
                self.frames = FrameDeque::default();
            }
            self.trimmed = true;
            self.beside = self.beside.saturating_sub(frame.beside() as u32);
            let start = offset.plus(frame.chunk().len());
            if start > self.floor {
                (self.floor, self.cut) = (start, true);
                self.base = after.filter(|_| announces).map_or(frame.position, Position::before);
                self.base_known = !announces;
            }
        }
    }

    /// The offset at which the frames after `position` begin.
    pub fn locate(&self, position: Position) -> Result<Offset, NotInLog> {
        if position < self.base {
            return Err(NotInLog::Older);
        }
        if position > self.position {
            return Err(NotInLog::Ahead);
        }
        if position == self.base {
            return if self.base_known { Ok(self.floor) } else { Err(NotInLog::Absent(self.floor)) };
        }
        let first = self.frames.partition_point(|(offset, _)| *offset < self.floor);
        // A control event has the position of the event before it, so it comes after that event's place.
        let after = self.frames.partition_point(|(offset, frame)| {
            *offset < self.floor || frame.position < position || (frame.is_entry() && frame.position == position)
        });
        let place = self.frames.get(after).map_or(self.end, |(offset, _)| *offset);
        let known = position == self.position
            || (after > first && self.frames[after - 1].1.is_entry() && self.frames[after - 1].1.position == position);
        if known { Ok(place) } else { Err(NotInLog::Absent(place)) }
    }

    /// The offset before the newest `count` events, or as many as there are.
    pub fn newest(&self, count: usize) -> Offset {
        let located = self.frames.iter().rev().take_while(|(offset, _)| *offset >= self.floor);
        let events = located.filter(|(_, frame)| frame.is_event());
        events.take(count).last().map_or(self.end, |(offset, _)| *offset)
    }

    /// The first event at or after an offset.
    pub fn event_from(&self, at: Offset) -> Option<Position> {
        let first = self.frames.partition_point(|(offset, _)| *offset < at);
        self.frames.range(first..).map(|(_, frame)| frame).find(|frame| frame.is_event()).map(|frame| frame.position)
    }

    /// The oldest entry that can be located.
    pub fn oldest_entry(&self) -> Option<Position> {
        let first = self.frames.partition_point(|(offset, _)| *offset < self.floor);
        self.frames.range(first..).map(|(_, frame)| frame).find(|frame| frame.is_entry()).map(|frame| frame.position)
    }

    /// How many events can be located.
    pub fn events(&self) -> usize {
        self.frames.iter().rev().take_while(|(offset, _)| *offset >= self.floor).filter(|(_, f)| f.is_event()).count()
    }

    /// Copies the frames at and after an offset.
    pub fn copy_from(&self, from: Offset, into: &mut Vec<(Offset, Arc<Frame>)>) {
        // Nearly always few frames are new: look from the back.
        let fresh = self.frames.iter().rev().take_while(|(offset, _)| *offset >= from).count();
        into.extend(self.frames.iter().skip(self.frames.len() - fresh).cloned());
    }

    /// The frames at and after an offset, unless some of them have left memory.
    pub fn frames_from(&self, at: Offset) -> Option<impl Iterator<Item = &(Offset, Arc<Frame>)>> {
        let first = self.frames.partition_point(|(offset, _)| *offset < at);
        (at >= self.start()).then(|| self.frames.range(first..))
    }

    /// Where somebody stands who has all before the frames at and after an offset.
    pub fn standing_at(&self, at: Offset) -> Standing {
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

    /// Where the log ends now.
    pub fn mark(&self) -> Mark {
        Mark { end: self.end, standing: self.standing_at(self.end) }
    }

    /// How many entries the stream ever had before an offset; `None` also where an announcement stands there, which tells what
    /// is missing, and where the log begins behind it.
    pub fn counted_to(&self, at: Offset) -> Option<u64> {
        if at < self.start() {
            return None;
        }
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

    /// Offset of the oldest frame.
    pub fn start(&self) -> Offset {
        self.frames.front().map_or(self.end, |(offset, _)| *offset)
    }

    /// Where those begin who have nothing of a stream whose ids went back: frames before it are only for those who were there
    /// already. `None`: the log has trimmed some of what they are owed.
    pub fn life(&self) -> Option<Offset> {
        (!self.cut).then_some(self.floor)
    }

    /// Offset behind the newest frame.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Everything after this position can be located.
    pub fn base(&self) -> Position {
        self.base
    }

    /// Whether what the log begins behind is an entry, which the stream must hold unless that was deleted or trimmed.
    pub fn base_is_entry(&self) -> bool {
        self.standing_at(self.start()).entry
    }

    /// The newest event's id, or where the stream stood when following began.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The era of the stream: what was read of it in another one is not to be believed any more.
    pub fn era(&self) -> u32 {
        self.era
    }

    /// Whether the stream was made anew since this log ended at an offset.
    pub fn renewed_since(&self, known_to: Offset) -> Renewed {
        match known_to >= self.begun || planted::is(Fault::LifeBehindUnknown) {
            true => Renewed::No,
            false if self.another => Renewed::Yes,
            false => Renewed::Perhaps,
        }
    }

    /// How many entries the stream ever had up to the newest position, where that is known.
    pub fn rank(&self) -> Option<u64> {
        (self.rank != UNKNOWN).then_some(self.rank)
    }

    /// Whether the channel's newest event is its last.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// Bytes that the kept frames take in memory.
    pub fn bytes(&self) -> usize {
        self.end.since(self.start()) + self.beside as usize + self.frames.len() * FRAME_OVERHEAD
    }
}

impl Default for Log {
    fn default() -> Log {
        Log::new()
    }
}

#[cfg(test)]
mod tests;
