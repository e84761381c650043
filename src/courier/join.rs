//! Subscribers come: sockets are registered, legs take their places in feeds.

use super::compose::{begin_blocks, framed};
use super::leave::Reason;
use super::mirror::{Member, Mirror};
use super::post::{LegStart, Newcomer, Opening, Waiting};
use super::run::{Courier, TICK};
use super::subscriber::{Behind, Composed, Leg, Rest, Route, Subscriber};
use crate::frame::Standing;

impl Courier {
    pub fn join(&mut self, newcomer: Newcomer) {
        let Newcomer { socket, peer, framing, terms, gzip, start, max_age_ms, stay, seen } = newcomer;
        self.serial = self.serial.wrapping_add(1);
        let ticks = max_age_ms.map(|ms| (ms / TICK.as_millis() as u64) as u32);
        let mut composed = Composed::new(terms, framing);
        if gzip.is_some() {
            composed.rest().gzip = gzip;
        }
        let mut subscriber = Subscriber {
            socket,
            serial: self.serial,
            route: Route::Composed(Box::new(composed)),
            wrote: self.now,
            event: self.now,
            expires: ticks.map_or(u32::MAX, |ticks| self.now.saturating_add(ticks)),
            blocked: false,
            peer,
        };
        let entry = self.subscribers.vacant_entry();
        let key = entry.key() as u32;
        let registered = subscriber.socket.register(self.poll.registry(), &self.post, key, self.serial);
        entry.insert(subscriber);
        self.sweep.hasten(key);
        self.around.metrics.connections.inc();
        self.around.metrics.connections_opened.inc();
        if registered.is_err() {
            self.dead.push((key, Reason::Client));
        }
        let admitted = self.admit(key, stay, seen, &start);
        match start {
            Waiting::Ready(opening) | Waiting::Held(_, opening) if !admitted => {
                opening.legs.into_iter().for_each(|leg| self.give_up(&leg.feed));
            }
            Waiting::Ready(opening) => {
                self.seat(key, opening.legs);
                self.begin(key);
            }
            Waiting::Held(ticket, opening) => {
                self.tickets.insert(ticket.number, key);
                if let Route::Composed(composed) = &mut self.subscribers[key as usize].route {
                    composed.rest().ticket = Some(ticket);
                }
                if !opening.legs.is_empty() {
                    self.seat(key, opening.legs);
                    self.begin(key);
                }
            }
        }
    }

    /// Legs of a subscriber that had to wait for them. `more`: others will follow.
    pub fn seat_held(&mut self, ticket: u64, opening: Opening, more: bool) {
        let key = match more {
            true => self.tickets.get(&ticket).copied(),
            false => self.tickets.remove(&ticket),
        };
        let Some(key) = key else {
            // It left meanwhile.
            return opening.legs.into_iter().for_each(|leg| self.give_up(&leg.feed));
        };
        if self.is_revoked(key, &opening.legs) {
            self.dead.push((key, Reason::Revoked));
            return opening.legs.into_iter().for_each(|leg| self.give_up(&leg.feed));
        }
        self.seat(key, opening.legs);
        let Route::Composed(composed) = &mut self.subscribers[key as usize].route else { return };
        if !more {
            composed.rest().ticket = None;
        }
        begin_blocks(&mut self.scratch);
        composed.write_own_id(&mut self.scratch);
        composed.skipped = false;
        composed.write_own(&[b"\n", &opening.preamble[..]].concat(), &mut self.scratch);
        // Behind what may be left of a comment or of events: those have moved the id already.
        let bytes = framed(&mut self.scratch, composed.framing);
        composed.rest().leftover.push(bytes, &self.around.leftovers);
        self.begin(key);
    }

    /// Gives a subscriber legs, behind those that it has.
    fn seat(&mut self, key: u32, starts: Vec<LegStart>) {
        let Route::Composed(composed) = &mut self.subscribers[key as usize].route else { return };
        let mut rest = composed.rest.take().unwrap_or_default();
        let there = std::mem::take(&mut composed.legs).into_vec();
        self.around.metrics.subscriptions.add(starts.len() as i64);
        // Not collected: that would keep the letter's larger allocation, and holes behind what is cut off.
        let mut legs = Vec::with_capacity(there.len() + starts.len());
        legs.extend(there);
        for start in starts {
            if let Some(ticket) = &mut rest.ticket {
                ticket.owed.retain(|(channel, _)| *channel != start.feed.channel);
            }
            legs.push(self.take_place(key, legs.len(), start, &mut rest));
        }
        let Route::Composed(composed) = &mut self.subscribers[key as usize].route else { return };
        composed.legs = legs.into_boxed_slice();
        composed.rest = Some(rest);
    }

    /// Writes what is due on new legs already.
    fn begin(&mut self, key: u32) {
        if let Route::Composed(composed) = &mut self.subscribers[key as usize].route {
            composed.tidy();
        }
        self.settle(key);
        if !self.subscribers[key as usize].blocked && self.flow(key, None) {
            self.settle(key);
        }
    }

    fn take_place(&mut self, key: u32, index: usize, start: LegStart, rest: &mut Rest) -> Leg {
        let LegStart { feed, standing, at, fresh, finished } = start;
        let number = feed.number as usize;
        if self.mirrors.len() <= number {
            self.mirrors.resize_with(number + 1, || None);
        }
        let mirror = self.mirrors[number].get_or_insert_with(|| {
            // First the bit, then the look: what is appended after the look rings.
            feed.set_members(self.number, true);
            Box::new(Mirror::new(feed.clone()))
        });
        if at.is_some_and(|at| at > mirror.end()) {
            // It begins at frames that this courier has not taken yet; without them it would have no position.
            self.take_fresh(number as u32);
        }
        let mirror = self.mirrors[number].as_mut().expect("just made");
        if let Some(at) = at {
            mirror.reach_back(at);
        }
        let place = mirror.add(Member { key, leg: index as u16 });
        if at.is_none() {
            rest.behind.push((index as u16, Behind { fresh, ..Behind::default() }));
        }
        let Standing { position, due, entry } = standing;
        Leg { feed, place, at: at.unwrap_or(0), position, due, entry, finished }
    }

    /// Watches a socket for hang-ups, and for room where it is full.
    pub fn watch(&mut self, key: u32, room: bool) {
        let Some(subscriber) = self.subscribers.get_mut(key as usize) else { return };
        if subscriber.socket.watch(self.poll.registry(), key, room).is_err() {
            self.dead.push((key, Reason::Client));
        }
    }
}
