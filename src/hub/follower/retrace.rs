//! Going back: after a stream's ids went back, or it was replaced, what the log has had of it is told from what is new.

use super::followed::{Followed, Retrace};
use super::seen::Seen;
use crate::backplane::continuity::Witness;
use crate::backplane::{Entry, StreamState};
use crate::event::Event;
use crate::frame::Frame;
use crate::hub::feed::Feed;
use crate::hub::offset::Offset;
use crate::planted::{self, Fault};
use crate::position::Position;
use crate::probe::{self, Probe};

impl Followed {
    pub(super) fn is_retracing(&self) -> bool {
        matches!(self.retrace.as_deref(), Some(Retrace::After { .. }))
    }

    /// The stream is missing from here on.
    pub(super) fn remember(&mut self, position: Position) {
        let (digest, rank, begun) = {
            let feed = self.feed.lock();
            (feed.digest, feed.log.rank(), feed.log.begun())
        };
        if digest != 0 {
            self.retrace = Some(Box::new(Retrace::Former { position, digest, rank, begun }));
        }
    }

    /// What a stream is that was missing.
    pub(super) fn found_again(&mut self, seen: &Seen) -> Again {
        let (Some(&Retrace::Former { position, digest, rank, begun }), Some(_)) = (self.retrace.as_deref(), seen.state)
        else {
            return Again::No;
        };
        self.retrace = None;
        let same = seen.entries.iter().any(|entry| entry.position == position && entry.digest() == digest);
        if !same || planted::is(Fault::ReturnUnknown) {
            return Again::Another;
        }
        probe::reached(Probe::FollowFoundAgain);
        self.feed.lock().digest = digest;
        Again::Same { position, rank, begun }
    }
}

/// Whether a stream is there again that was missing.
pub(super) enum Again {
    /// It was not missing, or is so still.
    No,
    /// It is the same, begun where it was, and goes on behind the entry that was had last.
    Same { position: Position, rank: Option<u64>, begun: Offset },
    /// It is another one, whose entries must be asked for.
    Another,
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
pub(super) fn back(feed: &Feed, state: &StreamState, witness: Witness, retrace: Option<&Retrace>, seen: &Seen) -> Back {
    let (begin, renewed) = {
        let feed = feed.lock();
        let renewed = witness == Witness::Replaced || state.first.is_some_and(|first| first < feed.first);
        (feed.log.base(), renewed)
    };
    let (from, another) = match retrace {
        Some(Retrace::After { position, another }) if *another || !renewed => (*position, *another),
        _ if renewed => return Back::Ask(Retrace::After { position: Position::ZERO, another: true }),
        _ => return Back::Ask(Retrace::After { position: begin, another: false }),
    };
    // Where the log has been trimmed since it was asked, what it covered before is not new.
    let covered = if another { Position::ZERO } else { begin };
    match seen.entries.iter().position(|entry| entry.position > covered && !had(feed, entry)) {
        Some(0) => Back::On(from),
        Some(new) => Back::On(seen.entries[new - 1].position),
        None => match seen.entries.last() {
            Some(last) if seen.more() => Back::Ask(Retrace::After { position: last.position, another }),
            _ => Back::On(state.last),
        },
    }
}

/// Whether the log has had an entry, with this content.
pub(super) fn had(feed: &Feed, entry: &Entry) -> bool {
    let feed = feed.lock();
    let frame = feed.log.frame_of(entry.position).filter(|_| !planted::is(Fault::ResetRepeats));
    let Some(frame) = frame else { return false };
    match entry.is_too_large() || !frame.is_event() {
        true => entry.is_too_large() && !frame.is_event(),
        false => Frame::new(entry.position, Event::from_entry(entry)).chunk() == frame.chunk(),
    }
}

#[cfg(test)]
mod tests;
