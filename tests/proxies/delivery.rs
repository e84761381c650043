//! Delivery through each proxy: events come as they are published, and nobody is taken for somebody else.

use crate::site::Site;
use crate::support::client::Connection;
use crate::support::jwt;
use crate::support::node::{Node, eventually};
use crate::support::raw::trusting;
use crate::support::stream::Stream;
use fantail::http::paths::{HISTORY, PUBLIC};
use rustls::ProtocolVersion::TLSv1_3;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub fn streams_as_they_come(name: &str) {
    let site = Site::start(name, &["--heartbeat", "1s"]);
    let mut streams: Vec<Stream> = (0..5).map(|_| site.subscribe("/events/a", &[])).collect();
    for number in 0..20_u64 {
        // The next event is published only when this one has come, so nothing is kept back for more.
        site.publish(&number.to_string());
        streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [number], "{name}"));
    }
    // A quiet stream lives on its heartbeats.
    let quiet = &mut streams[0];
    quiet.read_until("heartbeats", |stream| stream.parser.comments() >= 3);
    site.publish("20");
    assert_eq!(quiet.numbers(1), [20]);
    drop(streams);
    site.node().metric_becomes("fantail_connections", 0.0);
}

/// A proxy that waits for more before it sends takes a fifth of a second or more for each event, not for some: the median
/// tells it from a busy machine.
pub fn a_plain_listener_keeps_nothing_back(name: &str) {
    const EVENTS: usize = 41;
    let site = Site::start(name, &[]);
    let mut stream = Stream::on(Connection::open(site.plain), "/events/a", &[]).begun();
    let mut took: Vec<Duration> = (0..EVENTS as u64)
        .map(|number| {
            let begin = Instant::now();
            site.node().publish_behind_proxy(&number.to_string(), site.proxy.flags);
            assert_eq!(stream.numbers(1), [number], "{name}");
            begin.elapsed()
        })
        .collect();
    took.sort();
    assert!(took[EVENTS / 2] < Duration::from_millis(50), "{name}: {took:?}");
}

/// Longer than any of the configurations lets a stream be silent, and than most proxies do of themselves.
pub fn a_long_quiet_stream_lives_on(name: &str) {
    let site = Site::start(name, &["--heartbeat", "10s"]);
    let mut stream = site.subscribe("/events/a", &[]);
    for count in 1..=8 {
        stream.read_until("a heartbeat", |stream| stream.parser.comments() >= count);
    }
    site.publish("1");
    assert_eq!(stream.numbers(1), [1], "{name}");
    assert_eq!(site.node().metric("fantail_connections"), 1.0, "{name}: nobody had to come back");
}

pub fn the_client_is_known(name: &str) {
    let site = Site::start(name, &["--max-connections-per-address", "2"]);
    let from = |client: &str| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let client: SocketAddr = format!("{client}:0").parse().expect("an address");
        socket.bind(&client.into()).expect("an address of this machine");
        socket.connect(&site.address.into()).expect("the proxy");
        let config = trusting(&site.authority, &["h2"], &[TLSv1_3]);
        Connection::of(socket.into()).secure(config).http2()
    };
    let one = Stream::on(from("127.0.0.2"), "/events/a", &[]).begun();
    // Who claims to be another is still himself.
    let forged = [("X-Forwarded-For", "203.0.113.99"), ("Forwarded", "for=203.0.113.99")];
    let two = Stream::on(from("127.0.0.2"), "/events/a", &forged).begun();
    let refused = from("127.0.0.2").ask("GET", "/events/a", &forged, b"");
    assert!(refused.problem(429, "too_many_connections").contains("127.0.0.2"), "{name}");
    let other = Stream::on(from("127.0.0.3"), "/events/a", &[]).begun();
    drop((one, two, other));
}

pub fn a_token_becomes_a_cookie(name: &str) {
    let folder = jwt::Folder::new();
    let flags = [&jwt::flags(&folder)[..], &["--token-cookie", "sid"].map(str::to_owned)].concat();
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    if name == "haproxy" {
        // The PROXY protocol does not say it.
        flags.extend(["--public-url", "https://events.example.org"]);
    }
    let site = Site::start(name, &flags);
    let bearer = format!("Bearer {}", jwt::subscriber(&["a"]));
    let answer = site.browser().ask("POST", "/session", &[("Authorization", &bearer)], b"");
    let line = answer.head.header("set-cookie").unwrap_or_else(|| panic!("{name}: {}", answer.text()));
    assert!(line.contains("; HttpOnly") && line.ends_with("; Secure"), "{name}: {line}");
    let pair = line.split(';').next().expect("a pair");
    site.subscribe("/events/a", &[("Cookie", pair)]);
}

/// As many channels as a `QUERY` may name, in a body that is longer than a proxy's room for heads; their id goes in the next body.
pub fn a_query_passes(name: &str) {
    let site = Site::start(name, &[]);
    let names: Vec<String> = (0..299).map(|number| format!("{}.{number}", "x".repeat(150))).collect();
    let channels = format!("channels={},a", names.join(","));
    let open = |body: &str| {
        let mut connection = site.browser();
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        connection.send_request("QUERY", "/events", &form, body.as_bytes());
        Stream::answered(connection).begun()
    };
    let mut stream = open(&channels);
    site.publish("1");
    assert_eq!(stream.numbers(1), [1], "{name}");
    let id: String = form_urlencoded::byte_serialize(stream.last_event_id().as_bytes()).collect();
    drop(stream);
    site.publish("2");
    assert_eq!(open(&format!("{channels}&lastEventId={id}")).numbers(1), [2], "{name}");
}

/// Each answer of a node to what it does not do has its code; what is not for clients has no answer of a node.
pub fn every_public_path_leads_to_a_node(name: &str) {
    let site = Site::start(name, &[]);
    site.publish("1");
    let history = site.browser().ask("GET", "/history/a", &[], b"");
    assert_eq!(history.head.status, 200, "{name}: {}", history.text());
    assert!(history.text().contains("\"1\""), "{name}: {}", history.text());
    let of_a_node = |path: &str| {
        let answer = site.browser().ask("PATCH", path, &[], b"");
        ["\"method_not_allowed\"", "\"not_found\""].iter().any(|code| answer.text().contains(code))
    };
    for path in PUBLIC {
        let path = if path == HISTORY { "/history/a" } else { path };
        assert!(of_a_node(path), "{name}: {path} did not come to a node");
    }
    for path in ["/", "/eventsx", "/session/x", "/metrics", "/livez"] {
        assert!(!of_a_node(path), "{name}: {path} came to a node");
        assert_eq!(site.browser().ask("GET", path, &[], b"").head.status, 404, "{name}: {path}");
    }
}

pub fn a_reload_costs_no_event(name: &str) {
    let mut site = Site::start(name, &[]);
    let mut stream = site.subscribe("/events/a", &[]);
    site.publish("1");
    assert_eq!(stream.numbers(1), [1]);
    let id = stream.last_event_id();
    site.reload();
    site.node().publish_behind_proxy("2", site.proxy.flags);
    eventually("the new proxy", || TcpStream::connect(site.address).is_ok());
    let mut resumed = site.subscribe("/events/a", &[("Last-Event-ID", &id)]);
    assert_eq!(resumed.numbers(1), [2], "{name}");
    site.publish("3");
    assert_eq!(resumed.numbers(1), [3], "{name}");
}

/// Publishing to the node itself, with what a proxy would say first.
trait BehindProxy {
    fn publish_behind_proxy(&self, data: &str, flags: &[&str]);
}

impl BehindProxy for Node {
    fn publish_behind_proxy(&self, data: &str, flags: &[&str]) {
        let mut connection = Connection::open(self.listen);
        if flags.contains(&"--proxy-protocol") {
            connection.send("PROXY UNKNOWN\r\n");
        }
        assert_eq!(connection.ask("POST", "/events/a", &[], data.as_bytes()).head.status, 201);
    }
}
