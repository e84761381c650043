//! Carriers come, are read, and go.

use super::carrier::{Carrier, Heard, Home};
use super::carrier_socket::CarrierSocket;
use super::carriers::Seat;
use super::ending::Reason;
use super::requests::NewCarrier;
use super::socket::take_unread;
use super::state::Courier;
use super::stream_way::StreamWay;
use super::tick::ticks;
use crate::http2::error_code::ErrorCode;
use std::sync::Arc;
use std::time::Duration;

/// For the first request, and between requests where no stream is open.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(60);
/// After a farewell, for a client that does not go.
const LINGER: Duration = Duration::from_secs(10);
/// How often it is looked who has nobody.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Courier {
    /// Takes a new carrier in, and reads what it has to say already.
    pub fn carry(&mut self, new: NewCarrier) {
        let NewCarrier { socket, session, ahead, most_streams, streams, requests } = new;
        let entry = self.carriers.slab.vacant_entry();
        let (place, unsent) = (entry.key(), self.carriers.unsent.clone());
        let ledger = self.deps.leftovers.clone();
        let socket = CarrierSocket::new(socket, session, &ledger);
        let home = Home { courier: self.number, place, unsent, streams, ledger };
        let Ok(carrier) = Carrier::new(socket, most_streams, home, &self.registry) else { return };
        if self.drain.is_some() {
            carrier.go_away();
        }
        entry.insert(Seat { carrier: Arc::new(carrier), requests, used: self.now, asked: false, farewell: None });
        self.attend_to(place, &ahead);
    }

    /// Reads a carrier, and does what it demands.
    pub fn attend(&mut self, place: usize) {
        self.attend_to(place, &[]);
    }

    fn attend_to(&mut self, place: usize, ahead: &[u8]) {
        if !self.carriers.slab.contains(place) {
            return;
        }
        let mut buffers = self.carriers.take_buffers();
        let seat = &mut self.carriers.slab[place];
        let news = &mut buffers.news;
        let heard = seat.carrier.read(ahead, &mut buffers.bytes, self.now, news);
        for (stream, request) in news.requests.drain(..) {
            (seat.used, seat.asked) = (self.now, true);
            seat.requests.begin(*request, StreamWay::new(seat.carrier.clone(), stream));
        }
        match heard {
            Heard::Failed(ErrorCode::EnhanceYourCalm) => seat.requests.flooded(),
            Heard::More => self.carriers.unread.push(place),
            Heard::All | Heard::Ended | Heard::Failed(_) => {}
        }
        for id in news.gone.drain(..) {
            if self.subscribers.has(id) {
                self.subscribers.end(id.key, Reason::Client);
            }
        }
        self.reap();
        for id in news.ready.drain(..) {
            if self.subscribers.has(id) {
                self.writable(id.key);
            }
        }
        self.carriers.buffers = buffers;
        if matches!(heard, Heard::Ended | Heard::Failed(_)) {
            self.drop_carrier(place, Reason::Client);
        }
    }

    /// Reads those of which not all was read.
    pub fn attend_unread(&mut self) {
        for place in std::mem::take(&mut self.carriers.unread) {
            self.attend(place);
        }
    }

    /// Says to all that no further streams are taken.
    pub fn dismiss_carriers(&self) {
        self.carriers.slab.iter().for_each(|(_, seat)| seat.carrier.go_away());
    }

    /// Has those go that nobody uses.
    pub fn see_carriers_off(&mut self) {
        let (now, draining) = (self.now, self.drain.is_some());
        if !draining && !now.ms().is_multiple_of(LOOK_EVERY.as_millis() as u64) {
            return;
        }
        let mut gone = Vec::new();
        for (place, seat) in &mut self.carriers.slab {
            if !seat.carrier.is_idle() {
                seat.used = now;
                continue;
            }
            let limit = if seat.asked { IDLE } else { FIRST_REQUEST };
            match seat.farewell {
                Some(by) if now >= by => gone.push(place),
                None if draining || now.since(seat.used) > ticks(limit) => {
                    seat.carrier.say_farewell();
                    seat.farewell = Some(now.plus(ticks(LINGER)));
                }
                _ => {}
            }
        }
        gone.into_iter().for_each(|place| self.drop_carrier(place, Reason::Client));
    }

    /// Ends one that holds too much of what its client does not read.
    pub fn end_full_carrier(&mut self, place: usize) {
        if let Some(seat) = self.carriers.slab.get(place).filter(|seat| seat.carrier.subscribers() == 0) {
            // Nobody else tells of it.
            seat.requests.flooded();
        }
        self.drop_carrier(place, Reason::Slowest);
    }

    fn drop_carrier(&mut self, place: usize, reason: Reason) {
        let Some(seat) = self.carriers.slab.try_remove(place) else { return };
        for id in seat.carrier.close(&self.registry, take_unread) {
            if self.subscribers.has(id) {
                self.subscribers.end(id.key, reason);
            }
        }
        self.reap();
    }
}
