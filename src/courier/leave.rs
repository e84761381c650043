//! Subscribers go: why, the last bytes they get, and giving back what they held.

use super::passes;
use super::post::Framing;
use super::run::{Courier, TICK};
use super::subscriber::{Route, Subscriber};
use crate::frame::chunked;
use crate::hub::feed::Feed;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracing::{debug, info};

/// Why a subscriber ended: the label of `fantail_connections_closed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It hung up, or its connection failed.
    Client,
    /// Its socket took nothing for the stall timeout.
    Stalled,
    /// What full sockets left over takes more memory than it may, and this one had waited for longest.
    Slowest,
    /// No event for the idle timeout.
    Idle,
    /// The maximum age.
    MaxAge,
    /// The node drains, or cannot serve it any more.
    Drain,
    /// All its channels have ended.
    Final,
    /// Its grant has ended.
    Expired,
    /// It was told to go by the control stream.
    Revoked,
}

impl Reason {
    pub const ALL: [Reason; 9] = [
        Reason::Client,
        Reason::Stalled,
        Reason::Slowest,
        Reason::Idle,
        Reason::MaxAge,
        Reason::Drain,
        Reason::Final,
        Reason::Expired,
        Reason::Revoked,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Reason::Client => "client",
            Reason::Stalled => "stalled",
            Reason::Slowest => "slowest",
            Reason::Idle => "idle",
            Reason::MaxAge => "max_age",
            Reason::Drain => "drain",
            Reason::Final => "final",
            Reason::Expired => "expired",
            Reason::Revoked => "revoked",
        }
    }

    /// Whether its stream is complete. All others are invitations to come back, which a client that waits for the end
    /// must not take for one: whoever reads half an answer of a model is told so by the form of the end alone.
    const fn completes(self) -> bool {
        matches!(self, Reason::Final)
    }
}

/// How a stream ends for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With what its protocol has for that: the last chunk, END_STREAM.
    Complete,
    /// Behind a whole event, but without that: HTTP/1.1 with FIN instead of the last chunk (RFC 9112, section 8), HTTP/2
    /// with INTERNAL_ERROR, for NO_ERROR and CANCEL are ends without an error to some clients (nodejs/node#56627).
    Incomplete,
    /// Wherever it is.
    Cut,
}

/// Connections whose last bytes are waited for, and how long.
const MOST_FAREWELLS: usize = 1024;
const FAREWELL: Duration = Duration::from_secs(5);

impl Courier {
    /// Ends all who are marked dead.
    pub fn bury(&mut self) {
        // Ending one may mark others, by a write that fails; none may be left, for its key may be given to a newcomer.
        while let Some((key, reason)) = self.dead.pop() {
            if self.subscribers.contains(key as usize) {
                self.end(key, reason);
            }
        }
    }

    fn end(&mut self, key: u32, reason: Reason) {
        let ending = self.say_goodbye(key, reason);
        let Subscriber { socket, route, blocked, peer, .. } = self.subscribers.remove(key as usize);
        let listens = !matches!(reason, Reason::Client | Reason::Stalled | Reason::Slowest);
        // Without chunks nothing but the missing close_notify tells that the rest is missing (RFC 9112, section 9.8).
        let notify = listens && (ending == Ending::Complete || !route.is_bare());
        if let Some(farewell) = socket.close(self.poll.registry(), listens, notify)
            && self.farewells.len() < MOST_FAREWELLS
        {
            self.farewells.push((self.now + (FAREWELL.as_millis() / TICK.as_millis()) as u32, farewell));
        }
        let legs = match &route {
            Route::Plain(plain) => {
                self.vacate(plain.feed, plain.place, blocked);
                1
            }
            Route::Composed(composed) => {
                composed.legs.iter().for_each(|leg| self.vacate(leg.feed.number, leg.place, false));
                if let Some(ticket) = composed.ticket() {
                    self.tickets.remove(&ticket.number);
                }
                composed.legs.len()
            }
        };
        self.post.load.fetch_sub(1, Ordering::Relaxed);
        if !self.release(key) {
            self.around.limits.leave(peer);
        }
        let metrics = &self.around.metrics;
        metrics.connections.dec();
        metrics.subscriptions.sub(legs as i64);
        metrics.connections_closed.inc(reason);
        match reason {
            Reason::Stalled => {
                info!(%peer, "subscriber evicted: it took nothing for the stall timeout")
            }
            Reason::Slowest => {
                info!(%peer, "subscriber evicted: what full sockets left over takes more than --leftover-bytes")
            }
            _ => debug!(%peer, reason = reason.label(), "subscriber ended"),
        }
    }

    /// Ends those whose sockets have taken nothing for longest, until what full sockets left over is within its limit.
    pub fn end_slowest(&mut self) {
        let holds = |subscriber: &Subscriber| match &subscriber.route {
            Route::Composed(composed) => composed.has_leftover(),
            Route::Plain(_) => false,
        };
        let holders = self.subscribers.iter().filter(|(_, subscriber)| holds(subscriber));
        // Of those who took something in the same tick, who came first.
        let mut holders: Vec<_> = holders.map(|(key, s)| (s.wrote, s.serial, key as u32)).collect();
        holders.sort_unstable();
        for (_, _, key) in holders {
            if !self.around.leftovers.is_over() {
                break;
            }
            self.dead.push((key, Reason::Slowest));
            self.bury();
        }
    }

    /// Takes a leg's place away from the feed's list.
    fn vacate(&mut self, feed: u32, place: u32, blocked_plain: bool) {
        let Some(Some(mirror)) = self.mirrors.get_mut(feed as usize) else { return };
        mirror.blocked -= u32::from(blocked_plain);
        let shared = mirror.feed.clone();
        let moved = mirror.remove(place);
        if mirror.members.is_empty() {
            shared.set_members(self.number, false);
            self.mirrors[feed as usize] = None;
        }
        if let Some(member) = moved {
            match self.subscribers.get_mut(member.key as usize).map(|s| &mut s.route) {
                Some(Route::Plain(plain)) => plain.place = place,
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
            self.around.idle.push(feed.clone());
        }
    }

    /// What has to go out of connections that have ended.
    pub fn see_off(&mut self) {
        let now = self.now;
        self.farewells.retain_mut(|(by, farewell)| now < *by && !farewell.is_over());
    }

    /// The last bytes, where the stream stands between two events: a delay before it comes back, or the end of the body.
    fn say_goodbye(&mut self, key: u32, reason: Reason) -> Ending {
        let subscriber = &self.subscribers[key as usize];
        if matches!(reason, Reason::Client | Reason::Stalled | Reason::Slowest)
            || subscriber.blocked
            || !subscriber.at_boundary(&self.mirrors)
        {
            return Ending::Cut;
        }
        let (ending, retry) = match reason.completes() {
            true => (Ending::Complete, String::new()),
            false => {
                let retry = format!("{}retry: {}\n\n", passes::last_words(reason), self.around.retry.pick_ms());
                (Ending::Incomplete, retry)
            }
        };
        let (mut last, mut framing) = (retry.into_bytes(), Framing::Chunked);
        if let Route::Composed(composed) = &mut self.subscribers[key as usize].route {
            framing = composed.framing;
            if std::mem::take(&mut composed.skipped) {
                // Else it would come back to be spared the same again, where the channel has ended for ever.
                let mut id = Vec::new();
                composed.write_id(&mut id);
                last.splice(..0, [&id[..], b"\n"].concat());
            }
            if let Some(mut gzip) = composed.rest.as_mut().and_then(|rest| rest.gzip.take()) {
                let plain = std::mem::take(&mut last);
                gzip.stored(&plain, &mut last);
                if ending == Ending::Complete {
                    gzip.end(&mut last);
                }
            }
        }
        if framing == Framing::Chunked {
            let block = std::mem::take(&mut last);
            if !block.is_empty() {
                chunked(&mut last, &block);
            }
            if ending == Ending::Complete {
                last.extend_from_slice(b"0\r\n\r\n");
            }
        }
        // A socket that does not take it loses a courtesy, no event.
        self.subscribers[key as usize].socket.write_last(&last, ending);
        ending
    }
}
