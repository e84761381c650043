//! Catching up: history for legs that are behind the tail, a page at a time, until the tail covers them. Whose turn it is
//! is the [`desk`](super::desk)'s business.

use super::Hub;
use super::feed::Feed;
use super::frames::encode;
use super::fresh::Frames;
use super::log::Gone;
use super::replay::Ration;
use crate::backplane::continuity::{Resume, Verdict, all_behind, judge, rank_before};
use crate::backplane::{Ask, BackplaneError, Entry, Examined, Span, Toward, may_hold_more};
use crate::courier::{CatchUp, Page};
use crate::frame::{Frame, Gap, GapReason, Standing, due_after};
use crate::position::Position;
use std::sync::Arc;
use std::time::Instant;
use tracing::info;

/// Entries of one page.
const PAGE: usize = 256;
/// Entries of a leg's first page; each is twice as large as the one before, until it is known what they weigh.
const FIRST_PAGE: usize = 16;
/// What one page should weigh at most.
const PAGE_BYTES: usize = 256 << 10;
/// What an event takes in memory beside its bytes.
const FRAME_OVERHEAD: usize = size_of::<Frame>() + 64;

/// What a page may cost, taken ahead of its read. What was not read is given back when it goes.
pub struct Allowance {
    hub: Arc<Hub>,
    /// Entries to ask for.
    count: usize,
    /// Of these what was not read yet.
    left: usize,
    /// Until a page has it.
    ration: Option<Ration>,
}

impl Allowance {
    pub fn new(hub: Arc<Hub>, count: usize, ration: Ration) -> Allowance {
        Allowance { hub, count, left: count, ration: Some(ration) }
    }

    /// So much was read; what it takes as long as somebody has it.
    fn spend(&mut self, feed: &Feed, frames: &[Arc<Frame>]) -> Arc<Ration> {
        let sizes = || frames.iter().map(|frame| frame.chunk().len());
        {
            let mut state = feed.lock();
            sizes().for_each(|size| state.learn(size));
        }
        self.hub.metrics.replay_entries.inc_by(frames.len() as u64);
        self.hub.pace.take(frames.len().saturating_sub(self.left), Instant::now());
        self.left = self.left.saturating_sub(frames.len());
        let mut ration = self.ration.take().unwrap_or_else(|| self.hub.store.grab(0));
        ration.resize(sizes().map(|size| size + FRAME_OVERHEAD).sum());
        Arc::new(ration)
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        self.hub.pace.give_back(self.left);
    }
}

impl Hub {
    /// Entries of a leg's next page, and what they should weigh.
    pub(super) fn page_size(&self, request: &CatchUp) -> (usize, usize) {
        let mean = request.feed.lock().mean_bytes as usize;
        let known = (request.given as usize).clamp(FIRST_PAGE, PAGE);
        let count = (PAGE_BYTES / mean.max(1)).clamp(2, known);
        (count, count * (mean + FRAME_OVERHEAD))
    }

    /// The next page after a leg's position.
    pub(super) async fn page(&self, request: &CatchUp, allowance: &mut Allowance) -> Result<Page, BackplaneError> {
        let CatchUp { feed, standing, fresh, .. } = request;
        let (position, owed) = (standing.position, !fresh);
        let here = |at| {
            let standing = in_log(feed, *standing, at);
            Ok(Page { frames: vec![], standing, at: Some(at), ration: None })
        };
        match feed.locate(position) {
            Ok(at) => return here(at),
            // Only what is not there can be passed over; the rule decides whether that is a loss.
            Err(Gone::Absent(_)) if owed && standing.entry => return self.leap(request, allowance).await,
            Err(Gone::Absent(at)) => return here(at),
            Err(Gone::Ahead) if owed => return self.leap(request, allowance).await,
            Err(Gone::Ahead) => return here(feed.lock().log.end()),
            Err(Gone::Older) => {}
        }
        let witnessed = owed && standing.entry;
        // Without a witness the count of what was passed must do, where anything is owed.
        if !witnessed && (owed || standing.due.is_some()) {
            return self.leap(request, allowance).await;
        }
        let oldest = if witnessed { position } else { position.after() };
        let read = self.read_page(feed, oldest, allowance);
        let mut shared = self.pages.get(feed, oldest, read).await?;
        loop {
            let mut frames = shared.frames.to_vec();
            if witnessed {
                if frames.first().is_none_or(|frame| frame.position != position) {
                    return self.leap(request, allowance).await;
                }
                frames.remove(0);
            }
            // Nothing lies between here and what the tail began with when the page was read.
            let reached = frames.last().map_or(shared.newest, |frame| frame.position);
            let at = self.enter_log(feed, reached);
            if frames.is_empty() && at.is_none() {
                // The tail has been trimmed since. The witness must not be given up, so this one asks again.
                shared = self.read_page(feed, oldest, allowance).await?;
                if shared.newest == reached {
                    return Err(BackplaneError::down("the channel's tail is about to begin anew"));
                }
                continue;
            }
            // Where what the tail begins with was not read, the tail may be of another life than the page.
            let last = shared.frames.last().map(|frame| frame.position);
            if at.is_some() && last.is_some_and(|last| last != shared.newest) {
                let (known, examined) = self.shared_look(feed, reached).await?;
                self.went_back(feed, known, examined.state.as_ref())?;
            }
            let passed = standing.rank().map(|rank| rank + frames.len() as u64);
            let standing = match frames.last() {
                Some(frame) => Standing { position: frame.position, due: due_after(passed), entry: true },
                None => at.map_or(*standing, |at| in_log(feed, *standing, at)),
            };
            if let (Some(at), Some(passed)) = (at, passed) {
                frames.extend(self.deleted_before(feed, reached, (at, passed)));
            }
            return Ok(Page { frames, standing, at, ration: Some(shared.ration) });
        }
    }

    /// What lies at and after a position, up to what the tail begins with; as much as a page holds.
    async fn read_page(
        &self,
        feed: &Feed,
        oldest: Position,
        allowance: &mut Allowance,
    ) -> Result<Frames, BackplaneError> {
        let (newest, count) = (feed.lock().log.base(), allowance.count);
        let span = Span { channel: feed.channel.clone(), oldest, newest, count, toward: Toward::Newest };
        let entries = self.read_history(span).await?;
        let frames = encode(&feed.channel, &entries, Some(oldest.before()), None);
        let ration = allowance.spend(feed, &frames);
        Ok(Frames { newest, frames: frames.into(), ration })
    }

    /// One span of history, for a join. It goes before those who are behind the tail, for it ends soon, and what it brings
    /// serves many.
    pub(super) async fn read_for_join(&self, span: Span) -> Result<Vec<Entry>, BackplaneError> {
        let entries = self.read_history(span).await?;
        self.pace.joined(entries.len(), Instant::now());
        Ok(entries)
    }

    /// The newest entries of a span, and whether that is all of it. An entry that is too large is not the first of them, as
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

    /// The leg's position is not in the stream, or never was: judges it, and goes on where the rule says.
    async fn leap(&self, request: &CatchUp, allowance: &mut Allowance) -> Result<Page, BackplaneError> {
        let CatchUp { feed, standing, .. } = request;
        let (position, rank) = (standing.position, standing.rank());
        let known = feed.lock().log.position();
        let ask = Ask { channel: feed.channel.clone(), after: position.before(), count: allowance.count };
        let _permit = self.readers.acquire().await;
        let mut answers = self.backplane.examine(vec![ask]).await?;
        let Examined { state, mut entries } = answers.pop().unwrap_or_else(|| Ok(Examined::default()))?;
        self.went_back(feed, known, state.as_ref())?;
        let witness = entries.iter().any(|entry| entry.position == position).into();
        let behind = all_behind(position, &entries, state.as_ref(), allowance.count);
        let verdict = judge(Resume { at: position, rank, entry: standing.entry, witness, behind }, state.as_ref());
        let (after, gap) = match verdict {
            Verdict::Continuous => (position, None),
            Verdict::Broken { reason, after, lost } => (after, Some((reason, lost))),
        };
        entries.retain(|entry| entry.position > after);
        let counted = rank_before(entries.first().map(|e| e.position), state.as_ref());
        let before = if gap.is_none() { rank.or(counted) } else { counted };
        // What is newer comes with the log.
        let newest = feed.lock().log.position();
        entries.retain(|entry| entry.position <= newest);
        let mut frames = Vec::new();
        if let Some((reason, lost)) = gap {
            let continues_at = entries.first().map_or(after, |entry| entry.position);
            frames.push(self.gap(feed, position, (reason, continues_at, lost)));
        }
        frames.extend(encode(&feed.channel, &entries, Some(after), None));
        let ration = Some(allowance.spend(feed, &frames));
        let due = due_after(before.map(|before| before + entries.len() as u64));
        let standing = match (entries.last(), &state) {
            (Some(entry), _) => Standing { position: entry.position, due, entry: true },
            (None, _) if gap.is_none() => Standing { due, ..*standing },
            (None, state) => {
                Standing { position: after, due, entry: state.as_ref().is_some_and(|state| state.last == after) }
            }
        };
        let reached = standing.position;
        // Apart from its use: the lock must not be held when the log is entered.
        let base = feed.lock().log.base();
        let at = match entries.is_empty() {
            // Nothing lies between here and what the log has.
            true => self.enter_log(feed, reached.max(base)),
            false => self.enter_log(feed, reached),
        };
        let standing = match (at, entries.is_empty()) {
            (Some(at), true) => in_log(feed, standing, at),
            _ => standing,
        };
        if frames.is_empty() && at.is_none() && matches!(feed.locate(reached), Err(Gone::Ahead)) {
            return Err(BackplaneError::down("this node has not read as far as this yet"));
        }
        Ok(Page { frames, standing, at, ration })
    }

    /// Where the log goes on after a position; `None` where that is older, or ahead: ids went back meanwhile, and the
    /// leg must not pass over the gap that says so.
    fn enter_log(&self, feed: &Feed, position: Position) -> Option<u64> {
        match feed.locate(position) {
            Ok(at) | Err(Gone::Absent(at)) => Some(at),
            Err(Gone::Older | Gone::Ahead) => None,
        }
    }

    /// What was deleted before its page was read, of a leg that comes into the log and has passed so many entries.
    fn deleted_before(&self, feed: &Feed, reached: Position, (at, passed): (u64, u64)) -> Option<Arc<Frame>> {
        let (counted, next) = {
            let state = feed.lock();
            (state.log.counted_to(at)?, state.log.event_from(at))
        };
        let lost = counted.checked_sub(passed).filter(|lost| *lost > 0)?;
        Some(self.gap(feed, reached, (GapReason::Deleted, next.unwrap_or(reached), Some(lost))))
    }

    fn gap(
        &self,
        feed: &Feed,
        from: Position,
        (reason, continues_at, lost): (GapReason, Position, Option<u64>),
    ) -> Arc<Frame> {
        let channel = feed.channel.to_string();
        info!(%channel, ?reason, %from, at = %continues_at, lost, "gap: behind the tail");
        let gap = Gap { channel, reason, resume_from: Some(from), continues_at: Some(continues_at), lost };
        self.metrics.gaps.inc(reason);
        Arc::new(Frame::control(from, gap.block().as_bytes()))
    }
}

/// Where a leg stands that enters the log without a frame more: where it stood, if an entry tells, and as the log knows.
fn in_log(feed: &Feed, standing: Standing, at: u64) -> Standing {
    let known = feed.lock().log.standing_at(at);
    match standing.entry {
        true => Standing { due: standing.due.or(known.due), ..standing },
        false => known,
    }
}
