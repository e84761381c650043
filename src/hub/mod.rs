//! The hub: all feeds of a node, who joins them, and how much memory their tails may take.
//!
//! [`feed`] is one channel, [`log`] its tail, [`follower`] keeps feeds up to date, [`join`] (with `attach`, `found` and
//! `backwards`) finds where a subscription begins, `catch_up` reads a [`page`] for a leg behind the tail, as its [`allowance`] permits
//! within what [`replay`] has, `overview` tells others of feeds. Who delivers is known by [`bell`]s alone: couriers, sockets
//! and HTTP are not its business.

pub mod allowance;
mod attach;
mod backwards;
pub mod bell;
mod catch_up;
pub mod distinct;
pub mod feed;
#[cfg(test)]
mod fixture;
pub mod follow_request;
pub mod follower;
mod found;
pub mod frame_deque;
mod frames;
mod index;
pub mod join;
pub mod log;
pub mod metrics;
pub mod offset;
mod outcome;
mod overview;
pub mod page;
mod quiet;
pub mod replay;
mod single_flight;
mod unreadable;

pub use overview::Row;

use self::metrics::HubMetrics;
use crate::backplane::{Backplane, Examined};
use crate::channel::Channel;
use crate::frame::Standing;
use crate::hash::HashMap;
use crate::telemetry::trace::Deliveries;
use bell::{Bells, FeedNumber};
use distinct::Distinct;
use feed::{Feed, Life, Reach};
use follow_request::FollowRequest;
use index::Index;
use log::Log;
use page::SharedPage;
use parking_lot::Mutex;
use replay::{Pace, Store};
use single_flight::SingleFlight;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use unreadable::Unreadable;

/// How long a feed without legs keeps its tail for those who come back.
const DORMANT: Duration = Duration::from_secs(120);
/// Feeds without legs that are kept at most.
const MAX_DORMANT: usize = 50_000;
/// No feed's tail takes more than this part of the node's bytes.
const LARGEST_SHARE: usize = 4;

/// Feeds whose last leg left, until the hub looks.
#[derive(Default)]
pub struct Idle(Mutex<Vec<Arc<Feed>>>);

impl Idle {
    pub fn push(&self, feed: Arc<Feed>) {
        self.0.lock().push(feed);
    }
}

/// All feeds of a node, who joins them, and how much memory their tails may take.
pub struct Hub {
    feeds: Mutex<Feeds>,
    /// The couriers' bells, by their numbers.
    bells: Bells,
    pub(crate) backplane: Arc<dyn Backplane>,
    requests: mpsc::UnboundedSender<FollowRequest>,
    pub(crate) metrics: Arc<HubMetrics>,
    idle: Arc<Idle>,
    tail_bytes: usize,
    kept_bytes: AtomicIsize,
    /// What history may be read a second, and kept in memory, for legs behind the tail.
    pace: Pace,
    store: Arc<Store>,
    max_channel_subscribers: usize,
    /// Where traced events are followed to their subscribers; `None` while nobody collects traces.
    deliveries: Option<Arc<Deliveries>>,
    /// Pages of history, and examinations, that many want at once.
    pages: SingleFlight<SharedPage>,
    looks: SingleFlight<(Standing, Examined)>,
    /// Channels that the backplane refuses to read.
    pub(crate) unreadable: Unreadable,
    /// The events that were read in the last seconds.
    pub(crate) distinct: Distinct,
    /// How far back streams reach that were trimmed, at the last sample.
    reaches: Mutex<HashMap<Channel, Reach>>,
    /// One extension of a tail at a time: what one joiner reads, all who wait find there. By feed number, some feeds
    /// sharing one, which costs a feed nothing.
    extending: [tokio::sync::Mutex<()>; EXTENSIONS],
    /// Reads of history at once.
    pub(crate) readers: tokio::sync::Semaphore,
}

#[derive(Default)]
struct Feeds {
    /// Feeds by channel and by number.
    all: Index<Arc<Feed>>,
    /// Feeds without legs, oldest first; one that came back is skipped.
    dormant: VecDeque<(Instant, Arc<Feed>)>,
    /// Counts rounds of [`Hub::release_quiet`].
    round: usize,
    /// Forgotten channels of which others know a count.
    untold: Vec<Channel>,
}

/// What a hub is made with.
pub struct Settings {
    /// Bytes of all tails at most.
    pub tail_bytes: usize,
    /// Entries of history that may be read a second; 0: any number.
    pub replay_rate: u32,
    /// Bytes of history in memory at most.
    pub replay_bytes: usize,
    /// Subscribers of a channel on this node at most; 0: any number.
    pub max_channel_subscribers: usize,
    /// Where traced events are followed to their subscribers; `None` while nobody collects traces.
    pub deliveries: Option<Arc<Deliveries>>,
}

/// Whom a hub tells what happens, and who tells it.
pub struct Neighbours {
    /// The couriers', which ring when feeds have new frames.
    pub bells: Bells,
    /// What the follower is asked.
    pub requests: mpsc::UnboundedSender<FollowRequest>,
    /// Where couriers leave the feeds whose last leg left.
    pub idle: Arc<Idle>,
}

/// Reads of history at once: enough to fill a round trip, few enough to leave Redis to others.
const READERS: usize = 32;
/// Feeds that are looked at in one go.
const STEPS: usize = 256;
/// Tails that are extended at once.
const EXTENSIONS: usize = 128;

/// A channel has as many subscribers on this node as it may.
#[derive(Debug, PartialEq, Eq)]
pub struct ChannelFull(pub Channel);

impl Hub {
    pub fn new(
        settings: Settings,
        neighbours: Neighbours,
        backplane: Arc<dyn Backplane>,
        metrics: Arc<HubMetrics>,
    ) -> Hub {
        let Neighbours { bells, requests, idle } = neighbours;
        let store = Store::new(settings.replay_bytes, metrics.replay_bytes.clone());
        Hub {
            feeds: Mutex::default(),
            bells,
            backplane,
            requests,
            metrics,
            idle,
            tail_bytes: settings.tail_bytes,
            kept_bytes: AtomicIsize::new(0),
            pace: Pace::new(settings.replay_rate, Instant::now()),
            store,
            max_channel_subscribers: settings.max_channel_subscribers,
            deliveries: settings.deliveries,
            pages: SingleFlight::default(),
            looks: SingleFlight::default(),
            unreadable: Unreadable::default(),
            distinct: Distinct::default(),
            reaches: Mutex::default(),
            extending: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
            readers: tokio::sync::Semaphore::new(READERS),
        }
    }

    /// Takes a leg in a channel's feed, which is made where there is none.
    fn enter(self: &Arc<Hub>, channel: &Channel) -> Result<LegGuard, ChannelFull> {
        let mut feeds = self.feeds.lock();
        if !feeds.all.contains(channel) {
            feeds.all.insert(channel, |number| Arc::new(Feed::new(FeedNumber::new(number), channel.clone())));
            self.metrics.channels.set(feeds.all.len() as i64);
        }
        let feed = feeds.all.get(channel).expect("it is there").clone();
        // Under the map's lock, so that the feed cannot be removed before it has the leg.
        let mut state = feed.lock();
        if self.max_channel_subscribers > 0 && state.legs as usize >= self.max_channel_subscribers {
            return Err(ChannelFull(channel.clone()));
        }
        state.legs += 1;
        drop(state);
        Ok(LegGuard { hub: self.clone(), feed: Some(feed) })
    }

    /// Backplane clock minus this node's clock, in milliseconds, at least.
    pub fn clock_least_ms(&self) -> i64 {
        self.backplane.facts().clock_least_ms
    }

    /// Gives back a leg that no courier took.
    pub fn leave(&self, feed: &Arc<Feed>) {
        if feed.leave() {
            self.idle.push(feed.clone());
        }
    }

    /// Bytes that one feed's tail may take now.
    pub(crate) fn share(&self) -> usize {
        let kept = self.kept_bytes.load(Ordering::Relaxed).max(0) as usize;
        if kept < self.tail_bytes {
            return self.tail_bytes / LARGEST_SHARE;
        }
        // Full: from now on each gets the same, however little that is.
        self.tail_bytes / self.feeds.lock().all.len().max(LARGEST_SHARE)
    }

    /// Bytes of all tails now.
    #[cfg(feature = "testing")]
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes.load(Ordering::Relaxed).max(0) as usize
    }

    /// Takes note that tails take so many bytes more, or fewer.
    pub(crate) fn account(&self, grown: isize) {
        self.kept_bytes.fetch_add(grown, Ordering::Relaxed);
    }

    /// Changes a feed's log within the bytes that it may take, and rings the bells of those who deliver it.
    fn change(&self, feed: &Feed, change: impl FnOnce(&mut Log)) {
        self.account(feed.change(self.share(), &self.bells, change));
    }

    /// Puts feeds to sleep that have no legs, forgets those that slept long, and keeps tails within their bytes.
    pub fn tidy(&self) {
        let now = Instant::now();
        // Taken first: the list's lock must not be held over the loop, in which feeds are locked.
        let idle = std::mem::take(&mut *self.idle.0.lock());
        let mut unattached = Vec::new();
        for feed in idle {
            let mut state = feed.lock();
            if state.legs == 0 && state.life == Life::Live {
                state.life = Life::Dormant;
                drop(state);
                let _ = self.requests.send(FollowRequest::Unfollow(feed.clone()));
                self.feeds.lock().dormant.push_back((now, feed));
            } else if state.legs == 0 && state.life == Life::Unattached {
                drop(state);
                // It keeps nothing for who comes back.
                unattached.push(feed);
            } else if state.legs == 0 {
                drop(state);
                self.feeds.lock().dormant.push_back((now, feed));
            }
        }
        let mut feeds = self.feeds.lock();
        let mut forgotten = 0;
        for feed in unattached {
            feeds.forget(&feed);
            self.request(FollowRequest::Unfollow(feed));
        }
        while let Some((since, _)) = feeds.dormant.front()
            && (feeds.dormant.len() > MAX_DORMANT || now.duration_since(*since) >= DORMANT)
        {
            let (_, feed) = feeds.dormant.pop_front().expect("just seen");
            forgotten += feeds.forget(&feed);
            self.request(FollowRequest::Unfollow(feed));
        }
        self.metrics.channels.set(feeds.all.len() as i64);
        drop(feeds);
        self.account(-(forgotten as isize));
        self.pages.tidy();
        self.looks.tidy();
        self.release_quiet();
        self.trim_all();
        self.metrics.tail_bytes.set(self.kept_bytes.load(Ordering::Relaxed) as i64);
    }

    /// Trims every tail to its share where together they take more than they may.
    fn trim_all(&self) {
        if self.kept_bytes.load(Ordering::Relaxed) <= self.tail_bytes as isize {
            return;
        }
        let share = self.share();
        self.walk(|feed| {
            let mut state = feed.lock();
            let before = state.log.bytes();
            state.log.trim(share, 0);
            let freed = before - state.log.bytes();
            drop(state);
            self.account(-(freed as isize));
        });
    }

    /// Tells the follower something; it ends only with the node.
    pub(crate) fn request(&self, request: FollowRequest) {
        let _ = self.requests.send(request);
    }

    /// Visits every feed; a few at a time under the lock, so that nobody waits for long.
    fn walk(&self, mut visit: impl FnMut(&Arc<Feed>)) {
        let mut hand = 0;
        loop {
            let feeds = self.feeds.lock();
            for _ in 0..STEPS {
                match feeds.all.step(&mut hand) {
                    Some(Some(feed)) => visit(feed),
                    Some(None) => {}
                    None => return,
                }
            }
        }
    }
}

impl Feeds {
    /// Removes a feed that still has no legs; returns the bytes it kept.
    fn forget(&mut self, feed: &Arc<Feed>) -> usize {
        let known = self.all.get(&feed.channel).is_some_and(|f| Arc::ptr_eq(f, feed));
        let mut state = feed.lock();
        if !known || state.legs > 0 || state.life == Life::Live {
            return 0;
        }
        let bytes = state.log.bytes();
        let position = state.log.position();
        state.log.begin_at(position, None, false);
        state.life = Life::Unattached;
        if std::mem::take(&mut state.told) > 0 {
            self.untold.push(feed.channel.clone());
        }
        drop(state);
        self.all.remove(&feed.channel);
        bytes
    }
}

/// A leg that has not been handed to a courier yet.
pub struct LegGuard {
    hub: Arc<Hub>,
    feed: Option<Arc<Feed>>,
}

impl LegGuard {
    pub fn feed(&self) -> &Arc<Feed> {
        self.feed.as_ref().expect("present until handed over")
    }

    /// Hands the leg over: it is now the receiver's to give back.
    pub fn hand_over(mut self) -> Arc<Feed> {
        self.feed.take().expect("present until handed over")
    }
}

impl Drop for LegGuard {
    fn drop(&mut self) {
        if let Some(feed) = self.feed.take() {
            self.hub.leave(&feed);
        }
    }
}
