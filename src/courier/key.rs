//! What a courier and others call its subscribers.

/// A subscriber's place in its courier's slab. It is given to another one once the subscriber has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u32);

impl Key {
    /// The key of a place in the slab.
    pub const fn of(index: usize) -> Key {
        Key(index as u32)
    }

    /// The place in the slab.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One subscriber of a courier, whether it is still there or not: its key, and what tells it from others who have that
/// key before or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriberId {
    pub key: Key,
    pub serial: u32,
}
