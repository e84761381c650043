//! A courier's mirrors, by the numbers of their feeds, and which of them have frames to deliver.

use super::mirror::Mirror;
use crate::frame::Frame;
use crate::hub::bell::FeedNumber;
use crate::hub::feed::{Extent, Feed};
use crate::hub::offset::Offset;
use std::collections::VecDeque;
use std::sync::Arc;

/// The mirrors of all feeds that have members at a courier.
#[derive(Default)]
pub struct Mirrors {
    /// By feed number.
    mirrors: Vec<Option<Box<Mirror>>>,
    /// Feeds with frames that were not offered to all members yet; each at most once.
    due: VecDeque<FeedNumber>,
    /// The number that [`step`](Mirrors::step) named last.
    hand: usize,
}

impl Mirrors {
    /// The mirror of a feed that has members here.
    pub fn get(&self, feed: FeedNumber) -> Option<&Mirror> {
        self.mirrors.get(feed.index())?.as_deref()
    }

    /// The mirror of a feed that has members here, to be changed.
    pub fn get_mut(&mut self, feed: FeedNumber) -> Option<&mut Mirror> {
        self.mirrors.get_mut(feed.index())?.as_deref_mut()
    }

    /// The mirror of a feed, made where there is none. The feed knows from then on that it has members at that courier.
    pub fn open(&mut self, feed: &Arc<Feed>, courier: usize) -> &mut Mirror {
        let number = feed.number.index();
        if self.mirrors.len() <= number {
            self.mirrors.resize_with(number + 1, || None);
        }
        self.mirrors[number].get_or_insert_with(|| {
            // First the bit, then the look: what is appended after the look rings.
            feed.set_members(courier, true);
            Box::new(Mirror::new(feed.clone()))
        })
    }

    /// Drops the mirror of a feed whose last member at that courier has left.
    pub fn close(&mut self, feed: FeedNumber, courier: usize) {
        if let Some(mirror) = self.mirrors.get_mut(feed.index()).and_then(Option::take) {
            mirror.feed.set_members(courier, false);
        }
    }

    /// Puts new frames into a feed's mirror, to be delivered.
    pub fn take(&mut self, feed: FeedNumber, extent: Extent, fresh: &mut Vec<(Offset, Arc<Frame>)>) {
        if let Some(mirror) = self.get_mut(feed) {
            mirror.take(extent, fresh);
            self.push_due(feed);
        }
    }

    /// Puts a feed in line for delivery, unless it is.
    pub fn push_due(&mut self, feed: FeedNumber) {
        if let Some(mirror) = self.get_mut(feed)
            && !std::mem::replace(&mut mirror.due, true)
        {
            self.due.push_back(feed);
        }
    }

    /// Takes the first feed in line for delivery.
    pub fn pop_due(&mut self) -> Option<FeedNumber> {
        let feed = self.due.pop_front()?;
        if let Some(mirror) = self.get_mut(feed) {
            mirror.due = false;
        }
        Some(feed)
    }

    /// Whether a feed is in line for delivery.
    pub fn any_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Goes from number to number, round and round, be there mirrors or not. There must be [slots](Mirrors::slots).
    pub fn step(&mut self) -> FeedNumber {
        self.hand = (self.hand + 1) % self.mirrors.len();
        FeedNumber::new(self.hand as u32)
    }

    /// One past the greatest number that a mirror may have.
    pub fn slots(&self) -> usize {
        self.mirrors.len()
    }
}
