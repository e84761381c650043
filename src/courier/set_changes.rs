//! Sets of channels that change while their streams are open: orders are carried out, and subscribers are told.
//!
//! An order counts once the set's ids carry it; who is cut off before is given it again when it comes back. A channel that is
//! joined has its place in the ids at once, as a time, and a leg when the hub has found one.

use super::ending::Reason;
use super::key::{Key, SubscriberId};
use super::mailbox::{JoinAnswer, JoinAsk};
use super::ordered::{Ordered, SetChange};
use super::out::{begin_blocks, framed};
use super::state::Courier;
use super::subscriber::{Awaited, Composed};
use crate::auth::order::{Change, ChangeKind};
use crate::channel::Channel;
use crate::control_event::{ControlEvent, Gap};
use crate::cursor::Form;
use crate::metrics::Label as _;
use crate::position::Position;
use crate::subscription::Control;
use std::sync::{Arc, Weak};

impl Courier {
    /// Carries out an order for all whom it is for. Those who wait for legs are given it when those are here.
    pub fn change(&mut self, order: &Arc<Change>) {
        for key in self.expiry.concerned(order) {
            if self.subscribers.composed(key).and_then(Composed::ticket).is_none() {
                self.carry_out(key, order);
            }
        }
    }

    /// Carries out for a subscriber what has been ordered since it was admitted.
    pub fn carry_out_since(&mut self, key: Key, ordered: Ordered) {
        let Some(identity) = self.expiry.identity(key) else { return };
        for order in self.deps.changes.of(identity, ordered.count) {
            if order.at > ordered.after {
                self.carry_out(key, &order);
            }
        }
    }

    fn carry_out(&mut self, key: Key, order: &Change) {
        let seen = self.subscribers.composed(key).and_then(Composed::changed).map(|changed| changed.changes.seen);
        if self.subscribers.get(key).is_none() || seen.is_some_and(|seen| seen >= order.at) {
            return;
        }
        let has = |courier: &Courier, channel: &Channel| {
            courier.has_channels(key, |mut all| Iterator::any(&mut all, |one| one == channel))
        };
        let mut left = Vec::new();
        for channel in &order.channels {
            match (order.kind, has(self, channel)) {
                (ChangeKind::Join, false) if self.may_join(key, channel) => self.ask_for(key, channel, order),
                (ChangeKind::Leave, true) if self.leave_channel(key, channel, order) => left.push(channel.clone()),
                _ => {}
            }
        }
        if seen.is_some() {
            // No change of its set, but none that is still to be carried out.
            self.count(key, order.at);
        }
        if !left.is_empty() {
            self.tell(key, &ControlEvent::left(&left), None);
            self.begin(key);
        }
    }

    /// From here on the ids of a subscriber say which orders counted.
    fn count(&mut self, key: Key, at: Position) -> Option<&mut Composed> {
        self.make_composed(key, &[]);
        let composed = self.subscribers.composed_mut(key)?;
        composed.terms.ids.get_or_insert(Form::Vector);
        composed.rest().changed.get_or_insert_default().changes.seen = at;
        Some(composed)
    }

    /// Whether a subscriber's grant, limits and ids have room for a channel; if so, it counts.
    fn may_join(&mut self, key: Key, channel: &Channel) -> bool {
        let may = self.expiry.identity(key).is_some_and(|identity| identity.may_join(channel));
        let changed = self.subscribers.composed(key).and_then(Composed::changed);
        let most = self.expiry.most_channels(key);
        let room = changed.is_none_or(|changed| changed.changes.has_room_for(channel))
            && self.has_channels(key, |all| all.count() < most);
        let taken = may && room && self.expiry.take_channel(key);
        if !taken {
            self.refuse(if may { SetChange::TooMany } else { SetChange::Forbidden }, channel);
        }
        taken
    }

    fn refuse(&self, refused: SetChange, channel: &Channel) {
        self.deps.metrics.set_changes.inc(refused);
        if let Some(suppressed) = self.log_throttle.turn(refused.label()) {
            let why = refused.label();
            tracing::warn!(%channel, why, suppressed, "a channel that a stream was told to join is not joined");
        }
    }

    /// Asks the hub for a leg.
    fn ask_for(&mut self, key: Key, channel: &Channel, order: &Change) {
        let id = SubscriberId { key, serial: self.subscribers[key].serial };
        let (courier, seen, here) = (self.number, self.deps.revocations.count(), Arc::new(()));
        let Some(changed) = self.count(key, order.at).and_then(Composed::changed_mut) else { return };
        let since = changed.since(channel, order.since_ms);
        let ask = JoinAsk { courier, id, channel: channel.clone(), since, here: Arc::downgrade(&here) };
        changed.changes.join(channel, Some(since));
        changed.awaited.push(Awaited { channel: channel.clone(), here, seen });
        // Who answers ends only with the node.
        let _ = self.deps.joins.send(ask);
    }

    /// Takes a channel away, whether it has a leg or waits for one; whether there was one.
    fn leave_channel(&mut self, key: Key, channel: &Channel, order: &Change) -> bool {
        let Some(composed) = self.count(key, order.at) else { return false };
        let leg = composed.legs.iter().position(|leg| leg.feed.channel == *channel);
        let had = leg.map(|leg| composed.legs[leg].position).filter(|had| had.ms >= order.since_ms);
        let Some(changed) = composed.changed_mut() else { return false };
        changed.awaited.retain(|awaited| awaited.channel != *channel);
        changed.changes.leave(channel);
        had.into_iter().for_each(|had| changed.had(channel, had));
        if let Some(leg) = leg {
            self.unseat(key, leg);
        }
        self.expiry.give_channel(key);
        self.deps.metrics.set_changes.inc(SetChange::Left);
        true
    }

    /// Gives up one leg of several; the last one takes its number.
    fn unseat(&mut self, key: Key, index: usize) {
        let Some(composed) = self.subscribers.composed_mut(key) else { return };
        let mut legs = std::mem::take(&mut composed.legs).into_vec();
        let gone = legs.swap_remove(index);
        let moved = legs.get(index).map(|leg| (leg.feed.number, leg.place));
        let last = legs.len();
        composed.legs = legs.into_boxed_slice();
        if let Some(rest) = &mut composed.rest {
            rest.behind.retain(|(of, _)| *of as usize != index);
            rest.behind.iter_mut().filter(|(of, _)| *of as usize == last).for_each(|(of, _)| *of = index as u16);
        }
        if let Some((feed, place)) = moved
            && let Some(mirror) = self.mirrors.get_mut(feed)
        {
            mirror.members[place as usize].leg = index as u16;
        }
        self.vacate(gone.feed.number, gone.place, false);
        self.deps.metrics.subscriptions.dec();
    }

    /// The hub has found a leg, or there is no place for one.
    pub fn joined(&mut self, id: SubscriberId, here: &Weak<()>, joined: JoinAnswer) {
        let key = id.key;
        let Some(Awaited { channel, seen, .. }) = self.take_awaited(id, here) else {
            // It left meanwhile.
            return joined.into_iter().for_each(|(start, _)| self.give_up(&start.feed));
        };
        let Some((start, gap)) = joined else {
            let changed = self.subscribers.composed_mut(key).and_then(Composed::changed_mut);
            changed.into_iter().for_each(|changed| changed.changes.leave(&channel));
            self.expiry.give_channel(key);
            return self.refuse(SetChange::TooMany, &channel);
        };
        let revocations = &self.deps.revocations;
        if revocations.missed(seen, self.expiry.identity(key), std::slice::from_ref(&channel)).is_some() {
            self.give_up(&start.feed);
            return self.subscribers.end(key, Reason::Revoked);
        }
        self.seat(key, vec![start]);
        self.deps.metrics.set_changes.inc(SetChange::Joined);
        self.tell(key, &ControlEvent::joined(&[&channel]), gap);
        self.begin(key);
    }

    fn take_awaited(&mut self, id: SubscriberId, here: &Weak<()>) -> Option<Awaited> {
        if !self.subscribers.has(id) {
            return None;
        }
        let changed = self.subscribers.composed_mut(id.key)?.changed_mut()?;
        let at = changed.awaited.iter().position(|awaited| Arc::as_ptr(&awaited.here) == here.as_ptr())?;
        Some(changed.awaited.remove(at))
    }

    /// Tells of a change, with an `id:` that carries it: behind what may be left of a comment or of events, which have moved the id
    /// already.
    fn tell(&mut self, key: Key, event: &ControlEvent, gap: Option<Gap>) {
        let Some(composed) = self.subscribers.composed_mut(key) else { return };
        let control = composed.terms.control;
        let blocks = &mut self.buffers.scratch;
        begin_blocks(blocks);
        if let Some(gap) = gap {
            let mut lost = Vec::new();
            control.write(&mut lost, &ControlEvent::Gap(gap));
            composed.write_own(&lost, blocks);
        }
        composed.write_own_id(blocks);
        composed.skipped = false;
        match control {
            Control::On => composed.write_own(event.to_string().as_bytes(), blocks),
            Control::End | Control::Off => composed.write_own(b"\n", blocks),
        }
        let bytes = framed(blocks, composed.framing);
        composed.rest().leftover.push(bytes, &self.deps.leftovers);
    }
}
