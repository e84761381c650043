//! Subscribers come: sockets are registered, legs take their places in feeds.

use super::compose::{begin_blocks, framed};
use super::leave::Reason;
use super::mirror::{Member, Mirror};
use super::post::{LegStart, Newcomer, Opening, Waiting};
use super::run::{Courier, TICK};
use super::subscriber::{Behind, Composed, Leg, Rest, Route, Subscriber, Ticket};
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
        self.around.metrics.connections.inc();
        self.around.metrics.connections_opened.inc();
        if registered.is_err() {
            self.dead.push((key, Reason::Client));
        }
        let admitted = self.admit(key, stay, seen, &start);
        match start {
            Waiting::Ready(opening) if !admitted => opening.legs.into_iter().for_each(|leg| self.give_up(&leg.feed)),
            Waiting::Ready(opening) => self.seat(key, opening),
            Waiting::Held(ticket, here) => {
                if let Route::Composed(composed) = &mut self.subscribers[key as usize].route {
                    composed.rest().ticket = Some(Ticket { number: ticket, here });
                }
                self.tickets.insert(ticket, key);
            }
        }
    }

    /// The legs of a subscriber that had to wait for them.
    pub fn seat_held(&mut self, ticket: u64, opening: Opening) {
        match self.tickets.remove(&ticket) {
            Some(key) => self.seat(key, opening),
            // It left meanwhile.
            None => opening.legs.into_iter().for_each(|leg| self.give_up(&leg.feed)),
        }
    }

    /// Gives a subscriber its legs, and what is due on them already.
    fn seat(&mut self, key: u32, opening: Opening) {
        let Route::Composed(composed) = &mut self.subscribers[key as usize].route else { return };
        let mut rest = composed.rest.take().unwrap_or_default();
        rest.ticket = None;
        // Not collected: that would keep the letter's larger allocation, and holes behind what is cut off.
        let mut legs = Vec::with_capacity(opening.legs.len());
        for (index, leg) in opening.legs.into_iter().enumerate() {
            legs.push(self.take_place(key, index, leg, &mut rest));
        }
        self.around.metrics.subscriptions.add(legs.len() as i64);
        let Route::Composed(composed) = &mut self.subscribers[key as usize].route else { return };
        composed.legs = legs.into_boxed_slice();
        composed.rest = Some(rest);
        if !opening.preamble.is_empty() {
            begin_blocks(&mut self.scratch);
            composed.write_own(&opening.preamble, &mut self.scratch);
            // Behind what may be left of a comment.
            let bytes = framed(&mut self.scratch, composed.framing);
            composed.rest().leftover.extend_from_slice(bytes);
        }
        composed.tidy();
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
