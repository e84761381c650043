//! Answers that are on their way to the follower.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many answers the follower waits for. What has been asked is not gathered any more: whoever pauses to gather does not
/// pause for an answer.
#[derive(Clone, Debug, Default)]
pub struct Awaited(Arc<AtomicU32>);

/// One answer, which is on its way until this is dropped.
#[derive(Debug)]
pub struct Awaiting(Arc<AtomicU32>);

impl Awaited {
    /// One more is asked for.
    pub fn one(&self) -> Awaiting {
        self.0.fetch_add(1, Ordering::Relaxed);
        Awaiting(self.0.clone())
    }

    /// Whether any is on its way.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_awaited_until_it_is_dropped() {
        let awaited = Awaited::default();
        let (one, other) = (awaited.one(), awaited.clone().one());
        drop(one);
        assert!(awaited.any());
        drop(other);
        assert!(!awaited.any());
    }
}
