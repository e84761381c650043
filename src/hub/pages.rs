//! Pages of history that many legs behind the tail want at the same time: read once, shared while they are fresh.
//!
//! After an outage thousands of clients may resume at the same few positions.

use crate::backplane::{BackplaneError, Span};
use crate::channel::Channel;
use crate::frame::Frame;
use crate::position::Position;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// Pages that are kept at most; one more empties the cache.
const KEPT: usize = 64;
/// A stream may be made anew, so nothing is believed for long.
const FRESH: Duration = Duration::from_secs(1);

/// A page, as it was read.
#[derive(Clone)]
pub struct Frames {
    /// Up to here nothing lies behind the last of its frames, unless it is full. A later reader may ask for more.
    pub newest: Position,
    pub frames: Arc<[Arc<Frame>]>,
}

/// When it was first asked for, and what came.
type Slot = (Instant, Arc<OnceCell<Frames>>);

/// See the module.
#[derive(Default)]
pub struct Pages(Mutex<HashMap<(Channel, Position), Slot>>);

impl Pages {
    /// The frames of a span, by its oldest position; `read` is awaited by one of those who ask at the same time.
    pub async fn read(
        &self,
        span: Span,
        read: impl Future<Output = Result<Vec<Arc<Frame>>, BackplaneError>>,
    ) -> Result<Frames, BackplaneError> {
        let cell = self.cell((span.channel, span.oldest));
        let newest = span.newest;
        cell.get_or_try_init(|| async { Ok(Frames { newest, frames: read.await?.into() }) }).await.cloned()
    }

    fn cell(&self, key: (Channel, Position)) -> Arc<OnceCell<Frames>> {
        let mut pages = self.0.lock();
        if pages.len() >= KEPT {
            pages.retain(|_, (since, _)| since.elapsed() < FRESH);
            if pages.len() >= KEPT {
                pages.clear();
            }
        }
        let (since, cell) = pages.entry(key).or_insert_with(|| (Instant::now(), Arc::default()));
        if since.elapsed() >= FRESH {
            (*since, *cell) = (Instant::now(), Arc::default());
        }
        cell.clone()
    }

    /// Forgets what is not fresh any more.
    pub fn tidy(&self) {
        self.0.lock().retain(|_, (since, _)| since.elapsed() < FRESH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Toward;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn span(ms: u64) -> Span {
        let oldest = Position::new(ms, 0);
        Span { channel: Channel::new("a").unwrap(), oldest, newest: Position::MAX, count: 1, toward: Toward::Newest }
    }

    #[tokio::test]
    async fn one_reads_for_all_and_failures_are_not_kept() {
        let (pages, reads) = (Pages::default(), AtomicUsize::new(0));
        let failing = pages.read(span(1), async { Err(BackplaneError::Down("x".into())) }).await;
        assert!(failing.is_err());
        let read = || async {
            reads.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(vec![])
        };
        let (a, b) = tokio::join!(pages.read(span(1), read()), pages.read(span(1), read()));
        assert!(a.is_ok() && b.is_ok());
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        pages.read(span(2), read()).await.unwrap();
        assert_eq!(reads.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn the_cache_is_bounded() {
        let pages = Pages::default();
        (0..1_000).for_each(|ms| drop(pages.cell((Channel::new("a").unwrap(), Position::new(ms, 0)))));
        assert!(pages.0.lock().len() <= KEPT);
    }
}
