//! Settings: every flag of `fantail serve` with its environment variable, unit, default and range.
//!
//! Each value is checked where it is parsed (`values`); [`Serve::verify`] checks what concerns several.

mod redis_access;
pub(crate) mod values;

pub use crate::auth::settings::{AuthMode, AuthSettings};
pub use crate::http::settings::Transport;
pub(crate) use redis_access::redis_url;
pub use redis_access::{RedisAccess, RedisUrl};
pub use values::{
    Compress, Contradiction, Follow, ForwardedHeader, HeartbeatRange, RetryRange, Switch, UnreadyAfter, ValueError,
    WhenFull,
};
pub(crate) use values::{
    DAY, HOUR, MINUTE, SECOND, SHORTEST, address, bytes, duration, duration_or_never, key_prefix, number,
};
pub(crate) use values::{heartbeat_range, node_url, retry_range, truth, ttl_range, unready_after};

use crate::cors::Origin;
use clap::Args;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a node.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Addresses for clients, separated by commas.
    #[arg(
        long,
        env = "FANTAIL_LISTEN",
        value_delimiter = ',',
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS",
        value_parser = address
    )]
    pub listen: Vec<SocketAddr>,
    /// Address of probes, metrics, status and console. Keep it away from clients.
    #[arg(long, env = "FANTAIL_ADMIN_LISTEN", default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    #[arg(value_parser = address)]
    pub admin_listen: SocketAddr,
    /// Host names under which --admin-listen answers, separated by commas, in addition to addresses and private names.
    /// .NAME stands for all names below it.
    #[arg(long, env = "FANTAIL_ADMIN_HOST", value_delimiter = ',', value_name = "NAME", value_parser = host_name)]
    pub admin_host: Vec<String>,
    /// File with tokens, one per line, that console, status and actions require. Probes and metrics stay open. Reread
    /// when it changes.
    #[arg(long, env = "FANTAIL_ADMIN_TOKEN_FILE", value_name = "PATH")]
    pub admin_token_file: Option<PathBuf>,
    /// Whether the console shows the contents of events.
    #[arg(long, env = "FANTAIL_ADMIN_CONTENTS", default_value = "on", value_enum, ignore_case = true)]
    pub admin_contents: Switch,
    /// Lets the console on --admin-listen publish events, disconnect subscribers and drain this node.
    #[arg(long, env = "FANTAIL_ADMIN_ACTIONS")]
    #[arg(value_parser = truth)]
    pub admin_actions: bool,
    /// Address of Redis: redis:// or rediss://user:password@host:6379/0, unix:/path, redis-sentinel://host,host/NAME or
    /// redis-cluster://host,host. Without it the node keeps channels in its own memory.
    #[arg(long, env = "FANTAIL_REDIS", value_name = "URL")]
    #[arg(value_parser = redis_url)]
    pub redis: Option<RedisUrl>,
    #[command(flatten)]
    pub redis_access: RedisAccess,
    /// Prefix of a channel's name in its stream's key, up to 100 of A-Z a-z 0-9 _ . : ~ @ - / { }.
    #[arg(long, env = "FANTAIL_KEY_PREFIX", default_value = "sse:", value_name = "TEXT")]
    #[arg(value_parser = key_prefix)]
    pub key_prefix: String,
    /// How the node learns of new entries: by tracking (invalidation pushes), by blocking reads, or by tracking where
    /// the server allows it.
    #[arg(long, env = "FANTAIL_FOLLOW", default_value = "auto", value_enum, ignore_case = true)]
    pub follow: Follow,
    /// Pause before the next read or append while there are many, up to 20ms. It turns many small ones into few. 0s: no
    /// pause.
    #[arg(long, env = "FANTAIL_COALESCE", default_value = "1ms", value_name = "DURATION")]
    #[arg(value_parser = duration(Duration::ZERO..=Duration::from_millis(20)))]
    pub coalesce: Duration,
    /// Number of nodes on a busy stream, up to 10000, from which one of them reads it for all and passes on what is new,
    /// by sharded pub/sub of Redis 7.0. 0: each node reads for itself.
    #[arg(long, env = "FANTAIL_RELAY_FROM", default_value = "0", value_name = "N")]
    #[arg(value_parser = number(0..=10_000_u32))]
    pub relay_from: u32,
    /// Delivery threads, up to 64. 0: one per core.
    #[arg(long, env = "FANTAIL_COURIERS", default_value = "0", value_name = "N")]
    #[arg(value_parser = number(0..=64_usize))]
    pub couriers: usize,
    /// Time without a write after which the node sends a comment, 1s to 5m.
    #[arg(long, env = "FANTAIL_HEARTBEAT", default_value = "15s", value_name = "DURATION")]
    #[arg(value_parser = duration(SECOND..=5 * MINUTE))]
    pub heartbeat: Duration,
    /// Range of the heartbeats that subscriptions may request, 1s to 10m.
    #[arg(long, env = "FANTAIL_HEARTBEAT_RANGE", default_value = "1s..10m", value_name = "FROM..TO")]
    #[arg(value_parser = heartbeat_range)]
    pub heartbeat_range: HeartbeatRange,
    /// Range of the reconnect delay, 10ms to 1h. Each client is told one of its own.
    #[arg(long, env = "FANTAIL_RETRY", default_value = "1s..5s", value_name = "FROM..TO")]
    #[arg(value_parser = retry_range)]
    pub retry: RetryRange,
    /// Concurrent subscribers, up to 10000000. 0: as many as the file limit allows.
    #[arg(long, env = "FANTAIL_MAX_CONNECTIONS", default_value = "0", value_name = "N")]
    #[arg(value_parser = number(0..=10_000_000_usize))]
    pub max_connections: usize,
    /// Concurrent subscribers of one address, up to 10000000. 0: no limit.
    #[arg(long, env = "FANTAIL_MAX_CONNECTIONS_PER_ADDRESS", default_value = "0", value_name = "N")]
    #[arg(value_parser = number(0..=10_000_000_usize))]
    pub max_connections_per_address: usize,
    /// Channels of one subscription, 1 to 1000.
    #[arg(long, env = "FANTAIL_MAX_CHANNELS_PER_CONNECTION", default_value = "100", value_name = "N")]
    #[arg(value_parser = number(1..=1_000_usize))]
    pub max_channels_per_connection: usize,
    /// Channels of one subscription by QUERY, 1 to 1000.
    #[arg(long, env = "FANTAIL_MAX_CHANNELS_PER_QUERY", default_value = "300", value_name = "N")]
    #[arg(value_parser = number(1..=1_000_usize))]
    pub max_channels_per_query: usize,
    /// Subscribers of one channel on this node, up to 10000000. 0: no limit.
    #[arg(long, env = "FANTAIL_MAX_CHANNEL_SUBSCRIBERS", default_value = "0", value_name = "N")]
    #[arg(value_parser = number(0..=10_000_000_usize))]
    pub max_channel_subscribers: usize,
    /// Connections accepted per second, up to 1000000. 0: no limit.
    #[arg(long, env = "FANTAIL_ACCEPT_RATE", default_value = "0", value_name = "N")]
    #[arg(value_parser = number(0..=1_000_000_u32))]
    pub accept_rate: u32,
    /// Memory for the newest frames of all channels, in bytes, 1MiB to 1024GiB.
    #[arg(long, env = "FANTAIL_TAIL_BYTES", default_value = "64MiB", value_name = "BYTES")]
    #[arg(value_parser = bytes(1 << 20..=1 << 40))]
    pub tail_bytes: usize,
    /// Entries of history per second that the node reads for subscribers behind the tail, up to 100000000. 0: no limit.
    #[arg(long, env = "FANTAIL_REPLAY_RATE", default_value = "100000", value_name = "N")]
    #[arg(value_parser = number(0..=100_000_000_u32))]
    pub replay_rate: u32,
    /// Memory for history on its way to subscribers behind the tail, in bytes, 1MiB to 1024GiB.
    #[arg(long, env = "FANTAIL_REPLAY_BYTES", default_value = "32MiB", value_name = "BYTES")]
    #[arg(value_parser = bytes(1 << 20..=1 << 40))]
    pub replay_bytes: usize,
    /// Memory for data that full sockets did not accept, 1MiB to 1024GiB. At the limit the node evicts those that have
    /// accepted nothing for longest.
    #[arg(long, env = "FANTAIL_LEFTOVER_BYTES", default_value = "64MiB", value_name = "BYTES")]
    #[arg(value_parser = bytes(1 << 20..=1 << 40))]
    pub leftover_bytes: usize,
    /// No effect. The node paces history and never cuts it short.
    #[arg(long, env = "FANTAIL_REPLAY_LIMIT", value_name = "N")]
    #[arg(value_parser = number(1..=10_000_000_usize))]
    pub replay_limit: Option<usize>,
    /// Answer of a full node: reject with 503, after which a browser gives up for good, or 200 with a long retry.
    #[arg(long, env = "FANTAIL_WHEN_FULL", default_value = "reject", value_enum, ignore_case = true)]
    pub when_full: WhenFull,
    /// Which clients that accept gzip get it: none, those whose requests have no cookies, or all.
    #[arg(long, env = "FANTAIL_COMPRESS", default_value = "off", value_enum, ignore_case = true)]
    pub compress: Compress,
    /// Time without an event after which the node ends a subscriber, 100ms to 30days. 0s: never.
    #[arg(long, env = "FANTAIL_IDLE_TIMEOUT", default_value = "0s", value_name = "DURATION")]
    #[arg(value_parser = duration_or_never(SHORTEST..=30 * DAY))]
    pub idle_timeout: Duration,
    /// Age at which the node ends a subscriber, plus or minus 20 %, 100ms to 30days. 0s: never.
    #[arg(long, env = "FANTAIL_MAX_AGE", default_value = "0s", value_name = "DURATION")]
    #[arg(value_parser = duration_or_never(SHORTEST..=30 * DAY))]
    pub max_age: Duration,
    /// Time during which a socket accepts nothing, after which the node evicts its subscriber, 100ms to 1h.
    #[arg(long, env = "FANTAIL_STALL_TIMEOUT", default_value = "30s", value_name = "DURATION")]
    #[arg(value_parser = duration(SHORTEST..=HOUR))]
    pub stall_timeout: Duration,
    /// Publishing over HTTP. Default: on without Redis, else off.
    #[arg(long, env = "FANTAIL_PUBLISH", value_enum, ignore_case = true)]
    pub publish: Option<Switch>,
    /// Events that one address may publish over HTTP per second, up to 1000000. 0: no limit.
    #[arg(long, env = "FANTAIL_PUBLISH_RATE", default_value = "0", value_name = "N")]
    #[arg(value_parser = number(0..=1_000_000_u32))]
    pub publish_rate: u32,
    /// Largest data of an event that is published over HTTP, in bytes, 1KiB to 64MiB.
    #[arg(long, env = "FANTAIL_MAX_EVENT_BYTES", default_value = "1MiB", value_name = "BYTES")]
    #[arg(value_parser = bytes(1 << 10..=64 << 20))]
    pub max_event_bytes: usize,
    /// Largest event, both as sent to clients and as stored in Redis, in bytes, 64KiB to 512MiB. The node announces a
    /// larger one as a gap.
    #[arg(long, env = "FANTAIL_MAX_ENTRY_BYTES", default_value = "64MiB", value_name = "BYTES")]
    #[arg(value_parser = bytes(64 << 10..=512 << 20))]
    pub max_entry_bytes: usize,
    /// Number of entries, approximately, to which the node trims a stream when it publishes, and the largest maxlen of
    /// a POST, up to 1000000000. 0: no trimming.
    #[arg(long, env = "FANTAIL_PUBLISH_MAXLEN", default_value = "10000", value_name = "N")]
    #[arg(value_parser = number(0..=1_000_000_000_u64))]
    pub publish_maxlen: u64,
    /// Allowed range of the parameter ttl of a POST, 1s to 365days.
    #[arg(long, env = "FANTAIL_PUBLISH_TTL", default_value = "1s..365days", value_name = "FROM..TO")]
    #[arg(value_parser = ttl_range)]
    pub publish_ttl: RetryRange,
    /// Publishes a small event to the channel demo each second.
    #[arg(long, env = "FANTAIL_DEMO")]
    #[arg(value_parser = truth)]
    pub demo: bool,
    /// Origins whose pages may read and publish, separated by commas. * stands for any page, without credentials.
    #[arg(long, env = "FANTAIL_CORS_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub cors_origin: Vec<Origin>,
    /// After SIGTERM: time during which the node still accepts connections, up to 10m.
    #[arg(long, env = "FANTAIL_DRAIN_DELAY", default_value = "0s", value_name = "DURATION")]
    #[arg(value_parser = duration(Duration::ZERO..=10 * MINUTE))]
    pub drain_delay: Duration,
    /// After SIGTERM and the delay: time over which the node ends subscribers evenly, up to 1h.
    #[arg(long, env = "FANTAIL_DRAIN", default_value = "20s", value_name = "DURATION")]
    #[arg(value_parser = duration(Duration::ZERO..=HOUR))]
    pub drain: Duration,
    /// Time without Redis after which the node reports that it is not ready, 100ms to 1day, or never.
    #[arg(long, env = "FANTAIL_UNREADY_AFTER", default_value = "30s", value_name = "DURATION")]
    #[arg(value_parser = unready_after)]
    pub unready_after: UnreadyAfter,
    /// Networks of proxies that may name the client they speak for, such as 10.0.0.0/8, separated by commas.
    #[arg(long, env = "FANTAIL_TRUSTED_PROXIES", value_delimiter = ',', value_name = "CIDR", value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    #[command(flatten)]
    pub auth: AuthSettings,
    #[command(flatten)]
    pub transport: Transport,
}

impl Serve {
    /// Whether clients may publish over HTTP.
    pub fn may_publish(&self) -> bool {
        self.publish.map_or(self.redis.is_none(), |s| s == Switch::On)
    }

    /// A line for each setting that is given and has no effect.
    pub fn without_effect(&self) -> Option<&'static str> {
        let line = "--replay-limit has no effect any more: history is paced by --replay-rate, and never cut short";
        self.replay_limit.map(|_| line)
    }

    /// Checks what concerns several settings.
    pub fn verify(&self) -> Result<(), Contradiction> {
        let wrong = |text: String| Err(Contradiction(text));
        self.transport.verify()?;
        if self.transport.proxy_protocol && self.trusted_proxies.is_empty() {
            return wrong("--proxy-protocol: it needs --trusted-proxies".into());
        }
        for (at, address) in self.listen.iter().enumerate() {
            if overlap(*address, self.admin_listen) {
                return wrong(format!("--admin-listen {}: --listen {address} takes the same port", self.admin_listen));
            }
            if let Some(other) = self.listen[..at].iter().find(|other| overlap(**other, *address)) {
                return wrong(format!("--listen {address}: {other} takes the same port"));
            }
        }
        if self.redis.is_none() && self.follow != Follow::Auto {
            // Most likely --redis was forgotten, and each node would be alone without saying so.
            return wrong(format!("--follow {:?}: it needs --redis", self.follow).to_lowercase());
        }
        let cluster = |url: &RedisUrl| url.to_string().contains("cluster://");
        if self.follow == Follow::Block && self.redis.as_ref().is_some_and(cluster) {
            return wrong("--follow block: a cluster can only be followed by tracking".into());
        }
        self.redis_access.verify(self.redis.as_ref())?;
        if self.max_event_bytes > self.tail_bytes {
            return wrong(format!(
                "--max-event-bytes {}: more than --tail-bytes {}",
                self.max_event_bytes, self.tail_bytes
            ));
        }
        if self.max_event_bytes > self.max_entry_bytes {
            return wrong(format!(
                "--max-event-bytes {}: more than --max-entry-bytes {}",
                self.max_event_bytes, self.max_entry_bytes
            ));
        }
        if self.cors_origin.len() > 1 && self.cors_origin.contains(&Origin::Any) {
            return wrong("--cors-origin *: it stands alone, for it allows every origin".into());
        }
        self.auth.verify()
    }
}

/// The name of a host, or a suffix that begins with a dot; in lower case.
fn host_name(text: &str) -> Result<String, ValueError> {
    let name = text.strip_prefix('.').unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    match name.split('.').all(is_label) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(ValueError::new("not a host's name, without scheme and port, nor a suffix such as .example.org")),
    }
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, ValueError> {
    let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let neither = || ValueError::new("neither a network such as 10.0.0.0/8 nor an address");
    text.parse().ok().or_else(one).ok_or_else(neither)
}

/// Whether both cannot be bound: the same port at the same address, or at an address that stands for all.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    // Linux binds [::] for IPv4 too.
    let meet = |all_of: IpAddr, one: IpAddr| all_of.is_unspecified() && (all_of.is_ipv6() || one.is_ipv4());
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || meet(a.ip(), b.ip()) || meet(b.ip(), a.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{FromArgMatches, Parser};

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        serve: Serve,
    }

    fn serve(flags: &[&str]) -> Serve {
        // The tester's environment must not decide.
        let command = <Flags as clap::CommandFactory>::command().mut_args(|arg| arg.env(None::<&str>));
        let matches = command.get_matches_from(std::iter::once(&"fantail").chain(flags));
        Flags::from_arg_matches(&matches).expect("flags that clap took").serve
    }

    #[test]
    fn defaults_are_consistent_and_publish_only_without_redis() {
        let settings = serve(&[]);
        assert_eq!(settings.verify(), Ok(()));
        assert_eq!((settings.tail_bytes, settings.heartbeat, settings.demo), (64 << 20, 15 * SECOND, false));
        assert!(settings.may_publish());
        assert!(!serve(&["--redis", "redis://h"]).may_publish());
        assert!(serve(&["--redis", "redis://h", "--publish", "on"]).may_publish());
        assert!(!serve(&["--publish", "OFF"]).may_publish());
    }

    #[test]
    fn a_password_is_not_shown() {
        let settings = serve(&["--redis", "redis://u:secret@h"]);
        assert!(!format!("{settings:?}").contains("secret"), "{settings:?}");
    }

    #[test]
    fn contradictions_are_named() {
        let wrong: &[(&[&str], &str)] = &[
            (
                &["--listen", "127.0.0.1:9090"],
                "--admin-listen 127.0.0.1:9090: --listen 127.0.0.1:9090 takes the same port",
            ),
            (&["--listen", "0.0.0.0:9090"], "--admin-listen 127.0.0.1:9090: --listen 0.0.0.0:9090 takes the same port"),
            (&["--listen", "127.0.0.1:1,127.0.0.1:1"], "--listen 127.0.0.1:1: 127.0.0.1:1 takes the same port"),
            (&["--follow", "block"], "--follow block: it needs --redis"),
            (
                &["--follow", "block", "--redis", "redis-cluster://h"],
                "--follow block: a cluster can only be followed by tracking",
            ),
            (&["--tls-cert", "/p"], "--tls-cert: it needs --tls-key"),
            (&["--tls-key", "/p"], "--tls-key: it needs --tls-cert"),
            (&["--proxy-protocol"], "--proxy-protocol: it needs --trusted-proxies"),
            (&["--redis-password-file", "/p"], "--redis-password-file: it needs --redis"),
            (
                &["--redis", "redis://h", "--redis-ca", "/p"],
                "--redis redis://h:6379/0: ca, cert and key are for TLS: rediss://, rediss-sentinel:// or rediss-cluster://",
            ),
            (
                &["--redis", "rediss://h", "--redis-key", "/p"],
                "--redis rediss://h:6379/0: cert and key belong together",
            ),
            (
                &["--max-event-bytes", "2MiB", "--max-entry-bytes", "1MiB"],
                "--max-event-bytes 2097152: more than --max-entry-bytes 1048576",
            ),
            (
                &["--max-event-bytes", "2MiB", "--tail-bytes", "1MiB"],
                "--max-event-bytes 2097152: more than --tail-bytes 1048576",
            ),
            (&["--cors-origin", "*,https://a"], "--cors-origin *: it stands alone, for it allows every origin"),
        ];
        for (flags, line) in wrong {
            assert_eq!(serve(flags).verify().unwrap_err().to_string(), *line);
        }
        assert_eq!(serve(&["--listen", "127.0.0.1:0,[::1]:0", "--admin-listen", "127.0.0.1:0"]).verify(), Ok(()));
        assert!(serve(&["--listen", "[::]:9090"]).verify().is_err());
        assert_eq!(serve(&["--listen", "0.0.0.0:1", "--admin-listen", "[::1]:1"]).verify(), Ok(()));
    }
}
