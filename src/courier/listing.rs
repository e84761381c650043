//! Tells of subscribers: a bounded number of them is looked at for each question, so that delivery does not wait for answers.

use super::inquiry::{Inquiry, Listed, Seen, SeenChannel, Sought, State};
use super::key::{Key, SubscriberId};
use super::mirror::Mirror;
use super::state::Courier;
use super::subscriber::{Changed, Composed, Leg, Route, Subscriber, Whereabouts};
use super::tick::{TICK, Tick};
use crate::frame::Standing;

/// Places of the slab and legs that are looked at for one question: some tens of microseconds.
const LOOKS: usize = 1_024;

impl Courier {
    /// Answers a question.
    pub fn list(&self, inquiry: Inquiry) {
        if inquiry.answer.is_closed() {
            return;
        }
        let (slots, mut slot, mut looks) = (self.subscribers.slots(), inquiry.from, LOOKS);
        let mut listed = Listed::default();
        while slot < slots && looks > 0 && listed.seen.len() < inquiry.most {
            let key = Key::of(slot);
            slot += 1;
            looks -= 1;
            let Some(subscriber) = self.subscribers.get(key) else { continue };
            looks = looks.saturating_sub(legs(subscriber));
            if self.is_sought(key, subscriber, &inquiry.sought) {
                listed.seen.push(self.seen(key, subscriber, inquiry.channels));
            }
        }
        listed.next = (slot < slots).then_some(slot);
        // Who asked may have gone meanwhile.
        let _ = inquiry.answer.send(listed);
    }

    fn is_sought(&self, key: Key, subscriber: &Subscriber, sought: &Sought) -> bool {
        let Sought { channel, address, subject, state, serial } = sought;
        let subject_of = || self.expiry.identity(key).and_then(|identity| identity.subject.as_ref());
        serial.is_none_or(|serial| serial == subscriber.serial)
            && address.is_none_or(|address| address == subscriber.peer.to_canonical())
            && state.is_none_or(|state| state == state_of(subscriber))
            && subject.as_ref().is_none_or(|subject| subject_of() == Some(subject))
            && channel
                .as_ref()
                .is_none_or(|name| self.has_channels(key, |mut all| Iterator::any(&mut all, |channel| channel == name)))
    }

    fn seen(&self, key: Key, subscriber: &Subscriber, most: usize) -> Seen {
        let (rest, count, behind, channels) = match subscriber.route.whereabouts() {
            Whereabouts::Seat(seat) => {
                let mirror = self.mirrors.get(seat.feed);
                let place = |mirror: &Mirror| {
                    let (standing, left) = (mirror.standing_at(seat.at), mirror.count_after(seat.at));
                    seen_in(mirror, state_of(subscriber), &standing, Some(left as u64))
                };
                let only: Vec<_> = mirror.map(place).into_iter().collect();
                (None, only.len(), only.first().and_then(|only| only.behind), only)
            }
            Whereabouts::Legs(composed) => {
                let legs = || composed.legs.iter().enumerate().filter_map(|(at, leg)| self.seen_leg(composed, at, leg));
                let behind = legs().try_fold(0, |sum: u64, leg| Some(sum.saturating_add(leg.behind?)));
                let missing: Vec<SeenChannel> = missing(composed).collect();
                let count = composed.legs.len() + missing.len();
                (composed.rest.as_ref(), count, behind, legs().chain(missing).take(most).collect())
            }
        };
        let leftover = rest.map_or(0, |rest| rest.leftover.bytes());
        let connection = &subscriber.connection;
        Seen {
            id: SubscriberId { key, serial: subscriber.serial },
            address: subscriber.peer.to_canonical(),
            subject: self.expiry.identity(key).and_then(|identity| identity.subject.clone()),
            age_ms: self.ms_since(subscriber.came),
            silent_ms: self.ms_since(connection.wrote),
            transport: connection.socket.transport(),
            composed: !matches!(subscriber.route, Route::Plain(_)),
            state: state_of(subscriber),
            leftover_bytes: leftover + connection.socket.leftover_bytes(),
            behind,
            count,
            channels,
        }
    }

    fn seen_leg(&self, composed: &Composed, at: usize, leg: &Leg) -> Option<SeenChannel> {
        let mirror = self.mirrors.get(leg.feed.number)?;
        let is_behind = composed.rest.as_ref().is_some_and(|rest| rest.behind.iter().any(|(of, _)| *of as usize == at));
        // Whose socket is full falls behind only when it has room again; what it needs may have left memory before.
        let here = !is_behind && leg.at >= mirror.start();
        let state = if here { State::Live } else { State::History };
        let left = here.then(|| mirror.count_after(leg.at) as u64);
        Some(seen_in(mirror, state, &leg.standing(), left))
    }

    fn ms_since(&self, earlier: Tick) -> u64 {
        u64::from(self.now.since(earlier)) * TICK.as_millis() as u64
    }
}

/// A place in a channel; `left`: events of the mirror behind it, where it lies within.
fn seen_in(mirror: &Mirror, state: State, standing: &Standing, left: Option<u64>) -> SeenChannel {
    let newest = mirror.standing_at(mirror.end());
    let ranks = newest.rank().zip(standing.rank()).map(|(newest, there)| newest.saturating_sub(there));
    SeenChannel {
        channel: mirror.feed.channel.clone(),
        state,
        position: Some(standing.position),
        newest: Some(newest.position),
        behind: left.or(ranks),
    }
}

/// Channels that have not come: those that were held, and those that orders added.
fn missing(composed: &Composed) -> impl Iterator<Item = SeenChannel> {
    let held = composed.ticket().into_iter().flat_map(|ticket| &ticket.owed);
    let held = held.map(|(channel, position)| (channel.clone(), Some(*position)));
    let awaited = composed.changed().into_iter().flat_map(|changed| changed.changes.awaited());
    held.chain(awaited.map(|channel| (channel.clone(), None))).map(|(channel, position)| SeenChannel {
        channel,
        state: State::Held,
        position,
        newest: None,
        behind: None,
    })
}

fn legs(subscriber: &Subscriber) -> usize {
    match subscriber.route.whereabouts() {
        Whereabouts::Seat(_) => 1,
        Whereabouts::Legs(composed) => composed.legs.len(),
    }
}

fn state_of(subscriber: &Subscriber) -> State {
    let rest = match &subscriber.route {
        Route::Composed(composed) => composed.rest.as_deref(),
        Route::Plain(_) | Route::Single(_) => None,
    };
    let awaits = |changed: &Changed| !changed.awaited.is_empty();
    match rest {
        _ if subscriber.blocked => State::Blocked,
        Some(rest) if !rest.behind.is_empty() => State::History,
        Some(rest) if rest.ticket.is_some() || rest.changed.as_deref().is_some_and(awaits) => State::Held,
        _ => State::Live,
    }
}
