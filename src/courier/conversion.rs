//! The two forms of a subscriber: plain where shared bytes are all that it is sent, composed otherwise; and when it goes
//! from one to the other.

use super::key::Key;
use super::leftover::{Leftover, Source};
use super::mirror::Member;
use super::state::Courier;
use super::subscriber::{Composed, Leg, Plain, Route};
use super::terms::{Framing, Terms};
use crate::frame::{Part, Standing};
use crate::hub::bell::FeedNumber;
use crate::hub::offset::Offset;
use crate::planted::{self, Fault};
use crate::probe::{self, Probe};

/// Where a plain subscriber is, in full.
pub struct Kept {
    /// The rest of the frame that it is in the middle of.
    pub leftover: Leftover,
    /// Behind that.
    pub at: Offset,
    pub standing: Standing,
    /// That was the channel's last event.
    pub last: bool,
}

impl Courier {
    /// Makes a plain subscriber composed: its bytes are about to leave memory, or a comment was cut off.
    pub fn make_composed(&mut self, key: Key, cut: &[u8]) {
        let Route::Plain(plain) = &self.subscribers[key].route else { return };
        let Some(mirror) = self.mirrors.get(plain.feed) else { return };
        let mut leftover = Leftover::default();
        leftover.push(cut, &self.deps.leftovers);
        let mut kept = Kept { leftover, at: plain.at, standing: mirror.standing_at(plain.at), last: false };
        let index = mirror.index(plain.at);
        if let Some((offset, frame)) = mirror.frame(index)
            && *offset < plain.at
        {
            let (mut of, at) = (frame, plain.at.since(*offset));
            if planted::is(Fault::LeftoverOfAnother)
                && let Some((_, before)) = index.checked_sub(1).and_then(|before| mirror.frame(before))
                && before.chunk().len() >= at
            {
                of = before;
            }
            kept.leftover.share(Source::Frame(of.clone(), Part::Chunk, 0), at, &self.deps.leftovers);
            kept.at = offset.plus(frame.chunk().len());
            (kept.standing, kept.last) = (mirror.standing_at(kept.at), frame.last);
        }
        self.make_composed_at(key, kept);
    }

    /// Makes a plain subscriber composed with what is kept of where it is.
    pub fn make_composed_at(&mut self, key: Key, kept: Kept) {
        let subscriber = &mut self.subscribers[key];
        let Route::Plain(plain) = &subscriber.route else { return };
        let Some(mirror) = self.mirrors.get_mut(plain.feed) else { return };
        probe::reached(Probe::MadeComposed);
        let Standing { position, due, entry } = kept.standing;
        let leg = Leg {
            feed: mirror.feed.clone(),
            place: plain.place,
            at: kept.at,
            position,
            due,
            entry,
            finished: kept.last,
        };
        if subscriber.blocked {
            mirror.blocked -= 1;
        }
        let mut composed = Composed { legs: Box::new([leg]), ..Composed::new(Terms::default(), Framing::Chunked) };
        if !kept.leftover.is_empty() {
            composed.rest().leftover = kept.leftover;
        }
        subscriber.route = Route::Composed(Box::new(composed));
    }

    /// Makes a subscriber plain again where nothing needs the composed form any more.
    pub fn make_plain(&mut self, key: Key) {
        let Some(subscriber) = self.subscribers.get_mut(key) else { return };
        let Route::Composed(composed) = &subscriber.route else { return };
        // Not compressed, nothing left over, no ticket, nowhere behind.
        let ([leg], Framing::Chunked, None) = (&composed.legs[..], composed.framing, &composed.rest) else { return };
        let live = !leg.finished && !subscriber.blocked;
        // Ahead of the copy neither: the plain form finds its position in there.
        let mirror = self.mirrors.get(leg.feed.number);
        let here = mirror.is_some_and(|mirror| (mirror.start()..=mirror.end()).contains(&leg.at));
        if composed.terms.is_plain() && live && here {
            probe::reached(Probe::MadePlain);
            subscriber.route = Route::Plain(Plain { feed: leg.feed.number, place: leg.place, at: leg.at });
        }
    }

    /// Frames before `start` leave memory: whoever still needs them becomes composed first.
    pub fn let_go(&mut self, feed: FeedNumber, start: Offset) {
        let Some(mirror) = self.mirrors.get(feed) else { return };
        if start <= mirror.start() {
            return;
        }
        if mirror.blocked > 0 || start > mirror.offered {
            // A running broadcast holds its bytes itself, so members that it still comes to need nothing.
            let served = self.broadcast.as_ref().and_then(|b| b.still_serves(feed));
            let behind = |(place, member): (usize, &Member)| {
                let subscriber = self.subscribers.get(member.key)?;
                let Route::Plain(plain) = &subscriber.route else { return None };
                // Unless frames behind its end go, too: then it would leave them where nothing is any more.
                let comes = served.is_some_and(|(next, from, to)| place >= next && plain.at >= from && start <= to);
                (plain.at < start && (subscriber.blocked || !comes)).then_some(member.key)
            };
            let keys: Vec<Key> = mirror.members.iter().enumerate().filter_map(behind).collect();
            keys.into_iter().for_each(|key| self.make_composed(key, &[]));
        }
        if let Some(mirror) = self.mirrors.get_mut(feed) {
            mirror.trim(start);
        }
    }
}
