//! The hub: all feeds of a node, who joins them, and how much memory their tails may take.
//!
//! [`feed`] is one channel, [`log`] its tail, [`follower`] keeps feeds up to date, [`join`] (with `found` and `backwards`) finds where a
//! subscription begins, [`catch_up`] serves legs behind the tail, whose turns [`desk`] gives within what [`replay`] has.
//! Sockets and HTTP are not its business.

mod backwards;
pub mod catch_up;
pub mod desk;
pub mod distinct;
pub mod feed;
pub mod follower;
mod found;
mod frames;
mod fresh;
mod index;
pub mod join;
pub mod log;
pub mod metrics;
mod outcome;
pub mod replay;
pub mod stretch;
mod turns;
mod unreadable;

use self::metrics::HubMetrics;
use crate::backplane::{Backplane, Examined};
use crate::channel::Channel;
use crate::courier::Post;
use crate::position::Position;
use crate::telemetry::trace::Deliveries;
use distinct::Distinct;
use feed::{Feed, Life, Reach, State};
use follower::Request;
use fresh::{Frames, Fresh};
use hashbrown::HashMap;
use index::Index;
use parking_lot::Mutex;
use replay::{Pace, Store};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
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

/// See the module.
pub struct Hub {
    feeds: Mutex<Feeds>,
    posts: Arc<[Arc<Post>]>,
    pub(crate) backplane: Arc<dyn Backplane>,
    requests: mpsc::UnboundedSender<Request>,
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
    pages: Fresh<Frames>,
    looks: Fresh<(Position, Examined)>,
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
    /// By channel and by the feed's number.
    all: Index<Arc<Feed>>,
    /// Oldest first; a feed that came back is skipped.
    dormant: VecDeque<(Instant, Arc<Feed>)>,
    /// Forgotten channels of which others know a count.
    untold: Vec<Channel>,
}

/// What a hub is made with.
pub struct Settings {
    pub tail_bytes: usize,
    /// Entries of history a second; 0: any number.
    pub replay_rate: u32,
    /// Bytes of history in memory.
    pub replay_bytes: usize,
    /// 0: no limit.
    pub max_channel_subscribers: usize,
    /// `None` while nobody collects traces.
    pub deliveries: Option<Arc<Deliveries>>,
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
        backplane: Arc<dyn Backplane>,
        posts: Arc<[Arc<Post>]>,
        requests: mpsc::UnboundedSender<Request>,
        metrics: Arc<HubMetrics>,
        idle: Arc<Idle>,
    ) -> Hub {
        let store = Store::new(settings.replay_bytes, metrics.replay_bytes.clone());
        Hub {
            feeds: Mutex::default(),
            posts,
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
            pages: Fresh::default(),
            looks: Fresh::default(),
            unreadable: Unreadable::default(),
            distinct: Distinct::default(),
            reaches: Mutex::default(),
            extending: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
            readers: tokio::sync::Semaphore::new(READERS),
        }
    }

    /// The channel's feed, with one leg more.
    fn enter(self: &Arc<Hub>, channel: &Channel) -> Result<LegGuard, ChannelFull> {
        let mut feeds = self.feeds.lock();
        if !feeds.all.contains(channel) {
            feeds.all.insert(channel, |number| Arc::new(Feed::new(number, channel.clone())));
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

    /// One leg less, of one that no courier took.
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

    pub(crate) fn account(&self, grown: isize) {
        self.kept_bytes.fetch_add(grown, Ordering::Relaxed);
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
                let _ = self.requests.send(Request::Unfollow(feed.clone()));
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
            self.request(Request::Unfollow(feed));
        }
        while let Some((since, _)) = feeds.dormant.front()
            && (feeds.dormant.len() > MAX_DORMANT || now.duration_since(*since) >= DORMANT)
        {
            let (_, feed) = feeds.dormant.pop_front().expect("just seen");
            forgotten += feeds.forget(&feed);
            self.request(Request::Unfollow(feed));
        }
        self.metrics.channels.set(feeds.all.len() as i64);
        drop(feeds);
        self.account(-(forgotten as isize));
        self.pages.tidy();
        self.looks.tidy();
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
    pub(crate) fn request(&self, request: Request) {
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

    /// Every channel with subscribers here, how many, and its events per second as [`Hub::fastest`] measured them.
    pub fn audience(&self) -> Vec<(Channel, u32, f32)> {
        let mut audience = Vec::new();
        self.walk(|feed| {
            let state = feed.lock();
            if state.legs > 0 {
                audience.push((feed.channel.clone(), state.legs, state.rate));
            }
        });
        audience
    }

    /// Feeds whose count of legs other nodes do not know, at most `most`, and `new` of which they know none; and channels
    /// that are forgotten since the last time though others know a count.
    pub fn recounted(&self, most: usize, mut new: usize) -> (Vec<(Arc<Feed>, u32)>, Vec<Channel>) {
        let mut changed = Vec::new();
        self.walk(|feed| {
            let state = feed.lock();
            let is_new = state.told == 0;
            if state.legs != state.told && changed.len() < most && (new > 0 || !is_new) {
                new -= usize::from(is_new);
                changed.push((feed.clone(), state.legs));
            }
        });
        (changed, std::mem::take(&mut self.feeds.lock().untold))
    }

    /// Others know no counts any more.
    pub fn recount_all(&self) {
        self.walk(|feed| feed.lock().told = 0);
    }

    /// Subscribers of a channel here.
    pub fn legs(&self, channel: &Channel) -> u32 {
        let feed = self.feeds.lock().all.get(channel).cloned();
        feed.map_or(0, |feed| feed.lock().legs)
    }

    /// The most subscribed channels, at most `count`.
    pub fn overview(&self, count: usize) -> Vec<Row> {
        self.best(count, |state| Some(u64::from(state.legs)))
    }

    /// The channels with most events per second among those with subscribers, at most `count`. Measures all feeds'
    /// rates since the last time, which was `seconds` ago.
    pub fn fastest(&self, count: usize, seconds: f64) -> Vec<Row> {
        self.best(count, |state| {
            let rate = state.measure(seconds);
            (rate > 0.0 && state.legs > 0).then_some((f64::from(rate) * 1000.0) as u64)
        })
    }

    /// The feeds of which `worth` says most, at most `count`; those of which it says nothing are left out.
    fn best(&self, count: usize, mut worth: impl FnMut(&mut State) -> Option<u64>) -> Vec<Row> {
        let mut rows: Vec<(u64, Arc<Feed>)> = Vec::new();
        let mut least = 0;
        let best = |rows: &mut Vec<(u64, Arc<Feed>)>| {
            rows.sort_unstable_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.channel.cmp(&y.channel)));
            rows.truncate(count);
        };
        self.walk(|feed| {
            let Some(worth) = worth(&mut feed.lock()) else { return };
            if worth >= least {
                rows.push((worth, feed.clone()));
            }
            if rows.len() >= 4 * count.max(STEPS) {
                best(&mut rows);
                least = rows.last().map_or(0, |(worth, _)| *worth);
            }
        });
        best(&mut rows);
        rows.into_iter().map(|(_, feed)| self.row(&feed)).collect()
    }

    fn row(&self, feed: &Feed) -> Row {
        let state = feed.lock();
        let log = &state.log;
        Row {
            channel: feed.channel.clone(),
            legs: state.legs,
            rate: state.rate,
            position: log.position(),
            events: log.events(),
            bytes: log.bytes(),
            reach: self.reaches.lock().get(&feed.channel).copied(),
        }
    }
}

/// A channel on this node, for `/status` and the node's record.
pub struct Row {
    pub channel: Channel,
    pub legs: u32,
    /// Events per second; see [`Hub::fastest`].
    pub rate: f32,
    pub position: Position,
    /// Events and bytes in memory.
    pub events: usize,
    pub bytes: usize,
    pub reach: Option<Reach>,
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

    /// The leg is now the receiver's to give back.
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
