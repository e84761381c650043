//! From entries to frames: events, and what is said of entries that are too large to be delivered. Pure.

use crate::backplane::Entry;
use crate::channel::Channel;
use crate::control_event::{Gap, GapReason};
use crate::event::Event;
use crate::frame::{Frame, Rank};
use crate::planted::{self, Fault};
use crate::position::Position;
use std::sync::Arc;

/// Frames of a channel's entries, which follow `before`, and of which the first has rank `next`.
pub(super) fn encode(channel: &Channel, entries: &[Entry], before: Option<Position>, next: Rank) -> Vec<Arc<Frame>> {
    let ranked = |(index, entry): (usize, &Entry)| {
        let rank = next.and_then(|next| next.checked_add(index as u64));
        let frame = match entry.is_too_large() {
            true => Frame::too_large(entry.position, &too_large(channel, entries, index, before)),
            false => Frame::new(entry.position, Event::from_entry(entry)),
        };
        Arc::new(frame.ranked(rank))
    };
    entries.iter().enumerate().map(ranked).collect()
}

/// What is said of an entry that is too large, one of entries that follow `before`.
pub(super) fn too_large(channel: &Channel, entries: &[Entry], index: usize, before: Option<Position>) -> Gap {
    let known = |index: usize| entries.get(index).map(|entry| entry.position);
    Gap {
        channel: channel.to_string(),
        reason: GapReason::TooLarge,
        resume_from: index.checked_sub(1).and_then(known).or(before),
        continues_at: known(index + 1).or(known(index)),
        lost: Some(if planted::is(Fault::TooLargeCountsTwice) { 2 } else { 1 }),
    }
}
