//! Who may stay, and until when: a table beside the slab, with an entry for those alone who have a grant that ends, can
//! be revoked, or counts for a subject.
//!
//! Ends and warnings stand in one ordered set, so that a tick looks only at what is due.

use super::key::Key;
use super::tick::Tick;
use crate::auth::Identity;
use crate::auth::order::Change;
use crate::auth::renewal::Renewal;
use crate::hash::HashMap;
use crate::limits::Seat;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is kept for a subscriber while it stays.
pub struct Admission {
    pub identity: Identity,
    /// A place that has more to give back than a connection of its address.
    seat: Option<Seat>,
    /// Channels that it may have.
    most_channels: u32,
    /// The tick that stands in the set.
    due: Option<Tick>,
    /// The tick at which it must go.
    ends: Option<Tick>,
}

impl Admission {
    /// `None` where nothing has to be kept.
    pub fn new(seat: Option<Seat>, identity: Option<Box<Identity>>, most_channels: usize) -> Option<Box<Admission>> {
        let any = seat.is_some() || identity.is_some();
        any.then(|| {
            let identity = identity.map_or_else(Identity::default, |identity| *identity);
            let most_channels = u32::try_from(most_channels).unwrap_or(u32::MAX);
            Box::new(Admission { identity, seat, most_channels, due: None, ends: None })
        })
    }

    /// The grant ends at a tick, and its subscriber is looked at from another one on.
    pub(super) fn limit(&mut self, due: Tick, ends: Tick) {
        (self.due, self.ends) = (Some(due), Some(ends));
    }
}

/// What is kept of subscribers while they stay, and when it is to be looked at.
#[derive(Default)]
pub struct ExpiryTable {
    by_key: HashMap<Key, Box<Admission>>,
    /// Ticks at which somebody must be told, or go.
    due: BTreeSet<(Tick, Key)>,
    /// Who has a subject, by that; filled where grants may be extended.
    by_subject: BTreeSet<(Arc<str>, Key)>,
    extends: bool,
}

/// A subscriber whose grant is to be looked at.
pub struct Due {
    pub key: Key,
    /// The tick at which it must go.
    pub ends: Tick,
    /// When its grant ends, in Unix milliseconds.
    pub expires_ms: u64,
}

impl ExpiryTable {
    /// An empty table; `extends`: whether it is asked for those of a subject.
    pub fn new(extends: bool) -> ExpiryTable {
        ExpiryTable { extends, ..ExpiryTable::default() }
    }

    /// Keeps what a subscriber brings.
    pub fn insert(&mut self, key: Key, admission: Box<Admission>) {
        self.due.extend(admission.due.map(|due| (due, key)));
        if self.extends {
            self.by_subject.extend(admission.identity.subject.clone().map(|subject| (subject, key)));
        }
        self.by_key.insert(key, admission);
    }

    /// Who a subscriber is, where that is known.
    pub fn identity(&self, key: Key) -> Option<&Identity> {
        self.by_key.get(&key).map(|admission| &admission.identity)
    }

    /// Whom an order to change channels is for.
    pub fn concerned(&self, order: &Change) -> Vec<Key> {
        let concerned = self.by_key.iter().filter(|(_, admission)| order.concerns(&admission.identity));
        let mut keys: Vec<Key> = concerned.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// Channels that a subscriber may have.
    pub fn most_channels(&self, key: Key) -> usize {
        self.by_key.get(&key).map_or(0, |admission| admission.most_channels as usize)
    }

    /// Counts one channel more for a subscriber; whether the limits of its client have room for it.
    pub fn take_channel(&mut self, key: Key) -> bool {
        let seat = self.by_key.get_mut(&key).and_then(|admission| admission.seat.as_mut());
        seat.is_none_or(Seat::take_channel)
    }

    /// Counts one channel less.
    pub fn give_channel(&mut self, key: Key) {
        let seat = self.by_key.get_mut(&key).and_then(|admission| admission.seat.as_mut());
        seat.into_iter().for_each(Seat::give_channel);
    }

    /// All subscribers of a subject.
    pub fn of_subject(&self, subject: &Arc<str>) -> Vec<Key> {
        let from = self.by_subject.range((subject.clone(), Key::of(0))..);
        from.take_while(|(other, _)| other == subject).map(|(_, key)| *key).collect()
    }

    /// A grant goes on: it ends at another tick, and its subscriber is looked at from `due` on.
    pub fn extend(&mut self, key: Key, renewal: &Renewal, (due, ends): (Tick, Tick)) {
        let Some(admission) = self.by_key.get_mut(&key) else { return };
        admission.identity.renew(renewal.token_id.as_ref(), renewal.until_ms);
        admission.identity.subscribe = renewal.subscribe();
        if let Some(before) = admission.due {
            self.due.remove(&(before, key));
        }
        admission.limit(due, ends);
        self.due.insert((due, key));
    }

    /// Forgets a subscriber that goes; whether that gave its place back.
    pub fn remove(&mut self, key: Key) -> bool {
        let Some(admission) = self.by_key.remove(&key) else { return false };
        if let Some(due) = admission.due {
            self.due.remove(&(due, key));
        }
        if let Some(subject) = admission.identity.subject.filter(|_| self.extends) {
            self.by_subject.remove(&(subject, key));
        }
        // A seat gives its place back by being dropped, which it is here.
        admission.seat.is_some()
    }

    /// Takes one who is to be looked at out of the set, until [`look_again`](ExpiryTable::look_again).
    pub fn take_due(&mut self, now: Tick) -> Option<Due> {
        while let Some((due, key)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, key));
            let Some(admission) = self.by_key.get_mut(&key) else { continue };
            admission.due = None;
            let (ends, expires_ms) = (admission.ends.unwrap_or(due), admission.identity.expires_ms.unwrap_or_default());
            return Some(Due { key, ends, expires_ms });
        }
        None
    }

    /// A subscriber is to be looked at, again, at a tick.
    pub fn look_again(&mut self, key: Key, at: Tick) {
        if let Some(admission) = self.by_key.get_mut(&key) {
            admission.due = Some(at);
            self.due.insert((at, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Grant;

    #[test]
    fn who_is_extended_is_looked_at_by_the_new_end_alone() {
        let tick = |number| Tick::default().plus(number);
        let mut table = ExpiryTable::new(true);
        let identity = Identity { subject: Some("ann".into()), expires_ms: Some(2_000), ..Identity::default() };
        let mut admission = Admission::new(None, Some(Box::new(identity)), 1).expect("one who is kept");
        admission.limit(tick(10), tick(20));
        table.insert(Key::of(3), admission);
        let grant = Grant { subject: Some("ann".into()), expires_ms: Some(4_000), ..Grant::everything() };
        let renewal = Renewal::of(&grant).expect("a renewal");
        assert_eq!(table.of_subject(&"ann".into()), [Key::of(3)]);
        table.extend(Key::of(3), &renewal, (tick(30), tick(40)));
        assert!(table.take_due(tick(29)).is_none());
        let due = table.take_due(tick(30)).expect("it is due");
        assert_eq!((due.key, due.ends, due.expires_ms), (Key::of(3), tick(40), 4_000));
        table.remove(Key::of(3));
        assert!(table.of_subject(&"ann".into()).is_empty());
    }
}
