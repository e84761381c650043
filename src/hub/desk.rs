//! The desk: where couriers ask for history of legs that are behind the tail, and whose turn it is.
//!
//! A leg has at most one request on its way and one page in memory. Subscribers have their turns one by one, at the rate
//! and within the memory that [`replay`](super::replay) has for all of them; requests wait for that, for the backplane,
//! or out of a refusal, and are forgotten once their subscriber has left.

use super::Hub;
use super::catch_up::Allowance;
use super::metrics::ReplayLimit;
use super::turns::Turns;
use crate::backplane::{BackplaneError, Link};
use crate::courier::{CatchUp, Couriers, Letter, Page};
use crate::telemetry::Seldom;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{debug, warn};

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

/// A subscriber: its courier, its key there, and what tells it from an earlier one.
type Owner = (usize, u32, u32);

type Answer = (Wish, Result<Page, BackplaneError>);

/// What the first in line waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// Until then more would be faster than the rate.
    Rate(Instant),
    /// Pages in memory take all the room.
    Bytes,
}

/// What is waited for and what is worked on.
struct Desk {
    hub: Arc<Hub>,
    couriers: Couriers,
    due: Turns<Owner, Wish>,
    later: Vec<(Instant, Wish)>,
    work: JoinSet<Answer>,
    pause: Option<Pause>,
    complained: Seldom,
}

/// Answers couriers' requests until they end.
pub async fn run(hub: Arc<Hub>, couriers: Couriers, mut requests: mpsc::UnboundedReceiver<CatchUp>) {
    let mut link = hub.backplane.link();
    let store = hub.store.clone();
    let (due, later, work, complained) = (Turns::default(), Vec::new(), JoinSet::new(), Seldom::new(COMPLAIN_EVERY));
    let mut desk = Desk { hub, couriers, due, later, work, pause: None, complained };
    let mut tick = interval(PAUSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        desk.start();
        let pause = desk.pause;
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => desk.queue(Wish { request, refused: 0 }),
                None => return,
            },
            Some(answer) = desk.work.join_next() => if let Ok(answer) = answer {
                desk.finish(answer);
            },
            () = rate_allows(pause) => desk.pause = None,
            () = store.room.notified(), if pause == Some(Pause::Bytes) => desk.pause = None,
            up = came_up(&mut link), if !desk.later.is_empty() => desk.wake(up),
            _ = tick.tick(), if !desk.later.is_empty() || pause == Some(Pause::Bytes) => desk.wake(false),
        }
    }
}

/// Waits until the rate allows more; for ever where it is not what is waited for.
async fn rate_allows(pause: Option<Pause>) {
    match pause {
        Some(Pause::Rate(until)) => sleep_until(until).await,
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

impl Desk {
    fn queue(&mut self, wish: Wish) {
        let CatchUp { courier, key, serial, .. } = wish.request;
        self.due.push((courier, key, serial), wish);
    }

    fn start(&mut self) {
        while self.work.len() < AT_ONCE && self.pause.is_none() {
            let Some(next) = self.due.peek() else { break };
            let allowed = match next.request.is_gone() {
                true => None,
                false => match self.allowance(&next.request) {
                    Ok(allowance) => Some(allowance),
                    Err(pause) => {
                        self.pause_for(pause);
                        break;
                    }
                },
            };
            let (Some(wish), Some(mut allowance)) = (self.due.pop(), allowed) else { continue };
            let hub = self.hub.clone();
            self.work.spawn(async move {
                let page = hub.page(&wish.request, &mut allowance).await;
                (wish, page)
            });
        }
        let waiting = self.due.len() + self.later.len() + self.work.len();
        self.hub.metrics.catch_ups_waiting.set(waiting as i64);
    }

    /// What a page may cost, taken ahead; or what must be waited for.
    fn allowance(&self, request: &CatchUp) -> Result<Allowance, Pause> {
        let hub = &self.hub;
        let now = Instant::now();
        if let Some(wait) = hub.pace.wait(now.into_std()) {
            return Err(Pause::Rate(now + wait));
        }
        let (entries, bytes) = hub.page_size(request);
        let ration = hub.store.reserve(bytes).ok_or(Pause::Bytes)?;
        hub.pace.take(entries, now.into_std());
        Ok(Allowance::new(hub.clone(), entries, ration))
    }

    fn pause_for(&mut self, pause: Pause) {
        self.pause = Some(pause);
        let limit = match pause {
            Pause::Rate(_) => ReplayLimit::Rate,
            Pause::Bytes => ReplayLimit::Bytes,
        };
        self.hub.metrics.replay_waits.inc(limit);
        if pause == Pause::Bytes {
            self.ask_for_room();
        }
    }

    /// Pages that nobody needs now must not keep others out.
    fn ask_for_room(&self) {
        self.hub.pages.clear();
        self.couriers.give_pages_back();
    }

    fn finish(&mut self, (mut wish, page): Answer) {
        let pause = match page {
            Ok(page) => {
                self.hub.metrics.catch_ups.inc();
                let CatchUp { courier, key, serial, leg, .. } = wish.request;
                return self.couriers.send(courier, Letter::Page { key, serial, leg, page });
            }
            Err(BackplaneError::Down { text: why, .. }) => {
                debug!(channel = %wish.request.channel(), why, "catching up waits");
                PAUSE
            }
            // It may be allowed, or another kind of key, one day; until then its subscriber waits.
            Err(BackplaneError::Refused { text: why, .. }) => {
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
                true => self.queue(wish),
                false => self.later.push((until, wish)),
            }
        }
        self.due.retain(|wish| !wish.request.is_gone());
        if self.pause == Some(Pause::Bytes) {
            // Others may have come to hold pages since.
            self.ask_for_room();
            self.pause = None;
        }
    }
}
