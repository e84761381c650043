//! A run's surroundings: Redis, cores, names, progress; and a stage, which is one server with its clients.

use crate::clients::Fleet;
use crate::clients::protocol::{Clients, Stats};
use crate::clock;
use crate::measure::{self, Memory, Ticks};
use crate::options::{Against, Options};
use crate::plan::{Plan, lot};
use crate::process;
use crate::publisher::pipeline::{Pipeline, Verb};
use crate::publisher::posters::{Posters, Target};
use crate::publisher::{Published, Publisher, Schedule, Sink};
use crate::redis::{Redis, Usage};
use crate::results::{Run, Sample};
use crate::servers::{self, Kind, Server, Start, fault, node};
use anyhow::{Context as _, Result};
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

/// Nothing moved for so long: a run is over or stuck. More where many processes share few cores.
fn patience(clients: u32) -> Duration {
    Duration::from_secs(8 + u64::from(clients) / 20_000)
}

/// Entries that a stream keeps, about.
const KEPT: u64 = 10_000;

/// Connections that are opened before the first of them asks.
const GATHERED: usize = 4_000;

/// Everything that the stages of a run share.
pub struct Lab {
    pub options: Options,
    pub runs: Vec<Run>,
    /// Seconds that disturbed rounds may take again, over all.
    pub spare: f64,
    redis: Option<Redis>,
    stages: u32,
    started: u64,
}

/// A load: who subscribes to what, and how.
#[derive(Clone, Debug)]
pub struct Load {
    pub scenario: &'static str,
    pub case: String,
    pub plan: Plan,
    pub clients: u32,
    /// Compare ids and resume by them.
    pub ids: bool,
    /// Of a thousand.
    pub stalled: u32,
    pub slow: u32,
    /// Seconds.
    pub heartbeat: Option<u64>,
    pub fault: Option<(fault::Kind, u64)>,
    pub publishing: Publishing,
    /// A stream for each channel of a client, on its one connection.
    pub stream_each: bool,
    /// Clients come back with the tickets of their TLS sessions.
    pub tickets: bool,
    /// For the node alone.
    pub node_arguments: &'static [&'static str],
}

impl Load {
    pub fn new(scenario: &'static str, case: String, plan: Plan, clients: u32) -> Load {
        Load {
            scenario,
            case,
            plan,
            clients,
            ids: false,
            stalled: 0,
            slow: 0,
            heartbeat: None,
            fault: None,
            publishing: Publishing::Usual,
            stream_each: false,
            tickets: false,
            node_arguments: &[],
        }
    }

    /// Responses that are open when all clients are live.
    pub fn subscriptions(&self) -> f64 {
        let streams = if self.stream_each { self.plan.channels(0).len() } else { 1 };
        f64::from(self.clients) * streams as f64
    }

    /// Whether a server of a kind has Redis behind it.
    pub fn needs_redis(&self, kind: Kind) -> bool {
        match self.publishing {
            Publishing::Usual => kind.reads_redis() || (kind == Kind::Nchan && self.ids),
            Publishing::Stream => true,
            Publishing::Post { with_redis } => with_redis,
        }
    }
}

/// How events come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// As each server takes them best, one batch after the other.
    Usual,
    /// By `XADD`, without waiting for replies.
    Stream,
    /// By `POST` to the server, many at a time; floors have a feed instead.
    Post { with_redis: bool },
}

impl Lab {
    pub fn new(options: Options) -> Lab {
        Lab { options, runs: Vec::new(), spare: f64::INFINITY, redis: None, stages: 0, started: clock::now() }
    }

    /// The core of the server under test, and that of everything else.
    pub fn core(&self, number: usize) -> Option<usize> {
        (!self.options.no_pin && process::cores() > 1).then_some(number)
    }

    /// The servers to measure, floor first.
    pub fn kinds(&self, with_floor: bool) -> Vec<Kind> {
        let mut kinds = Vec::new();
        if with_floor && !self.options.without_floor {
            kinds.push(Kind::Floor);
        }
        if !self.options.without_node {
            kinds.push(Kind::Node);
        }
        if self.options.before.is_some() {
            kinds.push(Kind::Before);
        }
        kinds.extend(self.options.against.iter().filter_map(|against| match against {
            Against::Nchan => Some(Kind::Nchan),
            Against::Centrifugo => Some(Kind::Centrifugo),
            Against::HyperBody => Some(Kind::HyperBody),
            // It stands before a node; scenarios that have such rows add them.
            Against::Nginx => None,
        }));
        kinds
    }

    /// Floor and nodes, where no other server can do what is asked.
    pub fn floor_and_node(&self) -> Vec<Kind> {
        self.kinds(true).into_iter().filter(|kind| *kind == Kind::Floor || kind.is_node()).collect()
    }

    /// The run's Redis, started when first asked for.
    pub fn redis(&mut self) -> Result<&Redis> {
        if self.redis.is_none() {
            self.redis = Some(match &self.options.redis {
                Some(url) => Redis::given(servers::address(url)?),
                None if self.options.replicas > 0 => Redis::start_with(self.options.replicas, self.core(1))?,
                None => Redis::start(self.core(1))?,
            });
        }
        self.redis.as_ref().context("just started")
    }

    /// A line that is overwritten; on a pipe, nothing.
    pub fn progress(&self, text: &str) {
        if std::io::stderr().is_terminal() {
            let seconds = clock::seconds(self.started, clock::now());
            eprint!("\r\x1b[K{seconds:6.1} s  {text:.110}");
            let _ = std::io::stderr().flush();
        }
    }

    /// Keeps a finished run and says so.
    pub fn keep(&mut self, run: Run) {
        self.progress("");
        let seconds = clock::seconds(self.started, clock::now());
        let exact = if run.tally.is_exact() && run.faults.is_empty() { "exact" } else { "NOT EXACT" };
        let shown = [
            "cpu_us",
            "redis_us",
            "last_ms",
            "p50_ms",
            "p99_ms",
            "beat_us",
            "memory_kib",
            "joins_per_s",
            "events_per_cpu_s",
            "most_per_s",
        ];
        let figures = shown.iter().filter_map(|name| Some(format!("{name} {:.2}", run.figures.get(name)?)));
        let figures = figures.collect::<Vec<_>>().join(", ");
        eprintln!("\r{seconds:6.1} s  {} / {} / {}: {figures}, {exact}", run.scenario, run.case, run.server);
        self.runs.push(run);
    }

    /// A server of a kind for a load, on a core.
    pub fn server(&mut self, kind: Kind, load: &Load, core: Option<usize>, id_length: usize) -> Result<Server> {
        if let (true, Some(url)) = (kind.is_node(), &self.options.url) {
            return Ok(Server::given(servers::address(url)?, self.options.pid));
        }
        let redis = if load.needs_redis(kind) { Some(self.redis()?.address) } else { None };
        // Another build may not know how.
        let replicas = match redis {
            Some(_) if kind.is_node() && kind != Kind::Before => {
                self.redis()?.replicas.iter().map(|r| r.address).collect()
            }
            _ => Vec::new(),
        };
        let given = if kind == Kind::Before { &self.options.before } else { &self.options.node };
        let binary: Option<PathBuf> = if kind.is_node() { Some(node::binary(given.as_deref())?) } else { None };
        let own = load.node_arguments.iter().map(|&argument| argument.to_owned());
        let arguments: Vec<String> = own.chain(self.options.node_arguments.iter().cloned()).collect();
        Server::start(
            kind,
            &Start {
                core,
                redis,
                replicas: &replicas,
                binary: binary.as_deref(),
                node_arguments: &arguments,
                couriers: self.options.couriers,
                heartbeat: load.heartbeat,
                id_length,
                apart: matches!(load.plan, Plan::Apart { .. }),
                fault: load.fault,
            },
        )
    }

    /// A server of a kind and clients for it, nobody connected yet.
    pub fn stage(&mut self, kind: Kind, load: &Load) -> Result<Stage> {
        self.stages += 1;
        let prefix = format!("r{}.", self.stages);
        let id_length = id_length(&load.plan, &prefix);
        let server = self.server(kind, load, self.core(0), id_length)?;
        let setup = Clients {
            first: 0,
            count: load.clients,
            plan: load.plan.clone(),
            paths: server.paths,
            prefix: prefix.clone(),
            targets: vec![server.listen],
            sources: Vec::new(),
            live_at_block: server.live_at_block,
            asks: kind.asks().to_owned(),
            gzip: kind.is_packed(),
            way: kind.way(),
            stream_each: load.stream_each,
            tickets: load.tickets,
            ids: load.ids,
            stalled: load.stalled,
            slow: load.slow,
        };
        let fleet = Fleet::start(&setup, self.options.workers.unwrap_or(1), self.core(1))?;
        let publisher = Some(Publisher::new(vec![self.sink(&server, load)?], &prefix));
        let run = Run::new(load.scenario, &load.case, kind);
        let sampler = Sampler { started: clock::now(), pids: server.pids.clone(), samples: Vec::new(), last: 0 };
        let below = |limit: u32| (0..load.clients).filter(|&client| lot(client) < limit).count() as u64;
        let stalled = below(load.stalled);
        Ok(Stage {
            began: Ticks::now()?,
            stalled,
            slow: below(load.stalled + load.slow) - stalled,
            server,
            fleet,
            publisher,
            run,
            sampler,
            audience: load.plan.audience(load.clients, load.stalled + load.slow),
        })
    }

    /// Where events of a load go to.
    fn sink(&mut self, server: &Server, load: &Load) -> Result<Sink> {
        let redis = if load.needs_redis(server.kind) { Some(self.redis()?.address) } else { None };
        match (load.publishing, server.kind) {
            (Publishing::Stream, _) => {
                let address = redis.context("a stream needs a Redis")?;
                Ok(Sink::Pipeline(Pipeline::open(address, Verb::Xadd { keep: KEPT })?))
            }
            (Publishing::Post { .. }, Kind::Nchan) => {
                Ok(Sink::Posters(Posters::open(server.listen, Target::Path("/pub/"))?))
            }
            (Publishing::Post { .. }, Kind::Centrifugo) => {
                Ok(Sink::Posters(Posters::open(server.listen, Target::Centrifugo)?))
            }
            (Publishing::Post { .. }, kind) if kind.is_node() => {
                Ok(Sink::Posters(Posters::open(server.listen, Target::Path("/events/"))?))
            }
            _ => server.sink(redis, KEPT),
        }
    }

    /// What Redis has done so far, for kinds that use it.
    pub fn usage(&mut self, kind: Kind) -> Result<Option<Usage>> {
        if kind.reads_redis() { Ok(Some(self.redis()?.usage()?)) } else { Ok(None) }
    }
}

/// The length of an id under a plan: one position, or a list of `channel=position`.
fn id_length(plan: &Plan, prefix: &str) -> usize {
    const POSITION: usize = 15;
    match plan {
        Plan::Users { shared } => {
            let parts = *shared as usize + 1;
            parts * (prefix.len() + 1 + 1 + POSITION) + 4 + (parts - 1)
        }
        Plan::One | Plan::All { .. } | Plan::Zipf { .. } | Plan::Apart { .. } | Plan::Spread { .. } => POSITION,
    }
}

/// One server with its clients and its publisher.
pub struct Stage {
    pub server: Server,
    pub fleet: Fleet,
    /// Taken while it publishes.
    pub publisher: Option<Publisher>,
    pub run: Run,
    pub sampler: Sampler,
    /// Subscribers of each channel.
    pub audience: Vec<u32>,
    /// Who never read, and may be gone at the end.
    pub stalled: u64,
    /// Who read slowly.
    pub slow: u64,
    began: Ticks,
}

/// Looks at the server now and then.
pub struct Sampler {
    started: u64,
    pub pids: Vec<u32>,
    pub samples: Vec<Sample>,
    last: u64,
}

impl Sampler {
    /// Notes a sample, at most four a second.
    pub fn see(&mut self, stats: &Stats) {
        let now = clock::now();
        if now - self.last < 250_000_000 {
            return;
        }
        self.last = now;
        self.samples.push(Sample {
            at: clock::seconds(self.started, now),
            live: stats.live,
            delivered: stats.delivered,
            cpu: measure::cpu_ns_of(&self.pids).unwrap_or(0) as f64 / 1e9,
            rss_kib: self.pids.iter().filter_map(|&pid| measure::resident_kib(pid)).sum(),
        });
    }
}

impl Stage {
    /// Connects everybody and waits until all are live.
    pub fn connect(&mut self, rate: f64, in_flight: usize) -> Result<Stats> {
        self.fleet.connect(rate, in_flight)?;
        let all = u64::from(self.fleet.clients);
        let stats =
            self.fleet.wait("connecting", patience(self.fleet.clients), |s| self.sampler.see(s), |s| s.live == all);
        if stats.is_err() {
            self.server.check_alive()?;
        }
        stats
    }

    pub fn memory(&self) -> Result<Memory> {
        measure::memory_of(&self.server.pids)
    }

    pub fn cpu(&self) -> Result<u64> {
        measure::cpu_ns_of(&self.server.pids)
    }

    /// Connects everybody so that many connections are open before the first request is sent.
    pub fn connect_gathered(&mut self) -> Result<Stats> {
        self.fleet.gather(GATHERED)?;
        let all = u64::from(self.fleet.clients);
        self.fleet.wait("connecting at once", patience(self.fleet.clients), |s| self.sampler.see(s), |s| s.live == all)
    }

    /// Closes all connections and waits until the server has noticed.
    pub fn leave(&mut self) -> Result<()> {
        self.fleet.close()?;
        self.fleet.wait("leaving", patience(self.fleet.clients), |s| self.sampler.see(s), |s| s.live == 0)?;
        // The server's part of closing shows only in its idleness.
        let mut before = self.cpu()?;
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.cpu()?;
            if now - before < 2_000_000 {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// Publishes and waits until every event has arrived everywhere, or nothing moves any more.
    pub fn publish(&mut self, schedule: &Schedule) -> Result<Delivery> {
        let before = self.fleet.stats()?.delivered;
        let counts = schedule.counts();
        let due: u64 = counts.iter().map(|(&c, &n)| n * self.audience_of(c)).sum();
        self.publish_until(schedule, |stats| stats.delivered - before >= due)
    }

    /// Publishes and waits until a condition on the stats holds, or nothing moves any more.
    pub fn publish_until(&mut self, schedule: &Schedule, done: impl Fn(&Stats) -> bool) -> Result<Delivery> {
        self.fleet.reset()?;
        let before = self.fleet.stats()?;
        let (cpu, client_cpu) = (self.cpu()?, measure::cpu_ns_of(&self.fleet.pids())?);
        let started = clock::now();
        let publication = self.publisher.take().context("a publisher at rest")?.start(*schedule);
        while !publication.is_finished() {
            self.sampler.see(&self.fleet.stats()?);
            std::thread::sleep(Duration::from_millis(100));
        }
        let (publisher, published) = publication.join()?;
        self.publisher = Some(publisher);
        let after = self.fleet.settle(patience(self.fleet.clients), |s| self.sampler.see(s), done)?;
        Ok(Delivery {
            published,
            delivered: after.delivered - before.delivered,
            bytes: after.bytes - before.bytes,
            cpu: self.cpu()? - cpu,
            client_cpu: measure::cpu_ns_of(&self.fleet.pids())? - client_cpu,
            wall: clock::seconds(started, after.last_delivery.max(started)),
        })
    }

    /// Waits until all are live and nobody misses anything, or nothing moves any more.
    pub fn settle_exact(&mut self) -> Result<Stats> {
        let last = self.publisher.as_ref().context("a publisher at rest")?.last();
        let stalled = self.stalled;
        let (mut moved, mut before) = (clock::now(), (0, 0, 0));
        loop {
            let stats = self.fleet.finish(&last)?;
            self.sampler.see(&stats);
            let progress = (stats.live, stats.delivered, stats.delivered_slow);
            if progress != before {
                (before, moved) = (progress, clock::now());
            }
            let whole =
                stats.live + stalled >= u64::from(self.fleet.clients) && stats.tally.lost + stats.tally_slow.lost == 0;
            if whole || clock::now() - moved > patience(self.fleet.clients).as_nanos() as u64 {
                return Ok(stats);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Prompt readers that are subscribed to a channel.
    pub fn audience_of(&self, channel: u32) -> u64 {
        u64::from(self.audience.get(channel as usize).copied().unwrap_or(0))
    }

    /// Closes the books: what is missing, what was wrong.
    pub fn finish(mut self) -> Result<Run> {
        let last = self.publisher.as_ref().context("a publisher at rest")?.last();
        let stats = self.fleet.finish(&last)?;
        self.run.tally.add(&stats.tally);
        self.run.tally.add(&stats.tally_slow);
        if stats.violations > 0 {
            self.run.faults.push(format!("{} connections broke HTTP's rules", stats.violations));
        }
        if self.run.latency.pairs.is_empty() {
            self.run.latency = self.fleet.collect()?.latency;
        }
        self.run.figure("stolen_percent", Ticks::now()?.stolen_percent(&self.began));
        self.run.samples = std::mem::take(&mut self.sampler.samples);
        if let Err(error) = self.server.check_alive() {
            self.run.faults.push(format!("{error:#}"));
        }
        Ok(self.run)
    }
}

/// What one publication cost.
pub struct Delivery {
    pub published: Published,
    pub delivered: u64,
    /// Read by the clients, framing included.
    pub bytes: u64,
    /// Nanoseconds.
    pub cpu: u64,
    pub client_cpu: u64,
    /// Seconds.
    pub wall: f64,
}
