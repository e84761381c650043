//! The catch-up queue: where couriers ask for history of legs that are behind the tail, and whose turn it is.
//!
//! A leg has at most one request on its way and one page in memory. Subscribers have their turns one by one, at the rate
//! and within the memory that the hub's [`allowance`](crate::hub::allowance) has for all of them; requests wait for that,
//! for the backplane, or out of a refusal, and are forgotten once their subscriber has left.

mod turns;

use super::key::SubscriberId;
use super::{CatchUp, Couriers, Message};
use crate::backplane::{BackplaneError, Link};
use crate::hub::Hub;
use crate::hub::allowance::{Allowance, ReplayWait};
use crate::hub::page::Page;
use crate::telemetry::LogThrottle;
use crate::watched as watch;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{debug, warn};
use turns::Turns;

/// Requests that are worked on at once: more than there are reads, as many need none of their own.
const AT_ONCE: usize = 128;
/// Between tries of a request while its part of the backplane is down, and at most after refusals.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two log lines about refusals.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// A request that has not been answered yet.
struct Pending {
    catch_up: CatchUp,
    /// Refusals so far.
    refused: u32,
}

/// A subscriber of one of the couriers.
type Owner = (usize, SubscriberId);

type Answer = (Pending, Result<Page, BackplaneError>);

/// What is waited for and what is worked on.
struct CatchUpQueue {
    hub: Arc<Hub>,
    couriers: Couriers,
    due: Turns<Owner, Pending>,
    later: Vec<(Instant, Pending)>,
    work: JoinSet<Answer>,
    /// What the first in line waits for.
    pause: Option<ReplayWait>,
    complained: LogThrottle,
}

/// Answers couriers' requests until they end.
pub async fn run(hub: Arc<Hub>, couriers: Couriers, mut requests: mpsc::UnboundedReceiver<CatchUp>) {
    let mut link = hub.backplane.link();
    let room = hub.clone();
    let (due, later, work, complained) =
        (Turns::default(), Vec::new(), JoinSet::new(), LogThrottle::new(COMPLAIN_EVERY));
    let mut queue = CatchUpQueue { hub, couriers, due, later, work, pause: None, complained };
    let mut tick = interval(PAUSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        queue.start();
        let pause = queue.pause;
        tokio::select! {
            biased;
            Some(answer) = queue.work.join_next() => if let Ok(answer) = answer {
                queue.finish(answer);
            },
            () = rate_allows(pause) => queue.pause = None,
            () = room.page_room().notified(), if pause == Some(ReplayWait::Bytes) => queue.pause = None,
            up = came_up(&mut link), if !queue.later.is_empty() => queue.wake(up),
            _ = tick.tick(), if !queue.later.is_empty() || pause == Some(ReplayWait::Bytes) => queue.wake(false),
            catch_up = requests.recv() => match catch_up {
                Some(catch_up) => queue.push(Pending { catch_up, refused: 0 }),
                None => return,
            },
        }
    }
}

/// Waits until the rate allows more; for ever where it is not what is waited for.
async fn rate_allows(pause: Option<ReplayWait>) {
    match pause {
        Some(ReplayWait::Rate(until)) => sleep_until(until).await,
        _ => pending().await,
    }
}

/// Waits for a change of the link; whether it is up now. Never ends where the backplane has gone.
async fn came_up(link: &mut watch::Receiver<Link>) -> bool {
    if link.changed().await.is_err() {
        pending::<()>().await;
    }
    *link.borrow_and_update() == Link::Up
}

impl CatchUpQueue {
    fn push(&mut self, pending: Pending) {
        let CatchUp { courier, id, .. } = pending.catch_up;
        self.due.push((courier, id), pending);
    }

    fn start(&mut self) {
        while self.work.len() < AT_ONCE && self.pause.is_none() {
            let Some(next) = self.due.peek() else { break };
            let allowed = match next.is_gone() {
                true => None,
                false => match self.hub.allowance(&next.catch_up.request, Instant::now()) {
                    Ok(allowance) => Some(allowance),
                    Err(wait) => {
                        self.pause_for(wait);
                        break;
                    }
                },
            };
            let (Some(pending), Some(allowance)) = (self.due.pop(), allowed) else { continue };
            self.work.spawn(answer(self.hub.clone(), pending, allowance));
        }
        let waiting = self.due.len() + self.later.len() + self.work.len();
        self.hub.metrics.catch_ups_waiting.set(waiting as i64);
    }

    fn pause_for(&mut self, wait: ReplayWait) {
        self.pause = Some(wait);
        if wait == ReplayWait::Bytes {
            self.ask_for_room();
        }
    }

    /// Pages that nobody needs now must not keep others out.
    fn ask_for_room(&self) {
        self.hub.forget_pages();
        self.couriers.give_pages_back();
    }

    fn finish(&mut self, (mut pending, page): Answer) {
        let pause = match page {
            Ok(page) => {
                self.hub.metrics.catch_ups.inc();
                let CatchUp { courier, id, request } = pending.catch_up;
                return self.couriers.send(courier, Message::Page { id, here: request.here, page });
            }
            Err(BackplaneError::Down { text: why, .. }) => {
                debug!(channel = %pending.catch_up.request.channel(), why, "catching up waits");
                PAUSE
            }
            // It may be allowed, or another kind of key, one day; until then its subscriber waits.
            Err(BackplaneError::Refused { text: why, .. }) => {
                if let Some(suppressed) = self.complained.turn("refused") {
                    warn!(channel = %pending.catch_up.request.channel(), why, suppressed, "history cannot be read");
                }
                pending.refused = pending.refused.saturating_add(1);
                LONGEST_PAUSE.min(PAUSE * (1 << pending.refused.min(5)))
            }
        };
        self.later.push((Instant::now() + pause, pending));
    }

    /// Puts those whose pause is over, or `all`, in line again, and forgets those that have left.
    fn wake(&mut self, all: bool) {
        let now = Instant::now();
        for (until, pending) in std::mem::take(&mut self.later) {
            if pending.is_gone() {
                continue;
            }
            match all || until <= now {
                true => self.push(pending),
                false => self.later.push((until, pending)),
            }
        }
        self.due.retain(|pending| !pending.is_gone());
        if self.pause == Some(ReplayWait::Bytes) {
            // Others may have come to hold pages since.
            self.ask_for_room();
            self.pause = None;
        }
    }
}

impl Pending {
    /// Whether nobody waits for the answer any more.
    fn is_gone(&self) -> bool {
        self.catch_up.request.is_gone()
    }
}

async fn answer(hub: Arc<Hub>, pending: Pending, mut allowance: Allowance) -> Answer {
    let page = hub.page(&pending.catch_up.request, &mut allowance).await;
    (pending, page)
}
