//! A courier's own copy of a feed's tail, and the courier's members of that feed.
//!
//! Frames are shared, the list is the courier's own, so that a delivery takes no lock and counts no reference.

use crate::frame::{Frame, Rank, Standing};
use crate::hub::feed::{Extent, Feed};
use crate::hub::stretch::Stretch;
use crate::position::Position;
use smallvec::SmallVec;
use std::sync::Arc;

/// One leg in the feed's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub key: u32,
    pub leg: u16,
}

/// See the module.
///
/// A channel of somebody's own is mostly quiet, and there are many: its copy is 88 bytes.
pub struct Mirror {
    pub feed: Arc<Feed>,
    frames: Stretch,
    end: u64,
    /// The [`Standing`] before the first frame.
    base: (Position, Rank),
    base_is_entry: bool,
    pub members: SmallVec<[Member; 2]>,
    /// Up to here every member that is not blocked was offered the frames.
    pub offered: u64,
    /// Waits in the courier's list of feeds to deliver.
    pub due: bool,
    /// Plain members whose sockets are full.
    pub blocked: u32,
}

impl Mirror {
    /// An empty copy that begins where the feed now ends.
    pub fn new(feed: Arc<Feed>) -> Mirror {
        let extent = feed.pull(u64::MAX, &mut Vec::new());
        Mirror {
            feed,
            frames: Stretch::default(),
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
    pub fn look(&self, fresh: &mut Vec<(u64, Arc<Frame>)>) -> Extent {
        self.feed.pull(self.end, fresh)
    }

    /// Takes what was looked at. Where the log has moved past this copy as a whole, the copy begins anew.
    pub fn take(&mut self, extent: Extent, fresh: &mut Vec<(u64, Arc<Frame>)>) {
        let first = fresh.first().map_or(extent.end, |(offset, _)| *offset);
        if first > self.end {
            self.frames = Stretch::default();
            self.stand(extent.base);
        }
        if !fresh.is_empty() {
            self.frames.make().extend(fresh.drain(..));
        }
        self.end = extent.end;
    }

    /// Takes older frames for a member that begins before the copy does.
    pub fn reach_back(&mut self, at: u64) {
        let start = self.start();
        if at >= start {
            return;
        }
        let mut older = Vec::new();
        let extent = self.feed.pull(at, &mut older);
        older.retain(|(offset, _)| *offset < start);
        if older.last().is_some_and(|(o, f)| o + f.chunk().len() as u64 == start) {
            self.stand(extent.base);
            for frame in older.into_iter().rev() {
                self.frames.make().push_front(frame);
            }
        }
    }

    /// Drops frames before an offset.
    pub fn trim(&mut self, start: u64) {
        while let Some((offset, frame)) = self.frames.front()
            && *offset < start
        {
            let base = Standing::behind(frame, self.frames.get(1).and_then(|(_, next)| next.rank));
            self.stand(base);
            self.frames.make().pop_front();
        }
        if self.frames.capacity() > 64 && self.frames.len() < self.frames.capacity() / 8 {
            self.frames.make().shrink_to_fit();
        }
    }

    fn stand(&mut self, base: Standing) {
        self.base = (base.position, base.due);
        self.base_is_entry = base.entry;
    }

    pub fn start(&self) -> u64 {
        self.frames.front().map_or(self.end, |(offset, _)| *offset)
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    /// Index of the frame that holds the byte at an offset, or of the one that begins there.
    pub fn index(&self, at: u64) -> usize {
        // Nearly always the newest is asked for, and the frames before it need not be touched.
        if self.frames.back().is_some_and(|(offset, _)| *offset == at) {
            return self.frames.len() - 1;
        }
        if at >= self.end {
            return self.frames.len();
        }
        self.frames.partition_point(|(offset, frame)| offset + frame.chunk().len() as u64 <= at)
    }

    pub fn frame(&self, index: usize) -> Option<&(u64, Arc<Frame>)> {
        self.frames.get(index)
    }

    /// Frames at and after an offset, with their offsets.
    pub fn after(&self, at: u64) -> impl Iterator<Item = &(u64, Arc<Frame>)> {
        self.frames.range(self.index(at)..)
    }

    /// The end of the first last-of-its-channel frame that ends after an offset.
    pub fn last_after(&self, at: u64) -> Option<u64> {
        self.after(at).find(|(_, frame)| frame.last).map(|(offset, frame)| offset + frame.chunk().len() as u64)
    }

    /// Where somebody stands who has the frames before an offset.
    pub fn standing_at(&self, at: u64) -> Standing {
        let index = self.index(at);
        match index.checked_sub(1) {
            Some(before) => Standing::behind(&self.frames[before].1, self.frame(index).and_then(|(_, f)| f.rank)),
            None => Standing { position: self.base.0, due: self.base.1, entry: self.base_is_entry },
        }
    }

    /// How many frames lie after an offset.
    pub fn count_after(&self, at: u64) -> usize {
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
