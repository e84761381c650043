//! A courier's own copy of a feed's tail, and the courier's members of that feed.
//!
//! Frames are shared, the list is the courier's own, so that a delivery takes no lock and counts no reference.

use super::key::Key;
use crate::frame::{Frame, Rank, Standing};
use crate::hub::feed::{Extent, Feed};
use crate::hub::frame_deque::FrameDeque;
use crate::hub::offset::Offset;
use crate::invariant::{self, Invariant};
use crate::planted::{self, Fault};
use crate::position::Position;
use crate::probe::{self, Probe};
use smallvec::SmallVec;
use std::sync::Arc;

/// One leg in the feed's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub key: Key,
    pub leg: u16,
}

/// A courier's copy of one feed's tail, with its members.
///
/// A channel of somebody's own is mostly quiet, and there are many: its copy is 88 bytes.
pub struct Mirror {
    pub feed: Arc<Feed>,
    frames: FrameDeque,
    end: Offset,
    /// The [`Standing`] before the first frame.
    base: (Position, Rank),
    base_is_entry: bool,
    pub members: SmallVec<[Member; 2]>,
    /// Up to here every member that is not blocked was offered the frames.
    pub offered: Offset,
    /// Waits in the courier's list of feeds to deliver.
    pub due: bool,
    /// Plain members whose sockets are full.
    pub blocked: u32,
}

impl Mirror {
    /// An empty copy that begins where the feed now ends.
    pub fn new(feed: Arc<Feed>) -> Mirror {
        let extent = feed.pull(Offset::MAX, &mut Vec::new());
        Mirror {
            feed,
            frames: FrameDeque::default(),
            end: extent.end,
            base: (extent.base.position, extent.base.due),
            base_is_entry: extent.base.entry,
            members: SmallVec::new(),
            offered: extent.end,
            due: false,
            blocked: 0,
        }
    }

    /// Looks at what is new, without taking it: members may need what it would push out.
    pub fn look(&self, fresh: &mut Vec<(Offset, Arc<Frame>)>) -> Extent {
        self.feed.pull(self.end, fresh)
    }

    /// Takes what was looked at. Where the log has moved past this copy as a whole, the copy begins anew.
    pub fn take(&mut self, extent: Extent, fresh: &mut Vec<(Offset, Arc<Frame>)>) {
        let first = fresh.first().map_or(extent.end, |(offset, _)| *offset);
        if first > self.end {
            self.frames = FrameDeque::default();
        }
        if first > self.end || self.frames.is_empty() && !planted::is(Fault::ReturnNotTold) {
            self.stand(extent.base);
        }
        invariant::holds(Invariant::MirrorFollowsLog, || has_no_hole(self.frames.back(), fresh, extent.end));
        if !fresh.is_empty() {
            self.frames.make().extend(fresh.drain(..));
        }
        self.end = extent.end;
    }

    /// Takes older frames for a member that begins before the copy does.
    pub fn reach_back(&mut self, at: Offset) {
        let start = self.start();
        if at >= start {
            return;
        }
        probe::reached(Probe::ReachedBack);
        let mut older = Vec::new();
        let extent = self.feed.pull(at, &mut older);
        older.retain(|(offset, _)| *offset < start);
        if older.last().is_some_and(|(o, f)| o.plus(f.chunk().len()) == start) {
            self.stand(extent.base);
            for frame in older.into_iter().rev() {
                self.frames.make().push_front(frame);
            }
        }
    }

    /// Drops frames before an offset.
    pub fn trim(&mut self, start: Offset) {
        while let Some((offset, frame)) = self.frames.front()
            && *offset < start
        {
            let base = Standing::behind(frame, self.frames.get(1).and_then(|(_, next)| next.rank));
            self.stand(base);
            self.frames.make().pop_front();
        }
        if self.frames.is_empty() {
            self.frames = FrameDeque::default();
        } else if self.frames.capacity() > 64 && self.frames.len() < self.frames.capacity() / 8 {
            self.frames.make().shrink_to_fit();
        }
    }

    fn stand(&mut self, base: Standing) {
        self.base = (base.position, base.due);
        self.base_is_entry = base.entry;
    }

    /// Offset of the first frame that is here; the end where there is none.
    pub fn start(&self) -> Offset {
        self.frames.front().map_or(self.end, |(offset, _)| *offset)
    }

    /// Offset behind the last frame.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Index of the frame that holds the byte at an offset, or of the one that begins there.
    pub fn index(&self, at: Offset) -> usize {
        // Nearly always the newest is asked for, and the frames before it need not be touched.
        if self.frames.back().is_some_and(|(offset, _)| *offset == at) {
            return self.frames.len() - 1;
        }
        if at >= self.end {
            return self.frames.len();
        }
        self.frames.partition_point(|(offset, frame)| offset.plus(frame.chunk().len()) <= at)
    }

    /// The frame of an [index](Mirror::index), with its offset.
    pub fn frame(&self, index: usize) -> Option<&(Offset, Arc<Frame>)> {
        self.frames.get(index)
    }

    /// Frames at and after an offset, with their offsets.
    pub fn after(&self, at: Offset) -> impl Iterator<Item = &(Offset, Arc<Frame>)> {
        self.frames.range(self.index(at)..)
    }

    /// The end of the first last-of-its-channel frame that ends after an offset.
    pub fn last_after(&self, at: Offset) -> Option<Offset> {
        self.after(at).find(|(_, frame)| frame.last).map(|(offset, frame)| offset.plus(frame.chunk().len()))
    }

    /// Where somebody stands who has the frames before an offset.
    pub fn standing_at(&self, at: Offset) -> Standing {
        let index = self.index(at);
        match index.checked_sub(1) {
            Some(before) => Standing::behind(&self.frames[before].1, self.frame(index).and_then(|(_, f)| f.rank)),
            None => Standing { position: self.base.0, due: self.base.1, entry: self.base_is_entry },
        }
    }

    /// How many frames lie after an offset.
    pub fn count_after(&self, at: Offset) -> usize {
        self.frames.len() - self.index(at)
    }

    /// Puts a member on the list; returns its place.
    pub fn add(&mut self, member: Member) -> u32 {
        self.members.push(member);
        self.members.len() as u32 - 1
    }

    /// Takes a member off; returns the one that moved to its place.
    pub fn remove(&mut self, place: u32) -> Option<Member> {
        self.members.swap_remove(place as usize);
        if self.members.capacity() > 64 && self.members.len() < self.members.capacity() / 8 {
            self.members.shrink_to_fit();
        }
        self.members.get(place as usize).copied()
    }
}

/// Whether frames follow each other up to an offset.
fn has_no_hole(last: Option<&(Offset, Arc<Frame>)>, fresh: &[(Offset, Arc<Frame>)], end: Offset) -> bool {
    let ends = last.into_iter().chain(fresh).map(|(offset, frame)| offset.plus(frame.chunk().len()));
    let begins = fresh.iter().map(|(offset, _)| *offset).chain([end]);
    let skipped = usize::from(last.is_none());
    begins.skip(skipped).zip(ends).all(|(begin, end)| begin == end)
}
