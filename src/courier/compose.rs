//! Composed delivery: subscribers of several channels, with a filter or an envelope, over HTTP/1.0, or behind the
//! tail. The shared part of a frame is copied behind an `id:` line of the subscriber's own.

use super::draft::Before;
use super::key::{Key, SubscriberId};
use super::mailbox::CatchUp;
use super::mirror::Mirror;
use super::out::{WRITE_BYTES, Wrote, write_some};
use super::state::{Buffers, Courier};
use super::subscriber::{Behind, Composed, Popped, Route, Subscriber, find_behind};
use crate::frame::{END_OF_CHUNK, Frame, Names, Part, Standing, following};
use crate::gzip::Gzip;
use crate::hub::offset::Offset;
use crate::hub::page::PageRequest;
use crate::invariant::{self, Invariant};
use crate::planted::{self, Fault};
use crate::probe::{self, Probe};
use std::io;
use std::sync::{Arc, Weak};

impl Courier {
    /// Writes what is left over, then what is due, until nothing is or the socket is full. An error ends the subscriber.
    pub fn flow_composed(&mut self, key: Key, only: Option<u16>) -> io::Result<Wrote> {
        loop {
            if !self.flush(key)? {
                return Ok(Wrote::Blocked);
            }
            let Some(composed) = self.subscribers.composed(key) else { return Ok(Wrote::Failed) };
            let plain = composed.gzip().map_or(0, Gzip::length);
            let composed_to = self.compose(key, only);
            if !self.buffers.draft.is_empty() && !self.send_draft(key, plain)? {
                return Ok(Wrote::Blocked);
            }
            let Some(composed) = self.subscribers.composed(key) else { return Ok(Wrote::Failed) };
            match composed_to {
                To::More => {}
                To::Loss => return Ok(Wrote::Lost),
                To::All => return Ok(if composed.finished() { Wrote::Finished } else { Wrote::All }),
            }
        }
    }

    /// Writes what is left over; whether all of it is out.
    fn flush(&mut self, key: Key) -> io::Result<bool> {
        let Subscriber { connection, route, .. } = &mut self.subscribers[key];
        let Route::Composed(composed) = route else { return Ok(true) };
        if !composed.has_leftover() {
            return Ok(true);
        }
        let (tally, now) = (&mut self.tally, self.now);
        composed.rest().leftover.write(|bytes| write_some(connection, tally, now, bytes))?;
        let all = !composed.has_leftover();
        if all {
            composed.tidy();
        }
        Ok(all)
    }

    /// Writes the draft; whether all of it is out. `plain`: how long the gzip stream's content was before.
    fn send_draft(&mut self, key: Key, plain: u32) -> io::Result<bool> {
        let Subscriber { connection, route, .. } = &mut self.subscribers[key];
        let Route::Composed(composed) = route else { return Ok(true) };
        let (tally, now) = (&mut self.tally, self.now);
        let write = |bytes: &[u8]| write_some(connection, tally, now, bytes);
        let sent = self.buffers.draft.write(write, composed, &self.deps.leftovers)?;
        if sent.bytes > 0 {
            connection.event = now;
        }
        tally.delivered += sent.events;
        if let Some(gzip) = composed.gzip() {
            tally.compressed.0 += u64::from(gzip.length().wrapping_sub(plain));
            tally.compressed.1 += sent.kept as u64;
        }
        Ok(!sent.full)
    }

    /// Puts due blocks into the draft, up to one write's worth.
    fn compose(&mut self, key: Key, only: Option<u16>) -> To {
        let buffers = &mut self.buffers;
        buffers.draft.clear();
        let Subscriber { serial, route, .. } = &mut self.subscribers[key];
        let Route::Composed(composed) = route else { return To::All };
        let legs = only.map_or(0..composed.legs.len(), |leg| leg as usize..leg as usize + 1);
        for index in legs {
            let Some(mirror) = self.mirrors.get_mut(composed.legs[index].feed.number) else { continue };
            match draft_leg(composed, index, mirror, buffers) {
                Drafted::All => {}
                Drafted::Full => return To::More,
                Drafted::Loss => return To::Loss,
                Drafted::Ask(request) => {
                    let id = SubscriberId { key, serial: *serial };
                    let ask = CatchUp { courier: self.number, id, request };
                    // The queue ends only with the node.
                    let _ = self.deps.catch_ups.send(ask);
                }
            }
        }
        To::All
    }
}

/// How far what is due was composed.
enum To {
    /// There may be more.
    More,
    /// To a loss, which ends its stream.
    Loss,
    All,
}

/// What became of a leg's blocks.
enum Drafted {
    /// All that are due are in the draft.
    All,
    /// The draft is to be written before more is added.
    Full,
    /// All before a loss, which ends the stream, is in the draft.
    Loss,
    /// All that is here is in the draft; more must be asked for.
    Ask(PageRequest),
}

/// Puts what is due on one leg into the draft.
fn draft_leg(composed: &mut Composed, index: usize, mirror: &mut Mirror, buffers: &mut Buffers) -> Drafted {
    loop {
        if buffers.draft.is_full(WRITE_BYTES) {
            return Drafted::Full;
        }
        let before = Before::of(composed, index);
        match next(composed, index, mirror, buffers.draft.is_clear()) {
            Next::Frame(popped) => {
                draft_frame(composed, before, &popped.frame.clone(), Some(popped), buffers);
            }
            Next::Shared(frame) => draft_frame(composed, before, frame, None, buffers),
            // A step of its own: a frame that the socket does not take leads back to behind it.
            Next::CaughtUp => {}
            Next::Nothing => return Drafted::All,
            Next::Flush => return Drafted::Full,
            Next::Loss => return Drafted::Loss,
            Next::Ask { known_to, given, fresh, here } => {
                let leg = &composed.legs[index];
                let (feed, standing) = (leg.feed.clone(), leg.standing());
                return Drafted::Ask(PageRequest { feed, standing, known_to, fresh, given, here });
            }
        }
    }
}

/// What a leg has to write next.
enum Next<'a> {
    /// Of a page of history.
    Frame(Popped),
    /// Of the tail.
    Shared(&'a Arc<Frame>),
    /// Its page ends where it goes on in the tail.
    CaughtUp,
    Nothing,
    /// What is drafted must be out first, since a page ends that it may have to go back to.
    Flush,
    /// A loss, at which its stream ends. It stays where it is.
    Loss,
    /// It fell behind the tail, or was there and has written its page.
    Ask {
        known_to: Offset,
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
        if at < mirror.start() && planted::is(Fault::FellBehindInSilence) {
            composed.legs[index].at = mirror.start();
        } else if at < mirror.start() {
            probe::reached(Probe::FellBehind);
            composed.fall_behind(index, Behind { known_to: at, ..Behind::default() });
            known_behind = true;
        }
    }
    if known_behind && let Some(behind) = find_behind(&mut composed.rest, index) {
        if behind.page.front().is_some_and(|frame| composed.terms.ends_at(frame)) {
            return Next::Loss;
        }
        if let Some(popped) = behind.pop() {
            let (leg, position) = (&mut composed.legs[index], popped.frame.position);
            leg.stand(match popped.frame.is_entry() {
                true => Standing { position, due: following(leg.due), entry: true },
                // How many entries a gap passes over is known at the page's end.
                false => Standing { position, due: None, entry: false },
            });
            return Next::Frame(popped);
        }
        if behind.arrived.is_some() && !clear {
            return Next::Flush;
        }
        if let Some(arrival) = behind.arrived.take() {
            (behind.known_to, behind.fresh, behind.ration) = (arrival.known_to, false, None);
            let leg = &mut composed.legs[index];
            leg.stand(arrival.standing);
            if let Some(at) = arrival.at {
                leg.at = at;
                composed.caught_up(index);
                return Next::CaughtUp;
            }
        }
        let Some(behind) = composed.behind(index) else { return Next::Nothing };
        if behind.asked.is_some() {
            return Next::Nothing;
        }
        let here = Arc::downgrade(behind.asked.insert(Arc::default()));
        return Next::Ask { known_to: behind.known_to, given: behind.given, fresh: behind.fresh, here };
    }
    let leg = &mut composed.legs[index];
    match mirror.frame(mirror.index(leg.at)) {
        Some((_, frame)) if leg.at < mirror.end() && composed.terms.ends_at(frame) => Next::Loss,
        Some((offset, frame)) if leg.at < mirror.end() => {
            invariant::holds(Invariant::LegAtFrame, || leg.at == *offset);
            leg.at = offset.plus(frame.chunk().len());
            leg.stand(match frame.is_entry() {
                true => Standing::behind(frame, None),
                false => mirror.standing_at(leg.at),
            });
            Next::Shared(frame)
        }
        _ => Next::Nothing,
    }
}

/// Drafts a frame for the leg that stepped to it, unless the subscriber does not want it.
fn draft_frame(
    composed: &mut Composed,
    before: Before,
    frame: &Arc<Frame>,
    page: Option<Popped>,
    buffers: &mut Buffers,
) {
    let Buffers { draft, verdicts, .. } = buffers;
    let index = before.leg;
    let leg = &mut composed.legs[index];
    leg.position = frame.position;
    if frame.is_event() {
        leg.finished = frame.last;
        let at = page.is_none().then_some((leg.feed.number, before.at));
        if composed.terms.wanted.as_ref().is_some_and(|wanted| !wanted.passes(frame, at, verdicts)) {
            composed.skipped = true;
            if page.is_some() && !planted::is(Fault::SkippedForgotten) {
                draft.skip(before, page);
            }
            return;
        }
    }
    let (own_id, part) = composed.terms.form(frame);
    let begun = draft.begin(composed.framing);
    if own_id {
        composed.write_own_id(draft.own());
        if planted::is(Fault::IdBeforeEvent) {
            draft.own().push(b'\n');
        }
    }
    if frame.is_event() {
        composed.skipped = false;
    }
    let field = composed.terms.field().cloned();
    let names = Names { channel: &composed.legs[index].feed.channel, field: field.as_deref() };
    let gzip = composed.rest.as_mut().and_then(|rest| rest.gzip.as_mut());
    let packed = if gzip.is_some() { part.packed() } else { part };
    match (frame.part(packed, names), part, gzip) {
        (Some(_), _, None) => {}
        (Some(_), _, Some(gzip)) => {
            let plain = frame.made(part);
            gzip.count(&plain[..plain.len() - END_OF_CHUNK]);
        }
        (None, Part::Shaped(shape), _) => {
            let own = frame.shaped(shape, names);
            composed.write_own(&own, draft.own());
            return draft.end_own(begun, frame, before, page);
        }
        (None, ..) => {}
    }
    draft.end(begun, frame, packed, before, page);
}
