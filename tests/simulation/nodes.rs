//! The nodes of a run: started, turned, drained and killed.

use super::chance::{Draw, of_node, source};
use super::orders::{CONTROL, SECRET};
use super::played::{Played, Way};
use fantail::clock::Clock;
use fantail::command::settings_of;
use fantail::courier::EventLoop;
use fantail::node::simulated::{Holds, SimulatedNode, Turning};
use fantail::outside::Outside;
use fastrand::Rng;
use parking_lot::Mutex;
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

/// The file with the key of tokens, which nodes read again and again: one for each process.
static KEY: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("fantail-simulation-{}.key", std::process::id()));
    std::fs::write(&path, SECRET).expect("a file");
    path
});

/// Leaves nothing behind.
pub fn clean_up() {
    let _ = std::fs::remove_file(&*KEY);
}

/// What nodes are like.
#[derive(Clone, Debug)]
pub struct Shape {
    pub nodes: usize,
    pub couriers: usize,
    pub tail_bytes: usize,
    pub replay_rate: u32,
    pub replay_bytes: usize,
    pub leftover_bytes: usize,
    pub heartbeat: Duration,
    /// Whether next entries of hot streams are waited for.
    pub waits: bool,
    /// Whether clients need tokens.
    pub tokens: bool,
    /// How Redis is played.
    pub redis: Way,
    /// How far the first node's clock is ahead of all others.
    pub ahead: Duration,
}

/// All nodes.
pub struct Nodes {
    seed: u64,
    shape: Shape,
    redis: Arc<dyn Played>,
    clock: Arc<dyn Fn() -> std::time::SystemTime + Send + Sync>,
    slots: Mutex<Vec<Slot>>,
    pub turns: Arc<AtomicU64>,
    /// How often clients have read something.
    pub reads: AtomicU64,
}

#[derive(Default)]
struct Slot {
    node: Option<Arc<SimulatedNode>>,
    draining: bool,
    couriers: Vec<AbortHandle>,
    line: usize,
    starts: u64,
    started: Option<Instant>,
}

impl Nodes {
    pub fn new(
        seed: u64,
        shape: Shape,
        redis: Arc<dyn Played>,
        clock: impl Fn() -> std::time::SystemTime + Send + Sync + 'static,
    ) -> Arc<Nodes> {
        LOOKS.set(0);
        let slots = (0..shape.nodes).map(|_| Slot::default()).collect();
        let (clock, slots) = (Arc::new(clock), Mutex::new(slots));
        let nodes = Nodes { seed, shape, redis, clock, slots, turns: Arc::default(), reads: AtomicU64::new(0) };
        let nodes = Arc::new(nodes);
        (0..nodes.shape.nodes).for_each(|number| nodes.start(number));
        nodes
    }

    /// Starts a node that is not running.
    pub fn start(&self, number: usize) {
        let mut slots = self.slots.lock();
        let slot = &mut slots[number];
        if slot.node.is_some() {
            return;
        }
        slot.starts += 1;
        let name = format!("node {number} start {}", slot.starts);
        let clock = self.clock.clone();
        let ahead = if number == 0 { self.shape.ahead } else { Duration::ZERO };
        let outside = Outside { clock: Clock::given(move || clock() + ahead), random: of_node(self.seed, &name) };
        let span = tracing::info_span!("node", number).entered();
        let of_backplane =
            Outside { clock: outside.clock.clone(), random: of_node(self.seed, &format!("{name} backplane")) };
        let (line, backplane) = self.redis.open(self.shape.waits, of_backplane);
        slot.line = line;
        let bells: Arc<Vec<Notify>> = Arc::new((0..self.shape.couriers).map(|_| Notify::new()).collect());
        let rung = bells.clone();
        let turning = Turning {
            couriers: self.shape.couriers,
            wake: move |courier: usize| rung[courier].notify_one(),
            stopwatch,
        };
        let (node, loops) = SimulatedNode::start(self.settings(), backplane, outside, turning).expect("a node");
        let turns = loops.into_iter().enumerate().map(|(courier, turns)| {
            let rng = source(self.seed, &format!("{name} courier {courier}"));
            tokio::spawn(turn(turns, bells.clone(), courier, rng, self.turns.clone()).in_current_span()).abort_handle()
        });
        (slot.couriers, slot.draining) = (turns.collect(), false);
        drop(span);
        slot.node = Some(Arc::new(node));
        slot.started = Some(Instant::now());
    }

    fn settings(&self) -> fantail::config::Serve {
        let (heartbeat, rate) = (format!("{}s", self.shape.heartbeat.as_secs()), self.shape.replay_rate.to_string());
        let mut flags = vec!["--heartbeat", &heartbeat, "--replay-rate", &rate, "--compress", "on", "--publish", "on"];
        let key = KEY.display().to_string();
        if self.shape.tokens {
            flags.extend(["--auth", "jwt", "--jwt-key", &key, "--jwt-leeway", "1s", "--token-expiring", "2s"]);
        }
        let mut settings = settings_of(&flags).expect("good flags");
        // Smaller than flags allow.
        settings.tail_bytes = self.shape.tail_bytes;
        settings.replay_bytes = self.shape.replay_bytes;
        settings.leftover_bytes = self.shape.leftover_bytes;
        settings
    }

    /// A node that takes clients, any of them.
    pub fn any(&self, rng: &mut Rng) -> Option<(usize, Arc<SimulatedNode>)> {
        let slots = self.slots.lock();
        let up: Vec<usize> = (0..slots.len()).filter(|n| slots[*n].node.is_some() && !slots[*n].draining).collect();
        let number = *rng.choice(&up)?;
        Some((number, slots[number].node.clone()?))
    }

    /// Since when a node has been able to follow the control stream; `None`: it is not now.
    pub fn calm_since(&self, number: usize) -> Option<Instant> {
        let slots = self.slots.lock();
        let started = slots[number].started.filter(|_| slots[number].node.is_some())?;
        let calm = self.redis.calm_since(slots[number].line)?;
        (!self.redis.is_down(CONTROL)).then_some(calm.max(started))
    }

    /// The connection of a node to Redis.
    pub fn line(&self, number: usize) -> usize {
        self.slots.lock()[number].line
    }

    /// Ends a node at once.
    pub fn kill(&self, number: usize) {
        let slot = std::mem::take(&mut self.slots.lock()[number]);
        slot.couriers.iter().for_each(AbortHandle::abort);
        self.redis.end(slot.line);
        let (line, starts) = (slot.line, slot.starts);
        drop(slot);
        let empty = Slot { line, starts, ..Slot::default() };
        self.slots.lock()[number] = empty;
    }

    /// Ends a node in good order, within `window`.
    pub async fn drain(self: Arc<Nodes>, number: usize, window: Duration) -> Result<(), String> {
        let (node, start) = {
            let mut slots = self.slots.lock();
            slots[number].draining = true;
            (slots[number].node.clone(), slots[number].starts)
        };
        let Some(node) = node else { return Ok(()) };
        let complete = node.drain(window).await;
        drop(node);
        let killed = {
            let slots = self.slots.lock();
            slots[number].node.is_none() || slots[number].starts != start
        };
        if killed {
            return Ok(());
        }
        self.kill(number);
        self.start(number);
        if complete { Ok(()) } else { Err(format!("node {number} was not drained in time")) }
    }

    /// What each node that runs holds.
    pub fn hold(&self) -> impl Iterator<Item = (usize, Holds)> + use<> {
        let slots = self.slots.lock();
        let running = slots.iter().enumerate().filter_map(|(number, slot)| Some((number, slot.node.as_ref()?.holds())));
        running.collect::<Vec<_>>().into_iter()
    }

    /// A node that clients are sent away from, and why, though nobody ended it: faults are shorter than what that takes.
    pub fn unready(&self) -> Option<(usize, &'static str)> {
        let slots = self.slots.lock();
        let stays = slots.iter().enumerate().filter(|(_, slot)| !slot.draining);
        stays.filter_map(|(number, slot)| Some((number, slot.node.as_ref()?.unready()?))).next()
    }
}

/// Turns a courier for as long as it lives.
async fn turn(mut turns: EventLoop, bells: Arc<Vec<Notify>>, courier: usize, mut rng: Rng, count: Arc<AtomicU64>) {
    while !turns.is_stopped() {
        let now = Instant::now();
        count.fetch_add(1, Ordering::Relaxed);
        turns.turn(now.into_std(), std::iter::empty());
        let wait = turns.wait(now.into_std());
        if wait.is_zero() {
            yield_now().await;
        } else {
            tokio::select! {
                biased;
                () = bells[courier].notified() => {}
                () = sleep(wait) => {}
            }
        }
        if rng.once_in(10) {
            sleep(Duration::from_millis(rng.u64(0..=3))).await;
        }
    }
}

thread_local! {
    static LOOKS: Cell<u32> = const { Cell::new(0) };
}

/// Shows a later time at each look, so that turns come to their limit.
fn stopwatch() -> std::time::Instant {
    let looks = LOOKS.get().wrapping_add(1);
    LOOKS.set(looks);
    Instant::now().into_std() + Duration::from_micros(u64::from(looks % 64) * 150)
}
