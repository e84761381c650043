//! Catching up: history for legs that are behind the tail, a page at a time, until the tail covers them. Whose turn it is
//! is the couriers' business.

use super::Hub;
use super::allowance::Allowance;
use super::feed::Feed;
use super::frames::encode;
use super::log::{NotInLog, Renewed};
use super::offset::Offset;
use super::page::{Page, PageRequest, SharedPage};
use crate::backplane::continuity::{Resume, Verdict, all_behind, judge, of_another, rank_before};
use crate::backplane::{Ask, BackplaneError, Entry, Examined, Span, Toward, may_hold_more};
use crate::control_event::{Gap, GapReason};
use crate::frame::{Frame, Standing, due_after};
use crate::planted::{self, Fault};
use crate::position::Position;
use crate::probe::{self, Probe};
use std::sync::Arc;
use tokio::time::Instant;
use tracing::info;

/// Where a leg has come to by a page.
struct Reached {
    position: Position,
    /// Where the log goes on behind it; `None`: there is more history.
    at: Option<Offset>,
}

/// What a leg behind the tail has lost.
struct Lost {
    reason: GapReason,
    /// The first entry behind it, or the position that the rule says.
    continues_at: Position,
    /// How many entries, where that is known.
    lost: Option<u64>,
}

impl Hub {
    /// Reads the next page after a leg's position.
    pub(crate) async fn page(&self, request: &PageRequest, allowance: &mut Allowance) -> Result<Page, BackplaneError> {
        let (era, known_to) = {
            let state = request.feed.lock();
            (state.log.era(), state.log.end())
        };
        let page = self.page_by_log(request, allowance).await?;
        match self.stands(&request.feed, era).await? && request.feed.lock().log.renewed_since(known_to) == Renewed::No {
            true => Ok(Page { known_to, ..page }),
            false => Err(BackplaneError::down("the stream was made anew, and this page may be of before")),
        }
    }

    /// The next page, by a log that nobody may have verified.
    async fn page_by_log(&self, request: &PageRequest, allowance: &mut Allowance) -> Result<Page, BackplaneError> {
        let PageRequest { feed, standing, known_to, fresh, .. } = request;
        let (position, owed) = (standing.position, !fresh);
        let here = |at| Ok(here(request, at));
        let renewed = feed.lock().log.renewed_since(*known_to);
        match feed.locate(position) {
            _ if renewed == Renewed::Yes && !owed => return self.told_of_a_new_life(request, allowance).await,
            // An entry that is there tells that it is the same stream's, a place does not.
            _ if renewed == Renewed::Yes || renewed == Renewed::Perhaps && !standing.entry => {
                return self.judge_missing(request, allowance).await;
            }
            Ok(at) => return here(at),
            // Only what is not there can be passed over; the rule decides whether that is a loss.
            Err(NotInLog::Absent(_)) if owed && standing.entry => return self.judge_missing(request, allowance).await,
            Err(NotInLog::Absent(at)) => return here(at),
            Err(NotInLog::Ahead) if owed => return self.judge_missing(request, allowance).await,
            // Ids went back.
            Err(NotInLog::Ahead) => return self.all_of_a_new_life(request, allowance).await,
            Err(NotInLog::Older) => {}
        }
        let witnessed = owed && standing.entry;
        // Without a witness the count of what was passed must do, where anything is owed.
        if !witnessed && (owed || standing.due.is_some()) {
            return self.judge_missing(request, allowance).await;
        }
        let oldest = if witnessed { position } else { position.after() };
        let read = self.read_page(feed, oldest, allowance);
        let mut shared = self.pages.get(feed, oldest, read).await?;
        loop {
            let found = shared.frames.first().is_some_and(|frame| frame.position == position);
            if witnessed && !found && !planted::is(Fault::PageWithoutWitness) {
                return self.judge_missing(request, allowance).await;
            }
            let frames = &shared.frames[usize::from(witnessed && found)..];
            probe::reached(Probe::PageRead);
            // Nothing lies between here and what the tail began with when the page was read.
            let reached = frames.last().map_or(shared.newest, |frame| frame.position);
            let mut at = self.enter_log(feed, reached);
            // Where what the tail begins with was not read, or is no entry, the tail may be of another life than the page.
            let last = shared.frames.last().map(|frame| frame.position);
            if at.is_some() && last.is_some_and(|last| last != shared.newest || !shared.entry) {
                probe::reached(Probe::PageOtherLife);
                let (known, examined) = self.shared_look(feed, reached).await?;
                self.went_back(feed, known, examined.state.as_ref())?;
                if shared.entry {
                    self.doubt(feed);
                }
                // The tail may have been trimmed meanwhile.
                at = self.enter_log(feed, reached);
            }
            if frames.is_empty() && at.is_none() {
                probe::reached(Probe::PageTailTrimmed);
                // The tail has been trimmed since. The witness must not be given up, so this one asks again.
                shared = self.read_page(feed, oldest, allowance).await?;
                if shared.newest == reached {
                    return Err(BackplaneError::down("the channel's tail is about to begin anew"));
                }
                continue;
            }
            let mut page = self.page_of(request, frames.to_vec(), Reached { position: reached, at });
            if planted::is(Fault::HistoryCutShort) && page.at.is_none() && request.given > 0 {
                let mark = feed.lock().log.mark();
                let continues_at = mark.standing.position;
                page.frames.push(self.gap(
                    feed,
                    reached,
                    Lost { reason: GapReason::Trimmed, continues_at, lost: None },
                ));
                (page.at, page.standing) = (Some(mark.end), mark.standing);
            }
            return Ok(Page { ration: Some(shared.ration), ..page });
        }
    }

    /// The first page of a new life of the stream, for a leg that has had nothing of the one before: it has all of this one.
    async fn all_of_a_new_life(
        &self,
        request: &PageRequest,
        allowance: &mut Allowance,
    ) -> Result<Page, BackplaneError> {
        // The place is taken apart from its use, which takes the lock again.
        let (life, end) = {
            let state = request.feed.lock();
            (state.log.life(), state.log.end())
        };
        match life {
            _ if planted::is(Fault::NewLifeSkipped) => Ok(here(request, end)),
            Some(floor) => Ok(here(request, floor)),
            None => Box::pin(self.page(&request.at_the_beginning(), allowance)).await,
        }
    }

    /// A whole new life for a leg that stood at a place of the stream before: what had come behind that by then is lost.
    async fn told_of_a_new_life(
        &self,
        request: &PageRequest,
        allowance: &mut Allowance,
    ) -> Result<Page, BackplaneError> {
        let (feed, from) = (&request.feed, request.standing.position);
        let mut page = self.all_of_a_new_life(request, allowance).await?;
        // What the fault passes over would be told.
        if from != Position::ZERO && !planted::is(Fault::NewLifeSkipped) {
            let read = page.frames.first().map(|frame| frame.position);
            let first = read.or_else(|| page.at.and_then(|at| feed.lock().log.event_from(at)));
            let (reason, continues_at) =
                first.map_or((GapReason::Missing, Position::ZERO), |first| (GapReason::Reset, first));
            page.frames.insert(0, self.gap(feed, from, Lost { reason, continues_at, lost: None }));
        }
        Ok(page)
    }

    /// What a leg gets of a page that was read, and where it then stands.
    fn page_of(&self, request: &PageRequest, mut frames: Vec<Arc<Frame>>, reached: Reached) -> Page {
        let PageRequest { feed, standing, .. } = request;
        let at = reached.at;
        let passed = standing.rank().map(|rank| rank + frames.len() as u64);
        let mut standing = match frames.last() {
            Some(frame) => Standing { position: frame.position, due: due_after(passed), entry: true },
            None => at.map_or(*standing, |at| in_log(feed, *standing, at)),
        };
        if let (Some(at), Some(passed)) = (at, passed)
            && let Some((gap, counted)) = self.deleted_before(feed, reached.position, at, passed)
        {
            frames.push(gap);
            // Told once: who falls behind right here is not told of it again.
            standing.due = due_after(Some(counted));
        }
        Page { frames, standing, at, known_to: request.known_to, ration: None }
    }

    /// Reads what lies at and after a position, up to what the tail begins with; as much as a page holds.
    async fn read_page(
        &self,
        feed: &Feed,
        oldest: Position,
        allowance: &mut Allowance,
    ) -> Result<SharedPage, BackplaneError> {
        let (newest, entry, count) = {
            let state = feed.lock();
            (state.log.base(), state.log.base_is_entry(), allowance.count)
        };
        let span = Span { channel: feed.channel.clone(), oldest, newest, count, toward: Toward::Newest };
        let entries = self.read_history(span).await?;
        let frames = encode(&feed.channel, &entries, Some(oldest.before()), None);
        let ration = allowance.spend(feed, &frames);
        Ok(SharedPage { newest, entry, frames: frames.into(), ration })
    }

    /// Reads one span of history for a join. It goes before those who are behind the tail, for it ends soon, and what it brings
    /// serves many.
    pub(super) async fn read_for_join(&self, span: Span) -> Result<Vec<Entry>, BackplaneError> {
        let entries = self.read_history(span).await?;
        self.pace.joined(entries.len(), Instant::now());
        Ok(entries)
    }

    /// Reads the newest entries of a span; they, and whether that is all of it. An entry that is too large is not the first of them, as
    /// what is said of it names the one before it.
    pub(super) async fn read_back(&self, mut span: Span, page: usize) -> Result<(Vec<Entry>, bool), BackplaneError> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let mut older = self.read_for_join(span.clone()).await?;
            let complete = !may_hold_more(&older, page);
            older.append(&mut entries);
            entries = older;
            match entries.first().filter(|first| first.is_too_large() && !complete) {
                Some(first) if first.position > span.oldest => span.newest = first.position.before(),
                _ => return Ok((entries, complete)),
            }
        }
    }

    /// Judges a leg's position that is not in the stream, or never was, and goes on where the rule says.
    async fn judge_missing(&self, request: &PageRequest, allowance: &mut Allowance) -> Result<Page, BackplaneError> {
        let PageRequest { feed, standing, known_to, .. } = request;
        probe::reached(Probe::PageJudged);
        let (position, rank) = (standing.position, standing.rank());
        let (log_end, renewed, counts_on) = {
            let log = &feed.lock().log;
            (log.mark().standing, log.renewed_since(*known_to), log.counts_on_since(*known_to))
        };
        // What the log knows is of the stream in which the leg's place was counted.
        let known = if counts_on { log_end.position.max(position) } else { position };
        let ask = Ask { channel: feed.channel.clone(), after: position.before(), count: allowance.count };
        let _permit = self.readers.acquire().await;
        let mut answers = self.backplane.examine(vec![ask]).await?;
        let Examined { state, mut entries } = answers.pop().unwrap_or_else(|| Ok(Examined::default()))?;
        let state = state.as_ref();
        self.went_back(feed, log_end, state)?;
        let found = entries.iter().any(|entry| entry.position == position);
        let behind = all_behind(position, &entries, state, allowance.count);
        let (entry, witness) = (standing.entry, found.into());
        let verdict = judge(Resume { at: position, rank, entry, witness, behind, known }, state);
        let verdict = match renewed {
            Renewed::Perhaps if !found => of_another(position, verdict),
            Renewed::Yes => of_another(position, verdict),
            Renewed::No | Renewed::Perhaps => verdict,
        };
        let after = match verdict {
            Verdict::Continuous => position,
            Verdict::Broken { after, .. } => after,
        };
        entries.retain(|entry| entry.position > after);
        let counted = rank_before(entries.first().map(|e| e.position), state);
        let before = if verdict == Verdict::Continuous { rank.or(counted) } else { counted };
        // What is newer comes with the log.
        let newest = feed.lock().log.position();
        entries.retain(|entry| entry.position <= newest);
        let due = due_after(before.map(|before| before + entries.len() as u64));
        let reached = match (entries.last(), verdict) {
            (Some(entry), _) => Standing { position: entry.position, due, entry: true },
            (None, Verdict::Continuous) => Standing { due, ..*standing },
            (None, Verdict::Broken { .. }) => {
                Standing { position: after, due, entry: state.is_some_and(|state| state.last == after) }
            }
        };
        let frames = self.judged_frames(feed, position, verdict, &entries);
        let ration = Some(allowance.spend(feed, &frames));
        let (at, standing) = self.stand_in_log(feed, reached, entries.is_empty());
        if frames.is_empty() && at.is_none() && matches!(feed.locate(reached.position), Err(NotInLog::Ahead)) {
            return Err(BackplaneError::down("this node has not read as far as this yet"));
        }
        Ok(Page { frames, standing, at, known_to: *known_to, ration })
    }

    /// What a leg gets behind a position that was judged: a gap, if that is the verdict, and entries.
    fn judged_frames(&self, feed: &Feed, from: Position, verdict: Verdict, entries: &[Entry]) -> Vec<Arc<Frame>> {
        let silent = planted::is(Fault::MissingNotJudged);
        let Verdict::Broken { reason, after, lost } = verdict else {
            return encode(&feed.channel, entries, Some(from), None);
        };
        let continues_at = entries.first().map_or(after, |entry| entry.position);
        let mut frames = vec![self.gap(feed, from, Lost { reason, continues_at, lost })];
        frames.retain(|_| !silent);
        frames.extend(encode(&feed.channel, entries, Some(after), None));
        frames
    }

    /// Where the log goes on for a leg that has got this far, and where it stands then. `empty`: it got no entry for that, so
    /// nothing lies between here and what the log has.
    fn stand_in_log(&self, feed: &Feed, reached: Standing, empty: bool) -> (Option<Offset>, Standing) {
        if !empty {
            return (self.enter_log(feed, reached.position), reached);
        }
        // Apart from its use: the lock must not be held when the log is entered.
        let base = feed.lock().log.base();
        let at = self.enter_log(feed, reached.position.max(base));
        (at, at.map_or(reached, |at| in_log(feed, reached, at)))
    }

    /// Where the log goes on after a position; `None` where that is older, or ahead: ids went back meanwhile, and the
    /// leg must not pass over the gap that says so.
    fn enter_log(&self, feed: &Feed, position: Position) -> Option<Offset> {
        match feed.locate(position) {
            Ok(at) | Err(NotInLog::Absent(at)) => Some(at),
            Err(NotInLog::Older) if planted::is(Fault::PageIsAll) => Some(feed.lock().log.start()),
            Err(NotInLog::Older | NotInLog::Ahead) => None,
        }
    }

    /// What was deleted before its page was read, of a leg that comes into the log and has passed so many entries; how many
    /// there were with that.
    fn deleted_before(&self, feed: &Feed, reached: Position, at: Offset, passed: u64) -> Option<(Arc<Frame>, u64)> {
        let (counted, next) = {
            let state = feed.lock();
            (state.log.counted_to(at)?, state.log.event_from(at))
        };
        let lost = counted.checked_sub(passed).filter(|lost| *lost > 0)?;
        probe::reached(Probe::PageDeletedBefore);
        let continues_at = next.unwrap_or(reached);
        Some((self.gap(feed, reached, Lost { reason: GapReason::Deleted, continues_at, lost: Some(lost) }), counted))
    }

    /// The frame that tells a leg what was lost behind a position.
    fn gap(&self, feed: &Feed, from: Position, lost: Lost) -> Arc<Frame> {
        let Lost { reason, continues_at, lost } = lost;
        let channel = feed.channel.to_string();
        info!(%channel, ?reason, %from, at = %continues_at, lost, "gap: behind the tail");
        let gap = Gap { channel, reason, resume_from: Some(from), continues_at: Some(continues_at), lost };
        self.metrics.gaps.inc(reason);
        Arc::new(Frame::control(from, gap.block().as_bytes()))
    }
}

/// Nothing of history: a leg goes on in the log.
fn here(request: &PageRequest, at: Offset) -> Page {
    let standing = in_log(&request.feed, request.standing, at);
    Page { frames: vec![], standing, at: Some(at), known_to: request.known_to, ration: None }
}

/// Where a leg stands that enters the log without a frame more: where it stood, if an entry tells, and as the log knows.
fn in_log(feed: &Feed, standing: Standing, at: Offset) -> Standing {
    let known = feed.lock().log.standing_at(at);
    match standing.entry {
        true => Standing { due: standing.due.or(known.due), ..standing },
        false => known,
    }
}

#[cfg(test)]
mod tests;
