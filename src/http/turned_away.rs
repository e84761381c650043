//! Those who are turned away to come back (`--when-full retry`): how long the end of their answer is held, so that a client that
//! asks again as soon as a stream ends does not do so hundreds of times a second.
//!
//! Owns the places of answers that are held, and their counts. What is written, and noticing who hangs up, is `wire`'s.

use super::metrics::AnswerEnd;
use crate::metrics::Counters;
use crate::watched as watch;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

/// The end is held for so long at most: some clients break off a stream that is quiet for five seconds.
const LONGEST: Duration = Duration::from_secs(4);

/// Answers whose end is held.
pub struct TurnedAway {
    places: Arc<Semaphore>,
    most: usize,
    /// Turns true when all are to end.
    ending: watch::Sender<bool>,
    ends: Counters<AnswerEnd>,
}

/// One answer to somebody who is turned away. Dropping it gives its place back.
pub struct Waiting {
    /// `None`: all places were taken.
    place: Option<OwnedSemaphorePermit>,
    delay: Duration,
    ending: watch::Receiver<bool>,
}

impl TurnedAway {
    /// Holds half of so many connections at most: the others are for requests that are read.
    pub fn new(spare: usize, ends: Counters<AnswerEnd>) -> TurnedAway {
        let most = spare / 2;
        TurnedAway { places: Arc::new(Semaphore::new(most)), most, ending: watch::Sender::new(false), ends }
    }

    /// Counts an answer, which has a place from now on if there is one. `told`: after which delay its client is to come back.
    pub fn wait(&self, told: Duration) -> Waiting {
        let place = self.places.clone().try_acquire_owned().ok();
        self.ends.inc(if place.is_some() { AnswerEnd::Held } else { AnswerEnd::AtOnce });
        Waiting { place, delay: told.min(LONGEST), ending: self.ending.subscribe() }
    }

    /// Answers that are held now.
    pub fn held(&self) -> usize {
        self.most - self.places.available_permits()
    }

    /// Ends all of them, and holds none from now on.
    pub fn end_all(&self) {
        self.ending.send_replace(true);
    }
}

impl Waiting {
    /// Waits until the answer is to end: after the delay, or now where it has no place or all are to end. Cancel safe, but that
    /// the delay begins anew.
    pub async fn over(&mut self) {
        if self.place.is_none() {
            return;
        }
        tokio::select! {
            biased;
            _ = self.ending.wait_for(|ending| *ending) => {}
            () = sleep(self.delay) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Registry;
    use tokio::time::Instant;

    fn turned_away(spare: usize) -> TurnedAway {
        TurnedAway::new(spare, Registry::default().counters("ends", "Ends.", "end"))
    }

    /// How long an answer is held.
    async fn held_for(waiting: &mut Waiting) -> Duration {
        let begun = Instant::now();
        waiting.over().await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_held_for_the_delay_that_it_tells_within_a_bound() {
        let turned_away = turned_away(2);
        for (told, held) in [(50, 50), (3_999, 3_999), (4_001, 4_000), (60_000, 4_000)] {
            let waited = held_for(&mut turned_away.wait(Duration::from_millis(told))).await;
            assert!((held..=held + 1).contains(&(waited.as_millis() as u64)), "{told}: {waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_the_spare_connections_are_held_and_no_more() {
        let turned_away = turned_away(5);
        let told = Duration::from_secs(1);
        let mut both = [turned_away.wait(told), turned_away.wait(told)];
        assert_eq!((turned_away.held(), held_for(&mut turned_away.wait(told)).await), (2, Duration::ZERO));
        // It keeps its place until it has ended.
        both[0].over().await;
        assert_eq!((turned_away.held(), held_for(&mut turned_away.wait(told)).await), (2, Duration::ZERO));
        drop(both);
        assert_eq!(turned_away.held(), 0);
        assert!(held_for(&mut turned_away.wait(told)).await >= told);
        let count = |end| turned_away.ends.of(end).get();
        assert_eq!((count(AnswerEnd::Held), count(AnswerEnd::AtOnce)), (3, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn all_end_when_the_node_does() {
        let turned_away = turned_away(4);
        let told = Duration::from_secs(1);
        let mut early = turned_away.wait(told);
        let (waited, ()) = tokio::join!(held_for(&mut early), async { turned_away.end_all() });
        assert_eq!((waited, held_for(&mut turned_away.wait(told)).await), (Duration::ZERO, Duration::ZERO));
    }
}
