//! Who comes in and stays: grants that end, and orders to disconnect.

use super::ending::Reason;
use super::expiry::{Admission, Due};
use super::key::{Key, SubscriberId};
use super::mailbox::{FirstLegs, LegStart};
use super::out::{begin_blocks, framed};
use super::state::Courier;
use super::subscriber::Whereabouts;
use super::terms::Framing;
use super::tick::{TICK, Tick, ticks};
use crate::auth::renewal::Renewal;
use crate::auth::revocation::Disconnect;
use crate::channel::Channel;
use crate::control_event::ControlEvent;
use crate::subscription::Control;
use std::sync::Arc;

impl Courier {
    /// Notes what a new subscriber brings. False where a revocation meant it on its way here: it is to get no event.
    pub fn admit(&mut self, key: Key, admission: Option<Box<Admission>>, seen: u64, legs: &FirstLegs) -> bool {
        let channels: Vec<Channel> = match legs {
            FirstLegs::All(batch) | FirstLegs::Part(_, batch) if self.deps.revocations.count() != seen => {
                batch.legs.iter().map(|leg| leg.feed.channel.clone()).collect()
            }
            _ => Vec::new(),
        };
        let missed =
            self.deps.revocations.missed(seen, admission.as_ref().map(|admission| &admission.identity), &channels);
        if missed.is_some() {
            self.subscribers.end(key, Reason::Revoked);
        }
        if let Some(mut admission) = admission {
            if let Some(expires_ms) = admission.identity.expires_ms {
                let (due, ends) = self.end_of(expires_ms);
                admission.limit(due, ends);
            }
            self.expiry.insert(key, admission);
        }
        missed.is_none()
    }

    /// The ticks from which on a grant's subscriber is to be told, and at which it ends. Half of what is left passes first: a
    /// client that comes again with a fresh token whenever it is told would otherwise never rest if its tokens are short.
    fn end_of(&self, expires_ms: u64) -> (Tick, Tick) {
        let left_ms = expires_ms.saturating_sub(self.deps.clock.unix_ms());
        let left = left_ms.div_ceil(TICK.as_millis() as u64).min(u64::from(u32::MAX / 2)) as u32;
        // The current tick began some time ago: one more, so that nobody goes before its time.
        let ends = self.now.plus(left).plus(1);
        let due = match ticks(self.deps.expiring) {
            0 => ends,
            warning => ends.minus(warning.min(left / 2)).max(self.now),
        };
        (due, ends)
    }

    /// Lets the streams of a subject go on that a renewal is for, and whose channels it covers, those on their way included.
    pub fn extend(&mut self, renewal: &Renewal) {
        if self.deps.revocations.bars(Some(&renewal.subject), renewal.token_id.as_ref()) {
            return;
        }
        for key in self.expiry.of_subject(&renewal.subject) {
            let concerned = self.expiry.identity(key).is_some_and(|identity| renewal.concerns(identity));
            if !concerned || !self.has_channels(key, |channels| renewal.covers(channels)) {
                continue;
            }
            self.expiry.extend(key, renewal, self.end_of(renewal.until_ms));
            self.deps.metrics.connections_extended.inc();
        }
    }

    /// Whether something holds for the channels of a subscriber, those that it waits for included.
    pub fn has_channels(&self, key: Key, holds: impl Fn(&mut dyn Iterator<Item = &Channel>) -> bool) -> bool {
        match self.subscribers.get(key).map(|subscriber| subscriber.route.whereabouts()) {
            None => false,
            Some(Whereabouts::Seat(seat)) => {
                let mirror = self.mirrors.get(seat.feed);
                mirror.is_some_and(|mirror| holds(&mut std::iter::once(&mirror.feed.channel)))
            }
            Some(Whereabouts::Legs(composed)) => {
                let owed = composed.ticket().map_or(&[][..], |ticket| &ticket.owed[..]);
                let there = composed.legs.iter().map(|leg| &leg.feed.channel);
                let awaited = composed.changed().into_iter().flat_map(|changed| changed.changes.awaited());
                holds(&mut there.chain(owed.iter().map(|(channel, _)| channel)).chain(awaited))
            }
        }
    }

    /// Whether a revocation meant a subscriber for channels whose legs were on their way here.
    pub fn is_revoked(&self, key: Key, starts: &[LegStart]) -> bool {
        let revocations = &self.deps.revocations;
        let ticket = self.subscribers.composed(key).and_then(|composed| composed.ticket());
        let Some(ticket) = ticket.filter(|ticket| ticket.seen != revocations.count()) else { return false };
        let channels: Vec<Channel> = starts.iter().map(|start| start.feed.channel.clone()).collect();
        revocations.missed(ticket.seen, self.expiry.identity(key), &channels).is_some()
    }

    /// Ends grants that are over, and tells of those that soon will be.
    pub fn check_expiry(&mut self) {
        while let Some(Due { key, ends, expires_ms }) = self.expiry.take_due(self.now) {
            if ends <= self.now {
                self.subscribers.end(key, Reason::Expired);
                continue;
            }
            let warning = || ControlEvent::expiring(expires_ms, self.deps.clock.unix_ms()).to_string();
            let told = !self.is_told(key) || self.interject(key, &warning());
            self.expiry.look_again(key, if told { ends } else { self.now.plus(1) });
        }
        self.reap();
    }

    /// Ends all whom an order concerns.
    pub fn disconnect(&mut self, order: &Arc<Disconnect>) {
        let concerned = self.subscribers.iter().filter(|(key, subscriber)| {
            let identity = self.expiry.identity(*key);
            match subscriber.route.whereabouts() {
                Whereabouts::Seat(seat) => {
                    let mirror = self.mirrors.get(seat.feed);
                    order.concerns(identity, mirror.iter().map(|mirror| mirror.feed.channel.as_str()))
                }
                Whereabouts::Legs(composed) => {
                    order.concerns(identity, composed.legs.iter().map(|leg| leg.feed.channel.as_str()))
                }
            }
        });
        let concerned: Vec<Key> = concerned.map(|(key, _)| key).collect();
        concerned.into_iter().for_each(|key| self.subscribers.end(key, Reason::Revoked));
    }

    /// Ends one subscriber that an order names, if it is still there.
    pub fn end_by_order(&mut self, id: SubscriberId) {
        if !self.subscribers.has(id) {
            return;
        }
        let peer = self.subscribers[id.key].peer;
        let subject = self.expiry.identity(id.key).and_then(|identity| identity.subject.as_deref());
        tracing::info!(%peer, subject, "subscriber disconnected by an order");
        self.subscribers.end(id.key, Reason::Revoked);
    }

    /// Whether a subscriber is told by events what is no event of a channel.
    pub fn is_told(&self, key: Key) -> bool {
        let terms = self.subscribers.get(key).and_then(|subscriber| subscriber.route.terms());
        terms.is_none_or(|terms| terms.control == Control::On)
    }

    /// Writes a control event between two others; false where none can be written there now.
    fn interject(&mut self, key: Key, block: &str) -> bool {
        let subscriber = &self.subscribers[key];
        if subscriber.blocked || !self.is_at_boundary(subscriber) {
            return false;
        }
        self.unfold(key);
        let mut blocks = std::mem::take(&mut self.buffers.scratch);
        begin_blocks(&mut blocks);
        let framing = match self.subscribers.composed_mut(key) {
            None => {
                blocks.extend_from_slice(block.as_bytes());
                Framing::Chunked
            }
            Some(composed) => {
                composed.write_own(block.as_bytes(), &mut blocks);
                composed.framing
            }
        };
        self.write_own(key, framed(&mut blocks, framing));
        self.settle(key);
        self.buffers.scratch = blocks;
        true
    }
}
