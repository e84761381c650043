//! Follows a stream of the cluster's own: reads it when the backplane tells that it has changed, and now and then; where that
//! is not told, or not answered, twice a second. What is done with what it says is its follower's.

use super::reading::{Page, Reading};
use crate::backplane::{Backplane, BackplaneError, Entry};
use crate::channel::Channel;
use crate::clock::Clock;
use crate::pace;
use crate::position::Position;
use std::sync::Arc;
use std::time::Duration;

/// Between reads where changes are not told.
const EVERY: Duration = Duration::from_millis(500);
/// Between reads where they are.
const SELDOM: Duration = Duration::from_secs(2);
/// Pages of one round; whoever writes faster than they are read must not keep the node from all else.
const MAX_PAGES: usize = 1_000;

/// What is done with a stream that is followed.
pub trait Follower {
    /// The time by the backplane's clock, in Unix milliseconds; asked before each page.
    fn now_ms(&self) -> u64;
    /// An entry that was not handed out before.
    fn carry_out(&self, entry: &Entry);
    /// The stream was cut or made anew; `had`: the newest entry that was known of it.
    fn anew(&self, had: Position);
    /// All that the stream has was handed out.
    fn caught_up(&self);
    /// It cannot be read.
    fn failed(&self, error: BackplaneError);
    /// A round is over, however it went.
    fn rests(&self);
}

/// Follows a stream for as long as the node lives.
pub async fn follow(backplane: Arc<dyn Backplane>, channel: &str, clock: &Clock, follower: impl Follower) {
    let channel = Channel::new(channel).expect("a good name");
    let bell = backplane.changes().listen(channel.clone());
    let mut reading = Reading::new(backplane, channel);
    let (mut often, mut now_and_then) = (pace::in_step(clock, EVERY), pace::in_step(clock, SELDOM));
    loop {
        if let Err(error) = round(&mut reading, &follower, MAX_PAGES).await {
            follower.failed(error);
        }
        follower.rests();
        tokio::select! {
            biased;
            () = bell.notified() => {}
            _ = often.tick(), if !reading.told() => {}
            _ = now_and_then.tick(), if reading.told() => {}
        }
    }
}

/// Reads and hands out all that is new, so many pages of it at most.
async fn round(reading: &mut Reading, follower: &impl Follower, pages: usize) -> Result<(), BackplaneError> {
    for _ in 0..pages {
        match reading.next(follower.now_ms()).await? {
            Page::Anew(had) => follower.anew(had),
            Page::Entries { entries, whole } => {
                entries.iter().for_each(|entry| follower.carry_out(entry));
                if whole {
                    follower.caught_up();
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::memory::{Memory, Settings};
    use std::cell::Cell;

    /// Writes an entry for each that it reads, as somebody may who is faster than a node.
    struct Restless {
        memory: Arc<Memory>,
        written: Cell<u64>,
        read: Cell<u64>,
        caught_up: Cell<bool>,
    }

    impl Restless {
        fn write(&self) {
            self.written.set(self.written.get() + 1);
            let id = Position::new(1_800_000_000_000, self.written.get());
            self.memory.append_at(&Channel::new("~own").unwrap(), id, &[("a".into(), "b".into())]).unwrap();
        }
    }

    impl Follower for Restless {
        fn now_ms(&self) -> u64 {
            1_800_000_000_000
        }

        fn carry_out(&self, _: &Entry) {
            self.read.set(self.read.get() + 1);
            self.write();
        }

        fn caught_up(&self) {
            self.caught_up.set(true);
        }

        fn anew(&self, _: Position) {}
        fn failed(&self, _: BackplaneError) {}
        fn rests(&self) {}
    }

    #[tokio::test]
    async fn a_round_ends_though_somebody_writes_on_and_on() {
        let memory = Memory::new(Settings { maxlen: 0, ..Settings::default() });
        let (written, read, caught_up) = (Cell::default(), Cell::default(), Cell::default());
        let restless = Restless { memory: memory.clone(), written, read, caught_up };
        (0..1_500).for_each(|_| restless.write());
        let mut reading = Reading::new(memory, Channel::new("~own").unwrap());
        round(&mut reading, &restless, 3).await.unwrap();
        assert!((3_000..4_000).contains(&restless.read.get()), "{}", restless.read.get());
        assert!(!restless.caught_up.get());
    }
}
