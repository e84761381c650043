//! Backwards: a tail that is extended by older entries, for who begins before it.

use super::feed::Feed;
use super::found::Found;
use super::frames::encode;
use super::log::{Log, NotInLog};
use super::outcome::Outcome;
use super::{EXTENSIONS, Hub};
use crate::backplane::{BackplaneError, Entry, Span, StreamState, Toward};
use crate::channel::Channel;
use crate::planted::{self, Fault};
use crate::position::Position;
use crate::telemetry::trace::spans;
use std::num::NonZeroU64;
use std::sync::Arc;

/// Entries of one read of history.
const PAGE: usize = 1_000;
/// What one page of history should weigh at most.
const PAGE_BYTES: usize = 512 << 10;

impl Hub {
    /// Finds the place before the newest `count` events after a position.
    pub(super) async fn last(
        &self,
        feed: &Arc<Feed>,
        position: Position,
        count: usize,
    ) -> Result<Found, BackplaneError> {
        let lacks = |feed: &Feed| feed.lock().log.events() < count && feed.lock().log.base() > position;
        if lacks(feed) {
            self.extend(feed, position, count).await?;
        }
        if lacks(feed)
            && let Some(found) = self.newest_behind(feed, position, count).await?
        {
            return Ok(found);
        }
        let state = feed.lock();
        let log = &state.log;
        let newest = log.newest(count);
        let at = match log.locate(position) {
            Ok(first) | Err(NotInLog::Absent(first)) => newest.max(first),
            Err(NotInLog::Ahead) => log.end(),
            Err(NotInLog::Older) => newest,
        };
        Ok(Found { standing: log.standing_at(at), at: Some(at), fresh: false, gap: None, outcome: Outcome::Tail })
    }

    /// Looks back in the stream for the entry before the newest events after a position, where the tail has no room for all
    /// of them. `None`: the tail has all that there is.
    async fn newest_behind(
        &self,
        feed: &Arc<Feed>,
        position: Position,
        count: usize,
    ) -> Result<Option<Found>, BackplaneError> {
        let (mut newest, mut left) = {
            let state = feed.lock();
            // One more than is wanted: it is the witness.
            (state.log.base(), count.saturating_sub(state.log.events()) + 1)
        };
        let mut begin = None;
        while left > 0 && newest > position {
            let page = feed.lock().entries_within(PAGE_BYTES, 1..=left.min(PAGE));
            let (channel, oldest) = (feed.channel.clone(), position.after());
            let span = Span { channel, oldest, newest, count: page, toward: Toward::Oldest };
            let entries = self.read_for_join(span).await?;
            let Some(first) = entries.first().map(|entry| entry.position) else { break };
            left -= entries.len();
            (begin, newest) = (Some((first, left == 0)), first.before());
        }
        Ok(begin.map(|(first, complete)| match complete {
            true => Found::behind(first, true),
            false => Found::behind(first.before().max(position), false),
        }))
    }

    /// Extends the tail backwards until it covers what lies after `position` or has `count` events; `false` where it
    /// is full before that, or nothing older is left.
    pub(super) async fn extend(
        &self,
        feed: &Arc<Feed>,
        position: Position,
        count: usize,
    ) -> Result<bool, BackplaneError> {
        let _one_at_a_time = self.extending[feed.number.index() % EXTENSIONS].lock().await;
        loop {
            let limit = self.share();
            let (known, base, witness, era, span) = {
                let state = feed.lock();
                let log = &state.log;
                if log.base() <= position || log.events() >= count {
                    return Ok(true);
                }
                if !log.extendable() || log.bytes() >= limit {
                    return Ok(false);
                }
                // The entry that the tail begins with, or has first.
                let witness = if log.base_is_entry() { Some(log.base()) } else { log.oldest_entry() };
                let newest = witness.unwrap_or(log.base());
                let wanted = count.saturating_sub(log.events());
                let page = state.entries_within(PAGE_BYTES, 1..=wanted.min(PAGE)) + usize::from(newest > log.base());
                let channel = feed.channel.clone();
                (
                    log.mark().standing,
                    log.base(),
                    witness,
                    log.era(),
                    Span { channel, oldest: position, newest, count: page, toward: Toward::Oldest },
                )
            };
            let page = span.count;
            let (mut entries, complete) = self.read_back(span, page).await?;
            let stream = self.state_of(feed).await?;
            let begins = witness.is_some() && entries.last().map(|entry| entry.position) == witness;
            if !begins && !planted::is(Fault::ExtendedBlindly) {
                // That entry is not there: what was read may be of another life than the tail is.
                self.went_back(feed, known, stream.as_ref())?;
                if witness.is_some() && !entries.is_empty() {
                    self.doubt(feed);
                }
            }
            entries.retain(|entry| entry.position <= base);
            // The greatest id that was deleted of the stream, where the backplane tells it.
            let hole = stream.and_then(|stream| stream.max_deleted).unwrap_or_default();
            if !self.stands(feed, era).await? {
                return Ok(false);
            }
            let mut state = feed.lock();
            if state.log.base() != base || !state.log.extendable() {
                // Trimmed or reset meanwhile.
                return Ok(false);
            }
            if entries.is_empty() {
                // Nothing is older: the log stays where it begins, at an entry that it knows.
                return Ok(false);
            }
            for entry in &entries {
                state.learn(entry.size());
            }
            let before = state.log.bytes();
            // Of what is deleted between what was read and what is known, only the last is told.
            let hole = hole.min(base).max(state.log.hole());
            state.log.set_hole(hole);
            prepend(&feed.channel, &mut state.log, entries, position, complete);
            let grown = state.log.bytes() as isize - before as isize;
            drop(state);
            self.account(grown);
        }
    }

    /// What a stream says of itself; `None` where there is none.
    async fn state_of(&self, feed: &Feed) -> Result<Option<StreamState>, BackplaneError> {
        let _permit = self.readers.acquire().await;
        let mut answers = self.backplane.inspect(vec![feed.channel.clone()]).await?;
        answers.pop().unwrap_or(Ok(None))
    }

    /// Reads one span of history; few such reads are on their way at once.
    pub(crate) async fn read_history(&self, span: Span) -> Result<Vec<Entry>, BackplaneError> {
        let extent = span.clone();
        let read = async {
            let _permit = self.readers.acquire().await;
            let mut answers = self.backplane.history(vec![span]).await?;
            answers.pop().unwrap_or_else(|| Ok(Vec::new()))
        };
        spans::replay(&extent, read).await
    }
}

/// Puts older entries before a log. `complete`: they are all that there are at and after `position`.
fn prepend(channel: &Channel, log: &mut Log, mut entries: Vec<Entry>, position: Position, complete: bool) {
    let found = entries.first().is_some_and(|entry| entry.position == position);
    if found {
        // That one was received: the log begins right after it.
        entries.remove(0);
    }
    let base = match entries.first() {
        Some(first) if !found && !complete => first.position.before(),
        _ => position,
    };
    // Counted back from what the log begins with. An entry deleted between counts as passed, which it is.
    let next = log.oldest_rank().and_then(|next| next.get().checked_sub(entries.len() as u64));
    let before = (base != Position::ZERO).then_some(base);
    log.prepend(encode(channel, &entries, before, next.and_then(NonZeroU64::new)), base, found);
}
