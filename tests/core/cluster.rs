//! The promise that a cluster stands for: three nodes on one Redis are killed, drained and started again while
//! producers write at full speed, and every subscriber ends with exactly every event of its channels, in order.

use crate::support::event_stream::Message;
use crate::support::fleet::{EventStream, Pipeline, Process, is_hang_up, seed};
use crate::support::redis::Redis;
use fantail::channel::Channel;
use fantail::cursor::Cursor;
use fantail::position::Position;
use fastrand::Rng;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout_at};

const NODES: usize = 3;
const CHANNELS: usize = 200;
const SUBSCRIBERS: usize = 300;
const CHANNELS_OF_ONE: std::ops::RangeInclusive<usize> = 1..=20;
const EVENTS_PER_SECOND: u64 = 2_000;
const PUBLISHING: Duration = Duration::from_secs(30);
/// From the last event on, for a loaded machine.
const CATCHING_UP: Duration = Duration::from_secs(60);
/// Drains are short, so that there are many; tails are short, so that some of what is missed must come from Redis.
const FLAGS: [&str; 10] =
    ["--drain", "1s", "--retry", "10ms..100ms", "--heartbeat", "2s", "--tail-bytes", "1MiB", "--log", "info"];

/// What was published, by channel and sequence number.
struct Truth {
    ids: Vec<Vec<Position>>,
}

/// What all share.
struct World {
    addresses: Mutex<Vec<SocketAddr>>,
    deliveries: AtomicU64,
    reconnects: AtomicU64,
    /// The stage and all that was published by then.
    goal: watch::Receiver<Option<(Stage, Arc<Truth>)>>,
    reports: mpsc::UnboundedSender<Stage>,
}

/// How far a subscriber is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not connected yet.
    New,
    /// It has its start position; events come.
    Begun,
    /// It has all of the main part, and connects to another node once more.
    Complete,
    /// It is connected again: what comes now must be the epilogue and nothing else.
    Again,
}

/// Where a subscriber begins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Begin {
    /// Connected before the first event.
    Early,
    /// Later, with all that there is.
    Earliest,
    /// Later, with what came at or after a time in Unix milliseconds.
    Since(u64),
    /// Later, with what comes from then on.
    Latest,
}

struct Subscriber {
    number: usize,
    rng: Rng,
    channels: Vec<usize>,
    envelope: bool,
    begin: Begin,
    stage: Stage,
    /// Where the first connection began, once the node has said it.
    start: Option<String>,
    last_event_id: String,
    node: Option<SocketAddr>,
    /// By channel of `channels`: the first and the next sequence number.
    seen: Vec<Option<(u64, u64)>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_subscriber_gets_every_event_once_and_in_order_while_nodes_come_and_go() {
    let seed = seed("cluster");
    let mut rng = Rng::with_seed(seed);
    let begun = Instant::now();
    let redis = Redis::start();
    let url = redis.url();
    let start = || Process::start(&[&["--redis", url.as_str()], &FLAGS[..]].concat());
    let mut nodes: Vec<Process> = (0..NODES).map(|_| start()).collect();
    let (goals, goal) = watch::channel(None);
    let (reports, reported) = mpsc::unbounded_channel();
    let mut progress = Progress { reports: reported, counts: [0; 4] };
    let world = Arc::new(World {
        addresses: Mutex::new(nodes.iter().map(Process::address).collect()),
        deliveries: AtomicU64::new(0),
        reconnects: AtomicU64::new(0),
        goal,
        reports,
    });

    let mut subscribers = JoinSet::new();
    let mut late = Vec::new();
    for number in 0..SUBSCRIBERS {
        let subscriber = Subscriber::new(number, rng.fork());
        match subscriber.begin {
            Begin::Early => drop(subscribers.spawn(subscriber.run(world.clone()))),
            _ => late.push(subscriber),
        }
    }
    progress.wait_for(Stage::Begun, subscribers.len(), &mut subscribers).await;
    for mut subscriber in late {
        let world = world.clone();
        subscribers.spawn(async move {
            sleep(PUBLISHING.mul_f64(subscriber.rng.f64() * 0.9)).await;
            if let Begin::Since(ms) = &mut subscriber.begin {
                *ms = now_ms() - subscriber.rng.u64(0..10_000);
            }
            subscriber.run(world).await
        });
    }

    let (port, choices) = (redis.port(), rng.fork());
    // On a thread of its own, so that hundreds of clients do not slow it down.
    let publisher = tokio::task::spawn_blocking(move || Handle::current().block_on(publish(port, choices)));
    let (mut kills, mut drains) = (0, 0);
    while !publisher.is_finished() {
        sleep(Duration::from_millis(rng.u64(200..1_500))).await;
        // Now and then two of the three at once.
        for _ in 0..1 + usize::from(rng.u8(0..4) == 0) {
            let old = nodes.remove(rng.usize(0..nodes.len()));
            if rng.bool() {
                kills += 1;
                old.kill();
            } else {
                drains += 1;
                let status = old.drain().await;
                assert!(status.success(), "a drained node ended with {status}");
            }
        }
        while nodes.len() < NODES {
            nodes.push(start());
        }
        *world.addresses.lock().unwrap() = nodes.iter().map(Process::address).collect();
    }
    let (mut truth, mut pipeline) = publisher.await.expect("the publisher");
    goals.send_replace(Some((Stage::Complete, Arc::new(Truth { ids: truth.clone() }))));
    progress.wait_for(Stage::Again, SUBSCRIBERS, &mut subscribers).await;

    let epilogue: Vec<(usize, u64)> = truth.iter().enumerate().map(|(c, ids)| (c, ids.len() as u64)).collect();
    send(&mut pipeline, &epilogue, &mut truth, &mut rng).await;
    let events: usize = truth.iter().map(Vec::len).sum();
    goals.send_replace(Some((Stage::Again, Arc::new(Truth { ids: truth }))));
    while let Some(ended) = subscribers.join_next().await {
        ended.expect("no panic").unwrap_or_else(|wrong| panic!("FANTAIL_TEST_SEED={seed}: {wrong}"));
    }
    println!(
        "cluster: {events} events, {} deliveries to {SUBSCRIBERS} subscribers, {} reconnects, {kills} nodes killed and \
         {drains} drained, {:.1} s",
        world.deliveries.load(Ordering::Relaxed),
        world.reconnects.load(Ordering::Relaxed),
        begun.elapsed().as_secs_f64()
    );
}

/// Counts who has reached which stage.
struct Progress {
    reports: mpsc::UnboundedReceiver<Stage>,
    counts: [usize; 4],
}

impl Progress {
    /// Waits until so many subscribers have reached a stage; panics with the first one that fails.
    async fn wait_for(&mut self, stage: Stage, count: usize, subscribers: &mut JoinSet<Result<(), String>>) {
        while self.counts[stage as usize] < count {
            tokio::select! {
                Some(report) = self.reports.recv() => self.counts[report as usize] += 1,
                Some(ended) = subscribers.join_next() => match ended.expect("no panic") {
                    Ok(()) => panic!("a subscriber ended before {stage:?}"),
                    Err(wrong) => panic!("{wrong}"),
                },
            }
        }
    }
}

/// Publishes at the pace; returns what, and the connection.
async fn publish(port: u16, mut rng: Rng) -> (Vec<Vec<Position>>, Pipeline) {
    let mut pipeline = Pipeline::connect(port).await;
    let mut truth = vec![Vec::new(); CHANNELS];
    let mut next = [0u64; CHANNELS];
    let mut tick = interval(Duration::from_millis(5));
    let begun = Instant::now();
    let mut sent = 0;
    while sent < EVENTS_PER_SECOND * PUBLISHING.as_secs() {
        tick.tick().await;
        let passed = begun.elapsed().min(PUBLISHING).as_micros() as u64;
        let due = (passed * EVENTS_PER_SECOND / 1_000_000).saturating_sub(sent);
        let mut batch = Vec::new();
        for _ in 0..due {
            // A few channels are much busier than the others.
            let channel = if rng.u8(0..4) == 0 { rng.usize(0..10) } else { rng.usize(0..CHANNELS) };
            batch.push((channel, next[channel]));
            next[channel] += 1;
        }
        sent += due;
        send(&mut pipeline, &batch, &mut truth, &mut rng).await;
    }
    (truth, pipeline)
}

async fn send(pipeline: &mut Pipeline, batch: &[(usize, u64)], truth: &mut [Vec<Position>], rng: &mut Rng) {
    for (channel, sequence) in batch {
        let size = if rng.u8(0..100) == 0 { 4_000 } else { rng.usize(10..150) };
        let data = format!("{} {sequence} {}", name(*channel), "x".repeat(size));
        pipeline.push(&["XADD", &format!("sse:{}", name(*channel)), "*", "data", &data]);
    }
    for (id, (channel, sequence)) in pipeline.flush(batch.len()).await.into_iter().zip(batch) {
        assert_eq!(truth[*channel].len() as u64, *sequence);
        truth[*channel].push(id.parse().expect("an id"));
    }
}

fn name(channel: usize) -> String {
    format!("channel.{channel}")
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

impl Subscriber {
    fn new(number: usize, mut rng: Rng) -> Subscriber {
        let mut channels: Vec<usize> = (0..CHANNELS).collect();
        rng.shuffle(&mut channels);
        channels.truncate(rng.usize(CHANNELS_OF_ONE));
        let begin = match rng.u8(0..10) {
            0..6 => Begin::Early,
            6 => Begin::Earliest,
            7 => Begin::Since(0),
            _ => Begin::Latest,
        };
        let seen = vec![None; channels.len()];
        Subscriber {
            number,
            channels,
            envelope: number.is_multiple_of(2),
            begin,
            stage: Stage::New,
            start: None,
            last_event_id: String::new(),
            node: None,
            seen,
            rng,
        }
    }

    /// Subscribes and reconnects until it has everything; the error says what went wrong.
    async fn run(mut self, world: Arc<World>) -> Result<(), String> {
        let mut goal = world.goal.clone();
        let late = async move {
            let _ = goal.wait_for(Option::is_some).await;
            sleep(CATCHING_UP).await;
        };
        let mut finished = false;
        let verdict = tokio::select! {
            verdict = async {
                while !finished {
                    finished = self.connection(&world).await?;
                }
                Ok(())
            } => verdict,
            () = late => Err("it has not got everything in time".into()),
        };
        verdict.map_err(|wrong: String| {
            let goal = world.goal.borrow().clone();
            format!("{wrong}: {}", self.describe(goal.as_ref().map(|(_, truth)| truth.as_ref())))
        })
    }

    /// One connection; whether it has all that there will ever be.
    async fn connection(&mut self, world: &World) -> Result<bool, String> {
        let Some(mut stream) = self.connect(world).await? else { return Ok(false) };
        let until = tokio::time::Instant::now() + Duration::from_millis(self.rng.u64(500..20_000));
        let mut goal = world.goal.clone();
        loop {
            if let Some(over) = self.reached(&goal.borrow_and_update().clone(), world)? {
                return Ok(over);
            }
            let read = tokio::select! {
                read = timeout_at(until, stream.read()) => read,
                _ = goal.changed() => continue,
            };
            match read {
                // Its own wish: as a laptop that is closed.
                Err(_) => return Ok(false),
                Ok(Ok(None)) => return Ok(false),
                Ok(Ok(Some(messages))) => {
                    self.begin(stream.last_event_id(), world);
                    for message in &messages {
                        self.take(message)?;
                    }
                    world.deliveries.fetch_add(messages.len() as u64, Ordering::Relaxed);
                }
                Ok(Err(error)) if is_hang_up(&error) => return Ok(false),
                Ok(Err(error)) => return Err(format!("bad bytes: {error}")),
            }
        }
    }

    /// Connects to another node than the last one; `None` where that is not there, or is about to go.
    async fn connect(&mut self, world: &World) -> Result<Option<EventStream>, String> {
        let names: Vec<String> = self.channels.iter().map(|c| name(*c)).collect();
        let mut query = format!("channels={}", names.join(","));
        match self.begin {
            Begin::Early | Begin::Latest => {}
            Begin::Earliest => query += "&since=earliest",
            Begin::Since(ms) => query += &format!("&since={ms}"),
        }
        if self.envelope {
            query += "&envelope=1";
        }
        let mut others = world.addresses.lock().unwrap().clone();
        others.retain(|address| Some(*address) != self.node);
        let Some(node) = self.rng.choice(others) else { return Ok(None) };
        if self.node.replace(node).is_some() {
            world.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        match EventStream::open(node, &query, &self.last_event_id, None).await {
            Ok(stream) if stream.status == 200 => Ok(Some(stream)),
            Ok(stream) if stream.status == 503 => Ok(None),
            Ok(stream) => Err(format!("{node} answers {}", stream.status)),
            Err(_) => {
                sleep(Duration::from_millis(self.rng.u64(5..50))).await;
                Ok(None)
            }
        }
    }

    /// The node has said where it stands.
    fn begin(&mut self, last_event_id: &str, world: &World) {
        if last_event_id.is_empty() {
            return;
        }
        last_event_id.clone_into(&mut self.last_event_id);
        let stage = match self.stage {
            Stage::New => Stage::Begun,
            Stage::Complete => Stage::Again,
            Stage::Begun | Stage::Again => return,
        };
        if self.start.is_none() {
            self.start = Some(self.last_event_id.clone());
        }
        self.stage = stage;
        let _ = world.reports.send(stage);
    }

    /// Checks an event against what came before.
    fn take(&mut self, message: &Message) -> Result<(), String> {
        let wrong = |why: &str| Err(format!("{why}: {} {:.200}", message.event, message.data));
        let data = match self.envelope {
            false => message.data.clone(),
            true => {
                let Ok(envelope) = serde_json::from_str::<serde_json::Value>(&message.data) else {
                    return wrong("no envelope");
                };
                let data = envelope["data"].as_str().unwrap_or_default();
                if !data.starts_with(&format!("{} ", envelope["channel"].as_str().unwrap_or_default())) {
                    return wrong("an event of another channel than its envelope says");
                }
                data.to_owned()
            }
        };
        if message.event != "message" {
            return wrong("not an event of a channel");
        }
        let mut words = data.split(' ');
        let channel = words.next().and_then(|name| name.strip_prefix("channel.")?.parse::<usize>().ok());
        let sequence = words.next().and_then(|number| number.parse::<u64>().ok());
        let (Some(channel), Some(sequence)) = (channel, sequence) else { return wrong("not as it was published") };
        let Some(leg) = self.channels.iter().position(|c| *c == channel) else { return wrong("not subscribed to") };
        match &mut self.seen[leg] {
            none @ None => *none = Some((sequence, sequence + 1)),
            Some((_, next)) if *next == sequence => *next += 1,
            Some((_, next)) => {
                let why = if sequence < *next { "a second time" } else { "events are missing before" };
                let why = format!("{why} (the next is {next})");
                return wrong(&why);
            }
        }
        Ok(())
    }

    /// Whether it has reached its stage's goal: `Some(true)` ends it, `Some(false)` reconnects.
    fn reached(&mut self, goal: &Option<(Stage, Arc<Truth>)>, world: &World) -> Result<Option<bool>, String> {
        let Some((stage, truth)) = goal else { return Ok(None) };
        let due = matches!((self.stage, stage), (Stage::Begun, _) | (Stage::Again, Stage::Again));
        if !due || (0..self.channels.len()).any(|leg| self.missing(leg, truth) > 0) {
            return Ok(None);
        }
        self.verify_ends(truth)?;
        if self.stage == Stage::Again {
            return Ok(Some(true));
        }
        self.stage = Stage::Complete;
        let _ = world.reports.send(Stage::Complete);
        Ok(Some(false))
    }

    /// Events that have still to come on a leg.
    fn missing(&self, leg: usize, truth: &Truth) -> u64 {
        let next = self.seen[leg].map_or_else(|| self.first(leg, truth), |(_, next)| next);
        (truth.ids[self.channels[leg]].len() as u64).saturating_sub(next)
    }

    /// The first event that a leg should get.
    fn first(&self, leg: usize, truth: &Truth) -> u64 {
        let ids = &truth.ids[self.channels[leg]];
        let first = match self.begin {
            Begin::Early | Begin::Earliest => 0,
            Begin::Since(ms) => ids.partition_point(|id| id.ms < ms),
            Begin::Latest => {
                let start = self.start.as_deref().and_then(|start| self.position(start, leg));
                ids.partition_point(|id| Some(*id) <= start)
            }
        };
        first as u64
    }

    /// What a cursor says of a leg.
    fn position(&self, cursor: &str, leg: usize) -> Option<Position> {
        let channel = Channel::new(&name(self.channels[leg])).expect("a name");
        Cursor::parse(cursor)?.position_of(&channel, self.channels.len() == 1)
    }

    /// It has begun where it should, and its last event id is that of the newest events.
    fn verify_ends(&self, truth: &Truth) -> Result<(), String> {
        for (leg, channel) in self.channels.iter().enumerate() {
            let first = self.first(leg, truth);
            if self.seen[leg].is_some_and(|(seen, _)| seen != first) {
                return Err(format!("channel {channel} should have begun at {first}: {:?}", self.seen[leg]));
            }
            let newest = truth.ids[*channel].last().copied();
            let said = self.position(&self.last_event_id, leg);
            if self.seen[leg].is_some() && said != newest {
                return Err(format!("channel {channel} is at {newest:?}, the last event id says {said:?}"));
            }
        }
        Ok(())
    }

    fn describe(&self, truth: Option<&Truth>) -> String {
        let leg = |leg: usize| {
            let total = truth.map(|truth| truth.ids[self.channels[leg]].len());
            format!("\n  channel {}: first and next {:?} of {total:?}", self.channels[leg], self.seen[leg])
        };
        let legs: String = (0..self.channels.len()).map(leg).collect();
        format!(
            "subscriber {} ({:?}, {:?}, envelope {}) of {:?}, began at {:?}, last event id {:?}{legs}",
            self.number, self.begin, self.stage, self.envelope, self.node, self.start, self.last_event_id
        )
    }
}
