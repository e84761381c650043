//! Turns: who waits is served one by one, whoever has many requests no sooner than who has one.

use crate::hash::HashMap;
use std::collections::VecDeque;
use std::hash::Hash;

/// Requests by who has them. Each of those who wait is served once before anybody is served twice.
pub struct Turns<K, R> {
    /// Who has requests, in the order of their turns.
    line: VecDeque<K>,
    requests: HashMap<K, VecDeque<R>>,
    count: usize,
}

impl<K, R> Default for Turns<K, R> {
    fn default() -> Turns<K, R> {
        Turns { line: VecDeque::new(), requests: HashMap::default(), count: 0 }
    }
}

impl<K: Copy + Eq + Hash, R> Turns<K, R> {
    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Adds a request, the last of all that its owner has.
    pub fn push(&mut self, owner: K, request: R) {
        let theirs = self.requests.entry(owner).or_default();
        if theirs.is_empty() {
            self.line.push_back(owner);
        }
        theirs.push_back(request);
        self.count += 1;
    }

    /// The request whose turn it is.
    pub fn peek(&self) -> Option<&R> {
        self.requests.get(self.line.front()?)?.front()
    }

    /// Takes the request whose turn it is; its owner's next one comes after those of all others.
    pub fn pop(&mut self) -> Option<R> {
        let owner = self.line.pop_front()?;
        let theirs = self.requests.get_mut(&owner)?;
        let request = theirs.pop_front()?;
        match theirs.is_empty() {
            true => drop(self.requests.remove(&owner)),
            false => self.line.push_back(owner),
        }
        self.count -= 1;
        Some(request)
    }

    /// Forgets all requests but those that are wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&R) -> bool) {
        self.requests.retain(|_, theirs| {
            theirs.retain(&mut wanted);
            !theirs.is_empty()
        });
        self.line.retain(|owner| self.requests.contains_key(owner));
        self.count = self.requests.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_before_somebody_has_two() {
        let mut turns = Turns::default();
        (0..5).for_each(|request| turns.push('a', request));
        turns.push('b', 10);
        turns.push('c', 20);
        turns.push('c', 21);
        assert_eq!((turns.len(), turns.peek()), (8, Some(&0)));
        turns.retain(|request| *request != 1);
        let order: Vec<i32> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(order, [0, 10, 20, 2, 21, 3, 4]);
        assert_eq!((turns.len(), turns.peek()), (0, None));
        turns.push('b', 1);
        turns.retain(|_| false);
        assert_eq!((turns.len(), turns.pop()), (0, None));
    }
}
