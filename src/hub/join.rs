//! Joining: where in a feed a subscription begins, and what it has lost.
//!
//! A position that lies in the tail needs no read. An older one has the tail extended backwards, once for all who
//! wait for it, as far as the tail's bytes allow; beyond that the leg begins behind the tail and its courier asks for
//! history page by page.

use super::feed::{Feed, Life};
use super::follower::Request;
use super::frames::encode;
use super::log::{Gone, Log};
pub use super::outcome::Outcome;
use super::{ChannelFull, EXTENSIONS, Hub, LegGuard};
use crate::backplane::continuity::{Resume, Verdict, judge, rank_before};
use crate::backplane::{Ask, BackplaneError, Entry, Examined, Span, StreamState, Toward};
use crate::channel::Channel;
use crate::cursor::Claim;
use crate::frame::{Gap, GapReason, Standing, due_after};
use crate::position::Position;
use crate::telemetry::trace::spans;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Where somebody wants to begin in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// At the newest.
    End,
    /// After a position that was received; what was lost since is announced.
    Resume(Claim),
    /// After a last event id that is no position: at the newest, and told so.
    Foreign,
    /// After a position in time: whatever there is.
    After(Position),
}

/// Where a subscription begins in a channel.
pub struct Start {
    pub leg: LegGuard,
    pub standing: Standing,
    /// Offset in the feed's log; `None`: behind it.
    pub at: Option<u64>,
    /// Behind the log: nothing is owed yet, it begins with whatever its first page has.
    pub fresh: bool,
    pub gap: Option<Gap>,
    /// The channel has ended, and nothing is left to deliver.
    pub finished: bool,
    pub outcome: Outcome,
}

/// A leg in a feed that is live.
pub struct Attached {
    leg: LegGuard,
    /// The feed has just been read.
    anew: bool,
}

/// Why a channel cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("channel {} has as many subscribers on this node as it may", .0.0)]
    Full(ChannelFull),
    #[error(transparent)]
    Backplane(#[from] BackplaneError),
}

/// Entries of one read of history.
const PAGE: usize = 1_000;
/// What one page of history should weigh at most.
const PAGE_BYTES: usize = 512 << 10;
/// How often a position that lies ahead of this node is looked up, and the pause between.
const AHEAD_TRIES: u32 = 50;
const AHEAD_PAUSE: Duration = Duration::from_millis(20);

impl Hub {
    /// The first step of a join: takes a leg, and waits for the backplane while it is down and the feed is not live.
    pub async fn attached(self: &Arc<Hub>, channel: &Channel) -> Result<Attached, JoinError> {
        let leg = self.enter(channel).map_err(JoinError::Full)?;
        let anew = self.attach(&leg.feed().clone()).await?;
        Ok(Attached { leg, anew })
    }

    /// The second: finds where to begin. `newest`: of what `want` gives, only the last so many events.
    pub async fn join(
        self: &Arc<Hub>,
        Attached { leg, anew }: Attached,
        want: Want,
        newest: Option<usize>,
    ) -> Result<Start, JoinError> {
        let feed = leg.feed().clone();
        let mut start = match (want, newest) {
            (Want::Resume(claim), _) => self.resume(&feed, claim).await?,
            (Want::Foreign, _) => foreign(&feed),
            (Want::End, None) => Found::at_end(&feed),
            (Want::End, Some(count)) => self.last(&feed, Position::ZERO, count).await?,
            (Want::After(position), newest) => {
                self.reached(&feed, position, anew).await?;
                match newest {
                    Some(count) => self.last(&feed, position, count).await?,
                    None => self.after(&feed, position).await?,
                }
            }
        };
        let seems_finished = {
            let state = feed.lock();
            state.log.finished() && start.at == Some(state.log.end())
        };
        let mut finished = seems_finished && self.is_finished(&feed, start.standing.position).await?;
        if finished && start.gap.is_some() {
            start = self.last_again(&feed, start).await?;
            finished = start.at == Some(feed.lock().log.end());
        }
        let Found { standing, at, fresh, gap, outcome } = start;
        Ok(Start { leg, standing, at, fresh, gap, finished, outcome })
    }

    /// Whoever is told of a gap at the end of a channel gets its last event again, which carries the id that it will come
    /// back with, to be told that this was all.
    async fn last_again(&self, feed: &Arc<Feed>, start: Found) -> Result<Found, BackplaneError> {
        let last = self.last(feed, Position::ZERO, 1).await?;
        let continues_at = start.standing.position;
        let gap = start.gap.map(|gap| Gap { continues_at: Some(continues_at), ..gap });
        Ok(Found { gap, outcome: start.outcome, ..last })
    }

    /// A channel's end ends clients for good, so the stream itself is asked: its producer may have gone on by now.
    async fn is_finished(&self, feed: &Arc<Feed>, position: Position) -> Result<bool, BackplaneError> {
        let (_, Examined { state, .. }) = self.shared_look(feed, position).await?;
        let finished = state.is_none_or(|state| state.finished && state.last == position);
        if !finished {
            self.request(Request::Refresh(feed.clone()));
        }
        Ok(finished)
    }

    /// Whether it has been read since, so that it is as new as can be.
    async fn attach(&self, feed: &Arc<Feed>) -> Result<bool, BackplaneError> {
        if feed.lock().life == Life::Live {
            return Ok(false);
        }
        let (told, wait) = oneshot::channel();
        self.request(Request::Attach(feed.clone(), told));
        wait.await.unwrap_or_else(|_| Err(BackplaneError::Down("the node is ending".into())))
    }

    async fn resume(&self, feed: &Arc<Feed>, claim: Claim) -> Result<Found, BackplaneError> {
        let Claim { mut position, mut earlier } = claim;
        let mut tries = 0;
        let mut read = false;
        loop {
            let located = locate(feed, position);
            match located {
                Ok(at) => {
                    let (live, standing) = {
                        let state = feed.lock();
                        let standing = Standing { position, entry: true, ..state.log.standing_at(at) };
                        (state.log.end() == at, standing)
                    };
                    let outcome = match (live, read) {
                        (true, _) => Outcome::Live,
                        (false, false) => Outcome::Tail,
                        (false, true) => Outcome::History,
                    };
                    return Ok(Found { standing, at: Some(at), fresh: false, gap: None, outcome });
                }
                Err(Gone::Older) => {
                    read = true;
                    if !self.extend(feed, position, usize::MAX).await? {
                        return self.behind(feed, position).await;
                    }
                }
                Err(Gone::Absent(_)) => return self.judged(feed, position).await,
                Err(Gone::Ahead) => {
                    // Another node has read on already, or the stream went back: the stream knows.
                    let examined = self.look(feed, position).await?;
                    let ahead_of_stream = examined.state.as_ref().is_none_or(|s| s.last < position);
                    if ahead_of_stream {
                        match earlier.take() {
                            Some(earlier) => position = earlier,
                            None => return self.judged(feed, claim.position).await,
                        }
                        continue;
                    }
                    tries += 1;
                    if tries > AHEAD_TRIES {
                        // To begin where this node is would repeat what the client has: it waits instead.
                        return Err(BackplaneError::Down("this node lags behind the stream".into()));
                    }
                    self.request(Request::Refresh(feed.clone()));
                    tokio::time::sleep(AHEAD_PAUSE).await;
                }
            }
        }
    }

    /// The position is not in the tail and is no entry that passed by: what the stream says of it counts.
    async fn judged(&self, feed: &Arc<Feed>, position: Position) -> Result<Found, BackplaneError> {
        let (known, examined) = self.shared_look(feed, position).await?;
        self.went_back(feed, known, examined.state.as_ref())?;
        let present = has(&examined.entries, position);
        let state = examined.state.as_ref();
        let first_after = |after| examined.entries.iter().map(|entry| entry.position).find(|p| *p > after);
        // From now on what is lost before it is read shows.
        let judged_at = |after: Position| {
            let found = place(feed, after);
            let counted = due_after(rank_before(first_after(after), state));
            let position = after.min(feed.lock().log.position());
            let entry = present && position == after;
            let due = found.standing.due.filter(|_| found.at.is_some()).or(counted);
            Found { standing: Standing { position, due, entry }, fresh: found.fresh && !entry, ..found }
        };
        match judge(Resume { at: position, rank: None, entry: true, present }, state) {
            Verdict::Continuous => Ok(judged_at(position)),
            Verdict::Broken { reason, after, lost } => {
                let (mut found, mut lost) = (judged_at(after), lost);
                let covered = matches!(feed.locate(position), Ok(_) | Err(Gone::Absent(_)));
                if reason == GapReason::Trimmed && covered {
                    // The tail still has some of what the stream has not; who had nothing has lost what is before it.
                    found = judged_at(position);
                    let before = found.standing.rank().filter(|_| position == Position::ZERO);
                    if before == Some(0) {
                        return Ok(found);
                    }
                    lost = lost.and(before);
                }
                let first = found.at.map_or_else(|| first_after(after), |at| feed.lock().log.event_from(at));
                let gap = Gap {
                    channel: feed.channel.to_string(),
                    reason,
                    resume_from: Some(position),
                    continues_at: Some(first.unwrap_or(after)),
                    lost,
                };
                let outcome = if reason == GapReason::Reset { Outcome::Reset } else { Outcome::Gap };
                Ok(Found { gap: Some(gap), outcome, ..found })
            }
        }
    }

    /// Refuses for now where the stream's ids lie before what the feed knew already: it has not found out yet that they
    /// went back, and would mix the stream's two lives.
    pub(super) fn went_back(
        &self,
        feed: &Arc<Feed>,
        known: Position,
        state: Option<&StreamState>,
    ) -> Result<(), BackplaneError> {
        if state.map_or(Position::ZERO, |state| state.last) >= known {
            return Ok(());
        }
        self.request(Request::Refresh(feed.clone()));
        Err(BackplaneError::Down("the stream was made anew, and this node has not read it yet".into()))
    }

    /// Far behind the tail: its courier asks for history, which is judged there if the entry is not found.
    async fn behind(&self, feed: &Arc<Feed>, position: Position) -> Result<Found, BackplaneError> {
        let (_, examined) = self.shared_look(feed, position).await?;
        match has(&examined.entries, position) {
            true => Ok(Found::behind(position, true)),
            false => self.judged(feed, position).await,
        }
    }

    /// State, and the entries at and after a position.
    async fn look(&self, feed: &Arc<Feed>, position: Position) -> Result<Examined, BackplaneError> {
        let ask = Ask { channel: feed.channel.clone(), after: position.before(), count: 2 };
        let _permit = self.readers.acquire().await;
        let mut answers = self.backplane.examine(vec![ask]).await?;
        answers.pop().unwrap_or_else(|| Ok(Examined::default()))
    }

    /// The same, and before it the feed's own position; a little older at most where many want to know it at once.
    pub(super) async fn shared_look(
        &self,
        feed: &Arc<Feed>,
        position: Position,
    ) -> Result<(Position, Examined), BackplaneError> {
        let look = async {
            let known = feed.lock().log.position();
            Ok((known, self.look(feed, position).await?))
        };
        self.looks.get(feed, position, look).await
    }

    /// Waits until a feed has read what its stream holds now, unless a position in time is one that it has passed: what
    /// is not read yet may be of before it. `anew`: the feed has just been read.
    async fn reached(&self, feed: &Arc<Feed>, position: Position, anew: bool) -> Result<(), BackplaneError> {
        if anew || feed.locate(position) != Err(Gone::Ahead) {
            return Ok(());
        }
        // Not a shared answer, which may be older than the time that is asked for.
        let newest = feed.lock().log.position();
        let examined = self.look(feed, newest).await?;
        let last = examined.state.map_or(Position::ZERO, |state| state.last);
        // What comes after the look need not be waited for: it might never end.
        let awaited = |position: Position| position < last && examined.entries.iter().any(|e| e.position > position);
        for _ in 0..AHEAD_TRIES {
            if !awaited(feed.lock().log.position()) || feed.locate(position) != Err(Gone::Ahead) {
                return Ok(());
            }
            self.request(Request::Refresh(feed.clone()));
            tokio::time::sleep(AHEAD_PAUSE).await;
        }
        Err(BackplaneError::Down("this node lags behind the stream".into()))
    }

    /// Everything after a position in time that the feed has reached.
    async fn after(&self, feed: &Arc<Feed>, position: Position) -> Result<Found, BackplaneError> {
        if feed.locate(position) == Err(Gone::Older) {
            self.extend(feed, position, usize::MAX).await?;
        }
        Ok(place(feed, position))
    }

    /// The newest events after a position.
    async fn last(&self, feed: &Arc<Feed>, position: Position, count: usize) -> Result<Found, BackplaneError> {
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
            Ok(first) | Err(Gone::Absent(first)) => newest.max(first),
            Err(Gone::Ahead) => log.end(),
            Err(Gone::Older) => newest,
        };
        Ok(Found { standing: log.standing_at(at), at: Some(at), fresh: false, gap: None, outcome: Outcome::Tail })
    }

    /// The same where the tail has no room for them: looks back in the stream for the entry before them. `None`: the
    /// tail has all that there is.
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
            let page = PAGE_BYTES / (feed.lock().mean_bytes as usize).max(1);
            let page = page.clamp(1, PAGE).min(left);
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
    async fn extend(&self, feed: &Arc<Feed>, position: Position, count: usize) -> Result<bool, BackplaneError> {
        let _one_at_a_time = self.extending[feed.number as usize % EXTENSIONS].lock().await;
        loop {
            let limit = self.share();
            let (base, span) = {
                let state = feed.lock();
                let log = &state.log;
                if log.base() <= position || log.events() >= count {
                    return Ok(true);
                }
                if !log.extendable() || log.bytes() >= limit {
                    return Ok(false);
                }
                let wanted = count.saturating_sub(log.events()).min(PAGE);
                let page = wanted.min(PAGE_BYTES / (state.mean_bytes as usize).max(1)).max(1);
                let channel = feed.channel.clone();
                let newest = log.base();
                (newest, Span { channel, oldest: position, newest, count: page, toward: Toward::Oldest })
            };
            let page = span.count;
            let (entries, complete) = self.read_back(span, page).await?;
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
            prepend(&feed.channel, &mut state.log, entries, (position, complete));
            let grown = state.log.bytes() as isize - before as isize;
            drop(state);
            self.account(grown);
        }
    }

    /// One span of history, with bounded concurrency.
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
fn prepend(channel: &Channel, log: &mut Log, mut entries: Vec<Entry>, (position, complete): (Position, bool)) {
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

/// Whether an entry is among these.
pub(super) fn has(entries: &[Entry], position: Position) -> bool {
    entries.iter().any(|entry| entry.position == position)
}

/// A place in a feed, without its leg.
struct Found {
    standing: Standing,
    at: Option<u64>,
    fresh: bool,
    gap: Option<Gap>,
    outcome: Outcome,
}

impl Found {
    fn at_end(feed: &Arc<Feed>) -> Found {
        let state = feed.lock();
        let end = state.log.end();
        Found { standing: state.log.standing_at(end), at: Some(end), fresh: false, gap: None, outcome: Outcome::Live }
    }

    /// Older than the tail. `entry`: whether an entry is there, so that what follows it is owed.
    fn behind(position: Position, entry: bool) -> Found {
        let standing = Standing { position, due: None, entry };
        Found { standing, at: None, fresh: !entry, gap: None, outcome: Outcome::History }
    }
}

fn foreign(feed: &Arc<Feed>) -> Found {
    let found = Found::at_end(feed);
    let gap = foreign_gap(&feed.channel, Some(found.standing.position));
    Found { gap: Some(gap), outcome: Outcome::Reset, ..found }
}

/// What a client is told whose last event id is no position.
pub fn foreign_gap(channel: &Channel, continues_at: Option<Position>) -> Gap {
    Gap { channel: channel.to_string(), reason: GapReason::Reset, resume_from: None, continues_at, lost: None }
}

fn locate(feed: &Arc<Feed>, position: Position) -> Result<u64, Gone> {
    feed.locate(position)
}

/// What follows a position, whether or not an entry of that id is known.
fn place(feed: &Arc<Feed>, position: Position) -> Found {
    let state = feed.lock();
    let log = &state.log;
    let at = match log.locate(position) {
        Ok(at) | Err(Gone::Absent(at)) => at,
        Err(Gone::Ahead) => log.end(),
        Err(Gone::Older) => return Found::behind(position, false),
    };
    let before = log.standing_at(at);
    let standing = match before.entry {
        // As good a place as the one between the two, and its absence means something.
        true => before,
        false => Standing { position: position.min(log.position()), ..before },
    };
    Found { standing, at: Some(at), fresh: false, gap: None, outcome: Outcome::History }
}
