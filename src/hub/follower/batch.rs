//! Batches of the follower: which streams are asked for in one go, and how.

use super::batch_result::{Answers, Batch, BatchResult, States};
use super::followed::{Followed, Look, Turn};
use super::{APART, BATCH_BYTES, BATCH_STREAMS, ENTRIES, Follower, PAUSE};
use crate::backplane::{Ask, Backplane, BackplaneError, Entry, Link};
use crate::hub::index::Index;
use std::collections::VecDeque;
use std::sync::Arc;

/// Streams of a batch that are counted with their entries, which are light if so many of each can be asked for.
const COUNTED: usize = 8;
const LIGHT: usize = 16;
/// Bytes of one of them at most.
const LIGHTEST: usize = 64 << 10;
/// Reads that are counted in a second. More are no rare ones: a further way to Redis and back would cost as much as the read.
pub(super) const MOST_COUNTED: u32 = 64;

impl Follower {
    pub(super) fn start_batches(&mut self, link: Link) {
        while link == Link::Up && self.apart.len() < APART && !self.large.is_empty() {
            self.start_apart();
        }
        while link == Link::Up && self.batches.len() < self.most_batches {
            let doubts = self.stated();
            if !self.fresh.is_empty() {
                self.start_attach();
            } else if !self.doubtful.is_empty() {
                let (turns, asks) = take_batch(&mut self.doubtful, &mut self.followed, doubts);
                self.start(turns, asks, |turns, count, backplane, asks| {
                    Box::pin(async move { BatchResult::Examined(turns, count, backplane.examine(asks).await) })
                });
            } else if !self.changed.is_empty() {
                let (turns, asks) = take_batch(&mut self.changed, &mut self.followed, doubts);
                let counted = self.is_counted(&turns, &asks);
                self.start(turns, asks, |turns, count, backplane, asks| {
                    Box::pin(async move {
                        let answers = backplane.read(asks).await;
                        let states = if counted { states_of(&*backplane, &turns, &answers).await } else { Vec::new() };
                        BatchResult::Read(turns, count, answers, states)
                    })
                });
            } else {
                return;
            }
        }
    }

    /// How many doubts have been stated by now: what is asked for next is of behind them all.
    fn stated(&self) -> u32 {
        self.hub.backplane.changes().stated()
    }

    /// Few streams of small entries are counted with each read, as long as reads are not many, so that what came and went
    /// meanwhile is told in its place; of others that is found out soon after.
    pub(super) fn is_counted(&mut self, turns: &[Turn], asks: &[Ask]) -> bool {
        let light = asks.first().is_some_and(|ask| ask.count >= LIGHT);
        let glanced_at = |turn: &Turn| self.current(turn).is_some_and(|followed| followed.is_glanced_at());
        let may_be = turns.len() <= COUNTED && light && !turns.iter().any(glanced_at);
        let counted = may_be && self.counted < MOST_COUNTED;
        self.counted += u32::from(counted);
        counted
    }

    /// Reads one stream, however long that takes.
    fn start_apart(&mut self) {
        let Some(turn) = self.large.pop_front() else { return };
        let absent = self.current(&turn).is_some_and(|followed| followed.absent);
        let doubts = self.stated();
        let (turns, asks) = take_batch(&mut VecDeque::from([turn]), &mut self.followed, doubts);
        let Some(count) = asks.first().map(|ask| ask.count) else { return };
        let backplane = self.hub.backplane.clone();
        self.apart.push(Box::pin(async move {
            let (result, failed) = match absent {
                true => {
                    let answer = backplane.examine(asks).await;
                    let failed = answer.is_err();
                    (BatchResult::Examined(turns, count, answer), failed)
                }
                false => {
                    let answer = backplane.read(asks).await;
                    let failed = answer.is_err();
                    (BatchResult::Read(turns, count, answer, Vec::new()), failed)
                }
            };
            if failed {
                tokio::time::sleep(PAUSE).await;
            }
            result
        }));
    }

    fn start_attach(&mut self) {
        let count = self.fresh.len().min(BATCH_STREAMS);
        let (doubts, followed) = (self.stated(), &mut self.followed);
        let current = |turn: &Turn| {
            let followed = followed.at_mut(turn.number).filter(|f| f.serial == turn.serial);
            followed.map(|followed| followed.asked_behind(doubts)).is_some()
        };
        let turns: Vec<Turn> = self.fresh.drain(..count).filter(current).collect();
        if turns.is_empty() {
            return;
        }
        let backplane = self.hub.backplane.clone();
        self.batches.push(Box::pin(async move {
            let answer = backplane.inspect(turns.iter().map(|turn| turn.channel.clone()).collect()).await;
            BatchResult::Attached(turns, answer)
        }));
    }

    fn start(
        &mut self,
        turns: Vec<Turn>,
        asks: Vec<Ask>,
        batch: impl FnOnce(Vec<Turn>, usize, Arc<dyn Backplane>, Vec<Ask>) -> Batch,
    ) {
        let Some(first) = asks.first() else { return };
        let count = first.count;
        self.batches.push(batch(turns, count, self.hub.backplane.clone(), asks));
    }
}

/// What streams tell of themselves just after they were read, unless that would bring a large entry.
async fn states_of(backplane: &dyn Backplane, turns: &[Turn], answers: &Answers<Vec<Entry>>) -> States {
    let light = |answer: &Result<Vec<Entry>, BackplaneError>| {
        answer
            .as_ref()
            .is_ok_and(|entries| entries.iter().all(|entry| !entry.is_too_large() && entry.size() <= LIGHTEST))
    };
    let apart = turns.iter().any(|turn| backplane.reads_apart(&turn.channel));
    if apart || !answers.as_ref().is_ok_and(|answers| answers.iter().all(light)) {
        return Vec::new();
    }
    let states = backplane.inspect(turns.iter().map(|turn| turn.channel.clone()).collect()).await;
    states.unwrap_or_default().into_iter().map(|state| state.ok().flatten()).collect()
}

/// Takes streams whose answer stays within a batch's bytes.
fn take_batch(queue: &mut VecDeque<Turn>, followed: &mut Index<Followed>, doubts: u32) -> (Vec<Turn>, Vec<Ask>) {
    let (mut turns, mut asks): (Vec<Turn>, Vec<Ask>) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    while asks.len() < BATCH_STREAMS
        && let Some(turn) = queue.pop_front()
    {
        // Unfollowed since it was queued, or asked for since, as somebody waited.
        let current = followed.at_mut(turn.number).filter(|f| f.serial == turn.serial && f.is_queued());
        let Some(followed) = current else { continue };
        let look = followed.ask(doubts);
        let (position, mean) = {
            let state = followed.feed.lock();
            (state.log.position(), state.mean_bytes as usize)
        };
        bytes += mean;
        let after = match followed.retrace.as_deref() {
            Some(retrace) => retrace.after(),
            None if look == Look::Glance => position,
            None => position.before(),
        };
        asks.push(Ask { channel: turn.channel.clone(), after, count: 0 });
        turns.push(turn);
        if bytes * ENTRIES.start() >= BATCH_BYTES {
            break;
        }
    }
    let count = (BATCH_BYTES / bytes.max(1)).clamp(*ENTRIES.start(), *ENTRIES.end());
    asks.iter_mut().for_each(|ask| ask.count = count);
    (turns, asks)
}
