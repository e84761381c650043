//! What a page of history may cost: entries and bytes that are taken ahead of its read, within what
//! [`replay`](super::replay) has for all.

use super::Hub;
use super::feed::Feed;
use super::metrics::ReplayLimit;
use super::page::PageRequest;
use super::replay::{LEAST, Ration};
use crate::frame::Frame;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Entries of one page.
const PAGE: usize = 256;
/// Entries of a leg's first page; each is twice as large as the one before, until it is known what they weigh.
const FIRST_PAGE: usize = 16;
/// What one page should weigh at most.
const PAGE_BYTES: usize = 256 << 10;
/// What an event takes in memory beside its bytes.
const FRAME_OVERHEAD: usize = size_of::<Frame>() + 64;

/// What must be waited for before a page may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayWait {
    /// Until then more would be faster than the rate.
    Rate(Instant),
    /// Pages in memory take all the room.
    Bytes,
}

/// What a page may cost, taken ahead of its read. What was not read is given back when it goes.
pub struct Allowance {
    hub: Arc<Hub>,
    /// Entries to ask for.
    pub(super) count: usize,
    /// What of them was not read yet.
    left: usize,
    /// The memory that was taken, until a page has it.
    ration: Option<Ration>,
}

impl Hub {
    /// Takes what the next page of a leg may cost, or tells what must be waited for.
    pub(crate) fn allowance(self: &Arc<Hub>, request: &PageRequest, now: Instant) -> Result<Allowance, ReplayWait> {
        if let Some(wait) = self.pace.wait(now) {
            self.metrics.replay_waits.inc(ReplayLimit::Rate);
            return Err(ReplayWait::Rate(now + wait));
        }
        let (most, each) = page_size(request);
        let Some((count, ration)) = self.store.reserve(most, each) else {
            self.metrics.replay_waits.inc(ReplayLimit::Bytes);
            return Err(ReplayWait::Bytes);
        };
        self.pace.take(count, now);
        Ok(Allowance { hub: self.clone(), count, left: count, ration: Some(ration) })
    }

    /// Rung when memory that pages took was given back.
    pub(crate) fn page_room(&self) -> &Notify {
        &self.store.room
    }

    /// Forgets the pages that are kept for those who may want the same.
    pub(crate) fn forget_pages(&self) {
        self.pages.clear();
    }
}

/// Entries of a leg's next page at most, and the bytes that each should take in memory.
fn page_size(request: &PageRequest) -> (usize, usize) {
    let state = request.feed.lock();
    let known = (request.given as usize).clamp(FIRST_PAGE, PAGE);
    let most = state.entries_within(PAGE_BYTES, LEAST..=known);
    (most, state.mean_bytes as usize + FRAME_OVERHEAD)
}

impl Allowance {
    /// Spends what these frames cost; returns the memory that they take as long as somebody has them.
    pub(super) fn spend(&mut self, feed: &Feed, frames: &[Arc<Frame>]) -> Arc<Ration> {
        let sizes = || frames.iter().map(|frame| frame.chunk().len() + frame.beside());
        {
            let mut state = feed.lock();
            sizes().for_each(|size| state.learn(size));
        }
        self.hub.metrics.replay_entries.inc_by(frames.len() as u64);
        self.hub.pace.take(frames.len().saturating_sub(self.left), Instant::now());
        self.left = self.left.saturating_sub(frames.len());
        let mut ration = self.ration.take().unwrap_or_else(|| self.hub.store.grab(0));
        ration.resize(sizes().map(|size| size + FRAME_OVERHEAD).sum());
        Arc::new(ration)
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        self.hub.pace.give_back(self.left);
    }
}
