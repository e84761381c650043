//! Catching up: history for legs that are behind the tail, a page at a time, until the tail covers them.
//!
//! A leg has at most one request on its way and one page in memory, so what a slow reader costs is bounded. A bounded
//! number of requests is worked on; the others wait for their turn, for the backplane, or out of a refusal, and are
//! forgotten once their subscriber has left.

use super::Hub;
use super::feed::Feed;
use super::fresh::Frames;
use super::join::encode;
use super::log::Gone;
use crate::backplane::continuity::{Resume, Verdict, judge, rank_before};
use crate::backplane::{Ask, BackplaneError, Examined, Link, Span, Toward};
use crate::courier::{CatchUp, Couriers, Letter, Page};
use crate::frame::{Frame, Gap, GapReason, Standing, due_after};
use crate::position::Position;
use crate::telemetry::Seldom;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, info, warn};

/// Entries of one page.
const PAGE: usize = 256;
/// What one page should weigh at most.
const PAGE_BYTES: usize = 256 << 10;
/// Requests that are worked on at once: more than there are reads, as many need none of their own.
const AT_ONCE: usize = 128;
/// Between tries of a request while its part of the backplane is down, and at most after refusals.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two log lines about refusals.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// A request on its way.
struct Wish {
    request: CatchUp,
    /// Refusals so far.
    refused: u32,
}

type Answer = (Wish, Result<Page, BackplaneError>);

/// What is waited for and what is worked on.
struct Desk {
    hub: Arc<Hub>,
    couriers: Couriers,
    due: VecDeque<Wish>,
    later: Vec<(Instant, Wish)>,
    work: JoinSet<Answer>,
    complained: Seldom,
}

/// Answers couriers' requests until they end.
pub async fn run(hub: Arc<Hub>, couriers: Couriers, mut requests: mpsc::UnboundedReceiver<CatchUp>) {
    let mut link = hub.backplane.link();
    let (due, later, work, complained) = (VecDeque::new(), Vec::new(), JoinSet::new(), Seldom::new(COMPLAIN_EVERY));
    let mut desk = Desk { hub, couriers, due, later, work, complained };
    let mut tick = interval(PAUSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        desk.start();
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => desk.due.push_back(Wish { request, refused: 0 }),
                None => return,
            },
            Some(answer) = desk.work.join_next() => if let Ok(answer) = answer {
                desk.finish(answer);
            },
            up = came_up(&mut link), if !desk.later.is_empty() => desk.wake(up),
            _ = tick.tick(), if !desk.later.is_empty() => desk.wake(false),
        }
    }
}

/// Waits for a change of the link; whether it is up now. Never ends where the backplane has gone.
async fn came_up(link: &mut watch::Receiver<Link>) -> bool {
    if link.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    *link.borrow_and_update() == Link::Up
}

impl Desk {
    fn start(&mut self) {
        while self.work.len() < AT_ONCE
            && let Some(wish) = self.due.pop_front()
        {
            if wish.request.is_gone() {
                continue;
            }
            let hub = self.hub.clone();
            self.work.spawn(async move {
                let page = hub.page(&wish.request).await;
                (wish, page)
            });
        }
        let waiting = self.due.len() + self.later.len() + self.work.len();
        self.hub.metrics.catch_ups_waiting.set(waiting as i64);
    }

    fn finish(&mut self, (mut wish, page): Answer) {
        let pause = match page {
            Ok(page) => {
                self.hub.metrics.catch_ups.inc();
                let CatchUp { courier, key, serial, leg, .. } = wish.request;
                return self.couriers.send(courier, Letter::Page { key, serial, leg, page });
            }
            Err(BackplaneError::Down(why)) => {
                debug!(channel = %wish.request.channel(), why, "catching up waits");
                PAUSE
            }
            // It may be allowed, or another kind of key, one day; until then its subscriber waits.
            Err(BackplaneError::Refused(why)) => {
                if let Some(suppressed) = self.complained.turn("refused") {
                    warn!(channel = %wish.request.channel(), why, suppressed, "history cannot be read");
                }
                wish.refused = wish.refused.saturating_add(1);
                LONGEST_PAUSE.min(PAUSE * (1 << wish.refused.min(5)))
            }
        };
        self.later.push((Instant::now() + pause, wish));
    }

    /// Puts those whose pause is over, or `all`, in line again, and forgets those that have left.
    fn wake(&mut self, all: bool) {
        let now = Instant::now();
        for (until, wish) in std::mem::take(&mut self.later) {
            if wish.request.is_gone() {
                continue;
            }
            match all || until <= now {
                true => self.due.push_back(wish),
                false => self.later.push((until, wish)),
            }
        }
        self.due.retain(|wish| !wish.request.is_gone());
    }
}

impl Hub {
    /// The next page after a leg's position.
    async fn page(&self, request: &CatchUp) -> Result<Page, BackplaneError> {
        let CatchUp { feed, standing, fresh, .. } = request;
        let (position, owed) = (standing.position, !fresh);
        let here = |at| Ok(Page { frames: vec![], standing: in_log(feed, *standing, at), at: Some(at) });
        match feed.locate(position) {
            Ok(at) => return here(at),
            // Only what is not there can be passed over; the rule decides whether that is a loss.
            Err(Gone::Absent(_)) if owed && standing.entry => return self.leap(request).await,
            Err(Gone::Absent(at)) => return here(at),
            Err(Gone::Ahead) if owed => return self.leap(request).await,
            Err(Gone::Ahead) => return here(feed.lock().log.end()),
            Err(Gone::Older) => {}
        }
        if request.given as usize >= self.replay_limit {
            return Ok(self.cut(request));
        }
        let witnessed = owed && standing.entry;
        // Without a witness the count of what was passed must do, where anything is owed.
        if !witnessed && (owed || standing.due.is_some()) {
            return self.leap(request).await;
        }
        let oldest = if witnessed { position } else { position.after() };
        let read = self.read_page(feed, oldest);
        let mut shared = self.pages.get(feed, oldest, read).await?;
        loop {
            let mut frames = shared.frames.to_vec();
            if witnessed {
                if frames.first().is_none_or(|frame| frame.position != position) {
                    return self.leap(request).await;
                }
                frames.remove(0);
            }
            // Nothing lies between here and what the tail began with when the page was read.
            let reached = frames.last().map_or(shared.newest, |frame| frame.position);
            let at = self.enter_log(feed, reached);
            if frames.is_empty() && at.is_none() {
                // The tail has been trimmed since. The witness must not be given up, so this one asks again.
                shared = self.read_page(feed, oldest).await?;
                if shared.newest == reached {
                    return Err(BackplaneError::Down("the channel's tail is about to begin anew".into()));
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
            return Ok(Page { frames, standing, at });
        }
    }

    /// What lies at and after a position, up to what the tail begins with; as much as a page holds.
    async fn read_page(&self, feed: &Feed, oldest: Position) -> Result<Frames, BackplaneError> {
        let (newest, count) = {
            let state = feed.lock();
            (state.log.base(), (PAGE_BYTES / (state.mean_bytes as usize).max(1)).clamp(2, PAGE))
        };
        let span = Span { channel: feed.channel.clone(), oldest, newest, count, toward: Toward::Newest };
        Ok(Frames { newest, frames: encode(&self.read_history(span).await?, None).into() })
    }

    /// The leg's position is not in the stream, or never was: judges it, and goes on where the rule says.
    async fn leap(&self, request: &CatchUp) -> Result<Page, BackplaneError> {
        let CatchUp { feed, standing, .. } = request;
        let (position, rank) = (standing.position, standing.rank());
        let (known, count) = {
            let state = feed.lock();
            (state.log.position(), (PAGE_BYTES / (state.mean_bytes as usize).max(1)).clamp(2, PAGE))
        };
        let ask = Ask { channel: feed.channel.clone(), after: position.before(), count };
        let _permit = self.readers.acquire().await;
        let mut answers = self.backplane.examine(vec![ask]).await?;
        let Examined { state, mut entries } = answers.pop().unwrap_or_else(|| Ok(Examined::default()))?;
        self.went_back(feed, known, state.as_ref())?;
        let present = entries.iter().any(|entry| entry.position == position);
        let verdict = judge(Resume { at: position, rank, entry: standing.entry, present }, state.as_ref());
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
            frames.push(self.gap(request, reason, continues_at, lost));
        }
        frames.extend(encode(&entries, None));
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
            return Err(BackplaneError::Down("this node has not read as far as this yet".into()));
        }
        Ok(Page { frames, standing, at })
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
        let frames = vec![self.gap(request, GapReason::Trimmed, base, None)];
        Page { frames, standing: Standing { position: base, due: None, entry: false }, at }
    }

    fn gap(&self, request: &CatchUp, reason: GapReason, continues_at: Position, lost: Option<u64>) -> Arc<Frame> {
        let gap = Gap {
            channel: request.channel().to_string(),
            reason,
            resume_from: Some(request.standing.position),
            continues_at: Some(continues_at),
            lost,
        };
        let from = request.standing.position;
        info!(channel = %gap.channel, ?reason, %from, at = %continues_at, lost, "gap: behind the tail");
        self.metrics.gaps.with_label_values(&[reason.label()]).inc();
        Arc::new(Frame::control(request.standing.position, gap.block().as_bytes()))
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
