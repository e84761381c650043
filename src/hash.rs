//! Maps and sets by hash. Their seeds are random, so that nobody can choose keys that collide; a simulation fixes them,
//! since the order in which a map is walked is part of what a node does.

use foldhash::fast::{FoldHasher, SeedableRandomState};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};

/// A map whose order may be fixed.
pub type HashMap<K, V> = hashbrown::HashMap<K, V, State>;
/// A set whose order may be fixed.
pub type HashSet<K> = hashbrown::HashSet<K, State>;

static FIXED: AtomicBool = AtomicBool::new(false);

/// Makes hashers of one seed.
#[derive(Clone)]
pub struct State(SeedableRandomState);

impl Default for State {
    fn default() -> State {
        State(match FIXED.load(Ordering::Relaxed) {
            true => SeedableRandomState::fixed(),
            false => SeedableRandomState::random(),
        })
    }
}

impl BuildHasher for State {
    type Hasher = FoldHasher<'static>;

    fn build_hasher(&self) -> FoldHasher<'static> {
        self.0.build_hasher()
    }
}

/// From now on all that is made in this process has the same seed.
#[cfg(feature = "testing")]
pub fn fix_order() {
    FIXED.store(true, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ() {
        let (one, other) = (State::default(), State::default());
        assert_ne!(one.hash_one("a"), other.hash_one("a"));
        assert_eq!(one.hash_one("a"), one.clone().hash_one("a"));
    }
}
