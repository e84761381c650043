//! Single flight: what many subscribers want to know of a stream at the same time is read once, and shared for a moment.
//!
//! After an outage thousands of clients may resume at the same few positions behind the tail.

use super::bell::FeedNumber;
use super::feed::Feed;
use crate::backplane::BackplaneError;
use crate::hash::HashMap;
use crate::position::Position;
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// Answers that are kept at most; one more empties the cache.
const KEPT: usize = 64;
/// A stream may be made anew, so nothing is believed for long.
const BELIEVED: Duration = Duration::from_secs(1);

/// A feed by its number, the era of its log, and a position in it.
type Key = (FeedNumber, u32, Position);
/// When it was first asked for, and what came.
type Slot<T> = (Instant, Arc<OnceCell<T>>);

/// Answers by feed and position, each read once for all who ask within a second.
pub struct SingleFlight<T>(Mutex<HashMap<Key, Slot<T>>>);

impl<T> Default for SingleFlight<T> {
    fn default() -> SingleFlight<T> {
        SingleFlight(Mutex::default())
    }
}

impl<T: Clone> SingleFlight<T> {
    /// What is known about a position of a feed; `read` is awaited by one of those who ask at the same time.
    pub async fn get(
        &self,
        feed: &Feed,
        position: Position,
        read: impl Future<Output = Result<T, BackplaneError>>,
    ) -> Result<T, BackplaneError> {
        let era = feed.lock().log.era();
        self.cell((feed.number, era, position)).get_or_try_init(|| read).await.cloned()
    }

    fn cell(&self, key: Key) -> Arc<OnceCell<T>> {
        let mut slots = self.0.lock();
        if slots.len() >= KEPT {
            slots.retain(|_, (since, _)| since.elapsed() < BELIEVED);
            if slots.len() >= KEPT {
                slots.clear();
            }
        }
        let (since, cell) = slots.entry(key).or_insert_with(|| (Instant::now(), Arc::default()));
        if since.elapsed() >= BELIEVED {
            (*since, *cell) = (Instant::now(), Arc::default());
        }
        cell.clone()
    }

    /// Forgets everything, so that its memory is free for others.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// Forgets what is not believed any more.
    pub fn tidy(&self) {
        self.0.lock().retain(|_, (since, _)| since.elapsed() < BELIEVED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn one_reads_for_all_and_failures_are_not_kept() {
        let feed = Feed::new(FeedNumber::new(0), Channel::new("a").unwrap());
        let (answers, reads) = (SingleFlight::default(), AtomicUsize::new(0));
        let failing = answers.get(&feed, Position::new(1, 0), async { Err(BackplaneError::down("x")) }).await;
        assert!(failing.is_err());
        let read = || async {
            tokio::task::yield_now().await;
            Ok(reads.fetch_add(1, Ordering::Relaxed))
        };
        let at = Position::new(1, 0);
        let (a, b) = tokio::join!(answers.get(&feed, at, read()), answers.get(&feed, at, read()));
        assert_eq!((a.unwrap(), b.unwrap()), (0, 0));
        assert_eq!(answers.get(&feed, Position::new(2, 0), read()).await.unwrap(), 1);
        feed.lock().log.begin_at(at, None, false);
        assert_eq!(answers.get(&feed, at, read()).await.unwrap(), 2, "another era");
    }

    #[test]
    fn the_cache_is_bounded() {
        let answers = SingleFlight::<()>::default();
        (0..1_000).for_each(|ms| drop(answers.cell((FeedNumber::new(0), 0, Position::new(ms, 0)))));
        assert!(answers.0.lock().len() <= KEPT);
    }
}
