//! The forms of a subscriber: plain where shared bytes are all that it is sent, composed otherwise, and single while a composed
//! one of one channel has nothing to be written; and when it goes from one to another.

use super::key::Key;
use super::leftover::{Leftover, Source};
use super::mirror::Member;
use super::state::Courier;
use super::subscriber::{Composed, Leg, Route, Seat, Whereabouts};
use super::terms::{Framing, Terms};
use crate::frame::{Part, Standing};
use crate::hub::bell::FeedNumber;
use crate::hub::offset::Offset;
use crate::invariant::{self, Invariant};
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
    /// Makes a single subscriber composed, to be written to.
    pub fn unfold(&mut self, key: Key) {
        let Some(Route::Single(single)) = self.subscribers.get(key).map(|subscriber| &subscriber.route) else { return };
        let seat = single.seat;
        let Some(mirror) = self.mirrors.get(seat.feed) else { return };
        invariant::holds(Invariant::SingleWithinMirror, || (mirror.start()..=mirror.end()).contains(&seat.at));
        let Standing { position, due, entry } = mirror.standing_at(seat.at);
        let feed = mirror.feed.clone();
        let leg = Leg { feed, place: seat.place, at: seat.at, position, due, entry, finished: false };
        let route = &mut self.subscribers[key].route;
        if let Route::Single(single) = std::mem::replace(route, Route::Plain(seat)) {
            *route = Route::Composed(self.buffers.spare.unfold(single, leg));
        }
    }

    /// Makes a subscriber composed: its bytes are about to leave memory, or a comment was cut off.
    pub fn make_composed(&mut self, key: Key, cut: &[u8]) {
        self.unfold(key);
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

    /// Takes the smallest form that a subscriber can have while nothing is to be written to it.
    pub fn settle(&mut self, key: Key) {
        let Some(subscriber) = self.subscribers.get_mut(key) else { return };
        let Route::Composed(composed) = &subscriber.route else { return };
        // Not compressed, nothing left over, no ticket, nowhere behind.
        let ([leg], None) = (&composed.legs[..], &composed.rest) else { return };
        let live = !leg.finished && !subscriber.blocked;
        // Ahead of the copy neither: it finds its position in there.
        let mirror = self.mirrors.get(leg.feed.number);
        let here = mirror.is_some_and(|mirror| (mirror.start()..=mirror.end()).contains(&leg.at));
        if !live || !here {
            return;
        }
        let seat = Seat { feed: leg.feed.number, place: leg.place, at: leg.at };
        let is_plain = composed.terms.is_plain() && composed.framing == Framing::Chunked;
        probe::reached(if is_plain { Probe::MadePlain } else { Probe::MadeSingle });
        if let Route::Composed(composed) = std::mem::replace(&mut subscriber.route, Route::Plain(seat)) {
            match is_plain {
                true => self.buffers.spare.keep(composed),
                false => subscriber.route = Route::Single(self.buffers.spare.fold(composed, seat)),
            }
        }
    }

    /// Frames before `start` leave memory: whoever still needs them becomes composed first.
    pub fn let_go(&mut self, feed: FeedNumber, start: Offset) {
        let Some(mirror) = self.mirrors.get(feed) else { return };
        if start <= mirror.start() {
            return;
        }
        let served = self.broadcast.as_ref().and_then(|b| b.still_serves(feed));
        if mirror.blocked > 0 || start > mirror.offered || served.is_some_and(|(_, from, _)| start > from) {
            let behind = |(place, member): (usize, &Member)| {
                let subscriber = self.subscribers.get(member.key)?;
                let Whereabouts::Seat(seat) = subscriber.route.whereabouts() else { return None };
                // A running broadcast holds its bytes itself, so plain members that it still comes to need nothing. Unless frames
                // behind its end go, too: then it would leave them where nothing is any more.
                let comes = matches!(subscriber.route, Route::Plain(_))
                    && served.is_some_and(|(next, from, to)| place >= next && seat.at >= from && start <= to);
                (seat.at < start && (subscriber.blocked || !comes)).then_some(member.key)
            };
            let keys: Vec<Key> = mirror.members.iter().enumerate().filter_map(behind).collect();
            keys.into_iter().for_each(|key| self.make_composed(key, &[]));
        }
        if let Some(mirror) = self.mirrors.get_mut(feed) {
            mirror.trim(start);
        }
    }
}
