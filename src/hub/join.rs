//! Joining: where in a feed a subscription begins, and what it has lost.
//!
//! A position that lies in the tail needs no read. An older one has the tail extended backwards, once for all who
//! wait for it, as far as the tail's bytes allow; beyond that the leg begins behind the tail and its courier asks for
//! history page by page.

use super::feed::{Feed, Life};
use super::follow_request::{Arrival, FollowRequest};
pub use super::found::foreign_gap;
use super::found::{Found, deleted, foreign, place};
use super::log::{Mark, NotInLog};
use super::offset::Offset;
pub use super::outcome::Outcome;
use super::{ChannelFull, Hub, LegGuard};
use crate::backplane::continuity::{Resume, Verdict, judge, rank_before};
use crate::backplane::{Ask, BackplaneError, Examined, Span, StreamState, Toward};
use crate::channel::Channel;
use crate::control_event::{Gap, GapReason};
use crate::cursor::Claim;
use crate::frame::{Standing, due_after};
use crate::planted::{self, Fault};
use crate::position::Position;
use crate::probe::{self, Probe};
use std::sync::Arc;
use std::time::Duration;

/// Where somebody wants to begin in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// At the newest as of when the feed was attached.
    End,
    /// At the newest as of a time, for who has waited since then.
    Since { time: Position, now: Position },
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
    pub at: Option<Offset>,
    /// Where the log ended when the join began to look for that.
    pub known_to: Offset,
    /// The leg is behind the log, and nothing is owed to it yet: it begins with whatever its first page has.
    pub fresh: bool,
    pub gap: Option<Gap>,
    /// The channel has ended, and nothing is left to deliver.
    pub finished: bool,
    pub outcome: Outcome,
}

/// A leg in a feed that is live.
pub struct Attached {
    /// The leg, until it has begun.
    leg: Option<LegGuard>,
    feed: Arc<Feed>,
    /// Where the log ended when the join began, if anything was known of the stream.
    asked: Option<Mark>,
    /// Where the log ended when the feed was live.
    begun: Arrival,
}

#[cfg(test)]
impl Attached {
    /// The feed that it is a leg of.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }
}

/// Why a channel cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("channel {} has as many subscribers on this node as it may", .0.0)]
    Full(ChannelFull),
    #[error(transparent)]
    Backplane(#[from] BackplaneError),
}

/// How far ahead of the backplane's clock, as it is known here, an id is still believed to be a time, in milliseconds.
const CLOCKS_DIFFER: u64 = 1_000;
/// How often a position that lies ahead of this node is looked up, and the pause between.
const AHEAD_TRIES: u32 = 50;
const AHEAD_PAUSE: Duration = Duration::from_millis(20);

impl Hub {
    /// The first step of a join: takes a leg, and waits for the backplane while the feed is not live, or a doubt was stated that it
    /// is not verified behind.
    pub async fn attached(self: &Arc<Hub>, channel: &Channel) -> Result<Attached, JoinError> {
        let leg = self.enter(channel).map_err(JoinError::Full)?;
        let feed = leg.feed().clone();
        let asked = {
            let state = feed.lock();
            (state.life != Life::Unattached).then(|| state.log.mark())
        };
        let begun = self.attach(&feed).await?;
        Ok(Attached { leg: Some(leg), feed, asked, begun })
    }

    /// The second step of a join: finds where to begin. `newest`: of what `want` gives, only the last so many events. After an error it may
    /// be tried again.
    pub async fn join(
        self: &Arc<Hub>,
        attached: &mut Attached,
        want: Want,
        newest: Option<usize>,
    ) -> Result<Start, JoinError> {
        loop {
            let (era, known_to) = {
                let state = attached.feed.lock();
                (state.log.era(), state.log.end())
            };
            let start = self.begin(attached, want, newest).await?;
            if self.stands(&attached.feed, era).await? {
                {
                    let mut state = attached.feed.lock();
                    state.wanted |= start.0.at.is_some_and(|at| at < state.log.end());
                }
                let leg = attached.leg.take().ok_or_else(|| BackplaneError::down("it has begun already"))?;
                let (Found { standing, at, fresh, gap, outcome }, finished) = start;
                return Ok(Start { leg, standing, at, known_to, fresh, gap, finished, outcome });
            }
        }
    }

    /// Where to begin, and whether nothing can come there any more.
    async fn begin(
        &self,
        attached: &mut Attached,
        want: Want,
        newest: Option<usize>,
    ) -> Result<(Found, bool), JoinError> {
        let feed = attached.feed.clone();
        let anew = std::mem::take(&mut attached.begun.anew);
        let mut start = match (want, newest) {
            (Want::Resume(claim), _) => self.resume(&feed, claim).await?,
            (Want::Foreign, _) => foreign(&feed),
            (Want::End, None | Some(0)) => Found::at(&feed, attached.begun.mark),
            (Want::Since { time, now }, None | Some(0)) => self.since(attached, time, now).await?,
            (Want::End | Want::Since { .. }, Some(count)) => self.last(&feed, Position::ZERO, count).await?,
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
        Ok((start, finished))
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
            self.request(FollowRequest::Refresh(feed.clone()));
        }
        Ok(finished)
    }

    /// Whether a feed's stream does not exist. The stream itself is asked, each time: it may exist by now, and who is told that it does
    /// not stops for good.
    pub async fn is_absent(&self, feed: &Arc<Feed>) -> Result<bool, BackplaneError> {
        let position = feed.lock().log.position();
        Ok(self.look(feed, position).await?.state.is_none())
    }

    async fn resume(&self, feed: &Arc<Feed>, claim: Claim) -> Result<Found, BackplaneError> {
        let Claim { mut position, mut earlier } = claim;
        let mut tries = 0;
        let mut read = false;
        loop {
            match feed.locate(position) {
                Ok(at) => {
                    let at = late(feed, at);
                    let (live, standing) = {
                        let state = feed.lock();
                        let standing = Standing { position, entry: true, ..state.log.standing_at(at) };
                        (state.log.end() == at, standing)
                    };
                    if planted::is(Fault::ResetToldAgain) && is_behind_a_reset(feed, at) {
                        let mut found = deleted(feed, standing, at);
                        found.gap.iter_mut().for_each(|gap| gap.reason = GapReason::Reset);
                        return Ok(found);
                    }
                    if position < feed.lock().log.hole() {
                        probe::reached(Probe::JoinHole);
                        return Ok(deleted(feed, standing, at));
                    }
                    let outcome = match (live, read) {
                        (true, _) => Outcome::Live,
                        (false, false) => Outcome::Tail,
                        (false, true) => Outcome::History,
                    };
                    return Ok(Found { standing, at: Some(at), fresh: false, gap: None, outcome });
                }
                Err(NotInLog::Older) => {
                    read = true;
                    probe::reached(Probe::JoinExtended);
                    if !self.extend(feed, position, usize::MAX).await? {
                        return self.behind(feed, position).await;
                    }
                }
                Err(NotInLog::Absent(_)) => return self.judged(feed, position).await,
                Err(NotInLog::Ahead) if planted::is(Fault::AheadBeginsHere) => return Ok(Found::at_end(feed)),
                Err(NotInLog::Ahead) => {
                    probe::reached(Probe::JoinAhead);
                    // Another node has read on already, or the stream went back: the stream knows.
                    let examined = self.look(feed, position).await?;
                    let ahead_of_stream = examined.state.as_ref().is_none_or(|s| s.last < position);
                    if ahead_of_stream {
                        match earlier.take() {
                            Some(earlier) => {
                                probe::reached(Probe::JoinEarlierPlace);
                                position = earlier;
                            }
                            None => return self.judged(feed, claim.position).await,
                        }
                        continue;
                    }
                    if self.holds_no_more(feed, &examined).await? {
                        probe::reached(Probe::JoinAheadOfAll);
                        let found = self.judged(feed, position).await?;
                        let standing = Standing { position: position.max(found.standing.position), ..found.standing };
                        return Ok(Found { standing, ..found });
                    }
                    tries += 1;
                    if tries > AHEAD_TRIES {
                        // To begin where this node is would repeat what the client has: it waits instead.
                        return Err(BackplaneError::down("this node lags behind the stream"));
                    }
                    self.request(FollowRequest::Refresh(feed.clone()));
                    tokio::time::sleep(AHEAD_PAUSE).await;
                }
            }
        }
    }

    /// Whether a stream holds nothing behind what this node has, and all of that is counted: what lies up to a position ahead of the node
    /// is deleted then, and no wait brings the node there. `examined`: from that position on.
    async fn holds_no_more(&self, feed: &Arc<Feed>, examined: &Examined) -> Result<bool, BackplaneError> {
        let added = examined.state.as_ref().and_then(|state| state.added);
        let rank = feed.lock().log.rank();
        let counted = rank.zip(added).is_none_or(|(rank, added)| rank == added);
        if !examined.entries.is_empty() || !counted {
            return Ok(false);
        }
        let held = self.newest_held(feed).await?;
        Ok(held.is_none_or(|held| held <= feed.lock().log.position()))
    }

    /// Judges a position that is not in the tail and is no entry that passed by: what the stream says of it counts.
    async fn judged(&self, feed: &Arc<Feed>, position: Position) -> Result<Found, BackplaneError> {
        probe::reached(Probe::JoinJudged);
        let (known, examined) = self.shared_look(feed, position).await?;
        self.went_back(feed, known, examined.state.as_ref())?;
        let present = examined.entries.iter().any(|entry| entry.position == position);
        if present {
            self.doubt_where_absent(feed, position);
        }
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
        let known = position;
        match judge(
            Resume { at: position, rank: None, entry: true, witness: present.into(), behind: None, known },
            state,
        ) {
            // Its entry may be gone, but what lies behind it is owed.
            Verdict::Continuous => Ok(Found { fresh: false, ..judged_at(position) }),
            Verdict::Broken { reason, after, lost } => {
                if reason == GapReason::Reset {
                    // To begin where this node is would repeat what the client may have had of the stream.
                    self.reached(feed, after, false).await?;
                }
                let (mut found, mut lost) = (judged_at(after), lost);
                if reason == GapReason::Reset && planted::is(Fault::ResetPassesOver) {
                    let leaves_some = |at: &Offset| feed.lock().log.event_from(*at).is_some();
                    found.at = found.at.map(|at| Some(one_later(feed, at)).filter(leaves_some).unwrap_or(at));
                }
                let covered = matches!(feed.locate(position), Ok(_) | Err(NotInLog::Absent(_)));
                if reason == GapReason::Trimmed && covered {
                    probe::reached(Probe::JoinCoveredTrim);
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

    /// Refuses for now where the stream's ids lie before what the feed knew when it was looked at, or it has had fewer entries: the feed
    /// has not found out yet that it was made anew, and would mix the stream's two lives. So where the feed has found that out since,
    /// which the look has not.
    pub(super) fn went_back(
        &self,
        feed: &Arc<Feed>,
        known: Standing,
        state: Option<&StreamState>,
    ) -> Result<(), BackplaneError> {
        let newest = state.map_or(Position::ZERO, |state| state.last).min(feed.lock().log.position());
        let added = state.and_then(|state| state.added);
        let fewer = added.zip(known.rank()).is_some_and(|(added, known)| added < known);
        // Counts would hide these faults in all plans.
        let fewer = fewer && !planted::is(Fault::ExtendedBlindly) && !planted::is(Fault::DoubtNotAwaited);
        if newest >= known.position && !fewer || planted::is(Fault::TwoLivesMixed) {
            return Ok(());
        }
        probe::reached(Probe::JoinWentBack);
        self.request(FollowRequest::Refresh(feed.clone()));
        Err(BackplaneError::down("the stream was made anew, and this node has not read it yet"))
    }

    /// Begins far behind the tail: the courier asks for history, which is judged there if the entry is not found.
    async fn behind(&self, feed: &Arc<Feed>, position: Position) -> Result<Found, BackplaneError> {
        probe::reached(Probe::JoinBehind);
        self.judged(feed, position).await
    }

    /// Asks for a stream's state, and the entries at and after a position.
    async fn look(&self, feed: &Arc<Feed>, position: Position) -> Result<Examined, BackplaneError> {
        let ask = Ask { channel: feed.channel.clone(), after: position.before(), count: 2 };
        let _permit = self.readers.acquire().await;
        let mut answers = self.backplane.examine(vec![ask]).await?;
        answers.pop().unwrap_or_else(|| Ok(Examined::default()))
    }

    /// Where the feed's own log ends, and then what `look` brings; a little older at most where many want to know it
    /// at once.
    pub(super) async fn shared_look(
        &self,
        feed: &Arc<Feed>,
        position: Position,
    ) -> Result<(Standing, Examined), BackplaneError> {
        let look = async {
            let known = feed.lock().log.mark().standing;
            Ok((known, self.look(feed, position).await?))
        };
        self.looks.get(feed, position, look).await
    }

    /// Waits until a feed has read what its stream holds now, unless a position in time is one that it has passed: what
    /// is not read yet may be of before it. `anew`: the feed has just been read.
    async fn reached(&self, feed: &Arc<Feed>, position: Position, anew: bool) -> Result<(), BackplaneError> {
        if anew || feed.locate(position) != Err(NotInLog::Ahead) {
            return Ok(());
        }
        // Not a shared answer, which may be older than the time that is asked for.
        let newest = feed.lock().log.position();
        let examined = self.look(feed, newest).await?;
        let last = examined.state.map_or(Position::ZERO, |state| state.last);
        // What comes after the look need not be waited for: it might never end.
        let held = match examined.entries.last().map(|entry| entry.position) {
            Some(held) if held < last && examined.entries.len() > 1 => self.newest_held(feed).await?,
            held => held,
        };
        let awaited = |position: Position| held.is_some_and(|held| position < held);
        for _ in 0..AHEAD_TRIES {
            if !awaited(feed.lock().log.position()) || feed.locate(position) != Err(NotInLog::Ahead) {
                return Ok(());
            }
            self.request(FollowRequest::Refresh(feed.clone()));
            tokio::time::sleep(AHEAD_PAUSE).await;
        }
        Err(BackplaneError::down("this node lags behind the stream"))
    }

    /// The newest entry that the stream holds, which may lie before the last id that it gave.
    async fn newest_held(&self, feed: &Arc<Feed>) -> Result<Option<Position>, BackplaneError> {
        let (channel, oldest, newest) = (feed.channel.clone(), Position::ZERO, Position::MAX);
        let span = Span { channel, oldest, newest, count: 1, toward: Toward::Oldest };
        Ok(self.read_history(span).await?.last().map(|entry| entry.position))
    }

    /// Finds what was published since a time, as far as that is known: by the ids, or where those are no times or lie ahead, by
    /// what the node had seen when it was asked.
    async fn since(&self, attached: &Attached, time: Position, now: Position) -> Result<Found, BackplaneError> {
        let Attached { feed, asked, begun, .. } = attached;
        let newest = begun.mark.standing.position;
        let tells = newest == Position::ZERO || newest.is_time() && newest.ms <= now.ms + CLOCKS_DIFFER;
        if !tells {
            return Ok(Found::at(feed, asked.unwrap_or(begun.mark)));
        }
        if newest <= time {
            return Ok(Found::at(feed, begun.mark));
        }
        let found = self.after(feed, time).await?;
        match asked.map(|asked| Found::at(feed, asked)) {
            Some(seen) if seen.at.is_some() && found.at.is_none_or(|at| Some(at) < seen.at) => Ok(seen),
            _ => Ok(found),
        }
    }

    /// Finds everything after a position in time that the feed has reached.
    async fn after(&self, feed: &Arc<Feed>, position: Position) -> Result<Found, BackplaneError> {
        if feed.locate(position) == Err(NotInLog::Older) {
            self.extend(feed, position, usize::MAX).await?;
        }
        Ok(place(feed, position))
    }
}

/// Whether a place lies behind a reset that the log still has, as one fault wants to know.
fn is_behind_a_reset(feed: &Feed, at: Offset) -> bool {
    let state = feed.lock();
    state.log.start() < state.log.begun() && state.log.begun() <= at
}

/// The place that was found; one event later where that fault is planted.
fn late(feed: &Feed, at: Offset) -> Offset {
    if planted::is(Fault::LegStartsLate) { one_later(feed, at) } else { at }
}

fn one_later(feed: &Feed, at: Offset) -> Offset {
    let state = feed.lock();
    let next = state.log.event_from(at).and_then(|next| state.log.locate(next).ok());
    next.unwrap_or(at)
}

#[cfg(test)]
mod tests;
