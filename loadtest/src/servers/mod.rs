//! The servers that are measured: each is a process of its own, asked and fed in its own way.

mod addressed;
mod centrifugo;
mod certificate;
pub mod fault;
pub mod floor;
mod floor_session;
pub mod front;
pub mod hyper_body;
mod nchan;
mod nginx;
pub mod node;
pub mod pubsub_floor;
mod redis_feed;

use crate::clients::protocol::Paths;
use crate::clients::way::Way;
use crate::process::{Process, free_address, wait_until};
use crate::publisher::Sink;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Names of servers that results are compared with, as [`Kind`] writes them.
pub const FLOOR: &str = "floor";
pub const FLOOR_REDIS: &str = "floor behind Redis";
pub const FLOOR_TLS: &str = "floor TLS";
pub const NODE: &str = "fantail";
pub const NODE_WHERE: &str = "fantail where";
pub const NODE_TLS: &str = "fantail TLS";
pub const NODE_HTTP2: &str = "fantail HTTP/2";
pub const NODE_TLS_HTTP2: &str = "fantail HTTP/2 TLS";
pub const NODE_HTTP2_STREAMS: &str = "fantail HTTP/2, 6 streams";
pub const NODE_TLS_HTTP2_STREAMS: &str = "fantail HTTP/2 TLS, 6 streams";
pub const FRONT_TLS: &str = "nginx TLS, fantail";
pub const FRONT_TLS_HTTP2: &str = "nginx HTTP/2 TLS, fantail";
pub const BEFORE: &str = "fantail before";
pub const NCHAN: &str = "nchan";
pub const CENTRIFUGO: &str = "centrifugo";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Floor,
    /// The floor that takes its events from Redis as the node does: a push, then a read.
    FloorRedis,
    /// The floor under TLS: handshakes and records by rustls in one loop.
    FloorTls,
    Node,
    /// A node of another build, that of `--before`.
    Before,
    /// The node, its clients asking with one filter on fields, which lets all pass.
    NodeWhere,
    /// The node, its clients asking for a filter, for types by channel, and for a heartbeat of their own.
    NodeShaped,
    /// The node, its clients asking for gzip.
    NodeGzip,
    /// The node under TLS.
    NodeTls,
    /// The node under TLS whose records the TLS library makes.
    NodeTlsLibrary,
    /// The node with HTTP/2, a stream per connection.
    NodeHttp2,
    /// Both.
    NodeTlsHttp2,
    /// The node with HTTP/2, several streams on each connection.
    NodeHttp2Streams,
    /// The same under TLS.
    NodeTlsHttp2Streams,
    /// nginx as the end of TLS before the node.
    FrontTls,
    /// nginx as the end of HTTP/2 under TLS before the node.
    FrontTlsHttp2,
    Nchan,
    Centrifugo,
    HyperBody,
    /// The plain way with a compressor for each connection.
    HyperBodyGzip,
}

impl Kind {
    pub fn is_node(self) -> bool {
        let plain = matches!(self, Kind::Node | Kind::Before | Kind::NodeWhere | Kind::NodeShaped | Kind::NodeGzip);
        plain || self.way() != Way::Plain && self != Kind::FloorTls
    }

    /// Whether it is ours, so that whoever it serves must be exact.
    pub fn is_judged(self) -> bool {
        let not_ours = matches!(self, Kind::Before | Kind::FrontTls | Kind::FrontTlsHttp2);
        self == Kind::Floor || (self.is_node() && !not_ours)
    }

    /// Whether it is the bare limit of what a node does.
    pub fn is_floor(self) -> bool {
        matches!(self, Kind::Floor | Kind::FloorRedis)
    }

    /// Whether its events are published to Redis.
    pub fn reads_redis(self) -> bool {
        self.is_node() || self == Kind::FloorRedis
    }

    /// How its clients speak.
    pub fn way(self) -> Way {
        match self {
            Kind::NodeTls | Kind::NodeTlsLibrary | Kind::FloorTls | Kind::FrontTls => Way::Tls,
            Kind::NodeHttp2 | Kind::NodeHttp2Streams => Way::Http2,
            Kind::NodeTlsHttp2 | Kind::NodeTlsHttp2Streams | Kind::FrontTlsHttp2 => Way::TlsHttp2,
            _ => Way::Plain,
        }
    }

    /// Whether its clients have several streams on a connection.
    pub fn has_streams(self) -> bool {
        matches!(self, Kind::NodeHttp2Streams | Kind::NodeTlsHttp2Streams)
    }

    /// What its clients ask for beside their channels.
    pub fn asks(self) -> &'static str {
        match self {
            Kind::NodeWhere => "&where=event=message",
            Kind::NodeShaped => "&where=event=message&type=channel&heartbeat=4s",
            _ => "",
        }
    }

    /// Whether its clients ask for gzip.
    pub fn is_packed(self) -> bool {
        matches!(self, Kind::NodeGzip | Kind::HyperBodyGzip)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Floor => FLOOR,
            Kind::FloorRedis => FLOOR_REDIS,
            Kind::FloorTls => FLOOR_TLS,
            Kind::Node => NODE,
            Kind::Before => BEFORE,
            Kind::NodeWhere => NODE_WHERE,
            Kind::NodeShaped => "fantail shaped",
            Kind::NodeGzip => "fantail gzip",
            Kind::NodeTls => NODE_TLS,
            Kind::NodeTlsLibrary => "fantail TLS by rustls",
            Kind::NodeHttp2 => NODE_HTTP2,
            Kind::NodeTlsHttp2 => NODE_TLS_HTTP2,
            Kind::NodeHttp2Streams => NODE_HTTP2_STREAMS,
            Kind::NodeTlsHttp2Streams => NODE_TLS_HTTP2_STREAMS,
            Kind::FrontTls => FRONT_TLS,
            Kind::FrontTlsHttp2 => FRONT_TLS_HTTP2,
            Kind::Nchan => NCHAN,
            Kind::Centrifugo => CENTRIFUGO,
            Kind::HyperBody => "hyper-body",
            Kind::HyperBodyGzip => "hyper-body gzip",
        })
    }
}

/// How to start one.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    pub core: Option<usize>,
    pub redis: Option<SocketAddr>,
    /// Its replicas, where nodes are to read from those.
    pub replicas: &'a [SocketAddr],
    pub binary: Option<&'a Path>,
    pub node_arguments: &'a [String],
    pub couriers: usize,
    /// Seconds; `None` for the server's default (the floor, nchan and hyper-body: none).
    pub heartbeat: Option<u64>,
    /// Bytes of an id in the floor's frames.
    pub id_length: usize,
    /// The floor sends an event to its channel's sockets alone.
    pub apart: bool,
    pub fault: Option<(fault::Kind, u64)>,
}

/// A running server.
pub struct Server {
    pub kind: Kind,
    pub listen: SocketAddr,
    pub admin: Option<SocketAddr>,
    feed: Option<SocketAddr>,
    pub paths: Paths,
    pub live_at_block: bool,
    /// Whose CPU and memory are measured.
    pub pids: Vec<u32>,
    process: Option<Process>,
    directory: Option<tempfile::TempDir>,
    /// The node behind a front.
    behind: Option<Box<Server>>,
}

impl Server {
    pub fn start(kind: Kind, start: &Start<'_>) -> Result<Server> {
        match kind {
            Kind::Floor | Kind::FloorRedis | Kind::FloorTls => own(kind, "serve-floor", start),
            Kind::HyperBody | Kind::HyperBodyGzip => own(kind, "serve-hyper-body", start),
            Kind::Nchan => nchan::start(start),
            Kind::Centrifugo => centrifugo::start(start),
            Kind::FrontTls | Kind::FrontTlsHttp2 => front::start(kind, start),
            _ => node::start(kind, start),
        }
    }

    /// A node that runs already.
    pub fn given(listen: SocketAddr, pid: Option<u32>) -> Server {
        Server {
            kind: Kind::Node,
            listen,
            admin: None,
            feed: None,
            paths: Paths::Events,
            live_at_block: true,
            pids: pid.into_iter().collect(),
            process: None,
            directory: None,
            behind: None,
        }
    }

    /// Where events for it are published; `keep` entries stay in a Redis stream.
    pub fn sink(&self, redis: Option<SocketAddr>, keep: u64) -> Result<Sink> {
        match self.kind {
            Kind::Floor | Kind::FloorTls | Kind::HyperBody | Kind::HyperBodyGzip => {
                Sink::feed(self.feed.context("no feed")?)
            }
            Kind::Nchan => Sink::nchan(self.listen),
            _ => Sink::redis(redis.context("no Redis")?, keep),
        }
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        // nginx's worker first: it would outlive a master that is killed.
        for &pid in &self.pids {
            let pid = Pid::from_raw(pid as i32).context("no process")?;
            kill_process(pid, Signal::KILL)?;
        }
        self.process = None;
        self.pids.clear();
        Ok(())
    }

    pub fn check_alive(&mut self) -> Result<()> {
        let alive = self.process.as_mut().map_or(Ok(()), Process::check_alive);
        if let Some(behind) = &mut self.behind {
            behind.check_alive()?;
        }
        let log = self.directory.as_ref().map(|d| d.path().join("node.log"));
        alive.with_context(|| log.map_or(String::new(), |log| format!("its log ends: {}", node::tail(&log))))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let (Some(process), Kind::Nchan | Kind::FrontTls | Kind::FrontTlsHttp2) = (&self.process, self.kind) else {
            return;
        };
        // The master ends its worker only if asked.
        let _ = process.signal(Signal::TERM);
        let _ = self.process.as_mut().map(|p| p.wait(Duration::from_secs(5)));
    }
}

/// A server of this program, under a hidden subcommand.
fn own(kind: Kind, subcommand: &str, start: &Start<'_>) -> Result<Server> {
    let (listen, feed) = (free_address()?, free_address()?);
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(subcommand).arg("--listen").arg(listen.to_string()).arg("--feed").arg(feed.to_string());
    if let Some(every) = start.heartbeat {
        command.arg("--heartbeat").arg(every.to_string());
    }
    if kind.is_packed() {
        command.arg("--gzip");
    }
    if kind == Kind::FloorRedis
        && let Some(redis) = start.redis
    {
        command.arg("--redis").arg(redis.to_string());
    }
    if kind == Kind::FloorTls {
        command.arg("--tls");
    }
    if matches!(kind, Kind::Floor | Kind::FloorRedis | Kind::FloorTls) {
        command.arg("--id-length").arg(start.id_length.to_string());
        if start.apart {
            command.arg("--apart");
        }
        if let Some((fault, every)) = start.fault {
            let name = format!("{fault:?}").to_lowercase();
            command.arg("--fault").arg(name).arg("--every").arg(every.to_string());
        }
    }
    command.stdin(Stdio::null());
    let mut process = Process::start(subcommand, &mut command, start.core)?;
    wait_until(subcommand, Duration::from_secs(10), &mut process, || {
        TcpStream::connect_timeout(&feed, Duration::from_secs(1))?;
        Ok(())
    })?;
    Ok(Server {
        kind,
        listen,
        admin: None,
        feed: Some(feed),
        paths: Paths::Events,
        live_at_block: true,
        pids: vec![process.pid()],
        process: Some(process),
        directory: None,
        behind: None,
    })
}

/// The body of a GET that must answer 200 within two seconds.
pub fn get(address: SocketAddr, path: &str) -> Result<String> {
    let limit = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no response")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{path}: {}", head.lines().next().unwrap_or(""));
    Ok(body.to_owned())
}

/// A metric of a node's, by its name and labels as `/metrics` writes them; 0 where it is not there.
pub fn counter(admin: SocketAddr, name: &str) -> Result<f64> {
    let text = get(admin, "/metrics")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(Ok(0.0), |value| value.trim().parse().with_context(|| format!("{name} is {value}")))
}

/// Reads `http://host:port` or `host:port`.
pub fn address(url: &str) -> Result<SocketAddr> {
    use std::net::ToSocketAddrs as _;
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    let Some(address) = rest.to_socket_addrs().with_context(|| format!("not an address: {url}"))?.find(|a| a.is_ipv4())
    else {
        bail!("no IPv4 address: {url}");
    };
    Ok(address)
}
