//! Subscribers come: sockets are registered, legs take their places in feeds.

use super::ending::Reason;
use super::key::Key;
use super::mailbox::{FirstLegs, LegBatch, LegStart, NewSubscriber};
use super::mirror::Member;
use super::out::{begin_blocks, framed};
use super::state::Courier;
use super::subscriber::{Behind, Changed, Composed, Connection, Leg, Rest, Route, Subscriber};
use super::tick::{Tick, ticks};
use crate::frame::Standing;
use std::time::Duration;

impl Courier {
    /// Takes a new subscriber in: what it brings is kept, its legs take their places, and it is sent what is due already.
    pub fn join(&mut self, new: NewSubscriber) {
        let NewSubscriber { socket, peer, framing, first, terms, beat, gzip, legs, max_age_ms, admission, .. } = new;
        let NewSubscriber { seen, changes, ordered, .. } = new;
        let mut composed = Composed::new(terms, framing);
        if gzip.is_some() {
            composed.rest().gzip = gzip;
        }
        if !first.is_empty() {
            composed.rest().leftover.push(&first, &self.deps.leftovers);
        }
        if let Some(changes) = changes {
            composed.rest().changed = Some(Box::new(Changed::new(*changes)));
        }
        let now = self.now;
        let max_age = max_age_ms.map(|ms| ticks(Duration::from_millis(ms)));
        let id = self.subscribers.insert(|id| Subscriber {
            connection: Connection { socket, wrote: now, event: now },
            serial: id.serial,
            came: now,
            route: Route::Composed(Box::new(composed)),
            expires: max_age.map_or(Tick::NEVER, |ticks| now.plus(ticks)),
            blocked: false,
            beat,
            peer,
        });
        self.schedule.comes(beat);
        let key = id.key;
        let socket = &mut self.subscribers[key].connection.socket;
        let registered = socket.register(&self.registry, &self.watcher, &self.deps.leftovers, id);
        self.deps.metrics.carried_by(socket).inspect(|gauge| gauge.inc());
        self.schedule.hasten(key);
        self.deps.metrics.connections.inc();
        self.deps.metrics.connections_opened.inc();
        if registered.is_err() {
            self.subscribers.end(key, Reason::Client);
        }
        match self.admit(key, admission, seen, &legs) {
            true => {
                let all = matches!(legs, FirstLegs::All(_));
                self.start(key, legs);
                if all {
                    self.carry_out_since(key, ordered);
                }
            }
            false => {
                let (FirstLegs::All(batch) | FirstLegs::Part(_, batch)) = legs;
                batch.legs.into_iter().for_each(|leg| self.give_up(&leg.feed));
            }
        }
    }

    /// Gives a new subscriber the legs that there are, and remembers it where others are to come.
    fn start(&mut self, key: Key, legs: FirstLegs) {
        let (batch, waits) = match legs {
            FirstLegs::All(batch) => (batch, false),
            FirstLegs::Part(ticket, batch) => {
                self.tickets.insert(ticket.number, key);
                if let Some(composed) = self.subscribers.composed_mut(key) {
                    composed.rest().ticket = Some(ticket);
                }
                (batch, true)
            }
        };
        let says_more = self.subscribers.composed(key).is_some_and(Composed::has_leftover);
        if !waits || says_more || !batch.legs.is_empty() {
            self.seat(key, batch.legs);
            self.begin(key);
        }
    }

    /// Legs of a subscriber that had to wait for them. `more`: others will follow.
    pub fn seat_held(&mut self, ticket: u64, batch: LegBatch, more: bool) {
        let key = match more {
            true => self.tickets.get(&ticket).copied(),
            false => self.tickets.remove(&ticket),
        };
        let Some(key) = key else {
            // It left meanwhile.
            return batch.legs.into_iter().for_each(|leg| self.give_up(&leg.feed));
        };
        if self.is_revoked(key, &batch.legs) {
            self.subscribers.end(key, Reason::Revoked);
            return batch.legs.into_iter().for_each(|leg| self.give_up(&leg.feed));
        }
        self.seat(key, batch.legs);
        let Some(composed) = self.subscribers.composed_mut(key) else { return };
        let ticket = if more { None } else { composed.rest().ticket.take() };
        // A chunk of nothing would be the end.
        let says_anything = batch.behind_id.is_some() || !batch.preamble.is_empty();
        let blocks = &mut self.buffers.scratch;
        begin_blocks(blocks);
        // What was lost is told before the id that lies behind it: who is cut off between the two is told again.
        composed.write_own(&batch.preamble, blocks);
        if let Some(behind_id) = batch.behind_id {
            composed.write_own_id(blocks);
            composed.skipped = false;
            composed.write_own(&behind_id, blocks);
        }
        if says_anything {
            // Behind what may be left of a comment or of events: those have moved the id already.
            let bytes = framed(blocks, composed.framing);
            composed.rest().leftover.push(bytes, &self.deps.leftovers);
        }
        self.begin(key);
        if let Some(ticket) = ticket {
            self.carry_out_since(key, ticket.ordered);
        }
    }

    /// Gives a subscriber legs, behind those that it has.
    pub fn seat(&mut self, key: Key, starts: Vec<LegStart>) {
        let Some(composed) = self.subscribers.composed_mut(key) else { return };
        let mut rest = composed.rest.take().unwrap_or_default();
        let there = std::mem::take(&mut composed.legs).into_vec();
        self.deps.metrics.subscriptions.add(starts.len() as i64);
        // Not collected: that would keep the message's larger allocation, and holes behind what is cut off.
        let mut legs = Vec::with_capacity(there.len() + starts.len());
        legs.extend(there);
        for start in starts {
            if let Some(ticket) = &mut rest.ticket {
                ticket.owed.retain(|(channel, _)| *channel != start.feed.channel);
            }
            if let Some(changed) = &mut rest.changed {
                changed.changes.begun(&start.feed.channel);
            }
            legs.push(self.take_place(key, legs.len(), start, &mut rest));
        }
        let Some(composed) = self.subscribers.composed_mut(key) else { return };
        composed.legs = legs.into_boxed_slice();
        composed.rest = Some(rest);
    }

    /// Writes what is due on new legs already.
    pub fn begin(&mut self, key: Key) {
        if let Some(composed) = self.subscribers.composed_mut(key) {
            composed.tidy();
        }
        self.settle(key);
        if !self.subscribers[key].blocked {
            self.flow(key, None);
        }
    }

    /// Makes a leg, with a place among its feed's members.
    fn take_place(&mut self, key: Key, index: usize, start: LegStart, rest: &mut Rest) -> Leg {
        let LegStart { feed, standing, at, known_to, fresh, finished } = start;
        let end = self.mirrors.open(&feed, self.number).end();
        if at.is_some_and(|at| at > end) {
            // It begins at frames that this courier has not taken yet; without them it would have no position.
            self.take_fresh(feed.number);
        }
        let mirror = self.mirrors.open(&feed, self.number);
        if let Some(at) = at {
            mirror.reach_back(at);
        }
        let place = mirror.add(Member { key, leg: index as u16 });
        if at.is_none() {
            rest.behind.push((index as u16, Behind { fresh, known_to, ..Behind::default() }));
        }
        let Standing { position, due, entry } = standing;
        Leg { feed, place, at: at.unwrap_or_default(), position, due, entry, finished }
    }
}
