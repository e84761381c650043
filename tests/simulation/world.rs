//! A run: carries out a plan in virtual time, and says what came of it.

use super::bounds::{self, Bounds};
use super::chance::source;
use super::client::{Client, Control, Surroundings};
use super::ends;
use super::http2::Browsers;
use super::nodes::Nodes;
use super::orders::CONTROL;
use super::plan::{Plan, Step, What};
use super::played::{Fields, Meddling, Played, Way};
use super::posts;
use super::redis::Redis;
use super::temper::Temper;
use super::trace::Trace;
use super::truth::{Gone, History, How, Truth};
use super::watchdog::{self, Running};
use super::wire::{Wire, name_of_pair};
use bytes::Bytes;
use fantail::position::Position;
use fastrand::Rng;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// When the virtual time begins, in Unix milliseconds: 2026-01-01.
pub const EPOCH_MS: u64 = 1_767_225_600_000;
/// From the last fault on, in virtual time, everything must have come within this.
const PROGRESS: Duration = Duration::from_secs(20);
/// Bytes of an entry at most that is delivered.
pub const MOST_BYTES: usize = 60_000;
/// What the process opens once and keeps: tokio's pipe for signals.
const OWN_DESCRIPTORS: usize = 2;
/// Between two looks at what must always hold.
const LOOK: Duration = Duration::from_secs(1);
/// When all clients have gone, nothing of them may stay for longer.
const FORGOTTEN: Duration = Duration::from_secs(20);

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub wrong: Option<String>,
    pub trace: (u64, u64),
    pub virtual_time: Duration,
    pub events: usize,
    pub gaps: usize,
    pub published: usize,
}

thread_local! {
    /// When the virtual time of this thread's run began.
    pub static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// See the module.
pub struct World {
    plan: Plan,
    begun: Instant,
    pub redis: Arc<dyn Played>,
    pub nodes: Arc<Nodes>,
    pub truth: Arc<Mutex<Truth>>,
    trace: Arc<Trace>,
    browsers: Arc<Browsers>,
    clients: JoinSet<Result<(usize, usize), String>>,
    drains: JoinSet<Result<(), String>>,
    controls: BTreeMap<usize, watch::Sender<Control>>,
    /// What a replica has.
    replica: Option<Vec<History>>,
    /// What is put aside of channels.
    pub aside: BTreeMap<usize, History>,
    sums: (usize, usize),
    bounds: Bounds,
    looked: Instant,
    wrong: Option<String>,
}

/// Runs a plan to its end, or to the first thing that is wrong.
pub fn run(plan: &Plan) -> Outcome {
    let _running = Running::begin(plan);
    let before = bounds::descriptors();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().expect("a runtime");
    let mut outcome = runtime.block_on(async { World::new(plan.clone()).play().await });
    drop(runtime);
    let after = bounds::descriptors();
    if after > before + OWN_DESCRIPTORS && watchdog::is_alone() {
        outcome.wrong.get_or_insert(format!("{before} descriptors were open before the run, {after} are behind it"));
    }
    outcome
}

impl World {
    fn new(plan: Plan) -> World {
        let begun = Instant::now();
        BEGUN.set(Some(begun));
        let since = move || EPOCH_MS + begun.elapsed().as_millis() as u64;
        let redis: Arc<dyn Played> = match plan.shape.redis {
            Way::Contract => Arc::new(Redis::new(plan.seed, since)),
            Way::Wire { version, follow, servers, replicas } => {
                Arc::new(Wire::new(plan.seed, (version, servers, replicas), follow, since))
            }
        };
        let clock = move || -> SystemTime { UNIX_EPOCH + Duration::from_millis(EPOCH_MS) + begun.elapsed() };
        let nodes = Nodes::new(plan.seed, plan.shape.clone(), redis.clone(), clock);
        let names = (0..plan.channels).map(|channel| match plan.shape.redis {
            Way::Wire { servers: 2.., .. } => name_of_pair(channel),
            _ => format!("c{channel}"),
        });
        let truth = Truth::new(names);
        World {
            begun,
            redis,
            nodes,
            truth: Arc::new(Mutex::new(truth)),
            trace: Arc::new(Trace::new()),
            browsers: Arc::default(),
            clients: JoinSet::new(),
            drains: JoinSet::new(),
            controls: BTreeMap::new(),
            replica: None,
            aside: BTreeMap::new(),
            sums: (0, 0),
            bounds: Bounds::new(&plan),
            looked: begun,
            wrong: None,
            plan,
        }
    }

    async fn play(mut self) -> Outcome {
        let steps = self.plan.steps.clone();
        for step in &steps {
            self.wait(self.begun + step.at).await;
            if self.wrong.is_some() {
                break;
            }
            self.carry_out(step);
        }
        if self.wrong.is_none() {
            self.finish().await;
        }
        if self.wrong.is_none() {
            self.see_them_forgotten().await;
        }
        let published = self.truth.lock().expect("nobody panics").channels.iter().map(|c| c.records.len()).sum();
        let wrong = self
            .wrong
            .take()
            .map(|wrong| format!("{wrong}\nwhat happened:\n{}", self.truth.lock().expect("nobody panics").journal()));
        self.clients.abort_all();
        (0..self.plan.shape.nodes).for_each(|node| self.nodes.kill(node));
        Outcome {
            wrong,
            trace: self.trace.sum(),
            virtual_time: self.begun.elapsed(),
            events: self.sums.0,
            gaps: self.sums.1,
            published,
        }
    }

    /// Lets time pass, looking at what must always hold.
    async fn wait(&mut self, until: Instant) {
        loop {
            let next = (Instant::now() + LOOK).min(until);
            sleep_until(next).await;
            if next >= self.looked + LOOK {
                self.looked = next;
                watchdog::alive();
                if let Err(wrong) = self.bounds.look(&self.nodes) {
                    self.wrong.get_or_insert(wrong);
                }
            }
            self.collect();
            if next == until || self.wrong.is_some() {
                return;
            }
        }
    }

    fn collect(&mut self) {
        while let Some(ended) = self.clients.try_join_next() {
            self.ended(ended);
        }
        while let Some(ended) = self.drains.try_join_next() {
            if let Err(wrong) = ended.unwrap_or_else(|panic| Err(panic.to_string())) {
                self.wrong.get_or_insert(wrong);
            }
        }
    }

    fn ended(&mut self, ended: Result<Result<(usize, usize), String>, tokio::task::JoinError>) {
        match ended.unwrap_or_else(|panic| Err(panic.to_string())) {
            Ok((events, gaps)) => self.sums = (self.sums.0 + events, self.sums.1 + gaps),
            Err(wrong) => drop(self.wrong.get_or_insert(wrong)),
        }
    }

    /// The faults are over: everybody gets everything.
    async fn finish(&mut self) {
        self.look_at_posts();
        self.redis.heal();
        while self.redis.is_still() {
            sleep(Duration::from_millis(1)).await;
        }
        (0..self.plan.shape.nodes).for_each(|node| self.nodes.start(node));
        for channel in 0..self.plan.channels {
            self.look_at_posts();
            match channel < self.endless() {
                true => self.publish(channel, b'a', 10),
                false => self.end(channel),
            }
        }
        self.note("the end");
        for control in self.controls.values() {
            control.send_modify(|control| (control.reading, control.finish) = (true, true));
        }
        let limit = Instant::now() + PROGRESS;
        while !self.clients.is_empty() && self.wrong.is_none() {
            match timeout(limit - Instant::now(), self.clients.join_next()).await {
                Ok(Some(ended)) => self.ended(ended),
                Ok(None) => return,
                Err(_) => {
                    let left: Vec<usize> = self
                        .controls
                        .iter()
                        .filter(|(_, control)| !control.is_closed())
                        .map(|(client, _)| *client)
                        .collect();
                    self.wrong =
                        Some(format!("clients {left:?} have not everything {PROGRESS:?} after the last fault"));
                }
            }
        }
    }

    /// All clients have gone: nodes keep nothing of them.
    async fn see_them_forgotten(&mut self) {
        let limit = Instant::now() + FORGOTTEN;
        while self.wrong.is_none() {
            let left = self.nodes.hold().find_map(|(node, holds)| Some((node, bounds::remains(&holds)?)));
            let Some((node, what)) = left else { return };
            let wrong = format!("node {node} still has {what}, {FORGOTTEN:?} after all clients have gone");
            if Instant::now() >= limit {
                self.wrong = Some(wrong);
            }
            self.wait(Instant::now() + LOOK).await;
        }
    }

    pub fn at(&self) -> Duration {
        self.begun.elapsed()
    }

    fn note(&self, what: &str) {
        tracing::info!("{what}");
        self.truth.lock().expect("nobody panics").note(self.at(), what);
    }

    /// Whether nothing can be done to a channel now, as its shard is down.
    fn is_out_of_reach(&self, what: &What) -> bool {
        let (What::Publish { channel, .. }
        | What::End { channel }
        | What::Trim { channel }
        | What::Delete { channel }
        | What::Remove { channel, .. }
        | What::Refill { channel, .. }
        | What::Fleeting { channel, .. }
        | What::Rewrite { channel }
        | What::Replace { channel, .. }) = what
        else {
            let whole = match what {
                What::Replicate | What::FailOver | What::Overflow => true,
                What::Wired(what) => what.is_done_to_data(),
                _ => false,
            };
            let control = matches!(what, What::Revoke { .. } | What::ControlLost { .. });
            return whole && self.redis.is_still() || control && self.redis.is_down(CONTROL);
        };
        self.redis.is_down(&self.truth.lock().expect("nobody panics").channels[*channel].name)
    }

    fn carry_out(&mut self, step: &Step) {
        if self.is_out_of_reach(&step.what) {
            return;
        }
        let mut rng = source(step.seed, "step");
        self.look_at_posts();
        match &step.what {
            What::Publish { channel, count, size } => {
                for _ in 0..*count {
                    let kind = if rng.bool() { b'a' } else { b'b' };
                    self.publish(*channel, kind, *size);
                }
                let newest = self.truth.lock().expect("nobody panics").channels[*channel].records.len();
                self.note(&format!("publish {count} of {size} to {channel}, {newest} by now"));
                return;
            }
            What::End { channel } => self.end(*channel),
            What::Post { channel, number } => {
                drop(self.drains.spawn(posts::post(self.surroundings(), *number, *channel, rng)));
            }
            What::Trim { channel } => self.trim(*channel, &mut rng),
            What::Delete { channel } => self.delete(*channel, &mut rng),
            What::Remove { channel, behind_ms } => self.remove(*channel, *behind_ms),
            What::Replace { channel, count, behind_ms } => self.replace(*channel, *count, *behind_ms),
            What::Refill { channel, count } => self.refill(*channel, *count),
            What::Rewrite { channel } => self.rewrite(*channel),
            What::Fleeting { channel, count } => self.fleeting(*channel, *count, &mut rng),
            What::Replicate => {
                self.redis.replicate();
                self.replica = Some(self.truth.lock().expect("nobody panics").channels.clone());
            }
            What::FailOver => self.fail_over(),
            What::Cut { node } => self.redis.cut(self.nodes.line(*node)),
            What::Restore { node } => self.redis.restore(self.nodes.line(*node)),
            What::Slow { node, ms } => self.redis.slow(self.nodes.line(*node), Duration::from_millis(*ms)),
            What::Losing { node, of } => self.redis.lose(self.nodes.line(*node), *of),
            What::Overflow => self.redis.overflow(),
            What::Revoke { target, name, for_ms, behind_ms } => self.revoke(*target, name, *for_ms, *behind_ms),
            What::ControlLost { whole } => self.lose_control(*whole),
            What::ShardDown { shard } => self.redis.set_shard_down(Some(*shard)),
            What::Wired(what) => self.meddle(what),
            What::ShardsUp => self.redis.set_shard_down(None),
            What::Kill { node } => self.nodes.kill(*node),
            What::Start { node } => self.nodes.start(*node),
            What::Drain { node, window } => drop(self.drains.spawn(self.nodes.clone().drain(*node, *window))),
            What::Join { client: number, wish } => {
                let (control, controlled) = watch::channel(Control { reading: true, connection: 0, finish: false });
                let client = Client::new(*number, wish.clone(), self.surroundings(), rng);
                self.clients.spawn(client.run(controlled));
                self.controls.insert(*number, control);
            }
            What::HangUp { client } => self.tell(*client, |control| control.connection += 1),
            What::Stall { client } => self.tell(*client, |control| control.reading = false),
            What::Read { client } => self.tell(*client, |control| control.reading = true),
        }
        self.note(&format!("{:?}", step.what));
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            tokens: self.plan.shape.tokens,
            in_place: self.plan.temper == Temper::Counts,
            paced: matches!(self.plan.temper, Temper::Newcomers | Temper::Extensions),
            endless: self.endless(),
            posted: self.endless() - posts::CHANNELS..self.endless(),
            nodes: self.nodes.clone(),
            redis: self.redis.clone(),
            truth: self.truth.clone(),
            trace: self.trace.clone(),
            browsers: self.browsers.clone(),
            begun: self.begun,
        }
    }

    /// Takes note of what nodes have appended, before anything happens to it.
    pub fn look_at_posts(&self) {
        let around = self.surroundings();
        let mut truth = self.truth.lock().expect("nobody panics");
        around.posted.clone().for_each(|channel| posts::look(&mut truth, &around, channel));
    }

    fn tell(&self, client: usize, what: impl FnOnce(&mut Control)) {
        if let Some(control) = self.controls.get(&client) {
            control.send_modify(what);
        }
    }

    /// How many channels go on for ever.
    fn endless(&self) -> usize {
        self.plan.channels - ends::CHANNELS
    }

    pub fn publish(&self, channel: usize, kind: u8, size: usize) {
        self.append(channel, kind, size, None);
    }

    /// Publishes a channel's last event.
    fn end(&self, channel: usize) {
        self.append(channel, b'a', 10, Some(field("final", "1")));
    }

    fn append(&self, channel: usize, kind: u8, size: usize, last: Option<(Bytes, Bytes)>) {
        let (at, now) = (self.at(), self.redis.now_ms());
        let mut truth = self.truth.lock().expect("nobody panics");
        let history = &mut truth.channels[channel];
        if history.has_ended() {
            return;
        }
        let mut fields = fields(channel, history.records.len(), kind, size);
        let is_last = last.is_some();
        fields.extend(last);
        // No id is ever given twice, in another life neither.
        let ms = (now - history.behind_ms).max(self.redis.last(&history.name).ms + 1);
        let id = Position::new(ms, history.life);
        if self.redis.add(&history.name, Some(id), fields) {
            let index = history.add(id, kind, at);
            history.records[index].last = is_last;
            history.records[index].large = size > MOST_BYTES;
        }
    }

    fn trim(&self, channel: usize, rng: &mut Rng) {
        let at = self.at();
        let mut truth = self.truth.lock().expect("nobody panics");
        let history = &mut truth.channels[channel];
        let before = self.redis.held(&history.name);
        if self.redis.last(&history.name) == Position::ZERO {
            return;
        }
        let keep = if rng.u8(0..4) == 0 { 0 } else { rng.usize(0..=before.len()) };
        self.redis.trim(&history.name, keep, rng.bool());
        let gone = before.len() - self.redis.held(&history.name).len();
        before[..gone].iter().for_each(|id| history.lose(*id, Gone { at, how: How::Trimmed }));
    }

    fn delete(&self, channel: usize, rng: &mut Rng) {
        let at = self.at();
        let mut truth = self.truth.lock().expect("nobody panics");
        let history = &mut truth.channels[channel];
        let held = self.redis.held(&history.name);
        let before = held.len();
        let Some(id) = rng.choice(held) else { return };
        self.redis.delete(&history.name, id);
        if self.redis.held(&history.name).len() < before {
            history.lose(id, Gone { at, how: How::Deleted });
        }
    }

    fn remove(&self, channel: usize, behind_ms: u64) {
        let at = self.at();
        let mut truth = self.truth.lock().expect("nobody panics");
        let history = &mut truth.channels[channel];
        if self.redis.remove(&history.name) {
            history.end_life(at, behind_ms);
        }
    }

    /// Another stream takes the place of one, in one instant.
    fn replace(&self, channel: usize, count: usize, behind_ms: u64) {
        let (at, now) = (self.at(), self.redis.now_ms());
        let mut truth = self.truth.lock().expect("nobody panics");
        let history = &mut truth.channels[channel];
        let (life, number) = (history.life + 1, history.records.len());
        let id = |index: usize| Position::new(now - behind_ms + index as u64, life);
        let entry = |index: usize| (id(index), fields(channel, number + index, b'a', 10));
        if self.redis.replace(&history.name, (0..count).map(entry).collect()) {
            history.end_life(at, behind_ms);
            for index in 0..count {
                history.add(id(index), b'a', at);
            }
        }
    }

    /// A server takes over from one shard alone.
    pub fn promote(&mut self, shard: usize) {
        let Some(histories) = self.replica.take() else { return };
        let lies_there = |history: &History| self.redis.shard_of(&history.name) == Some(shard);
        let at = self.at();
        let mut truth = self.truth.lock().expect("nobody panics");
        let lost: Vec<bool> = truth.channels.iter().map(lies_there).collect();
        if self.redis.meddle(&Meddling::Promote { shard }) {
            let pairs = truth.channels.iter_mut().zip(&histories).zip(lost);
            pairs.filter(|(_, lost)| *lost).for_each(|((history, before), _)| history.roll_back(at, before));
        }
    }

    fn fail_over(&mut self) {
        let Some(histories) = self.replica.take() else { return };
        let at = self.at();
        let known = self.redis.fail_over(CONTROL).ms.saturating_sub(EPOCH_MS);
        self.orders_are_gone(Duration::from_millis(known + 1));
        self.aside.clear();
        let mut truth = self.truth.lock().expect("nobody panics");
        for (history, before) in truth.channels.iter_mut().zip(&histories) {
            history.roll_back(at, before);
        }
    }
}

pub fn field(name: &str, value: &str) -> (Bytes, Bytes) {
    (Bytes::copy_from_slice(name.as_bytes()), Bytes::copy_from_slice(value.as_bytes()))
}

/// The data begins with the channel's number and the event's.
pub fn fields(channel: usize, number: usize, kind: u8, size: usize) -> Fields {
    let data = format!("{channel} {number} {}", "x".repeat(size));
    vec![(Bytes::from("event"), Bytes::from(vec![kind])), (Bytes::from("data"), Bytes::from(data))]
}
