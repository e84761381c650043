//! Going back: after a stream's ids went back, or it was replaced, what the log has had of it is told from what is new.

use super::followed::{Followed, Retrace};
use crate::backplane::continuity::Witness;
use crate::backplane::{Entry, StreamState};
use crate::event::Event;
use crate::frame::Frame;
use crate::hub::feed::Feed;
use crate::position::Position;

impl Followed {
    pub(super) fn is_retracing(&self) -> bool {
        matches!(self.retrace.as_deref(), Some(Retrace::After(_)))
    }

    /// The stream is missing from here on.
    pub(super) fn remember(&mut self, position: Position) {
        let (digest, rank) = {
            let feed = self.feed.lock();
            (feed.digest, feed.log.rank())
        };
        if digest != 0 {
            self.retrace = Some(Box::new(Retrace::Former { position, digest, rank }));
        }
    }

    /// A stream that was missing: goes on where it was left, if it is the same. `false`: it is another, whose entries must be
    /// asked for.
    pub(super) fn found_again(&mut self, state: Option<&StreamState>, entries: &[Entry]) -> bool {
        let (Some(&Retrace::Former { position, digest, rank }), Some(_)) = (self.retrace.as_deref(), state) else {
            return true;
        };
        self.retrace = None;
        let same = entries.iter().any(|entry| entry.position == position && entry.digest() == digest);
        if same {
            let mut feed = self.feed.lock();
            feed.log.return_to(position, rank);
            feed.digest = digest;
        }
        same
    }
}

/// What to do after a reset.
pub(super) enum Back {
    /// Ask for entries after another position.
    Ask(Retrace),
    /// All that is new lies after this position.
    On(Position),
}

/// After a reset: where what is new begins. What the log never covered is known to be new only where the stream is another
/// one: its newest known entry was replaced, or it holds older ones than it did.
pub(super) fn back(
    feed: &Feed,
    state: &StreamState,
    witness: Witness,
    retrace: Option<&Retrace>,
    entries: &[Entry],
    more: bool,
) -> Back {
    let begin = {
        let feed = feed.lock();
        let renewed = witness == Witness::Replaced || state.first.is_some_and(|first| first < feed.first);
        if renewed { Position::ZERO } else { feed.log.base() }
    };
    let Some(Retrace::After(from)) = retrace else { return Back::Ask(Retrace::After(begin)) };
    match entries.iter().position(|entry| !had(feed, entry)) {
        Some(0) => Back::On(*from),
        Some(new) => Back::On(entries[new - 1].position),
        None => match entries.last() {
            Some(last) if more => Back::Ask(Retrace::After(last.position)),
            _ => Back::On(state.last),
        },
    }
}

/// Whether the log has had an entry, with this content.
pub(super) fn had(feed: &Feed, entry: &Entry) -> bool {
    let feed = feed.lock();
    let Some(frame) = feed.log.frame_of(entry.position) else { return false };
    match entry.is_too_large() || !frame.is_event() {
        true => entry.is_too_large() && !frame.is_event(),
        false => Frame::new(entry.position, Event::from_entry(entry)).chunk() == frame.chunk(),
    }
}
