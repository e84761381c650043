//! The follower: keeps the feeds that have subscribers up to date.
//!
//! It reads streams that the backplane reports as changed, never two reads at once of one stream, and asks each time
//! for the newest known entry too: if that is still there, nothing between was lost; if not, state and entries of one
//! instant are judged by [`continuity`](crate::backplane::continuity). A slow sweep over everything is the net under
//! reports that never came. The queue holds each followed feed at most once.

mod absorb;
mod append;
mod batch;
mod batch_result;
mod counted;
mod examined;
mod followed;
mod heat;
mod hot;
mod passed_on;
mod reach;
mod relayed;
mod retrace;
mod sample;
mod seen;

use super::Hub;
use super::feed::{Feed, Life};
use super::follow_request::{Arrival, FollowRequest, Waiting};
use super::index::Index;
use crate::backplane::Link;
use crate::channel::Channel;
use crate::clock::Clock;
use crate::hash::{HashMap, HashSet};
use crate::invariant::{self, Invariant};
use crate::pace;
use crate::planted::{self, Fault};
use crate::probe::{self, Probe};
use crate::watched as watch;
use batch_result::Batch;
use followed::{Followed, Turn};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hot::Hot;
use reach::Reaches;
use relayed::Busy;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Batches on their way at once; after one that failed it is one, and with each answer one more.
const BATCHES: usize = 4;
/// Reads of streams with large entries at once, beside the batches.
const APART: usize = 4;
/// Streams of one batch.
const BATCH_STREAMS: usize = 1_000;
/// What a batch's answer should weigh at most, by the mean size of entries.
const BATCH_BYTES: usize = 512 << 10;
/// Entries asked of one stream: at least the known one and a new one.
const ENTRIES: std::ops::RangeInclusive<usize> = 2..=1_024;
/// The sweep looks at every stream once in so many seconds, as far as [`SWEEP_MOST`] lets it.
const SWEEP_SECONDS: usize = 30;
/// The sweep looks at no more streams a second, so that what it costs Redis does not grow with their number.
const SWEEP_MOST: usize = BATCH_STREAMS;
/// Pause after a failed batch, before the next one.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause before streams are asked for again whose part of the backplane is down; its return is told at once.
const PARKED: Duration = Duration::from_millis(250);

/// Keeps the feeds that have subscribers up to date: reads what is reported as changed, and the rest now and then.
pub struct Follower {
    hub: Arc<Hub>,
    followed: Index<Followed>,
    /// Who waits for a feed.
    waiting: HashMap<Channel, Vec<Waiter>>,
    /// Feeds to attach, to read, to examine.
    fresh: VecDeque<Turn>,
    changed: VecDeque<Turn>,
    doubtful: VecDeque<Turn>,
    /// Feeds to read or to examine whose streams have large entries.
    large: VecDeque<Turn>,
    serial: u64,
    /// Where the sweep stands.
    sweep: usize,
    /// Where the round of samples stands.
    sample: usize,
    /// Streams whose part of the backplane is down, each at most once.
    parked: HashSet<Channel>,
    /// Streams that have changed since their entries were counted, each at most once.
    uncounted: HashSet<Channel>,
    /// Of those, the ones that are counted next.
    to_count: VecDeque<Channel>,
    /// Reads of this second that were counted.
    counted: u32,
    reaches: Reaches,
    batches: FuturesUnordered<Batch>,
    /// Reads of streams with large entries, one each.
    apart: FuturesUnordered<Batch>,
    most_batches: usize,
    hot: Hot,
    /// Streams that are busy, of which some are relayed, and how often that was looked at.
    busy: Busy,
    looks: u32,
    /// Since when there has been something to read and no answer.
    unanswered: Option<Instant>,
    clock: Clock,
}

/// Somebody who waits for a feed.
struct Waiter {
    told: Waiting,
    /// The feed is read anew for that: a read that was on its way already may be of before.
    anew: bool,
    /// How many doubts had been stated by then: a read that was asked for before that does not do.
    doubts: u32,
}

impl Follower {
    /// A follower of the hub's feeds. `needed`: how long a client may typically be away, for the warning about short history.
    pub fn new(hub: Arc<Hub>, clock: Clock, needed: Duration) -> Follower {
        Follower {
            hub,
            followed: Index::default(),
            waiting: HashMap::default(),
            fresh: VecDeque::new(),
            changed: VecDeque::new(),
            doubtful: VecDeque::new(),
            large: VecDeque::new(),
            serial: 0,
            sweep: 0,
            sample: 0,
            parked: HashSet::default(),
            uncounted: HashSet::default(),
            to_count: VecDeque::new(),
            counted: 0,
            reaches: Reaches::new(needed),
            batches: FuturesUnordered::new(),
            apart: FuturesUnordered::new(),
            most_batches: BATCHES,
            hot: Hot::default(),
            busy: Busy::default(),
            looks: 0,
            unanswered: None,
            clock,
        }
    }

    /// Runs until the hub is dropped.
    pub async fn run(mut self, mut requests: mpsc::UnboundedReceiver<FollowRequest>) {
        let changes = self.hub.backplane.changes().clone();
        let mut link = self.hub.backplane.link();
        let mut second = pace::in_step(&self.clock, Duration::from_secs(1));
        let mut asked = Vec::new();
        let mut look = tokio::time::interval(passed_on::LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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
                result = self.batches.next(), if !self.batches.is_empty() => {
                    let answered = result.is_none_or(|result| self.finish(result));
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
                Some(result) = self.apart.next(), if !self.apart.is_empty() => if self.finish(result) {
                    self.unanswered = None;
                },
                count = requests.recv_many(&mut asked, BATCH_STREAMS) => {
                    if count == 0 {
                        return;
                    }
                    asked.drain(..).for_each(|request| self.serve(request));
                }
                () = changes.wait() => {
                    let pending = changes.take();
                    if pending.doubt && !planted::is(Fault::DoubtLost) {
                        probe::reached(Probe::FollowDoubt);
                        self.cool_all();
                        self.unpark();
                        self.busy.forget();
                        self.mark_all();
                    }
                    pending.relayed.into_iter().for_each(|relayed| self.relayed(relayed));
                    self.reported(pending.channels);
                }
                _ = link_changed(&mut link) => {}
                _ = retry.tick(), if !self.parked.is_empty() => self.unpark(),
                _ = look.tick(), if !self.busy.is_empty() => self.look_at_relayed(),
                _ = second.tick() => {
                    self.prune();
                    self.counted = 0;
                    self.sweep_some();
                    self.sample_some(*link.borrow());
                    self.tell_stall();
                }
            }
        }
    }

    fn serve(&mut self, request: FollowRequest) {
        match request {
            FollowRequest::Attach(feed, waiting) => self.attach(feed, waiting),
            FollowRequest::Refresh(feed) => self.mark(&feed.channel),
            FollowRequest::Unfollow(feed) => {
                // It may have been joined again since.
                let mut state = feed.lock();
                if state.legs == 0 || state.life == Life::Dormant {
                    state.life = if state.life == Life::Live { Life::Dormant } else { state.life };
                    drop(state);
                    let unwanted = |f: &Followed| Arc::ptr_eq(&f.feed, &feed);
                    let waits = self.waiting.get(&feed.channel).is_some_and(|w| w.iter().any(|w| !w.told.is_closed()));
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
        self.not_busy(channel);
        self.hub.backplane.unfollowed(channel);
    }

    /// Forgets who waits no more, as during an outage nothing else does, and the turns of what is followed no more.
    fn prune(&mut self) {
        let mut left = Vec::new();
        let mut waiting = 0;
        self.waiting.retain(|channel, list| {
            list.retain(|waiter| !waiter.told.is_closed());
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
        let followed = &mut self.followed;
        for queue in [&mut self.fresh, &mut self.changed, &mut self.doubtful, &mut self.large] {
            if queue.len() > followed.len() {
                queue.retain(|turn| followed.at_mut(turn.number).is_some_and(|f| f.serial == turn.serial));
                queue.shrink_to(2 * queue.len());
            }
        }
    }

    /// The feed that a turn is for; `None` where it is nobody's any more.
    fn current(&mut self, turn: &Turn) -> Option<&mut Followed> {
        let followed = match planted::is(Fault::StaleAnswerBelieved) {
            true => self.followed.get_mut(&turn.channel)?,
            false => self.followed.at_mut(turn.number).filter(|followed| followed.serial == turn.serial)?,
        };
        invariant::holds(Invariant::AnswerIsOfNow, || followed.serial == turn.serial);
        Some(followed)
    }

    fn attach(&mut self, feed: Arc<Feed>, waiting: Waiting) {
        let about_all = self.hub.backplane.changes().about_all();
        let (life, doubts, verified, mark) = {
            let state = feed.lock();
            let doubts = about_all.max(state.doubted);
            (state.life, doubts, state.verified >= doubts, state.log.mark())
        };
        let sleeps = life == Life::Dormant && planted::is(Fault::SleepBelieved);
        if sleeps {
            feed.lock().life = Life::Live;
        }
        if life == Life::Live && verified || sleeps {
            let _ = waiting.send(Ok(Arrival { anew: false, mark }));
            return;
        }
        let channel = feed.channel.clone();
        let followed = self.followed.get(&channel).is_some_and(|followed| Arc::ptr_eq(&followed.feed, &feed));
        let waiting_too = self.waiting.entry(channel.clone()).or_default();
        waiting_too.push(Waiter { told: waiting, anew: !followed, doubts });
        if followed {
            // The first one has put its turn before others.
            let queued = waiting_too.len() > 1 && self.followed.get(&channel).is_some_and(Followed::is_queued);
            if life != Life::Unattached && !queued {
                self.hasten(&channel);
            }
            return;
        }
        self.serial += 1;
        let (queue, followed) = match life {
            Life::Unattached => (&mut self.fresh, Followed::beginning(feed, self.serial)),
            Life::Live | Life::Dormant => (&mut self.doubtful, Followed::awake(feed, self.serial)),
        };
        self.parked.remove(&channel);
        self.followed.insert(&channel, |number| {
            queue.push_back(followed.turn(number));
            followed
        });
    }

    /// A stream may have something new, or have changed in any other way.
    fn mark(&mut self, channel: &Channel) {
        let Some((number, followed)) = self.followed.find_mut(channel) else { return };
        if followed.report() {
            self.busy.asked(channel);
            if !self.waiting.is_empty() && self.waiting.contains_key(channel) {
                return self.hasten(channel);
            }
            let queue = match followed.absent {
                _ if self.hub.backplane.reads_apart(channel) => &mut self.large,
                true => &mut self.doubtful,
                false => &mut self.changed,
            };
            queue.push_back(followed.turn(number));
        }
    }

    /// Somebody waits for what a stream has become: it is examined before those nobody waits for. Where its turn waits already,
    /// that one is passed over when it comes.
    fn hasten(&mut self, channel: &Channel) {
        let Some((number, followed)) = self.followed.find_mut(channel) else { return };
        if followed.hasten() {
            let apart = self.hub.backplane.reads_apart(channel);
            let queue = if apart { &mut self.large } else { &mut self.doubtful };
            queue.push_front(followed.turn(number));
        }
    }

    /// A stream has its turn in the sweep.
    fn glance(&mut self, channel: &Channel) {
        let Some((number, followed)) = self.followed.find_mut(channel) else { return };
        if followed.sweep() {
            self.changed.push_back(followed.turn(number));
        }
    }

    fn mark_all(&mut self) {
        let channels: Vec<Channel> = self.followed.iter().map(|followed| followed.feed.channel.clone()).collect();
        channels.iter().for_each(|channel| self.mark(channel));
    }

    /// Asks again for what was refused because its part of the backplane was down.
    fn unpark(&mut self) {
        for channel in std::mem::take(&mut self.parked) {
            let Some((number, followed)) = self.followed.find_mut(&channel) else { continue };
            let life = followed.feed.lock().life;
            match life {
                Life::Unattached => self.fresh.push_back(followed.turn(number)),
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

/// Waits for a change of the link. Never ends where the backplane has gone: then the node ends too.
async fn link_changed(link: &mut watch::Receiver<Link>) {
    if link.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
