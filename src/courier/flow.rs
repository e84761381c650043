//! What is due to one subscriber goes into its socket, until nothing is or the socket is full.

use super::ending::Reason;
use super::key::Key;
use super::mirror::Mirror;
use super::out::{WRITE_BYTES, Wrote, write_some};
use super::state::Courier;
use super::subscriber::{Route, Seat, Subscriber};
use crate::hub::offset::Offset;
use crate::planted::{self, Fault};
use crate::probe::{self, Probe};
use std::io;

impl Courier {
    /// Writes all that is due to one subscriber, on one leg or on all; whether it took all of it.
    pub fn flow(&mut self, key: Key, only: Option<u16>) -> bool {
        self.unfold(key);
        let wrote = match self.subscribers.get(key).map(|s| &s.route) {
            None => return false,
            Some(Route::Plain(_) | Route::Single(_)) => self.flow_plain(key),
            Some(Route::Composed(_)) => self.flow_composed(key, only),
        };
        match wrote {
            Ok(Wrote::All) => {
                self.settle(key);
                return true;
            }
            Ok(Wrote::Blocked) => self.block(key),
            Ok(Wrote::Finished) => self.subscribers.end(key, Reason::Final),
            Ok(Wrote::Lost) => self.subscribers.end(key, Reason::Gap),
            Ok(Wrote::Failed) | Err(_) => self.subscribers.end(key, Reason::Client),
        }
        false
    }

    fn flow_plain(&mut self, key: Key) -> io::Result<Wrote> {
        let Subscriber { connection, route, .. } = &mut self.subscribers[key];
        let Route::Plain(plain) = route else { return Ok(Wrote::Failed) };
        let Some(mirror) = self.mirrors.get(plain.feed) else { return Ok(Wrote::Failed) };
        let finale = mirror.last_after(plain.at);
        let end = finale.unwrap_or(mirror.end());
        while plain.at < end {
            collect(mirror, plain, end, &mut self.buffers.scratch);
            let n = write_some(connection, &mut self.tally, self.now, &self.buffers.scratch)?;
            let before = mirror.index(plain.at);
            plain.at = plain.at.plus(n);
            self.tally.delivered += (mirror.index(plain.at) - before) as u64;
            if n > 0 {
                connection.event = self.now;
            }
            if n < self.buffers.scratch.len() {
                return Ok(Wrote::Blocked);
            }
        }
        Ok(if finale.is_some() { Wrote::Finished } else { Wrote::All })
    }

    /// Writes bytes that nobody else gets between two events to a subscriber that is plain or composed. What a full socket does not
    /// take of them must be out before anything else, so it is kept as a leftover.
    pub fn write_own(&mut self, key: Key, bytes: &[u8]) {
        let connection = &mut self.subscribers[key].connection;
        let Ok(n) = write_some(connection, &mut self.tally, self.now, bytes) else {
            return self.subscribers.end(key, Reason::Client);
        };
        if n == bytes.len() {
            return;
        }
        let rest = if planted::is(Fault::LeftoverWhole) { bytes } else { &bytes[n..] };
        match self.subscribers.composed_mut(key) {
            None => self.make_composed(key, rest),
            Some(composed) => composed.rest().leftover.push(rest, &self.deps.leftovers),
        }
        self.block(key);
    }

    /// Whether a comment or control block may be written now: at a frame's boundary, with nothing left over.
    pub fn is_at_boundary(&self, subscriber: &Subscriber) -> bool {
        match &subscriber.route {
            Route::Composed(composed) => !composed.has_leftover(),
            Route::Single(_) => true,
            Route::Plain(plain) => self.mirrors.get(plain.feed).is_some_and(|mirror| {
                plain.at == mirror.end()
                    || mirror.frame(mirror.index(plain.at)).is_some_and(|(offset, _)| *offset == plain.at)
            }),
        }
    }

    /// A socket has room again.
    pub fn writable(&mut self, key: Key) {
        let Some(subscriber) = self.subscribers.get_mut(key) else { return };
        match subscriber.connection.socket.push() {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => return self.subscribers.end(key, Reason::Client),
        }
        if self.set_blocked(key, false) && self.flow(key, None) {
            self.watch(key, false);
        }
    }

    /// Waits until the socket is writable.
    pub fn block(&mut self, key: Key) {
        if self.set_blocked(key, true) {
            probe::reached(Probe::Blocked);
            self.watch(key, true);
        }
    }

    /// Notes whether a socket is full; whether that is new.
    fn set_blocked(&mut self, key: Key, blocked: bool) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(key).filter(|s| s.blocked != blocked) else { return false };
        subscriber.blocked = blocked;
        self.schedule.hasten(key);
        if let Route::Plain(plain) = &subscriber.route
            && let Some(mirror) = self.mirrors.get_mut(plain.feed)
        {
            match blocked {
                true => mirror.blocked += 1,
                false => mirror.blocked -= 1,
            }
        }
        true
    }

    /// Watches a socket for hang-ups, and for room where it is full.
    fn watch(&mut self, key: Key, room: bool) {
        let Some(subscriber) = self.subscribers.get_mut(key) else { return };
        if subscriber.connection.socket.watch(&self.registry, key, room).is_err() {
            self.subscribers.end(key, Reason::Client);
        }
    }
}

/// Copies what is due to one plain subscriber, bounded.
fn collect(mirror: &Mirror, plain: &Seat, end: Offset, into: &mut Vec<u8>) {
    into.clear();
    for (offset, frame) in mirror.after(plain.at) {
        if *offset >= end || into.len() >= WRITE_BYTES {
            break;
        }
        let due = &frame.chunk()[plain.at.max(*offset).since(*offset)..];
        into.extend_from_slice(&due[..due.len().min(WRITE_BYTES)]);
        if due.len() > WRITE_BYTES {
            break;
        }
    }
}
