//! A courier's subscribers, and who of them is to end.

use super::ending::Reason;
use super::key::{Key, SubscriberId};
use super::subscriber::{Composed, Route, Subscriber};
use slab::Slab;
use std::ops::{Index, IndexMut};

/// The slab of subscribers. A key stands for one of them until [`remove`](Subscribers::remove).
#[derive(Default)]
pub struct Subscribers {
    slab: Slab<Subscriber>,
    /// Who is to end after the current walk, since an event may still name a key.
    dead: Vec<(Key, Reason)>,
    /// The serial of whoever came last.
    serial: u32,
}

impl Subscribers {
    /// Takes in the subscriber that is made for an id.
    pub fn insert(&mut self, make: impl FnOnce(SubscriberId) -> Subscriber) -> SubscriberId {
        self.serial = self.serial.wrapping_add(1);
        let entry = self.slab.vacant_entry();
        let id = SubscriberId { key: Key::of(entry.key()), serial: self.serial };
        entry.insert(make(id));
        id
    }

    /// Takes out a subscriber that is there.
    pub fn remove(&mut self, key: Key) -> Subscriber {
        self.slab.remove(key.index())
    }

    /// The subscriber that has a key, if there is one.
    pub fn get(&self, key: Key) -> Option<&Subscriber> {
        self.slab.get(key.index())
    }

    /// The subscriber that has a key, to be changed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Subscriber> {
        self.slab.get_mut(key.index())
    }

    /// Whether the subscriber of an id is still there.
    pub fn has(&self, id: SubscriberId) -> bool {
        self.get(id.key).is_some_and(|subscriber| subscriber.serial == id.serial)
    }

    /// The composed form of a subscriber that is there and has it.
    pub fn composed(&self, key: Key) -> Option<&Composed> {
        match &self.get(key)?.route {
            Route::Composed(composed) => Some(composed),
            Route::Plain(_) | Route::Single(_) => None,
        }
    }

    /// The composed form of a subscriber that is there and has it, to be changed.
    pub fn composed_mut(&mut self, key: Key) -> Option<&mut Composed> {
        match &mut self.get_mut(key)?.route {
            Route::Composed(composed) => Some(composed),
            Route::Plain(_) | Route::Single(_) => None,
        }
    }

    /// All subscribers with their keys, in the order of these.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Subscriber)> {
        self.slab.iter().map(|(index, subscriber)| (Key::of(index), subscriber))
    }

    /// All subscribers, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Subscriber> {
        self.slab.iter_mut().map(|(_, subscriber)| subscriber)
    }

    /// How many subscribers there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// One past the greatest key that is in use.
    pub fn slots(&self) -> usize {
        self.slab.iter().next_back().map_or(0, |(index, _)| index + 1)
    }

    /// Marks a subscriber as one that is to end, whether it is still there or not.
    pub fn end(&mut self, key: Key, reason: Reason) {
        self.dead.push((key, reason));
    }

    /// Marks the first so many subscribers as ones that are to end.
    pub fn end_first(&mut self, count: usize, reason: Reason) {
        let first = self.slab.iter().take(count).map(|(index, _)| (Key::of(index), reason));
        self.dead.extend(first);
    }

    /// Takes a mark away: one of those who are to end, and why.
    pub fn take_dead(&mut self) -> Option<(Key, Reason)> {
        self.dead.pop()
    }
}

impl Index<Key> for Subscribers {
    type Output = Subscriber;

    fn index(&self, key: Key) -> &Subscriber {
        &self.slab[key.index()]
    }
}

impl IndexMut<Key> for Subscribers {
    fn index_mut(&mut self, key: Key) -> &mut Subscriber {
        &mut self.slab[key.index()]
    }
}
