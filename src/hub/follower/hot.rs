//! Hot streams: those few that have entries again and again, whose next entry is waited for at the backplane. That saves
//! the way of a report, and that of the question after it. When they become so and cool again is `heat`'s business.

use super::followed::Turn;
use crate::backplane::{Ask, Backplane, BackplaneError, Entry};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Streams that are waited for at once, each on a connection of its own; and how many others may have something between
/// two entries of a stream that becomes one. Where many are busy, asking for all of them in one go costs less.
const MOST: usize = 4;
/// Two entries so close to each other are expected to be followed by a third.
const CLOSE: Duration = Duration::from_millis(500);
/// Entries at once. More are a burst: waiting ends at the first of them, and then with as many as Redis had read by then; a
/// push and a read bring all, and so each subscriber has them in one send.
const FEW: std::ops::RangeInclusive<usize> = 1..=4;
/// Mean bytes of an event: each is sent here three times, twice while it is waited for and once as the next one's witness.
const LIGHT: usize = 4 << 10;

/// What a wait for a stream's next entry brought.
pub(super) struct Waited {
    pub turn: Turn,
    /// The most entries that it might have.
    pub count: usize,
    pub answer: Result<Vec<Entry>, BackplaneError>,
}

/// The hot streams, and which may become so next.
#[derive(Default)]
pub(super) struct Hot {
    reads: FuturesUnordered<Pin<Box<dyn Future<Output = Waited> + Send>>>,
    turns: Vec<Turn>,
    /// By serial, the streams that had something last, and when.
    recent: VecDeque<(u64, Instant)>,
}

impl Hot {
    /// Cancel safe; `None` where nothing is waited for.
    pub async fn next(&mut self) -> Option<Waited> {
        self.reads.next().await
    }

    /// Takes note that a stream was read, and had so many new entries; whether the next one is worth waiting for.
    pub fn is_heated(&mut self, serial: u64, grown: usize, now: Instant) -> bool {
        is_few(grown) && self.again(serial, now)
    }

    /// Whether no more streams may be waited for.
    pub fn is_full(&self) -> bool {
        self.turns.len() == MOST
    }

    /// How many streams are waited for.
    pub fn len(&self) -> usize {
        self.turns.len()
    }

    /// Waits for a stream's next entry.
    pub fn wait(&mut self, turn: Turn, ask: Ask, backplane: Arc<dyn Backplane>) {
        self.turns.push(turn.clone());
        self.reads.push(Box::pin(async move {
            let count = ask.count;
            let answer = backplane.read_next(ask).await;
            Waited { turn, count, answer }
        }));
    }

    /// The wait for a stream is over.
    pub fn over(&mut self, turn: &Turn) {
        self.turns.retain(|hot| hot != turn);
    }

    /// Waits no more; returns the streams that were waited for.
    pub fn clear(&mut self) -> Vec<Turn> {
        self.reads.clear();
        std::mem::take(&mut self.turns)
    }

    /// A stream has had something; whether it had so just before.
    fn again(&mut self, serial: u64, now: Instant) -> bool {
        let before = self.recent.iter().position(|(known, _)| *known == serial);
        let before = before.and_then(|index| self.recent.remove(index));
        if self.recent.len() == MOST {
            self.recent.pop_front();
        }
        self.recent.push_back((serial, now));
        before.is_some_and(|(_, at)| now.duration_since(at) < CLOSE)
    }
}

/// Whether so many new entries at once are some, and no burst.
pub(super) fn is_few(grown: usize) -> bool {
    FEW.contains(&grown)
}

/// Whether a stream's entries, of that mean size in bytes, are small enough to be waited for.
pub(super) fn is_light(mean: usize) -> bool {
    mean <= LIGHT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_hot_when_few_others_came_between_and_little_time() {
        let (mut hot, now) = (Hot::default(), Instant::now());
        assert!(!hot.again(1, now));
        assert!(hot.again(1, now));
        (2..MOST as u64 + 1).for_each(|serial| assert!(!hot.again(serial, now)));
        assert!(hot.again(1, now), "as many as are remembered");
        (10..10 + MOST as u64).for_each(|serial| assert!(!hot.again(serial, now)));
        assert!(!hot.again(1, now), "others came between");
        assert!(!hot.again(1, now + CLOSE), "too late");
    }
}
