//! Settings: every flag of `fantail serve` with its environment variable, unit, default and range.

use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::time::Duration;

/// Settings of a node.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Addresses to serve clients on.
    #[arg(
        long,
        env = "FANTAIL_LISTEN",
        value_delimiter = ',',
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    pub listen: Vec<SocketAddr>,
    /// Address of probes, metrics and status.
    #[arg(long, env = "FANTAIL_ADMIN_LISTEN", default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    pub admin_listen: SocketAddr,
    /// Redis URL; without it the node keeps channels in its own memory.
    #[arg(long, env = "FANTAIL_REDIS", value_name = "URL")]
    pub redis: Option<String>,
    /// What precedes a channel's name in its stream's key.
    #[arg(long, env = "FANTAIL_KEY_PREFIX", default_value = "sse:", value_name = "TEXT")]
    pub key_prefix: String,
    /// How the node learns of new entries.
    #[arg(long, env = "FANTAIL_FOLLOW", default_value = "auto", value_enum)]
    pub follow: Follow,
    /// Time without a write after which a comment is sent.
    #[arg(long, env = "FANTAIL_HEARTBEAT", default_value = "15s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub heartbeat: Duration,
    /// Range of the reconnect delay that clients are told; each gets its own.
    #[arg(long, env = "FANTAIL_RETRY", default_value = "1s..5s", value_parser = retry_range, value_name = "FROM..TO")]
    pub retry: RetryRange,
    /// Subscribers at once; 0: as many as the file limit allows.
    #[arg(long, env = "FANTAIL_MAX_CONNECTIONS", default_value_t = 0, value_name = "N")]
    pub max_connections: usize,
    /// Subscribers at once from one address; 0: no limit.
    #[arg(long, env = "FANTAIL_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = 0, value_name = "N")]
    pub max_connections_per_address: usize,
    /// Channels of one subscription.
    #[arg(long, env = "FANTAIL_MAX_CHANNELS_PER_CONNECTION", default_value_t = 100, value_name = "N")]
    pub max_channels_per_connection: usize,
    /// Subscribers of one channel on this node; 0: no limit.
    #[arg(long, env = "FANTAIL_MAX_CHANNEL_SUBSCRIBERS", default_value_t = 0, value_name = "N")]
    pub max_channel_subscribers: usize,
    /// Connections accepted per second; 0: no limit.
    #[arg(long, env = "FANTAIL_ACCEPT_RATE", default_value_t = 0, value_name = "N")]
    pub accept_rate: u32,
    /// Memory for the newest frames of all channels, in bytes.
    #[arg(long, env = "FANTAIL_TAIL_BYTES", default_value_t = 64 << 20, value_name = "BYTES")]
    pub tail_bytes: usize,
    /// Events of history per channel that one subscription gets at most.
    #[arg(long, env = "FANTAIL_REPLAY_LIMIT", default_value_t = 100_000, value_name = "N")]
    pub replay_limit: usize,
    /// Time without an event after which a subscriber is ended; 0s: never.
    #[arg(long, env = "FANTAIL_IDLE_TIMEOUT", default_value = "0s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub idle_timeout: Duration,
    /// Age at which a subscriber is ended, give or take 20 %; 0s: never.
    #[arg(long, env = "FANTAIL_MAX_AGE", default_value = "0s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub max_age: Duration,
    /// Time for which a socket may take nothing before its subscriber is evicted.
    #[arg(long, env = "FANTAIL_STALL_TIMEOUT", default_value = "30s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub stall_timeout: Duration,
    /// What a full node answers.
    #[arg(long, env = "FANTAIL_WHEN_FULL", default_value = "reject", value_enum)]
    pub when_full: WhenFull,
    /// Publishing over HTTP; without the flag: on without Redis, else off.
    #[arg(long, env = "FANTAIL_PUBLISH", value_enum)]
    pub publish: Option<Switch>,
    /// Events that one address may publish over HTTP per second; 0: no limit.
    #[arg(long, env = "FANTAIL_PUBLISH_RATE", default_value_t = 0, value_name = "N")]
    pub publish_rate: u32,
    /// Largest data of an event published over HTTP, in bytes.
    #[arg(long, env = "FANTAIL_MAX_EVENT_BYTES", default_value_t = 1 << 20, value_name = "BYTES")]
    pub max_event_bytes: usize,
    /// Entries that a stream keeps (about) when the node publishes to it; 0: all.
    #[arg(long, env = "FANTAIL_PUBLISH_MAXLEN", default_value_t = 10_000, value_name = "N")]
    pub publish_maxlen: u64,
    /// Origins whose pages may read and publish; `*` for any, without credentials.
    #[arg(long, env = "FANTAIL_CORS_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub cors_origin: Vec<String>,
    /// After SIGTERM: time for which connections are still accepted.
    #[arg(long, env = "FANTAIL_DRAIN_DELAY", default_value = "0s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub drain_delay: Duration,
    /// After SIGTERM and the delay: time over which subscribers are ended evenly.
    #[arg(long, env = "FANTAIL_DRAIN", default_value = "20s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub drain: Duration,
    /// Time without the backplane after which the node says it is not ready; `never` is allowed.
    #[arg(long, env = "FANTAIL_UNREADY_AFTER", default_value = "30s", value_parser = unready_after, value_name = "DURATION")]
    pub unready_after: UnreadyAfter,
    /// Delivery threads; 0: one per core.
    #[arg(long, env = "FANTAIL_COURIERS", default_value_t = 0, value_name = "N")]
    pub couriers: usize,
    /// Publishes a small event to the channel `demo` each second.
    #[arg(long, env = "FANTAIL_DEMO")]
    pub demo: bool,
}

/// How the node learns of new entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Follow {
    /// Tracking where the server allows it, else block.
    Auto,
    /// Invalidation pushes (`CLIENT TRACKING`).
    Tracking,
    /// Blocking `XREAD`.
    Block,
}

/// What a full node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhenFull {
    /// 503, after which a browser's EventSource gives up for good.
    Reject,
    /// 200 with a long `retry:`, then the end: EventSource comes back.
    Retry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    Off,
    On,
}

/// A range of reconnect delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryRange {
    pub from: Duration,
    pub to: Duration,
}

impl RetryRange {
    /// A delay from the range, in whole milliseconds.
    pub fn pick_ms(&self) -> u64 {
        fastrand::u64(self.from.as_millis() as u64..=self.to.as_millis() as u64)
    }
}

fn retry_range(text: &str) -> Result<RetryRange, String> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let parse = |t: &str| humantime::parse_duration(t).map_err(|e| e.to_string());
    let range = RetryRange { from: parse(from)?, to: parse(to)? };
    if range.from > range.to {
        return Err("the range ends before it begins".into());
    }
    Ok(range)
}

/// `None` is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreadyAfter(pub Option<Duration>);

fn unready_after(text: &str) -> Result<UnreadyAfter, String> {
    if text == "never" {
        return Ok(UnreadyAfter(None));
    }
    humantime::parse_duration(text).map(|d| UnreadyAfter(Some(d))).map_err(|e| e.to_string())
}

impl Serve {
    /// Whether clients may publish over HTTP.
    pub fn may_publish(&self) -> bool {
        self.publish.map_or(self.redis.is_none(), |s| s == Switch::On)
    }
}
