//! Joining a subscription's channels, each for itself: what cannot be joined yet holds up nobody else.
//!
//! A join waits for as long as its part of the backplane is down. What has been joined is taken in batches; who asked
//! for it, and how it is written, is not known here.

use super::Context;
use crate::auth::Identity;
use crate::backplane::{BackplaneError, Link};
use crate::channel::Channel;
use crate::cursor::Claim;
use crate::hub::join::{JoinError, Start, Want};
use crate::planted::{self, Fault};
use crate::position::Position;
use crate::subscription::{Since, Subscription};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Between tries while the backplane is down.
const PAUSE: Duration = Duration::from_millis(200);
/// Between tries where the backplane refuses one channel of several.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);
/// What is joined so soon after another channel begins with it.
const GATHER: Duration = Duration::from_millis(100);
/// Between two looks whether a part of the backplane is down.
const LOOK: Duration = Duration::from_secs(1);

/// Why somebody who was admitted gets no stream after all.
pub enum Refused {
    Join(JoinError),
    /// Meant by a revocation that came meanwhile.
    Revoked,
}

/// The joins of one subscription.
pub struct Joins<F> {
    subscription: Arc<Subscription>,
    identity: Option<Box<Identity>>,
    /// How many revocations there had been when it was admitted.
    seen: u64,
    context: Arc<Context>,
    pending: FuturesUnordered<F>,
    /// Places of their channels in the subscription, in its order.
    late: Vec<usize>,
    arrived: Vec<(usize, Start)>,
    held: Arc<AtomicBool>,
    /// How many of its channels are refused now, of several.
    refused: Arc<AtomicUsize>,
}

/// A channel's place in its subscription, and where it begins.
pub type Joined = (usize, Result<Start, JoinError>);

/// Begins to join every channel, as soon as it is awaited. `identity`, `seen`: whom a revocation may mean.
pub fn joins(
    subscription: Arc<Subscription>,
    identity: Option<Box<Identity>>,
    seen: u64,
    context: Arc<Context>,
) -> Joins<impl Future<Output = Joined>> {
    let (held, asked) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let refused = Arc::new(AtomicUsize::new(0));
    let one = |place: usize| {
        let joining = Joining { asked, held: held.clone(), refused: refused.clone(), context: context.clone() };
        let subscription = subscription.clone();
        async move { (place, joining.join(&subscription, place).await) }
    };
    let late: Vec<usize> = (0..subscription.channels.len()).collect();
    let pending = late.iter().copied().map(one).collect();
    Joins { subscription, identity, seen, context, pending, late, arrived: Vec::new(), held, refused }
}

/// What the join of one channel needs.
struct Joining {
    asked: Instant,
    held: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    context: Arc<Context>,
}

impl Joining {
    async fn join(&self, subscription: &Subscription, place: usize) -> Result<Start, JoinError> {
        let (channel, hub) = (&subscription.channels[place], &self.context.hub);
        let (want, newest) = want(subscription, channel);
        let mut counted = false;
        let mut attached = None;
        loop {
            let joined = match &mut attached {
                Some(attached) => hub.join(attached, self.as_held(want), newest).await,
                None => match hub.attached(channel).await {
                    Ok(fresh) => hub.join(attached.insert(fresh), self.as_held(want), newest).await,
                    Err(error) => Err(error),
                },
            };
            match joined {
                Err(JoinError::Backplane(BackplaneError::Down { .. })) => sleep(PAUSE).await,
                // One key of the wrong type keeps nobody from the other channels.
                Err(JoinError::Backplane(refused @ BackplaneError::Refused { .. }))
                    if subscription.channels.len() > 1 =>
                {
                    let before = self.refused.fetch_add(usize::from(!counted), Ordering::Relaxed);
                    if before + usize::from(!counted) == subscription.channels.len() {
                        return Err(JoinError::Backplane(refused));
                    }
                    counted = true;
                    sleep(REFUSED_PAUSE).await;
                }
                joined => {
                    self.refused.fetch_sub(usize::from(counted), Ordering::Relaxed);
                    return joined;
                }
            }
        }
    }

    /// A client that wants what is new, and has had its head since it asked, is owed what is published from there on: by
    /// the backplane's clock, which may not have been known then, or a little before.
    fn as_held(&self, want: Want) -> Want {
        if want != Want::End || !self.held.load(Ordering::Relaxed) || planted::is(Fault::HeldBeginsLate) {
            return want;
        }
        let now = self.context.clock.unix_ms() as i64 + self.context.hub.clock_least_ms();
        let asked = now - self.asked.elapsed().as_millis() as i64 - 1;
        let at = |ms: i64| Position::new(ms.max(0) as u64, 0);
        Want::Since { time: at(asked).before(), now: at(now) }
    }
}

impl<F: Future<Output = Joined>> Joins<F> {
    /// All channels. Cancel safe: what has been joined is kept.
    pub async fn all(&mut self) -> Result<Vec<Start>, Refused> {
        self.gather().await?;
        if self.identity.is_some() {
            self.context.auth.revocations.known().await;
        }
        self.check()?;
        Ok(self.take())
    }

    async fn gather(&mut self) -> Result<(), Refused> {
        while let Some(joined) = self.pending.next().await {
            self.arrive(joined)?;
        }
        Ok(())
    }

    fn arrive(&mut self, (place, joined): Joined) -> Result<(), Refused> {
        self.arrived.push((place, joined.map_err(Refused::Join)?));
        self.late.retain(|late| *late != place);
        Ok(())
    }

    /// What was revoked by now is refused.
    fn check(&self) -> Result<(), Refused> {
        let revocations = &self.context.auth.revocations;
        let identity = self.identity.as_deref();
        let barred = identity.is_some_and(|p| revocations.bars(p.subject.as_ref(), p.token_id.as_ref()));
        match barred || revocations.missed(self.seen, identity, &self.subscription.channels).is_some() {
            true => Err(Refused::Revoked),
            false => Ok(()),
        }
    }

    /// What has been joined, in the order in which it was asked for.
    fn take(&mut self) -> Vec<Start> {
        self.arrived.sort_unstable_by_key(|(place, _)| *place);
        std::mem::take(&mut self.arrived).into_iter().map(|(_, start)| start).collect()
    }

    /// The head goes out before all is joined. What can begin already: where no part of the backplane is down, nothing, for
    /// the others will not be long, or the whole is down.
    pub fn hold(&mut self) -> Vec<Start> {
        self.held.store(true, Ordering::Relaxed);
        let known = self.identity.is_none() || self.context.auth.revocations.is_known();
        match self.in_parts() && known && self.check().is_ok() {
            true => self.take(),
            false => Vec::new(),
        }
    }

    /// Whether a part of the backplane is down, or refuses a channel, and the rest works.
    pub fn in_parts(&self) -> bool {
        let backplane = &self.context.hub.backplane;
        let refused = self.refused.load(Ordering::Relaxed) > 0;
        *backplane.link().borrow() == Link::Up && (refused || backplane.facts().shards.iter().any(|shard| !shard.up))
    }

    /// What can begin next: all that is left, or while a part of the backplane is down, what comes together.
    pub async fn batch(&mut self) -> Result<Vec<Start>, Refused> {
        loop {
            // Its sender goes with the node.
            let _ = self.context.hub.backplane.link().wait_for(|link| *link == Link::Up).await;
            if self.arrived.is_empty()
                && let Some(joined) = self.pending.next().await
            {
                self.arrive(joined)?;
            }
            let in_parts = self.in_parts();
            match timeout(if in_parts { GATHER } else { LOOK }, self.gather()).await {
                Ok(gathered) => break gathered?,
                Err(_) if in_parts => break,
                Err(_) => {}
            }
        }
        if self.identity.is_some() {
            self.context.auth.revocations.known().await;
        }
        self.check()?;
        Ok(self.take())
    }

    /// Channels that are still to be joined.
    pub fn late(&self) -> Vec<&Channel> {
        self.late.iter().map(|place| &self.subscription.channels[*place]).collect()
    }

    /// Whether channels are still to be joined.
    pub fn more(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// Where a subscription wants to begin in one of its channels.
fn want(subscription: &Subscription, channel: &Channel) -> (Want, Option<usize>) {
    if let Some(since) = subscription.changes.as_ref().and_then(|changes| changes.awaited_since(channel)) {
        return (Want::After(since.after()), None);
    }
    if subscription.is_foreign() {
        return (Want::Foreign, None);
    }
    // A channel that a cursor does not name has had nothing yet.
    if let Some(claim) = subscription.resume_at(channel) {
        return (Want::Resume(claim), None);
    }
    let want = match subscription.since {
        Since::Latest => Want::End,
        Since::Earliest => Want::After(Position::ZERO),
        // Of several channels at most one has the entry.
        Since::After(position) if subscription.channels.len() > 1 => Want::After(position),
        Since::After(position) => Want::Resume(Claim { position, earlier: None }),
        Since::From(ms) => Want::After(Position::new(ms, 0).before()),
    };
    (want, subscription.tail)
}
