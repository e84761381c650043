//! The command line.

use crate::servers::{floor, hyper_body};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Load generator, exactness checker and benchmark of Fantail.
///
/// Starts what it needs: a Redis of its own, nodes from the release binary, clients in processes of their own. On a
/// machine with two cores or more, the server that is measured has core 0, clients and Redis have core 1. Exit code 1
/// if a subscriber did not receive exactly what it had to, or a given limit is broken.
#[derive(Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    pub what: What,
}

/// What to do.
#[derive(Subcommand)]
pub enum What {
    /// The bare limit: one loop over non-blocking sockets, no HTTP server
    Floor(Options),
    /// Many subscribers of one channel: CPU per delivery, time to the last socket
    Fanout(Options),
    /// Many channels, each subscriber on some; --users: one of its own and three shared ones
    Channels(Options),
    /// From 1 to 100,000 followed channels at a constant rate of events: the CPU of Redis per event
    Follow(Options),
    /// Bursts of 100 events: what coalescing gives
    Burst(Options),
    /// Compressed streams: CPU and bytes per delivery, beside plain ones and a compressor per connection
    Compress(Options),
    /// TLS and HTTP/2: CPU per delivery and memory, beside HTTP/1.1 in the clear and a bare loop of TLS sessions; without
    /// --subscribers also what streams and handshakes have
    Ways(Options),
    /// Six HTTP/2 streams on one connection, beside six connections
    Streams(Options),
    /// TLS handshakes, whole and resumed, beside a bare loop of them
    Handshakes(Options),
    /// Idle connections: memory each, after churn and storms too; the cost of heartbeats
    Hold(Options),
    /// Connects and disconnects at a rate, while events flow
    Churn(Options),
    /// All clients of a killed node resume on another
    Storm(Options),
    /// A share of readers that read slowly or never: what the others notice
    Slow(Options),
    /// Light load: XADD to socket
    Lag(Options),
    /// Events to single subscribers, each on a channel of its own, by XADD and by POST: CPU per event
    Unicast(Options),
    /// From 1 to 40 nodes that follow the same channels: the CPU of Redis for each further one
    Nodes(Options),
    /// Many nodes, one Redis, up to a million connections
    Cluster(Options),
    /// A full node with twice the load that it can deliver
    Overload(Options),
    /// Everything mixed, for --seconds: memory must stay flat
    Soak(Options),
    /// What the node asks of kernel and Redis per delivery, event and join (needs strace)
    Counts(Options),
    /// A bounded selection, at most 30 minutes
    All(Options),
    /// Two minutes of everything small: exactness only, no timings judged
    Smoke(Options),
    /// The checker against a server that drops, repeats and reorders on purpose
    Selftest(Options),
    #[command(hide = true)]
    Clients,
    #[command(hide = true)]
    ServeFloor(floor::Floor),
    #[command(hide = true)]
    ServeHyperBody(hyper_body::HyperBody),
}

impl What {
    /// The options of a scenario; the defaults for what is none.
    pub fn options(&self) -> Options {
        match self {
            What::Floor(o) | What::Fanout(o) | What::Channels(o) | What::Burst(o) | What::Hold(o) => o.clone(),
            What::Churn(o) | What::Storm(o) | What::Slow(o) | What::Lag(o) | What::Cluster(o) => o.clone(),
            What::Unicast(o) | What::Nodes(o) | What::Streams(o) | What::Handshakes(o) => o.clone(),
            What::Overload(o) | What::Follow(o) | What::Compress(o) | What::Ways(o) => o.clone(),
            What::Soak(o) | What::Counts(o) | What::All(o) | What::Smoke(o) | What::Selftest(o) => o.clone(),
            What::Clients | What::ServeFloor(_) | What::ServeHyperBody(_) => Options::default(),
        }
    }
}

/// Another server to run beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Against {
    Nchan,
    Centrifugo,
    HyperBody,
    /// nginx as the end of TLS and HTTP/2 before a node (ways, handshakes)
    Nginx,
}

/// A way in for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// `XADD`.
    Xadd,
    /// `POST` to a server with Redis behind it.
    Post,
    /// `POST` to a server that keeps events in memory.
    Memory,
}

/// Options of all scenarios; each has its own defaults for sizes.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// The node's binary [default: fantail beside this program]
    #[arg(long)]
    pub node: Option<PathBuf>,
    /// Another build's binary, measured beside the node in the same run
    #[arg(long, value_name = "BINARY", conflicts_with = "url")]
    pub before: Option<PathBuf>,
    /// An argument for every node, such as --node-arg=--heartbeat=5s; repeatable
    #[arg(long = "node-arg", allow_hyphen_values = true)]
    pub node_arguments: Vec<String>,
    /// Courier threads of each node
    #[arg(long, default_value_t = 1)]
    pub couriers: usize,
    /// A node that runs already, instead of starting one; needs --redis
    #[arg(long, requires = "redis")]
    pub url: Option<String>,
    /// The process of the node at --url, to measure its CPU and memory
    #[arg(long, requires = "url")]
    pub pid: Option<u32>,
    /// A Redis that runs already, instead of starting one
    #[arg(long)]
    pub redis: Option<String>,
    /// Replicas that are started with the Redis, from which nodes read
    #[arg(long, default_value_t = 0, conflicts_with = "redis")]
    pub replicas: usize,
    /// Subscribers
    #[arg(long, short = 'n', visible_alias = "connections")]
    pub subscribers: Option<u32>,
    /// Events per second
    #[arg(long)]
    pub rate: Option<f64>,
    /// Bytes of data of an event
    #[arg(long)]
    pub size: Option<usize>,
    /// How long events flow, in seconds
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Events that are published at once
    #[arg(long)]
    pub burst: Option<u32>,
    /// Channels
    #[arg(long)]
    pub channels: Option<u32>,
    /// Each subscriber on a channel of its own and three shared ones
    #[arg(long)]
    pub users: bool,
    /// Nodes (cluster; nodes: beside one)
    #[arg(long)]
    pub nodes: Option<u32>,
    /// Ways in for events [default: all] (unicast)
    #[arg(long, value_delimiter = ',')]
    pub by: Vec<Way>,
    /// Look for the most events per second that a node keeps up with, too, for --seconds [default: 20] each (unicast)
    #[arg(long)]
    pub most: bool,
    /// Client processes [default: as many as descriptors demand]
    #[arg(long)]
    pub workers: Option<u32>,
    /// How often everything is measured, in alternation
    #[arg(long)]
    pub runs: Option<u32>,
    /// Other servers to measure beside
    #[arg(long, value_delimiter = ',')]
    pub against: Vec<Against>,
    /// Leave the floor out
    #[arg(long)]
    pub without_floor: bool,
    /// Leave the node out
    #[arg(long)]
    pub without_node: bool,
    /// Let the kernel choose cores
    #[arg(long)]
    pub no_pin: bool,
    /// All results as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// A directory for report.html
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// A Markdown file with the results, and a plot beside it
    #[arg(long)]
    pub results: Option<PathBuf>,
    #[command(flatten)]
    pub limits: Limits,
}

/// Limits that decide on the exit code; each is about the node's medians.
#[derive(Args, Clone, Debug, Default)]
pub struct Limits {
    /// Events lost silently, over all runs
    #[arg(long, default_value_t = 0, help_heading = "Limits")]
    pub max_lost: u64,
    /// CPU per delivery, as a multiple of the floor's
    #[arg(long, help_heading = "Limits")]
    pub max_ratio: Option<f64>,
    /// Time to the last socket, as a multiple of the floor's
    #[arg(long, help_heading = "Limits")]
    pub max_last_ratio: Option<f64>,
    /// Milliseconds to read, median
    #[arg(long, help_heading = "Limits")]
    pub max_p50: Option<f64>,
    /// Milliseconds to read, 99th percentile
    #[arg(long, help_heading = "Limits")]
    pub max_p99: Option<f64>,
    /// User memory per connection in KiB
    #[arg(long, help_heading = "Limits")]
    pub max_memory: Option<f64>,
    /// Growth of memory in KiB per minute in the second half of a soak [default: 256]
    #[arg(long, help_heading = "Limits")]
    pub max_growth: Option<f64>,
    /// Joins per second in a storm
    #[arg(long, help_heading = "Limits")]
    pub min_joins: Option<f64>,
    /// Redis reads per client in a storm
    #[arg(long, help_heading = "Limits")]
    pub max_reads: Option<f64>,
    /// Judge by the design's goals
    #[arg(long, help_heading = "Limits")]
    pub goals: bool,
}
