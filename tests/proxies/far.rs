//! What each proxy beyond the four answers to the questions of docs/proxies.md.

use crate::far_kinds::{FAR, Killed};
use crate::far_site::FarSite;
use crate::support::client::Connection;
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use rustix::process::Signal;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Many more than a page has, few enough for this machine.
const STREAMS: usize = 300;

fn publish(node: &Node, target: &str, flags: &[&str], data: &str) -> String {
    let mut connection = Connection::open(node.listen);
    if flags.contains(&"--proxy-protocol") {
        connection.send("PROXY UNKNOWN\r\n");
    }
    let answer = connection.ask("POST", target, &[], data.as_bytes());
    assert_eq!(answer.head.status, 201, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// One that waits for more takes a fifth of a second for each: the median tells it from a busy machine. Then the client goes on
/// where it was, and whoever is gone is noticed.
pub fn events_come_at_once(name: &str) {
    const EVENTS: usize = 41;
    let site = FarSite::start(name, &["--heartbeat", "1s"]);
    let (node, flags) = (&site.nodes[0], site.far.flags);
    let mut stream = site.subscribe("/events/a", &[]);
    let mut took = Vec::new();
    for number in 0..EVENTS as u64 {
        let begin = Instant::now();
        publish(node, "/events/a", flags, &number.to_string());
        assert_eq!(stream.numbers(1), [number], "{name}");
        took.push(begin.elapsed());
    }
    took.sort();
    assert!(took[EVENTS / 2] < Duration::from_millis(50), "{name}: {took:?}");
    let id = stream.last_event_id();
    drop(stream);
    node.metric_becomes("fantail_connections", 0.0);
    publish(node, "/events/a", flags, "100");
    assert_eq!(site.subscribe("/events/a", &[("Last-Event-ID", &id)]).numbers(1), [100], "{name}");
}

/// All at once, for it takes longer than any of the configurations lets a stream be silent.
pub fn long_quiet_streams_live_on() {
    std::thread::scope(|scope| {
        let all = FAR.iter().map(|far| scope.spawn(|| a_long_quiet_stream_lives_on(far.name)));
        let all: Vec<_> = all.collect();
        let failed: Vec<bool> = all.into_iter().map(|one| one.join().is_err()).collect();
        let names: Vec<_> = FAR.iter().zip(failed).filter(|(_, failed)| *failed).map(|(far, _)| far.name).collect();
        assert!(names.is_empty(), "ended: {names:?}");
    });
}

fn a_long_quiet_stream_lives_on(name: &str) {
    let site = FarSite::start(name, &["--heartbeat", "10s"]);
    let mut stream = site.subscribe("/events/a", &[]);
    for count in 1..=8 {
        stream.read_until("a heartbeat", |stream| stream.parser.comments() >= count);
    }
    publish(&site.nodes[0], "/events/a", site.far.flags, "1");
    assert_eq!(stream.numbers(1), [1], "{name}");
    assert_eq!(site.nodes[0].metric("fantail_connections_opened_total"), 1.0, "{name}");
}

/// Clients of one channel that ask at once, each from where it was; and one that has had all of another.
pub fn each_has_an_answer_of_its_own(name: &str) {
    const CLIENTS: usize = 8;
    let site = FarSite::start(name, &["--heartbeat", "1s"]);
    let (node, flags) = (&site.nodes[0], site.far.flags);
    let put = |target: &str, number: usize| publish(node, target, flags, &number.to_string());
    let ids: Vec<String> = (0..CLIENTS).map(|number| put("/events/a", number)).collect();
    let ask = |id: &String| {
        let mut connection = site.open();
        connection.send_request("GET", "/events/a", &[("Last-Event-ID", id)], b"");
        connection
    };
    let asked: Vec<Connection> = ids.iter().map(ask).collect();
    let mut streams: Vec<Stream> = asked.into_iter().map(Stream::answered).collect();
    put("/events/a", CLIENTS);
    for (number, stream) in streams.iter_mut().enumerate() {
        let expected: Vec<u64> = (number as u64 + 1..=CLIENTS as u64).collect();
        assert_eq!(stream.numbers(expected.len()), expected, "{name}");
    }
    let (first, last) = (put("/events/job", 1), put("/events/job?final=1", 2));
    for _ in 0..2 {
        let over = site.open().ask("GET", "/events/job", &[("Last-Event-ID", &last)], b"").head;
        assert_eq!((over.status, over.header("cache-control")), (204, Some("no-store")), "{name}");
        let mut behind = Stream::on(site.open(), "/events/job", &[("Last-Event-ID", &first)]);
        assert_eq!(behind.numbers(1), [2], "{name}");
    }
}

/// The next requests after a node was killed while another one stands beside it: none is answered by an error, which would end an
/// EventSource for good.
pub fn a_killed_node_is_left_alone(name: &str) {
    let redis = Redis::start();
    let mut site = FarSite::pair(name, &["--heartbeat", "1s", "--publish", "on"], &redis);
    if site.far.killed == Killed::Alone {
        return;
    }
    let streams: Vec<Stream> = (0..8).map(|_| site.subscribe("/events/a", &[])).collect();
    assert!(site.nodes.iter().all(|node| node.metric("fantail_connections") > 0.0), "{name}: one node has all");
    drop(site.nodes.remove(0));
    drop(streams);
    if site.far.killed == Killed::Probed {
        eventually("the probe", || (0..4).all(|_| answers(&site)));
    }
    assert_eq!((0..10).filter(|_| answers(&site)).count(), 10, "{name}");
}

/// A node ends its subscribers and takes nobody new, while another one stands beside it: each client goes on there, and none is
/// answered by an error, not even over a connection that the proxy has kept.
pub fn a_drained_node_hands_its_clients_over(name: &str) {
    let redis = Redis::start();
    let mut site = FarSite::pair(name, &["--heartbeat", "1s", "--drain", "2s"], &redis);
    if site.far.killed == Killed::Alone {
        return;
    }
    let add = |n: u64| drop(redis.command(&["XADD", "sse:a", &format!("{n}-0"), "data", &n.to_string()]));
    add(1);
    // Answers that end leave connections behind which proxies use again.
    for _ in 0..4 {
        assert_eq!(site.open().ask("GET", "/history/a", &[], b"").head.status, 200, "{name}");
    }
    let mut streams: Vec<Stream> = (0..8).map(|_| site.subscribe("/events/a", &[])).collect();
    assert!(site.nodes.iter().all(|node| node.metric("fantail_connections") > 0.0), "{name}: one node has all");
    let listen = site.nodes[0].listen;
    site.nodes[0].signal(Signal::TERM);
    eventually("its doors are closed", || TcpStream::connect(listen).is_err());
    if site.far.killed == Killed::Probed {
        eventually("the probe", || (0..4).all(|_| answers(&site)));
    }
    assert_eq!((0..10).filter(|_| answers(&site)).count(), 10, "{name}: while it drains");
    assert_eq!(site.nodes[0].wait(), Some(0), "{name}");
    add(2);
    let mut moved = 0;
    for stream in &mut streams {
        if !stream.reaches("2-0") {
            let id = stream.last_event_id();
            assert_eq!(site.subscribe("/events/a", &[("Last-Event-ID", &id)]).numbers(1), [2], "{name}");
            moved += 1;
        }
    }
    assert!((1..8).contains(&moved), "{name}: {moved} of 8 had to go on elsewhere");
}

/// Whether a request gets its stream; one that is closed without an answer does not.
fn answers(site: &FarSite) -> bool {
    let mut connection = site.open();
    connection.send_request("GET", "/events/a", &[], b"");
    let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| connection.head().status));
    assert!(matches!(status, Ok(200) | Err(_)), "an answer that ends an EventSource: {status:?}");
    status.is_ok()
}

/// What invites back arrives as that, or as its configuration says; the last event ends a stream.
pub fn ends_arrive_as_they_are(name: &str) {
    let redis = Redis::start();
    let site = FarSite::pair(name, &["--max-age", "1s", "--publish", "on"], &redis);
    let mut stream = site.subscribe("/events/a", &[]);
    let (end, _) = stream.finish();
    assert_eq!(end, if site.far.incomplete { End::Incomplete } else { End::Whole }, "{name}");
    redis.command(&["XADD", "sse:job", "*", "final", "1", "data", "1"]);
    let mut stream = Stream::on(site.open(), "/events/job?since=earliest", &[]);
    assert_eq!(stream.numbers(1), [1], "{name}");
    assert_eq!(stream.finish(), (End::Whole, vec![]), "{name}");
}

/// Limits count the client, and who claims to be another is still himself.
pub fn the_client_is_known(name: &str) {
    let site = FarSite::start(name, &["--max-connections-per-address", "2"]);
    let from = |client: &str| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let client: SocketAddr = format!("{client}:0").parse().expect("an address");
        socket.bind(&client.into()).expect("an address of this machine");
        socket.connect(&site.address.into()).expect("the proxy");
        site.secured(Connection::of(socket.into()))
    };
    let forged = [("X-Forwarded-For", "203.0.113.99"), ("Forwarded", "for=203.0.113.99")];
    let one = Stream::on(from("127.0.0.2"), "/events/a", &[]).begun();
    let two = Stream::on(from("127.0.0.2"), "/events/a", &forged).begun();
    let refused = from("127.0.0.2").ask("GET", "/events/a", &forged, b"");
    assert!(refused.problem(429, "too_many_connections").contains("127.0.0.2"), "{name}");
    let other = Stream::on(from("127.0.0.3"), "/events/a", &[]).begun();
    drop((one, two, other));
}

pub fn three_hundred_streams_have_room(name: &str) {
    let site = FarSite::start(name, &["--max-connections-per-address", "0"]);
    let mut streams: Vec<Stream> = (0..STREAMS).map(|_| site.subscribe("/events/a", &[])).collect();
    publish(&site.nodes[0], "/events/a", site.far.flags, "1");
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [1], "{name}"));
}

/// A client that reads nothing: the proxy takes what it has room for, until the node gives up, or all of it.
pub fn a_slow_reader_costs_what_the_page_says(name: &str) {
    const EVENTS: usize = 60;
    const MIB: usize = 1 << 20;
    let site = FarSite::start(name, &["--stall-timeout", "5s", "--tail-bytes", "128MiB"]);
    let _stream = Stream::on(site.secured(Connection::narrow(site.address)), "/events/a", &[]).begun();
    let data = "x".repeat(MIB);
    (0..EVENTS).for_each(|_| drop(publish(&site.nodes[0], "/events/a", site.far.flags, &data)));
    let taken = || site.nodes[0].metric("fantail_delivered_bytes_total") as usize;
    let gone = || site.nodes[0].metric("fantail_connections") == 0.0;
    eventually("it has enough", || gone() || taken() > EVENTS * MIB);
    // The sockets of four ends keep up to 6 MiB each.
    assert_eq!(taken() < EVENTS / 2 * MIB, site.far.bounded, "{name}: {} MiB", taken() / MIB);
}

/// Sets of channels in a body, and streams that the node compresses.
pub fn a_query_and_compression_pass(name: &str) {
    let site = FarSite::start(name, &["--compress", "on"]);
    let form = [("Content-Type", "application/x-www-form-urlencoded"), ("Accept-Encoding", "gzip")];
    if site.far.query {
        let mut connection = site.open();
        connection.send_request("QUERY", "/events", &form, b"channels=a,b");
        let mut stream = Stream::answered(connection).begun();
        publish(&site.nodes[0], "/events/b", site.far.flags, "1");
        assert_eq!(stream.numbers(1), [1], "{name}");
    } else {
        let status = site.open().ask("QUERY", "/events", &form, b"channels=a,b").head.status;
        assert!(status >= 400, "{name}: {status}");
    }
    let mut stream = site.subscribe("/events/a", &form[1..]);
    assert_eq!(stream.head.header("content-encoding"), Some("gzip"), "{name}");
    for number in 0..5 {
        publish(&site.nodes[0], "/events/a", site.far.flags, &number.to_string());
        assert_eq!(stream.numbers(1), [number], "{name}");
    }
    drop(stream);
    eventually("the node is alone", || site.nodes[0].metric("fantail_connections") <= 1.0);
}

/// What docs/proxies.md says of it before it is configured.
#[test]
fn traffic_server_ends_streams_by_its_packages_own_configuration() {
    let records = std::fs::read_to_string("/etc/trafficserver/records.config").expect("its package's own");
    for line in ["transaction_active_timeout_in INT 900", "transaction_no_activity_timeout_in INT 30"] {
        assert!(records.contains(&format!("CONFIG proxy.config.http.{line}\n")), "{line}");
    }
}
