//! Names under which entries of one stream were published once: each for as long as all backplanes promise. Pure.

use crate::backplane::{KEYS_KEPT, KEYS_MOST, Once};
use crate::hash::HashMap;
use crate::position::Position;
use std::collections::VecDeque;

/// What a name takes beside its text: its places in both collections.
const OVERHEAD: usize = 2 * size_of::<Once>() + size_of::<Position>() + 96;

#[derive(Debug, Default)]
pub(super) struct Keys {
    known: HashMap<Once, Position>,
    /// Oldest first, with the time at which each came.
    order: VecDeque<(u64, Once)>,
    bytes: usize,
}

impl Keys {
    /// The entry of this name, where it is remembered.
    pub(super) fn find(&mut self, once: &Once, now_ms: u64) -> Option<Position> {
        let kept_ms = KEYS_KEPT.as_millis() as u64;
        while self.order.front().is_some_and(|(at, _)| at.saturating_add(kept_ms) <= now_ms) {
            self.forget_oldest();
        }
        self.known.get(once).copied()
    }

    /// Remembers an entry that was appended under a name.
    pub(super) fn insert(&mut self, once: &Once, position: Position, now_ms: u64) {
        self.known.insert(once.clone(), position);
        self.order.push_back((now_ms, once.clone()));
        self.bytes += cost(once);
        if self.order.len() > KEYS_MOST {
            self.forget_oldest();
        }
    }

    /// Memory that the names take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the older half, at least one.
    pub(super) fn halve(&mut self) {
        for _ in 0..self.order.len().div_ceil(2) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, once)) = self.order.pop_front() {
            self.known.remove(&once);
            self.bytes -= cost(&once);
        }
    }
}

fn cost(once: &Once) -> usize {
    once.key.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_remembered_for_its_time_and_up_to_its_number() {
        let once = |n: usize| Once { producer: "p".into(), key: n.to_string().into() };
        let at = |n: usize| Position::new(1, n as u64);
        let mut keys = Keys::default();
        keys.insert(&once(0), at(0), 1_000);
        assert_eq!(keys.find(&once(0), 600_999), Some(at(0)));
        assert_eq!(keys.find(&Once { producer: "q".into(), ..once(0) }, 1_000), None, "another producer's");
        assert_eq!(keys.find(&once(0), 601_000), None);
        assert_eq!(keys.bytes(), 0);
        (0..=KEYS_MOST).for_each(|n| keys.insert(&once(n), at(n), 1_000));
        assert_eq!((keys.find(&once(0), 1_000), keys.find(&once(1), 1_000)), (None, Some(at(1))));
        let full = keys.bytes();
        keys.halve();
        assert_eq!(keys.find(&once(KEYS_MOST / 2), 1_000), None);
        assert!(keys.find(&once(KEYS_MOST), 1_000).is_some() && keys.bytes() < full * 2 / 3);
        while keys.bytes() > 0 {
            keys.halve();
        }
        assert!(keys.known.is_empty() && keys.order.is_empty());
    }
}
