//! An index by channel: items are found by their channel's name, and by a number. The name is kept in the item alone,
//! since a node may have hundreds of thousands of channels. Pure.

use super::feed::Feed;
use crate::channel::Channel;
use crate::hash::State;
use hashbrown::HashTable;
use std::cell::Cell;
use std::hash::BuildHasher;
use std::sync::Arc;

/// An item that knows its channel, which must not change.
pub trait Named {
    fn channel(&self) -> &Channel;
}

impl Named for Arc<Feed> {
    fn channel(&self) -> &Channel {
        &self.channel
    }
}

/// Items by their channel's name, and by a number that each is given; the name is kept in the item alone.
pub struct Index<T> {
    /// Items by number.
    items: Vec<Option<T>>,
    /// Numbers that are free again.
    free: Vec<u32>,
    /// Numbers, by the hash of the name.
    numbers: HashTable<u32>,
    /// The number that was found last: whoever works on an item asks for it several times.
    last: Cell<u32>,
    hasher: State,
}

impl<T> Default for Index<T> {
    fn default() -> Index<T> {
        Index {
            items: Vec::new(),
            free: Vec::new(),
            numbers: HashTable::new(),
            last: Cell::new(0),
            hasher: State::default(),
        }
    }
}

impl<T: Named> Index<T> {
    /// Puts in what `make` makes of its number, in the place of what was there of the same channel.
    pub fn insert(&mut self, channel: &Channel, make: impl FnOnce(u32) -> T) {
        self.remove(channel);
        let number = self.free.pop().unwrap_or(self.items.len() as u32);
        let item = Some(make(number));
        match self.items.get_mut(number as usize) {
            Some(place) => *place = item,
            None => self.items.push(item),
        }
        let (items, hasher) = (&self.items, &self.hasher);
        let hash = |&number: &u32| items[number as usize].as_ref().map_or(0, |item| hasher.hash_one(item.channel()));
        self.numbers.insert_unique(hasher.hash_one(channel), number, hash);
    }

    pub fn remove(&mut self, channel: &Channel) -> Option<T> {
        let items = &self.items;
        let hash = self.hasher.hash_one(channel);
        let entry = self.numbers.find_entry(hash, |&number| is(items, number, channel)).ok()?;
        let (number, _) = entry.remove();
        self.free.push(number);
        self.items[number as usize].take()
    }

    pub fn get(&self, channel: &Channel) -> Option<&T> {
        self.items[self.number(channel)?].as_ref()
    }

    pub fn get_mut(&mut self, channel: &Channel) -> Option<&mut T> {
        let number = self.number(channel)?;
        self.items[number].as_mut()
    }

    /// A channel's item, with its number.
    pub fn find_mut(&mut self, channel: &Channel) -> Option<(u32, &mut T)> {
        let number = self.number(channel)?;
        self.items[number].as_mut().map(|item| (number as u32, item))
    }

    /// The item of a number, if there is one; it may be another than the number was given to.
    pub fn at_mut(&mut self, number: u32) -> Option<&mut T> {
        let item = self.items.get_mut(number as usize)?.as_mut();
        if item.is_some() {
            self.last.set(number);
        }
        item
    }

    pub fn contains(&self, channel: &Channel) -> bool {
        self.number(channel).is_some()
    }

    /// An item's number; without a look at the name where it is the item's own handle of it, and the item was found last.
    fn number(&self, channel: &Channel) -> Option<usize> {
        let last = self.last.get() as usize;
        let item = self.items.get(last).and_then(Option::as_ref);
        if item.is_some_and(|item| item.channel().is_same_handle(channel)) {
            return Some(last);
        }
        let hash = self.hasher.hash_one(channel);
        let number = *self.numbers.find(hash, |&number| is(&self.items, number, channel))?;
        self.last.set(number);
        Some(number as usize)
    }

    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter().flatten()
    }

    /// One step of a round over all: the item at `hand`, if there is one, which then moves on; `None` at the end, from
    /// where it begins anew.
    pub fn step(&self, hand: &mut usize) -> Option<Option<&T>> {
        let item = self.items.get(*hand).map(Option::as_ref);
        *hand = if item.is_some() { *hand + 1 } else { 0 };
        item
    }

    /// Steps of a round.
    pub fn steps(&self) -> usize {
        self.items.len()
    }
}

fn is<T: Named>(items: &[Option<T>], number: u32, channel: &Channel) -> bool {
    items[number as usize].as_ref().is_some_and(|item| item.channel() == channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Item(Channel, u32);

    impl Named for Item {
        fn channel(&self) -> &Channel {
            &self.0
        }
    }

    #[test]
    fn items_are_found_by_name_and_numbers_are_used_again() {
        let channel = |n: u32| Channel::new(&format!("user.{n}")).unwrap();
        let mut index = Index::default();
        (0..1_000).for_each(|n| index.insert(&channel(n), |number| Item(channel(n), number)));
        assert!((0..1_000).all(|n| index.get(&channel(n)).is_some_and(|item| item.0 == channel(n) && item.1 == n)));
        assert!(index.get(&channel(1_000)).is_none());
        assert_eq!(index.remove(&channel(7)).map(|item| item.1), Some(7));
        assert!(!index.contains(&channel(7)) && index.remove(&channel(7)).is_none());
        index.insert(&channel(1_000), |number| Item(channel(1_000), number));
        assert_eq!(index.get_mut(&channel(1_000)).map(|item| item.1), Some(7), "the free number");
        index.insert(&channel(8), |number| Item(channel(8), number + 10_000));
        assert_eq!(index.get(&channel(8)).map(|item| item.1), Some(10_008), "in the place of the old one");
        assert_eq!((index.len(), index.iter().count(), index.steps()), (1_000, 1_000, 1_000));
        let own = index.get(&channel(9)).map(|item| item.0.clone()).unwrap();
        assert_eq!(index.get(&own).map(|item| item.1), Some(9), "by its own handle");
        index.remove(&own);
        assert!(index.get(&own).is_none(), "the one found last is gone");
        index.insert(&channel(2_000), |number| Item(channel(2_000), number));
        assert!(index.get(&own).is_none() && index.get(&channel(2_000)).is_some_and(|item| item.1 == 9));
        let number = |index: &mut Index<Item>, channel| index.find_mut(channel).map(|(number, _)| number);
        assert_eq!((number(&mut index, &own), number(&mut index, &channel(2_000))), (None, Some(9)));
        assert_eq!(index.at_mut(9).map(|item| item.0.clone()), Some(channel(2_000)), "whose the number is now");
        assert!(index.at_mut(1_000).is_none());
    }

    #[test]
    fn a_round_meets_everything_once() {
        let mut index = Index::default();
        for name in ["a", "b", "c"] {
            let channel = Channel::new(name).unwrap();
            index.insert(&channel, |number| Item(channel.clone(), number));
        }
        index.remove(&Channel::new("b").unwrap());
        let mut hand = 0;
        let round: Vec<_> = std::iter::from_fn(|| index.step(&mut hand)).map(|item| item.map(|item| item.1)).collect();
        assert_eq!((round, hand), (vec![Some(0), None, Some(2)], 0));
    }
}
