//! Connections that have not said enough, in the order in which they came.

use slab::Slab;
use std::collections::VecDeque;

/// For a request's head, as often as silent connections are looked through: ten seconds. Looks are counted, for a
/// machine that stands still for a while does so for clients, too.
const LOOKS: u32 = 20;
/// Places of the order that may be of those who have gone, beside as many as there are.
const STALE: usize = 64;

/// Connections that are waited for, each of which is described by a `V`.
pub struct Silents<V> {
    here: Slab<Silent<V>>,
    /// Keys with the serial numbers of those who had them; of those who have gone, too.
    order: VecDeque<(usize, u64)>,
    serial: u64,
    looks: u32,
}

struct Silent<V> {
    connection: V,
    serial: u64,
    /// The look before it came.
    since: u32,
}

impl<V> Default for Silents<V> {
    fn default() -> Silents<V> {
        Silents { here: Slab::new(), order: VecDeque::new(), serial: 0, looks: 0 }
    }
}

impl<V> Silents<V> {
    /// The key of whoever is inserted next.
    pub fn vacant_key(&self) -> usize {
        self.here.vacant_key()
    }

    pub fn insert(&mut self, connection: V) {
        if self.order.len() > 2 * self.here.len() + STALE {
            let here = &self.here;
            self.order.retain(|(key, serial)| here.get(*key).is_some_and(|silent| silent.serial == *serial));
        }
        self.serial += 1;
        let key = self.here.insert(Silent { connection, serial: self.serial, since: self.looks });
        self.order.push_back((key, self.serial));
    }

    pub fn get(&self, key: usize) -> Option<&V> {
        self.here.get(key).map(|silent| &silent.connection)
    }

    pub fn remove(&mut self, key: usize) -> Option<V> {
        let removed = self.here.try_remove(key)?;
        while self.order.front().is_some_and(|place| !self.is_here(*place)) {
            self.order.pop_front();
        }
        Some(removed.connection)
    }

    fn is_here(&self, (key, serial): (usize, u64)) -> bool {
        self.here.get(key).is_some_and(|silent| silent.serial == serial)
    }

    /// Takes out who has been silent for longest.
    pub fn longest(&mut self) -> Option<V> {
        loop {
            let place = self.order.pop_front()?;
            if self.is_here(place) {
                return self.remove(place.0);
            }
        }
    }

    /// Looks through all, and closes who has been silent too long.
    pub fn look(&mut self, mut closed: impl FnMut(&V)) {
        self.looks = self.looks.wrapping_add(1);
        let looks = self.looks;
        self.here.retain(|_, silent| {
            let stays = looks.wrapping_sub(silent.since) <= LOOKS;
            if !stays {
                closed(&silent.connection);
            }
            stays
        });
        if self.here.is_empty() {
            self.here.shrink_to_fit();
            self.order = VecDeque::new();
        }
    }

    /// Closes all but these.
    pub fn retain(&mut self, stays: impl Fn(&V) -> bool) {
        self.here.retain(|_, silent| stays(&silent.connection));
    }

    pub fn is_empty(&self) -> bool {
        self.here.is_empty()
    }
}
