//! Every limit: what is answered, counted and logged at it, and that a place that was given back is free again.

use crate::support::client::Connection;
use crate::support::node::{Node, eventually};
use crate::support::stream::{End, Stream};

fn refused(node: &Node, reason: &str) -> f64 {
    node.metric(&format!("fantail_connections_refused_total{{reason=\"{reason}\"}}"))
}

/// Whether somebody gets in again.
fn has_room(node: &Node, target: &str) -> bool {
    let mut connection = Connection::open(node.listen);
    connection.send_request("GET", target, &[], b"");
    connection.head().status == 200
}

#[test]
fn a_full_node_refuses_and_has_room_again() {
    let node = Node::start(&["--max-connections", "3"]);
    assert_eq!(node.metric("fantail_connection_limit"), 3.0);
    let mut streams: Vec<Stream> = (0..3).map(|_| node.subscribe("/events/a")).collect();
    let detail = node.get("/events/a").problem(503, "node_full");
    assert!(detail.contains('3'), "{detail}");
    // Other requests are still answered.
    node.publish("/events/a", "1");
    assert_eq!(node.ask("HEAD", "/events/a", &[], "").head.status, 200);
    assert_eq!(refused(&node, "node_full"), 1.0);
    node.logs(&["refused", "node_full", "127.0.0.1"]);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [1]));
    drop(streams);
    eventually("room again", || has_room(&node, "/events/a"));
}

#[test]
fn the_table_of_files_has_room_for_all_connections_from_the_start() {
    let node = Node::start(&["--max-connections", "3000"]);
    assert!(node.room_for_files() >= 3000, "{}", node.room_for_files());
}

#[test]
fn a_full_node_may_say_it_in_a_way_that_event_source_survives() {
    let node = Node::start(&["--max-connections", "1", "--when-full", "retry", "--retry", "10ms..20ms"]);
    let _stream = node.subscribe("/events/a");
    let mut delays = std::collections::HashSet::new();
    for _ in 0..10 {
        let mut turned_away = node.subscribe("/events/a");
        let (end, messages) = turned_away.finish();
        let delay = turned_away.parser.retry().expect("a retry");
        assert!((100..=300).contains(&delay), "longer than the usual one: {delay}");
        assert_eq!((end, messages.len(), turned_away.parser.last_event_id()), (End::Incomplete, 0, ""));
        delays.insert(delay);
    }
    assert!(delays.len() > 3, "{delays:?}");
    assert_eq!(refused(&node, "node_full"), 10.0);
}

#[test]
fn a_full_channel_may_say_it_in_that_way_too_and_keeps_no_place_meanwhile() {
    let most = ["--max-channel-subscribers", "1", "--max-connections-per-address", "2"];
    let node = Node::start(&[&most[..], &["--when-full", "retry", "--retry", "10ms..20ms"]].concat());
    let _stream = node.subscribe("/events/a");
    let mut turned_away = node.subscribe("/events/a");
    // While the end of that answer is held, its place on the node is another's.
    let _other = node.subscribe("/events/b").begun();
    let (end, messages) = turned_away.finish();
    assert_eq!((end, messages.len()), (End::Incomplete, 0));
    assert!(turned_away.parser.retry().is_some_and(|delay| (100..=300).contains(&delay)));
    assert_eq!(refused(&node, "channel_full"), 1.0);
}

#[test]
fn one_address_has_its_own_limit() {
    let node = Node::start(&["--max-connections-per-address", "2"]);
    let _streams = [node.subscribe("/events/a"), node.subscribe("/events/b")];
    let detail = node.get("/events/c").problem(429, "too_many_connections");
    assert!(detail.contains("127.0.0.1") && detail.contains('2'), "{detail}");
    assert_eq!(refused(&node, "too_many_connections"), 1.0);
    node.logs(&["refused", "too_many_connections"]);
    // Another address is another client.
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let from: std::net::SocketAddr = "127.0.0.2:0".parse().expect("an address");
    other.bind(&from.into()).expect("Linux has all of 127/8");
    other.connect(&node.listen.into()).expect("a connection");
    let mut other = Connection::of(other.into());
    other.send_request("GET", "/events/a", &[], b"");
    assert_eq!(other.head().status, 200);
    drop(_streams);
    eventually("room again", || has_room(&node, "/events/c"));
}

#[test]
fn one_channel_has_its_own_limit() {
    let node = Node::start(&["--max-channel-subscribers", "2"]);
    let streams = [node.subscribe("/events/a"), node.subscribe("/events?channels=b,a")];
    let detail = node.get("/events/a").problem(503, "channel_full");
    assert!(detail.contains('a'), "{detail}");
    // Of several channels all are refused, and none keeps a place.
    node.get("/events?channels=c,a").problem(503, "channel_full");
    node.metric_becomes("fantail_connections_refused_total{reason=\"channel_full\"}", 2.0);
    node.logs(&["refused", "channel_full"]);
    let _one = [node.subscribe("/events/c"), node.subscribe("/events/c")];
    node.get("/events/c").problem(503, "channel_full");
    drop(streams);
    eventually("room again", || has_room(&node, "/events/a"));
    node.metric_becomes("fantail_subscriptions", 2.0);
}

#[test]
fn a_subscription_has_so_many_channels_at_most() {
    let node = Node::start(&["--max-channels-per-connection", "3"]);
    drop(node.subscribe("/events?channels=a,b,c,a"));
    let detail = node.get("/events?channels=a,b,c,d").problem(400, "too_many_channels");
    assert!(detail.contains('3') && detail.contains("\"d\""), "{detail}");
    assert_eq!(refused(&node, "too_many_channels"), 1.0);
}

#[test]
fn bad_requests_have_stable_codes() {
    let node = Node::start(&[]);
    for (method, target, status, code) in [
        ("GET", "/events", 400, "bad_channel"),
        ("GET", "/events/a%20b", 400, "bad_channel"),
        ("GET", "/events?channels=a,,b", 400, "bad_channel"),
        ("GET", "/events/a?channels=b", 400, "bad_parameter"),
        ("GET", "/events/~nodes", 403, "reserved_channel"),
        ("GET", "/event", 404, "not_found"),
        ("GET", "/events/a/b", 400, "bad_channel"),
        ("DELETE", "/events/a", 405, "method_not_allowed"),
        ("PUT", "/events", 405, "method_not_allowed"),
    ] {
        let answer = node.ask(method, target, &[], "");
        assert!(!answer.problem(status, code).is_empty(), "{method} {target}");
        let allow = answer.head.header("allow");
        assert_eq!(allow, (status == 405).then_some("GET, HEAD, POST, QUERY, OPTIONS"), "{method} {target}");
        assert_eq!(answer.head.header("cache-control"), Some("no-store"));
    }
    let elsewhere = node.get("/api/channels").problem(404, "not_found");
    assert_eq!(elsewhere, "/api/channels is not for clients: --admin-listen has it");
}

#[test]
fn the_root_says_what_this_is() {
    let node = Node::start(&[]);
    let answer = node.get("/");
    assert_eq!((answer.head.status, answer.head.header("content-type")), (200, Some("application/json")));
    let about = answer.json();
    assert_eq!((&about["service"], &about["subscribe"]), (&"fantail".into(), &"/events/{channel}".into()));
    assert!(!answer.text().contains(env!("CARGO_PKG_VERSION")), "strangers learn no version");
    assert_eq!(node.ask("HEAD", "/", &[], "").head.status, 200);
    let refused = node.ask("POST", "/", &[], "x");
    assert!(!refused.problem(405, "method_not_allowed").is_empty());
    assert_eq!(refused.head.header("allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(node.ask("OPTIONS", "/", &[], "").head.status, node.ask("OPTIONS", "/events/a", &[], "").head.status);
}

#[test]
fn connections_are_accepted_at_a_rate_and_none_is_lost() {
    let node = Node::start(&["--accept-rate", "100"]);
    let begin = std::time::Instant::now();
    let streams: Vec<Stream> = (0..60).map(|_| node.subscribe("/events/a")).collect();
    // Sixty at a hundred a second: the first tenth at once, the last after half a second.
    assert!(begin.elapsed() > std::time::Duration::from_millis(400), "{:?}", begin.elapsed());
    node.metric_becomes("fantail_connections", streams.len() as f64);
}

#[test]
fn the_file_limit_bounds_the_connection_limit() {
    let node = Node::start(&["--max-connections", "10000000"]);
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.expect("a hard limit");
    let limit = node.metric("fantail_connection_limit");
    assert!(limit < hard as f64 && limit >= hard as f64 / 2.0, "{limit} of {hard}");
    assert_eq!(node.metric("process_max_fds"), hard as f64, "raised at start");
}
