//! Subscribers go: why, the last bytes they get, and giving back what they held.

use super::ending::{Ending, Reason};
use super::key::Key;
use super::out::taken;
use super::state::Courier;
use super::subscriber::{Route, Subscriber, Whereabouts};
use super::terms::Framing;
use crate::control_event::ControlEvent;
use crate::frame::chunked;
use crate::hub::bell::FeedNumber;
use crate::hub::feed::Feed;
use crate::planted::{self, Fault};
use crate::probe::{self, Probe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::{debug, info};

/// Who holds what a full socket left.
enum Holder {
    Subscriber(Key),
    Carrier(usize),
}

impl Courier {
    /// Ends all who are marked as ones that are to end.
    pub fn reap(&mut self) {
        // Ending one may mark others, by a write that fails; none may be left, for its key may be given to a new subscriber.
        while let Some((key, reason)) = self.subscribers.take_dead() {
            if self.subscribers.get(key).is_some() {
                self.end(key, reason);
            }
        }
    }

    fn end(&mut self, key: Key, reason: Reason) {
        let ending = self.say_goodbye(key, reason);
        let Subscriber { connection, route, blocked, beat, peer, .. } = self.subscribers.remove(key);
        self.schedule.goes(beat);
        self.deps.metrics.carried_by(&connection.socket).inspect(|gauge| gauge.dec());
        // Without chunks nothing but the missing close_notify tells that the rest is missing (RFC 9112, section 9.8).
        let notify = reason.listens() && (ending == Ending::Complete || !route.is_bare());
        if let Some(close) = connection.socket.close(&self.registry, reason.listens(), notify) {
            self.lingering.push(self.now, close);
        }
        let legs = self.leave_feeds(route, blocked);
        self.mailbox.load.fetch_sub(1, Ordering::Relaxed);
        if !self.expiry.remove(key) {
            self.deps.limits.leave(peer);
        }
        let metrics = &self.deps.metrics;
        metrics.connections.dec();
        metrics.subscriptions.sub(legs as i64);
        metrics.connections_closed.inc(reason);
        match reason {
            Reason::Stalled => {
                probe::reached(Probe::Stalled);
                info!(%peer, "subscriber evicted: it took nothing for the stall timeout")
            }
            Reason::Slowest => {
                info!(%peer, "subscriber evicted: what full sockets left over takes more than --leftover-bytes")
            }
            _ => debug!(%peer, reason = reason.label(), "subscriber ended"),
        }
    }

    /// Gives up the places of a subscriber that has gone; how many legs that were.
    fn leave_feeds(&mut self, route: Route, blocked: bool) -> usize {
        match route.whereabouts() {
            Whereabouts::Seat(seat) => {
                self.vacate(seat.feed, seat.place, blocked);
                1
            }
            Whereabouts::Legs(composed) => {
                composed.legs.iter().for_each(|leg| self.vacate(leg.feed.number, leg.place, false));
                if let Some(ticket) = composed.ticket() {
                    self.tickets.remove(&ticket.number);
                }
                composed.legs.len()
            }
        }
    }

    /// Ends those whose sockets have taken nothing for longest, until what full sockets left over is within its limit. A
    /// connection of HTTP/2 that holds something ends with all its streams.
    pub fn end_slowest(&mut self) {
        let holds = |subscriber: &Subscriber| match &subscriber.route {
            Route::Composed(composed) if composed.has_leftover() => true,
            Route::Composed(_) | Route::Single(_) | Route::Plain(_) => subscriber.connection.socket.has_leftover(),
        };
        let holders = self.subscribers.iter().filter(|(_, subscriber)| holds(subscriber));
        // Of those who took something in the same tick, who came first.
        let subscribers = holders.map(|(key, s)| (s.connection.wrote, s.serial, Holder::Subscriber(key)));
        let carriers = self.carriers.full().map(|(took, place)| (took, 0, Holder::Carrier(place)));
        let mut holders: Vec<_> = subscribers.chain(carriers).collect();
        holders.sort_unstable_by_key(|(took, serial, _)| (*took, *serial));
        for (_, _, holder) in holders {
            if !self.deps.leftovers.is_over() {
                break;
            }
            match holder {
                Holder::Subscriber(key) => self.subscribers.end(key, Reason::Slowest),
                Holder::Carrier(place) => self.end_full_carrier(place),
            }
            self.reap();
        }
    }

    /// Takes a leg's place away from the feed's list.
    pub fn vacate(&mut self, feed: FeedNumber, place: u32, blocked_plain: bool) {
        let Some(mirror) = self.mirrors.get_mut(feed) else { return };
        mirror.blocked -= u32::from(blocked_plain);
        let shared = mirror.feed.clone();
        let moved = mirror.remove(place);
        if mirror.members.is_empty() {
            self.mirrors.close(feed, self.number);
        }
        if let Some(member) = moved {
            match self.subscribers.get_mut(member.key).map(|s| &mut s.route) {
                Some(Route::Plain(seat)) => seat.place = place,
                Some(Route::Single(single)) => single.seat.place = place,
                Some(Route::Composed(composed)) => composed.legs[member.leg as usize].place = place,
                None => {}
            }
            self.moved(feed, place, member);
        }
        self.give_up(&shared);
    }

    /// One leg less in a feed.
    pub fn give_up(&self, feed: &Arc<Feed>) {
        if feed.leave() {
            self.deps.idle.push(feed.clone());
        }
    }

    /// The last bytes, where the stream stands between two events: a delay before it comes back, or the end of the body.
    fn say_goodbye(&mut self, key: Key, reason: Reason) -> Ending {
        let subscriber = &self.subscribers[key];
        if !reason.listens() || subscriber.blocked || !self.is_at_boundary(subscriber) {
            return Ending::Cut;
        }
        let (ending, text) = match reason.completes() || planted::is(Fault::EndLooksComplete) {
            true => (Ending::Complete, String::new()),
            false => {
                let retry_ms = self.deps.retry.pick_ms(&self.deps.random);
                let words = if self.is_told(key) { last_words(reason) } else { String::new() };
                (Ending::Incomplete, format!("{words}retry: {retry_ms}\n"))
            }
        };
        self.unfold(key);
        let subscriber = &mut self.subscribers[key];
        let last = last_bytes(&mut subscriber.route, text.into_bytes(), ending);
        // A socket that does not take it loses a courtesy, no event.
        let _ = taken(|| subscriber.connection.socket.write_last(&last, ending));
        ending
    }
}

/// What a subscriber is told at its end; empty where the reason is none of its grant.
fn last_words(reason: Reason) -> String {
    match reason {
        Reason::Expired => ControlEvent::Expired.to_string(),
        Reason::Revoked => ControlEvent::Revoked.to_string(),
        _ => String::new(),
    }
}

/// Blocks in the form of a subscriber's body, and behind them the end of the body where it is complete.
fn last_bytes(route: &mut Route, mut blocks: Vec<u8>, ending: Ending) -> Vec<u8> {
    let mut framing = Framing::Chunked;
    if let Route::Composed(composed) = route {
        framing = composed.framing;
        if std::mem::take(&mut composed.skipped) {
            // Else it would come back to be spared the same again, where the channel has ended for ever.
            let mut id = Vec::new();
            composed.write_id(&mut id);
            blocks.splice(..0, [&id[..], b"\n"].concat());
        }
        if let Some(mut gzip) = composed.rest.as_mut().and_then(|rest| rest.gzip.take()) {
            let plain = std::mem::take(&mut blocks);
            gzip.stored(&plain, &mut blocks);
            if ending == Ending::Complete {
                gzip.end(&mut blocks);
            }
        }
    }
    if framing == Framing::Bare {
        return blocks;
    }
    let mut last = Vec::new();
    if !blocks.is_empty() {
        chunked(&mut last, &blocks);
    }
    if ending == Ending::Complete {
        last.extend_from_slice(b"0\r\n\r\n");
    }
    last
}
