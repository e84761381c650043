//! The follower: keeps the feeds that have subscribers up to date.
//!
//! It reads streams that the backplane reports as changed, never two reads at once of one stream, and asks each time
//! for the newest known entry too: if that is still there, nothing between was lost; if not, state and entries of one
//! instant are judged by [`continuity`](crate::backplane::continuity). A slow sweep over everything is the net under
//! reports that never came. The queue holds each followed feed at most once.

mod absorb;
mod batch;
mod examined;
mod followed;
mod hot;
mod reach;
mod retrace;

use super::Hub;
use super::feed::{Feed, Life};
use super::index::Index;
use super::log::Mark;
use crate::backplane::{BackplaneError, Entry, Examined, Link, StreamState};
use crate::channel::Channel;
use crate::clock::Clock;
use crate::pace;
use followed::Followed;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hashbrown::{HashMap, HashSet};
use hot::Hot;
use reach::Reaches;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// Batches on their way at once; after one that failed it is one, and with each answer one more.
const BATCHES: usize = 4;
/// Reads of streams with large entries at once, beside those.
const APART: usize = 4;
/// Streams of one batch.
const BATCH_STREAMS: usize = 1_000;
/// What a batch's answer should weigh at most, by the mean size of entries.
const BATCH_BYTES: usize = 512 << 10;
/// Entries asked of one stream: at least the known one and a new one.
const ENTRIES: std::ops::RangeInclusive<usize> = 2..=1_024;
/// The sweep looks at every stream once in so many seconds,
const SWEEP_SECONDS: usize = 30;
/// but at no more than so many a second, so that what it costs Redis does not grow with the number of streams.
const SWEEP_MOST: usize = BATCH_STREAMS;
/// After a failed batch, before the next one.
const PAUSE: Duration = Duration::from_millis(20);
/// Before streams are asked for again whose part of the backplane is down; its return is told at once.
const PARKED: Duration = Duration::from_millis(250);

/// What others ask of the follower.
pub enum Request {
    /// Make the feed live; the answer comes when its position is known.
    Attach(Arc<Feed>, Waiting),
    /// Somebody knows of a newer entry.
    Refresh(Arc<Feed>),
    Unfollow(Arc<Feed>),
}

/// A stream's turn in a queue or a batch: nobody's, if it was followed anew since.
type Turn = (Channel, u64);

/// A feed is live.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// It has been read since it was asked for, so it is as new as can be.
    pub anew: bool,
    /// What its log had by then.
    pub mark: Mark,
}

/// Somebody who waits until a feed is up to date.
type Waiting = oneshot::Sender<Result<Arrival, BackplaneError>>;

/// One batch's answer.
enum Done {
    Attached(Vec<Turn>, Result<Vec<Result<Option<StreamState>, BackplaneError>>, BackplaneError>),
    /// With the streams' states of a moment later, where they are counted with each read.
    Read(Vec<Turn>, usize, Result<Vec<Result<Vec<Entry>, BackplaneError>>, BackplaneError>, States),
    Examined(Vec<Turn>, usize, Result<Vec<Result<Examined, BackplaneError>>, BackplaneError>),
    Sampled(Vec<Channel>, Result<Vec<Result<Option<StreamState>, BackplaneError>>, BackplaneError>),
}

type States = Vec<Option<StreamState>>;

type Batch = Pin<Box<dyn Future<Output = Done> + Send>>;

/// See the module.
pub struct Follower {
    hub: Arc<Hub>,
    followed: Index<Followed>,
    /// Each with what it will be told: a read that was on its way already may be of before.
    waiting: HashMap<Channel, Vec<(Waiting, bool)>>,
    /// Feeds to attach, to read, to examine.
    fresh: VecDeque<Turn>,
    changed: VecDeque<Turn>,
    doubtful: VecDeque<Turn>,
    /// Those of them whose streams have large entries.
    large: VecDeque<Turn>,
    serial: u64,
    /// Where the sweep stands.
    sweep: usize,
    /// Streams whose part of the backplane is down, each at most once.
    parked: HashSet<Channel>,
    /// Streams that have changed since their entries were counted, each at most once.
    uncounted: HashSet<Channel>,
    reaches: Reaches,
    batches: FuturesUnordered<Batch>,
    /// Reads of streams with large entries, one each.
    apart: FuturesUnordered<Batch>,
    most_batches: usize,
    hot: Hot,
    /// Since when there has been something to read and no answer.
    unanswered: Option<Instant>,
    clock: Clock,
}

impl Follower {
    /// `needed`: how long a client may typically be away, for the warning about short history.
    pub fn new(hub: Arc<Hub>, clock: Clock, needed: Duration) -> Follower {
        Follower {
            hub,
            followed: Index::default(),
            waiting: HashMap::new(),
            fresh: VecDeque::new(),
            changed: VecDeque::new(),
            doubtful: VecDeque::new(),
            large: VecDeque::new(),
            serial: 0,
            sweep: 0,
            parked: HashSet::new(),
            uncounted: HashSet::new(),
            reaches: Reaches::new(needed),
            batches: FuturesUnordered::new(),
            apart: FuturesUnordered::new(),
            most_batches: BATCHES,
            hot: Hot::default(),
            unanswered: None,
            clock,
        }
    }

    /// Runs until the hub is dropped.
    pub async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let changes = self.hub.backplane.changes().clone();
        let mut link = self.hub.backplane.link();
        let mut second = pace::in_step(Duration::from_secs(1));
        let mut letters = Vec::new();
        let mut retry = tokio::time::interval(PARKED);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Copied first: whoever changes the link waits while it is borrowed.
            let now = *link.borrow_and_update();
            if now != Link::Up {
                self.cool_all();
            }
            self.start_batches(now);
            tokio::select! {
                biased;
                done = self.batches.next(), if !self.batches.is_empty() => {
                    let answered = done.is_none_or(|done| self.finish(done));
                    if answered {
                        self.unanswered = None;
                        self.most_batches = (self.most_batches + 1).min(BATCHES);
                    } else {
                        // What the server may keep for this node's connection can be less than several answers.
                        self.most_batches = 1;
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                Some(waited) = self.hot.next() => self.waited(waited),
                Some(done) = self.apart.next(), if !self.apart.is_empty() => if self.finish(done) {
                    self.unanswered = None;
                },
                count = requests.recv_many(&mut letters, BATCH_STREAMS) => {
                    if count == 0 {
                        return;
                    }
                    letters.drain(..).for_each(|request| self.serve(request));
                }
                () = changes.wait() => {
                    let pending = changes.take();
                    if pending.doubt {
                        self.cool_all();
                        self.unpark();
                        self.mark_all();
                    }
                    pending.channels.iter().for_each(|channel| self.mark(channel));
                }
                _ = link_changed(&mut link) => {}
                _ = retry.tick(), if !self.parked.is_empty() => self.unpark(),
                _ = second.tick() => {
                    self.prune();
                    self.sweep_some();
                    self.sample_some(*link.borrow());
                    self.tell_stall();
                }
            }
        }
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Attach(feed, waiting) => self.attach(feed, waiting),
            Request::Refresh(feed) => self.mark(&feed.channel),
            Request::Unfollow(feed) => {
                // It may have been joined again since.
                let mut state = feed.lock();
                if state.legs == 0 || state.life == Life::Dormant {
                    state.life = if state.life == Life::Live { Life::Dormant } else { state.life };
                    drop(state);
                    let unwanted = |f: &Followed| Arc::ptr_eq(&f.feed, &feed);
                    let waits = self.waiting.get(&feed.channel).is_some_and(|w| w.iter().any(|(w, _)| !w.is_closed()));
                    if !waits && self.followed.get(&feed.channel).is_some_and(unwanted) {
                        self.unfollow(&feed.channel);
                    }
                }
            }
        }
    }

    fn unfollow(&mut self, channel: &Channel) {
        self.waiting.remove(channel);
        self.followed.remove(channel);
        self.parked.remove(channel);
        self.uncounted.remove(channel);
        self.hub.backplane.unfollowed(channel);
    }

    /// Forgets who waits no more, as during an outage nothing else does, and the turns of what is followed no more.
    fn prune(&mut self) {
        let mut left = Vec::new();
        let mut waiting = 0;
        self.waiting.retain(|channel, list| {
            list.retain(|(waiting, _)| !waiting.is_closed());
            waiting += list.len();
            if list.is_empty() {
                left.push(channel.clone());
            }
            !list.is_empty()
        });
        self.hub.metrics.joins_waiting.set(waiting as i64);
        for channel in left {
            let unwanted = self.followed.get(&channel).is_some_and(|f| {
                let state = f.feed.lock();
                state.legs == 0 && state.life == Life::Unattached
            });
            if unwanted {
                self.unfollow(&channel);
            }
        }
        let followed = &self.followed;
        for queue in [&mut self.fresh, &mut self.changed, &mut self.doubtful, &mut self.large] {
            if queue.len() > followed.len() {
                queue.retain(|(channel, serial)| followed.get(channel).is_some_and(|f| f.serial == *serial));
                queue.shrink_to(2 * queue.len());
            }
        }
    }

    /// What a turn is for.
    fn current(&mut self, (channel, serial): &Turn) -> Option<&mut Followed> {
        self.followed.get_mut(channel).filter(|followed| followed.serial == *serial)
    }

    fn attach(&mut self, feed: Arc<Feed>, waiting: Waiting) {
        let (life, mark) = {
            let state = feed.lock();
            (state.life, state.log.mark())
        };
        if life == Life::Live {
            let _ = waiting.send(Ok(Arrival { anew: false, mark }));
            return;
        }
        let channel = feed.channel.clone();
        let followed = self.followed.get(&channel).is_some_and(|followed| Arc::ptr_eq(&followed.feed, &feed));
        self.waiting.entry(channel.clone()).or_default().push((waiting, !followed));
        if followed {
            if life == Life::Dormant {
                self.mark(&channel);
            }
            return;
        }
        self.serial += 1;
        let turn = (channel.clone(), self.serial);
        let (busy, absent, serial) = (true, true, self.serial);
        let mut followed = Followed { feed, dirty: false, busy, absent, swept: false, retrace: None, serial };
        if life == Life::Unattached {
            self.fresh.push_back(turn);
        } else {
            // Awake again: whatever came while it slept is found by an examination.
            followed.dirty = true;
            self.doubtful.push_back(turn);
        }
        self.parked.remove(&channel);
        self.followed.insert(&channel, |_| followed);
    }

    /// A stream may have something new, or have changed in any other way.
    fn mark(&mut self, channel: &Channel) {
        let Some(followed) = self.followed.get_mut(channel) else { return };
        followed.dirty = true;
        if !followed.busy {
            followed.busy = true;
            let queue = match followed.absent {
                _ if self.hub.backplane.reads_apart(channel) => &mut self.large,
                true => &mut self.doubtful,
                false => &mut self.changed,
            };
            queue.push_back((channel.clone(), followed.serial));
        }
    }

    /// A stream has its turn in the sweep. An examination costs Redis several commands, so a stream without its known
    /// entry (most quiet ones have none at all) is only asked whether anything is new.
    fn glance(&mut self, channel: &Channel) {
        let Some(followed) = self.followed.get_mut(channel).filter(|f| !f.busy) else { return };
        followed.busy = true;
        followed.swept = followed.absent;
        self.changed.push_back((channel.clone(), followed.serial));
    }

    fn mark_all(&mut self) {
        let channels: Vec<Channel> = self.followed.iter().map(|followed| followed.feed.channel.clone()).collect();
        channels.iter().for_each(|channel| self.mark(channel));
    }

    /// Asks again for what was refused because its part of the backplane was down.
    fn unpark(&mut self) {
        for channel in std::mem::take(&mut self.parked) {
            let Some(followed) = self.followed.get(&channel) else { continue };
            let (life, serial) = (followed.feed.lock().life, followed.serial);
            match life {
                Life::Unattached => self.fresh.push_back((channel, serial)),
                Life::Live | Life::Dormant => self.mark(&channel),
            }
        }
    }

    fn sweep_some(&mut self) {
        if self.changed.is_empty() {
            // A doubt about everything leaves it large.
            self.changed.shrink_to(BATCH_STREAMS);
            self.doubtful.shrink_to(BATCH_STREAMS);
        }
        for _ in 0..self.followed.steps().div_ceil(SWEEP_SECONDS).min(SWEEP_MOST) {
            let Some(followed) = self.followed.step(&mut self.sweep) else { return };
            if let Some(channel) = followed.map(|followed| followed.feed.channel.clone()) {
                self.glance(&channel);
            }
        }
    }

    /// For operators: how long nothing has come back although something is asked for or waits to be.
    fn tell_stall(&mut self) {
        let queued = self.fresh.len() + self.changed.len() + self.doubtful.len() + self.parked.len() + self.large.len();
        let since = match queued + self.batches.len() + self.apart.len() {
            0 => None,
            _ => Some(self.unanswered.unwrap_or_else(Instant::now)),
        };
        self.unanswered = since;
        self.hub.metrics.follower_stalled.set(since.map_or(0.0, |since| since.elapsed().as_secs_f64()));
    }
}

/// Never ends where the backplane has gone: then the node ends too.
async fn link_changed(link: &mut watch::Receiver<Link>) {
    if link.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
