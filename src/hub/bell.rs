//! What a feed rings when it has new frames. Who hears it, and where, is not the hub's business.

use std::sync::Arc;

/// What couriers call a feed. It is given to another one once the feed has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeedNumber(u32);

impl FeedNumber {
    /// The number of a place in the hub's index.
    pub const fn new(place: u32) -> FeedNumber {
        FeedNumber(place)
    }

    /// The place, for lists by feed.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One who delivers feeds, and wants to know which of them have new frames.
pub trait Bell: Send + Sync {
    /// That feed has new frames. Must not block: it is called by whoever appends.
    fn advanced(&self, feed: FeedNumber);
}

/// All bells of a node, by the number that [`Feed`](super::feed::Feed) knows their couriers by.
pub type Bells = Arc<[Arc<dyn Bell>]>;
