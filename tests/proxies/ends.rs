//! How streams end through each proxy: what invites back arrives as that, and no node is taken for a broken one for it.

use crate::site::Site;
use crate::support::client::{Connection, Head};
use crate::support::node::eventually;
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const ROUNDS: usize = 6;
/// Of each kind in a round.
const STREAMS: usize = 10;

/// What makes a proxy leave a node out at the first failure that it counts, where it would not by itself.
fn strict(name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        "nginx" => &[("server 127.0.0.1:8080;", "server 127.0.0.1:8080 max_fails=1 fail_timeout=60s;")],
        "haproxy" => {
            &[("send-proxy-v2", "send-proxy-v2 check observe layer7 error-limit 1 on-error mark-down inter 60s")]
        }
        "caddy" => &[("flush_interval -1", "flush_interval -1\n\t\tfail_duration 60s\n\t\tmax_fails 1")],
        _ => &[(
            "{consecutive_5xx: 5}",
            "{consecutive_5xx: 1, consecutive_gateway_failure: 1, enforcing_consecutive_gateway_failure: 100, \
             max_ejection_percent: 100, base_ejection_time: 60s}",
        )],
    }
}

/// As what an incomplete end arrives. Caddy up to 2.7.5 completes what broke off (caddyserver/caddy#5951), HAProxy 2.6 does so for
/// HTTP/2; then only the missing checksum of a compressed stream tells.
fn arrives(name: &str, head: &Head) -> End {
    match (name, head.version.as_str(), head.header("content-encoding")) {
        ("caddy", _, Some(_)) | ("haproxy", "HTTP/2", Some(_)) => End::Cut,
        ("caddy", _, None) | ("haproxy", "HTTP/2", None) => End::Whole,
        _ => End::Incomplete,
    }
}

/// Streams end all the time, as under a short `--max-age`; both nodes get their share to the end.
pub fn an_end_that_invites_back_is_no_failure(name: &str) {
    let redis = Redis::start();
    let flags = ["--max-age", "1s", "--retry", "100ms..200ms", "--compress", "on"];
    let site = Site::pair(name, &flags, &redis, strict(name));
    let gzip = [("Accept-Encoding", "gzip")];
    let mut opened = 0;
    for _ in 0..ROUNDS {
        let mut streams: Vec<Stream> = Vec::new();
        for number in 0..STREAMS {
            let headers = if number % 2 == 0 { &gzip[..] } else { &[] };
            streams.push(site.subscribe("/events/a", headers));
            streams.push(Stream::on(Connection::open(site.plain), "/events/a", headers).begun());
        }
        opened += streams.len();
        for stream in &mut streams {
            let way = format!("{name}, {} {:?}", stream.head.version, stream.head.header("content-encoding"));
            assert_eq!(
                stream.finish(),
                (arrives(name, &stream.head), vec![]),
                "{way}: {:?}",
                stream.connection.reset()
            );
            assert_eq!(String::from_utf8_lossy(&stream.raw).matches("retry: ").count(), 2, "{way}");
        }
    }
    let shares: Vec<f64> = site.nodes.iter().map(|node| node.metric("fantail_connections_opened_total")).collect();
    assert_eq!(shares.iter().sum::<f64>(), opened as f64, "{name}: {shares:?}");
    assert!(shares.iter().all(|share| *share >= opened as f64 / 4.0), "{name} left a node out: {shares:?}");
}

/// The end of a finished channel is one for browsers, too.
pub fn the_last_event_ends_a_stream(name: &str) {
    let redis = Redis::start();
    let site = Site::pair(name, &["--publish", "on"], &redis, strict(name));
    let mut streams =
        [site.subscribe("/events/job", &[]), Stream::on(Connection::open(site.plain), "/events/job", &[]).begun()];
    let last = redis.command(&["XADD", "sse:job", "*", "final", "1", "data", "1"]).text().to_owned();
    for stream in &mut streams {
        assert_eq!(stream.numbers(1), [1], "{name}");
        assert_eq!(stream.finish(), (End::Whole, vec![]), "{name}");
    }
    let headers = [("Last-Event-ID", last.as_str())];
    for mut connection in [site.browser(), Connection::open(site.plain)] {
        assert_eq!(connection.ask("GET", "/events/job", &headers, b"").head.status, 204, "{name}");
    }
}

/// An error would end an EventSource for good. What is published is not taken for published.
pub fn while_all_nodes_are_away(name: &str) {
    let mut site = Site::start(name, &[]);
    site.publish("1");
    site.nodes.clear();
    let ways = || [site.browser(), Connection::open(site.plain)];
    eventually("the proxy sees it", || {
        ways().into_iter().all(|mut way| way.ask("GET", "/events/a", &[], b"").head.status == 200)
    });
    for mut way in ways() {
        let answer = way.ask("GET", "/events/a", &[("Last-Event-ID", "1-0")], b"");
        let header = |name: &str| answer.head.header(name).unwrap_or_default().to_owned();
        assert!(header("content-type").starts_with("text/event-stream"), "{name}: {:?}", answer.head);
        assert_eq!(header("cache-control"), "no-store", "{name}");
        assert_eq!(answer.text(), "retry: 3000\n\n", "{name}");
    }
    for mut way in ways() {
        assert!(way.ask("POST", "/events/a", &[], b"2").head.status >= 500, "{name}");
    }
}

/// Between a proxy and a node: passes bytes on, and keeps the node's FINs to itself, as a slow way does for a while.
struct Lingering {
    address: SocketAddr,
    node: Arc<Mutex<Option<SocketAddr>>>,
}

impl Lingering {
    fn start() -> Lingering {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, node) = (listener.local_addr().expect("bound"), Arc::new(Mutex::new(None)));
        let target = node.clone();
        std::thread::spawn(move || {
            for proxy in listener.incoming().flatten() {
                let Some(node) = target.lock().unwrap().and_then(|node| TcpStream::connect(node).ok()) else {
                    continue;
                };
                let [there, back] = [(&proxy, &node), (&node, &proxy)]
                    .map(|(from, to)| [from, to].map(|socket| socket.try_clone().expect("a socket")));
                std::thread::spawn(move || {
                    let [from, to] = there;
                    pump(&from, &to);
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                });
                std::thread::spawn(move || pump(&back[0], &back[1]));
            }
        });
        Lingering { address, node }
    }
}

/// Until nothing comes, or nothing is taken any more.
fn pump(mut from: &TcpStream, mut to: &TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        // A socket that the peer has closed takes the first bytes, and says at the next that it is.
        if to.write_all(&bytes[..n]).is_err() || to.take_error().is_ok_and(|error| error.is_some()) {
            return;
        }
    }
}

#[test]
fn nginx_keeps_no_connection_whose_stream_has_ended_for_a_publication() {
    let way = Lingering::start();
    let changes = [
        ("server 127.0.0.1:8080;", &*format!("server {};", way.address)),
        // Each of them has connections of its own.
        ("worker_processes auto;", "worker_processes 1;"),
    ];
    let site = Site::new("nginx", &[], None, &changes);
    *way.node.lock().unwrap() = Some(site.node().listen);
    for number in 0..5 {
        let channel = format!("/events/job.{number}");
        let mut stream = site.subscribe(&channel, &[]);
        site.node().publish(&format!("{channel}?final=1"), "1");
        assert_eq!(stream.numbers(1), [1]);
        assert_eq!(stream.finish(), (End::Whole, vec![]));
        let answer = site.browser().ask("POST", "/events/other", &[], b"2");
        assert_eq!(answer.head.status, 201, "{}\n{}", answer.text(), site.log());
    }
}
