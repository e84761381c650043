//! Composed delivery: subscribers of several channels, with a filter or an envelope, over HTTP/1.0, or behind the
//! tail. The shared part of a frame is copied behind an `id:` line of the subscriber's own.

use super::deliver::{WRITE_BYTES, Wrote};
use super::draft::{Before, Draft, Popped, SIZE_LINE};
use super::leftover::{Leftover, Source};
use super::mirror::Mirror;
use super::post::{CatchUp, Framing, Page, Terms};
use super::run::Courier;
use super::subscriber::{Behind, Composed, Leg, Plain, Rest, Route};
use crate::cursor::{Place, name_hash, write_cursor, write_position};
use crate::frame::{END_OF_CHUNK, Frame, Part, Standing, following};
use crate::gzip::Gzip;
use std::io;
use std::sync::{Arc, Weak};

/// A comment.
const BEAT: &[u8] = b":\n\n";

impl Courier {
    /// Writes what is left over, then what is due, until nothing is or the socket is full.
    pub fn flow_composed(&mut self, key: u32, only: Option<u16>) -> io::Result<Wrote> {
        loop {
            if !self.flush(key)? {
                return Ok(Wrote::Blocked);
            }
            let Route::Composed(composed) = &self.subscribers[key as usize].route else { return Ok(Wrote::Failed) };
            let plain = composed.gzip().map_or(0, Gzip::length);
            let more = self.compose(key, only);
            let subscriber = &mut self.subscribers[key as usize];
            let Route::Composed(composed) = &mut subscriber.route else { return Ok(Wrote::Failed) };
            if !self.draft.is_empty() {
                let sent = self.draft.write(&mut subscriber.socket, composed, &self.around.leftovers)?;
                if sent.bytes > 0 {
                    subscriber.wrote = self.now;
                    subscriber.event = self.now;
                }
                self.tally.bytes += sent.bytes as u64;
                self.tally.delivered += sent.events;
                if let Some(gzip) = composed.gzip() {
                    self.tally.compressed.0 += u64::from(gzip.length().wrapping_sub(plain));
                    self.tally.compressed.1 += sent.kept as u64;
                }
                if sent.full {
                    return Ok(Wrote::Blocked);
                }
            }
            if !more {
                return Ok(if composed.finished() { Wrote::Finished } else { Wrote::All });
            }
        }
    }

    /// Writes what is left over; whether all of it is out.
    fn flush(&mut self, key: u32) -> io::Result<bool> {
        let subscriber = &mut self.subscribers[key as usize];
        let Route::Composed(composed) = &mut subscriber.route else { return Ok(true) };
        if !composed.has_leftover() {
            return Ok(true);
        }
        let n = composed.rest().leftover.write(&mut subscriber.socket)?;
        subscriber.wrote = self.now;
        self.tally.bytes += n as u64;
        let all = !composed.has_leftover();
        if all {
            composed.tidy();
        }
        Ok(all)
    }

    /// Puts due blocks into the draft, up to one write's worth; whether there may be more.
    fn compose(&mut self, key: u32, only: Option<u16>) -> bool {
        self.draft.clear();
        let subscriber = &mut self.subscribers[key as usize];
        let Route::Composed(composed) = &mut subscriber.route else { return false };
        let legs = only.map_or(0..composed.legs.len(), |leg| leg as usize..leg as usize + 1);
        for index in legs {
            let number = composed.legs[index].feed.number as usize;
            let Some(Some(mirror)) = self.mirrors.get_mut(number) else { continue };
            loop {
                if self.draft.is_full(WRITE_BYTES) {
                    return true;
                }
                let before = Before::of(composed, index);
                match next(composed, index, mirror, self.draft.is_empty()) {
                    Next::Frame(frame, fresh) => {
                        draft_frame(composed, before, &frame, Some((frame.clone(), fresh)), &mut self.draft);
                    }
                    Next::Shared(frame) => draft_frame(composed, before, frame, None, &mut self.draft),
                    Next::Nothing => break,
                    Next::Flush => return true,
                    Next::Ask { given, fresh, here } => {
                        let leg = &composed.legs[index];
                        // The desk ends only with the node.
                        let _ = self.around.desk.send(CatchUp {
                            courier: self.number,
                            key,
                            serial: subscriber.serial,
                            leg: index as u16,
                            feed: leg.feed.clone(),
                            standing: leg.standing(),
                            fresh,
                            given,
                            here,
                        });
                        break;
                    }
                }
            }
        }
        false
    }

    /// History came for a leg behind the tail.
    pub fn turn_page(&mut self, key: u32, serial: u32, leg: u16, page: Page) {
        let Some(subscriber) = self.subscribers.get_mut(key as usize).filter(|s| s.serial == serial) else { return };
        let blocked = subscriber.blocked;
        let Route::Composed(composed) = &mut subscriber.route else { return };
        let Some(behind) = composed.behind(leg as usize) else { return };
        behind.take(page);
        if !blocked && self.flow(key, None) {
            self.settle(key);
        }
    }

    /// Gives back the pages of those whose sockets are full: they cannot use them now, and others could.
    pub fn give_pages_back(&mut self) {
        for (_, subscriber) in self.subscribers.iter_mut().filter(|(_, subscriber)| subscriber.blocked) {
            let Route::Composed(composed) = &mut subscriber.route else { continue };
            let behind = composed.rest.iter_mut().flat_map(|rest| &mut rest.behind);
            behind.for_each(|(_, behind)| behind.give_back());
        }
    }

    /// Gives a plain subscriber the richer form: its bytes are about to leave memory, or a comment was cut off.
    pub fn enrich(&mut self, key: u32, cut: &[u8]) {
        let subscriber = &mut self.subscribers[key as usize];
        let Route::Plain(plain) = &subscriber.route else { return };
        let Some(Some(mirror)) = self.mirrors.get(plain.feed as usize) else { return };
        let mut leftover = Leftover::default();
        leftover.push(cut, &self.around.leftovers);
        let mut kept = Kept { leftover, at: plain.at, standing: mirror.standing_at(plain.at), last: false };
        if let Some((offset, frame)) = mirror.frame(mirror.index(plain.at))
            && *offset < plain.at
        {
            let source = Source::Frame(frame.clone(), Part::Chunk, 0);
            kept.leftover.share(source, (plain.at - offset) as usize, &self.around.leftovers);
            kept.at = offset + frame.chunk().len() as u64;
            (kept.standing, kept.last) = (mirror.standing_at(kept.at), frame.last);
        }
        self.enrich_with(key, kept);
    }

    /// Gives a plain subscriber the richer form with what is kept of where it is.
    pub fn enrich_with(&mut self, key: u32, kept: Kept) {
        let subscriber = &mut self.subscribers[key as usize];
        let Route::Plain(plain) = &subscriber.route else { return };
        let Some(Some(mirror)) = self.mirrors.get_mut(plain.feed as usize) else { return };
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

    /// Back to the plain form where nothing needs the richer one any more.
    pub fn settle(&mut self, key: u32) {
        let Some(subscriber) = self.subscribers.get_mut(key as usize) else { return };
        let Route::Composed(composed) = &subscriber.route else { return };
        // Not compressed, nothing left over, no ticket, nowhere behind.
        let ([leg], Framing::Chunked, None) = (&composed.legs[..], composed.framing, &composed.rest) else { return };
        let plain_terms = is_plain(&composed.terms);
        let live = !leg.finished && !subscriber.blocked;
        // Ahead of the copy neither: the plain form finds its position in there.
        let covers = |mirror: &Mirror| (mirror.start()..=mirror.end()).contains(&leg.at);
        let here = self.mirrors[leg.feed.number as usize].as_deref().is_some_and(covers);
        if plain_terms && live && here {
            subscriber.route = Route::Plain(Plain { feed: leg.feed.number, place: leg.place, at: leg.at });
        }
    }

    /// Frames before `start` leave memory: whoever still needs them is enriched first.
    pub fn let_go(&mut self, feed: u32, start: u64) {
        let Some(Some(mirror)) = self.mirrors.get(feed as usize) else { return };
        if start <= mirror.start() {
            return;
        }
        if mirror.blocked > 0 || start > mirror.offered {
            // A running broadcast holds its bytes itself, so members that it still comes to need nothing.
            let served = self.broadcast.as_ref().and_then(|b| b.still_serves(feed));
            let behind = |(place, member): (usize, &super::mirror::Member)| {
                let subscriber = self.subscribers.get(member.key as usize)?;
                let Route::Plain(plain) = &subscriber.route else { return None };
                // Unless frames behind its end go, too: then it would leave them where nothing is any more.
                let comes = served.is_some_and(|(next, from, to)| place >= next && plain.at >= from && start <= to);
                (plain.at < start && (subscriber.blocked || !comes)).then_some(member.key)
            };
            let keys: Vec<u32> = mirror.members.iter().enumerate().filter_map(behind).collect();
            keys.into_iter().for_each(|key| self.enrich(key, &[]));
        }
        if let Some(Some(mirror)) = self.mirrors.get_mut(feed as usize) {
            mirror.trim(start);
        }
    }
}

fn is_plain(terms: &Terms) -> bool {
    terms.filter.is_none() && !terms.envelope && terms.ids.is_none()
}

/// Where a plain subscriber is, in full.
pub struct Kept {
    /// The rest of the frame that it is in the middle of.
    pub leftover: Leftover,
    /// Behind that.
    pub at: u64,
    pub standing: Standing,
    /// That was the channel's last event.
    pub last: bool,
}

/// What a leg has to write next.
enum Next<'a> {
    /// Of a page of history, and whether nothing was owed before it.
    Frame(Arc<Frame>, bool),
    /// Of the tail.
    Shared(&'a Arc<Frame>),
    Nothing,
    /// What is drafted must be out first, since a page ends that it may have to go back to.
    Flush,
    /// It fell behind the tail, or was there and has written its page.
    Ask {
        given: u32,
        fresh: bool,
        here: Weak<()>,
    },
}

/// Takes one step on a leg. `clear`: nothing is drafted.
fn next<'a>(composed: &mut Composed, index: usize, mirror: &'a mut Mirror, clear: bool) -> Next<'a> {
    let leg = &mut composed.legs[index];
    if leg.finished {
        return Next::Nothing;
    }
    let at = leg.at;
    let mut known_behind = composed.rest.is_some() && composed.behind(index).is_some();
    if !known_behind && at < mirror.start() {
        mirror.reach_back(at);
        if at < mirror.start() {
            composed.fall_behind(index, Behind::default());
            known_behind = true;
        }
    }
    if known_behind && let Some(behind) = composed.behind(index) {
        if let Some(frame) = behind.page.pop_front() {
            let fresh = behind.fresh;
            if frame.is_event() {
                behind.fresh = false;
                let leg = &mut composed.legs[index];
                leg.stand(Standing { position: frame.position, due: following(leg.due), entry: true });
            }
            return Next::Frame(frame, fresh);
        }
        if behind.arrived.is_some() && !clear {
            return Next::Flush;
        }
        if let Some(arrival) = behind.arrived.take() {
            (behind.fresh, behind.ration) = (false, None);
            let leg = &mut composed.legs[index];
            leg.stand(arrival.standing);
            if let Some(at) = arrival.at {
                leg.at = at;
                composed.caught_up(index);
                return next(composed, index, mirror, clear);
            }
        }
        let Some(behind) = composed.behind(index) else { return Next::Nothing };
        if behind.asked.is_some() {
            return Next::Nothing;
        }
        let here = Arc::downgrade(behind.asked.insert(Arc::default()));
        return Next::Ask { given: behind.given, fresh: behind.fresh, here };
    }
    let leg = &mut composed.legs[index];
    match mirror.frame(mirror.index(leg.at)) {
        Some((offset, frame)) if leg.at < mirror.end() => {
            leg.at = offset + frame.chunk().len() as u64;
            leg.stand(match frame.is_entry() {
                true => Standing::behind(frame, None),
                false => mirror.standing_at(leg.at),
            });
            Next::Shared(frame)
        }
        _ => Next::Nothing,
    }
}

/// Drafts a frame for the leg that stepped to it, unless the filter skips it.
fn draft_frame(composed: &mut Composed, before: Before, frame: &Arc<Frame>, page: Option<Popped>, draft: &mut Draft) {
    let index = before.leg;
    let leg = &mut composed.legs[index];
    leg.position = frame.position;
    let (own_id, part) = if !frame.is_event() {
        (false, Part::Rest)
    } else {
        leg.finished = frame.last;
        if composed.terms.filter.as_ref().is_some_and(|filter| !filter.passes(frame.kind)) {
            composed.skipped = true;
            return;
        }
        match (composed.terms.envelope, composed.terms.ids.is_some()) {
            (true, _) => (true, Part::Envelope),
            (false, true) => (true, Part::Rest),
            (false, false) => (false, Part::Block),
        }
    };
    let framing = composed.framing;
    let start = draft.begin(framing);
    if own_id {
        composed.write_own_id(draft.own());
    }
    if frame.is_event() {
        composed.skipped = false;
    }
    let channel = &composed.legs[index].feed.channel;
    let plain = frame.part(part, channel);
    let part = match composed.rest.as_mut().and_then(|rest| rest.gzip.as_mut()) {
        None => part,
        Some(gzip) => {
            gzip.count(&plain[..plain.len() - END_OF_CHUNK]);
            frame.part(part.packed(), channel);
            part.packed()
        }
    };
    draft.end((start, framing), (frame, part), before, page);
}

impl Composed {
    /// The `id:` line of where all legs are, and of where it stands in channels whose legs are still to come.
    pub fn write_id(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(b"id: ");
        match self.terms.ids {
            None => self.legs.iter().for_each(|leg| write_position(into, leg.position)),
            Some(form) => {
                let places = self.legs.iter().map(|leg| Place {
                    channel: &leg.feed.channel,
                    hash: leg.feed.hash,
                    at: leg.position,
                });
                let owed = self.ticket().map_or(&[][..], |ticket| &ticket.owed);
                let late = owed.iter().map(|(channel, at)| Place { channel, hash: name_hash(channel), at: *at });
                write_cursor(into, form, places.chain(late));
            }
        }
        into.push(b'\n');
    }

    /// The same as a part of the body.
    pub fn write_own_id(&mut self, into: &mut Vec<u8>) {
        let mark = self.gzip().map(|_| Gzip::room(into));
        self.write_id(into);
        if let (Some(mark), Some(gzip)) = (mark, gzip_of(&mut self.rest)) {
            gzip.stored_from(mark, into);
        }
    }

    /// A comment, or the id that a filter's skips have advanced to.
    pub fn write_beat(&mut self, into: &mut Vec<u8>) {
        if !std::mem::take(&mut self.skipped) {
            return self.write_own(BEAT, into);
        }
        self.write_own_id(into);
        self.write_own(b"\n", into);
    }

    /// A part of the body that nobody else gets.
    pub fn write_own(&mut self, plain: &[u8], into: &mut Vec<u8>) {
        match gzip_of(&mut self.rest) {
            None => into.extend_from_slice(plain),
            Some(gzip) => gzip.stored(plain, into),
        }
    }
}

fn gzip_of(rest: &mut Option<Box<Rest>>) -> Option<&mut Gzip> {
    rest.as_mut()?.gzip.as_mut()
}

/// The blocks behind the room for the size line, framed in place.
pub fn framed(buffer: &mut Vec<u8>, framing: Framing) -> &[u8] {
    match framing {
        Framing::Bare => &buffer[SIZE_LINE..],
        Framing::Chunked => {
            let mut size = buffer.len() - SIZE_LINE;
            let mut start = SIZE_LINE - 2;
            buffer[start..SIZE_LINE].copy_from_slice(b"\r\n");
            while size > 0 && start > 0 {
                start -= 1;
                buffer[start] = b"0123456789abcdef"[size & 0xf];
                size >>= 4;
            }
            buffer.extend_from_slice(b"\r\n");
            &buffer[start..]
        }
    }
}

/// A buffer with room for the size line.
pub fn begin_blocks(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(SIZE_LINE, 0);
}
