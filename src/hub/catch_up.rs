//! Catching up: history for legs that are behind the tail, a page at a time, until the tail covers them.
//!
//! A leg has at most one request on its way and one page in memory, so what a slow reader costs is bounded.

use super::Hub;
use super::feed::Feed;
use super::fresh::Frames;
use super::join::encode;
use super::log::Gone;
use crate::backplane::continuity::{Resume, Verdict, judge, rank_before};
use crate::backplane::{Ask, BackplaneError, Examined, Span, Toward};
use crate::courier::{CatchUp, Couriers, Letter, Page};
use crate::frame::{Frame, Gap, GapReason};
use crate::position::Position;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{debug, info};

/// Entries of one page.
const PAGE: usize = 256;
/// What one page should weigh at most.
const PAGE_BYTES: usize = 256 << 10;
/// Between tries while the backplane is down.
const PAUSE: Duration = Duration::from_millis(200);

/// Answers couriers' requests until they end.
pub async fn run(hub: Arc<Hub>, couriers: Couriers, mut requests: mpsc::UnboundedReceiver<CatchUp>) {
    while let Some(request) = requests.recv().await {
        let (hub, couriers) = (hub.clone(), couriers.clone());
        tokio::spawn(async move {
            let page = loop {
                match hub.page(&request).await {
                    Ok(page) => break page,
                    Err(error) => {
                        debug!(channel = %request.channel(), %error, "catching up waits");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            };
            hub.metrics.catch_ups.inc();
            let CatchUp { courier, key, serial, leg, .. } = request;
            couriers.send(courier, Letter::Page { key, serial, leg, page });
        });
    }
}

impl Hub {
    /// The next page after a leg's position.
    async fn page(&self, request: &CatchUp) -> Result<Page, BackplaneError> {
        let (feed, position, rank) = (&request.feed, request.position, request.rank);
        let here = |at| Ok(Page { frames: vec![], position, rank, at: Some(at) });
        match feed.locate(position) {
            Ok(at) => return here(at),
            // Only what is not there can be passed over; the rule decides whether that is a loss.
            Err(Gone::Absent(_) | Gone::Ahead) if request.received => return self.leap(request).await,
            Err(Gone::Absent(at)) => return here(at),
            Err(Gone::Ahead) => return here(feed.lock().log.end()),
            Err(Gone::Older) => {}
        }
        if request.given as usize >= self.replay_limit {
            return Ok(self.cut(request));
        }
        if !request.received && rank.is_some() {
            return self.leap(request).await;
        }
        let (base, count) = {
            let state = feed.lock();
            (state.log.base(), (PAGE_BYTES / (state.mean_bytes as usize).max(1)).clamp(2, PAGE))
        };
        let channel = feed.channel.clone();
        let oldest = if request.received { position } else { position.after() };
        let span = Span { channel, oldest, newest: base, count, toward: Toward::Newest };
        let newest = span.newest;
        let read = async { Ok(Frames { newest, frames: encode(&self.read_history(span).await?).into() }) };
        let shared = self.pages.get(feed, oldest, read).await?;
        let mut frames = shared.frames.to_vec();
        if request.received {
            if frames.first().is_none_or(|frame| frame.position != position) {
                return self.leap(request).await;
            }
            frames.remove(0);
        }
        // Nothing lies between here and what the tail began with when the page was read.
        let reached = frames.last().map_or(shared.newest, |frame| frame.position);
        let rank = rank.and_then(|rank| rank.checked_add(frames.len() as u64));
        Ok(Page { frames, position: reached, rank, at: self.enter_log(feed, reached) })
    }

    /// The leg's position is not in the stream: judges it, and goes on where the rule says.
    async fn leap(&self, request: &CatchUp) -> Result<Page, BackplaneError> {
        let (feed, position) = (&request.feed, request.position);
        let known = feed.lock().log.position();
        let ask = Ask { channel: feed.channel.clone(), after: position.before(), count: PAGE };
        let mut answers = self.backplane.examine(vec![ask]).await?;
        let Examined { state, mut entries } = answers.pop().unwrap_or_else(|| Ok(Examined::default()))?;
        self.went_back(feed, known, state.as_ref())?;
        let present = entries.first().is_some_and(|entry| entry.position == position);
        let rank = request.rank.map(NonZeroU64::get);
        let verdict = judge(Resume { at: position, rank, present }, state.as_ref());
        let (after, gap) = match verdict {
            Verdict::Continuous => (position, None),
            Verdict::Broken { reason, after, lost } => (after, Some((reason, lost))),
        };
        entries.retain(|entry| entry.position > after);
        let before = match present {
            true => rank,
            false => rank_before(entries.first().map(|e| e.position), state.as_ref()),
        };
        // What is newer comes with the log.
        let newest = feed.lock().log.position();
        entries.retain(|entry| entry.position <= newest);
        let reached = entries.last().map_or(after, |entry| entry.position);
        let mut frames = Vec::new();
        if let Some((reason, lost)) = gap {
            let continues_at = entries.first().map_or(after, |entry| entry.position);
            frames.push(self.gap(request, reason, continues_at, lost));
        }
        frames.extend(encode(&entries));
        // Before a stream's first entry the rank is 0: known, and yet no rank of an entry.
        let rank = before.and_then(|rank| NonZeroU64::new(rank + entries.len() as u64));
        // Apart from its use: the lock must not be held when the log is entered.
        let base = feed.lock().log.base();
        let at = match entries.is_empty() {
            // Nothing lies between here and what the log has.
            true => self.enter_log(feed, reached.max(base)),
            false => self.enter_log(feed, reached),
        };
        if frames.is_empty() && at.is_none() && matches!(feed.locate(reached), Err(Gone::Ahead)) {
            return Err(BackplaneError::Down("this node has not read as far as this yet".into()));
        }
        Ok(Page { frames, position: reached, rank, at })
    }

    /// Where the log goes on after a position; `None` where that is older, or ahead: ids went back meanwhile, and the
    /// leg must not pass over the gap that says so.
    fn enter_log(&self, feed: &Feed, position: Position) -> Option<u64> {
        match feed.locate(position) {
            Ok(at) | Err(Gone::Absent(at)) => Some(at),
            Err(Gone::Older | Gone::Ahead) => None,
        }
    }

    /// It has had as much history as one subscription gets: goes on at the tail, and says so.
    fn cut(&self, request: &CatchUp) -> Page {
        let base = request.feed.lock().log.base();
        let at = self.enter_log(&request.feed, base);
        Page { frames: vec![self.gap(request, GapReason::Trimmed, base, None)], position: base, rank: None, at }
    }

    fn gap(&self, request: &CatchUp, reason: GapReason, continues_at: Position, lost: Option<u64>) -> Arc<Frame> {
        let gap = Gap {
            channel: request.channel().to_string(),
            reason,
            resume_from: Some(request.position),
            continues_at: Some(continues_at),
            lost,
        };
        info!(channel = %gap.channel, ?reason, from = %request.position, at = %continues_at, lost, "gap: behind the tail");
        self.metrics.gaps.with_label_values(&[reason.label()]).inc();
        Arc::new(Frame::control(request.position, gap.block().as_bytes()))
    }
}
