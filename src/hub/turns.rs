//! Turns: who waits is served one by one, whoever has many wishes no sooner than who has one.

use hashbrown::HashMap;
use std::collections::VecDeque;
use std::hash::Hash;

/// Wishes by who has them. Each of those who wait is served once before anybody is served twice.
pub struct Turns<K, W> {
    /// Who has wishes, in the order of their turns.
    line: VecDeque<K>,
    wishes: HashMap<K, VecDeque<W>>,
    count: usize,
}

impl<K, W> Default for Turns<K, W> {
    fn default() -> Turns<K, W> {
        Turns { line: VecDeque::new(), wishes: HashMap::new(), count: 0 }
    }
}

impl<K: Copy + Eq + Hash, W> Turns<K, W> {
    /// How many wishes there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Adds a wish, the last of all that its owner has.
    pub fn push(&mut self, owner: K, wish: W) {
        let theirs = self.wishes.entry(owner).or_default();
        if theirs.is_empty() {
            self.line.push_back(owner);
        }
        theirs.push_back(wish);
        self.count += 1;
    }

    /// The wish whose turn it is.
    pub fn peek(&self) -> Option<&W> {
        self.wishes.get(self.line.front()?)?.front()
    }

    /// Takes the wish whose turn it is; its owner's next one comes after those of all others.
    pub fn pop(&mut self) -> Option<W> {
        let owner = self.line.pop_front()?;
        let theirs = self.wishes.get_mut(&owner)?;
        let wish = theirs.pop_front()?;
        match theirs.is_empty() {
            true => drop(self.wishes.remove(&owner)),
            false => self.line.push_back(owner),
        }
        self.count -= 1;
        Some(wish)
    }

    /// Forgets wishes.
    pub fn retain(&mut self, mut wanted: impl FnMut(&W) -> bool) {
        self.wishes.retain(|_, theirs| {
            theirs.retain(&mut wanted);
            !theirs.is_empty()
        });
        self.line.retain(|owner| self.wishes.contains_key(owner));
        self.count = self.wishes.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_before_somebody_has_two() {
        let mut turns = Turns::default();
        (0..5).for_each(|wish| turns.push('a', wish));
        turns.push('b', 10);
        turns.push('c', 20);
        turns.push('c', 21);
        assert_eq!((turns.len(), turns.peek()), (8, Some(&0)));
        turns.retain(|wish| *wish != 1);
        let order: Vec<i32> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(order, [0, 10, 20, 2, 21, 3, 4]);
        assert_eq!((turns.len(), turns.peek()), (0, None));
        turns.push('b', 1);
        turns.retain(|_| false);
        assert_eq!((turns.len(), turns.pop()), (0, None));
    }
}
