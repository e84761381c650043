//! The first blocks of a stream: no blank line that nothing needs, and a bare `id:` wherever something would be lost without one.

use super::add;
use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use fantail::position::Position;
use rustix::process::Signal;

/// What came first, without the delay.
fn begins(stream: &Stream) -> String {
    let raw = String::from_utf8_lossy(&stream.raw).into_owned();
    let (delay, rest) = raw.split_once('\n').expect("a line");
    assert!(delay.starts_with("retry: "), "{raw}");
    rest.to_owned()
}

/// A stream over each way that a client may come, by the plain one first.
fn by_all_ways(node: &Node, target: &str) -> Vec<(&'static str, Stream)> {
    let open = || Connection::open(node.listen);
    let mut old = open();
    old.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
    vec![
        ("HTTP/1.1", Stream::on(open(), target, &[])),
        ("HTTP/2", Stream::on(open().http2(), target, &[])),
        ("HTTP/1.0", Stream::answered(old)),
        ("gzip", Stream::on(open(), target, &[("Accept-Encoding", "gzip")])),
        ("gzip on HTTP/2", Stream::on(open().http2(), target, &[("Accept-Encoding", "gzip")])),
    ]
}

fn nodes() -> (Redis, [Node; 2]) {
    let redis = Redis::start();
    let flags = ["--compress", "on", "--publish", "on"];
    let nodes = [Node::on(&redis, &flags), Node::start(&flags)];
    (redis, nodes)
}

#[test]
fn an_event_that_goes_out_at_once_needs_no_bare_id_before_it() {
    let (_redis, nodes) = nodes();
    for node in &nodes {
        let ids = ["1", "2"].map(|data| node.publish("/events/a?event=e", data));
        let both = |ids: &[String]| format!("id: a={},b=0-0\n", ids[0]);
        let json = format!(r#"{{"channel":"a","data":"1","event":"e","id":"{}"}}"#, ids[0]);
        for (query, first) in [
            ("channels=a", format!("id: {}\nevent: e\ndata: 1\n\n", ids[0])),
            ("channels=a&events=e", format!("id: {}\nevent: e\ndata: 1\n\n", ids[0])),
            ("channels=a&envelope=1", format!("id: {}\ndata: {json}\n\n", ids[0])),
            ("channels=a,b", format!("{}event: e\ndata: 1\n\n", both(&ids))),
            ("channels=b,a", format!("id: b=0-0,a={}\nevent: e\ndata: 1\n\n", ids[0])),
            ("channels=a,b&envelope=1", format!("{}data: {json}\n\n", both(&ids))),
        ] {
            for (way, mut stream) in by_all_ways(node, &format!("/events?{query}&since=earliest")) {
                let begin = begins(&stream);
                assert!(begin.starts_with(&first), "{way}, {query}: {begin}");
                let rest: Vec<String> = stream.take(2).into_iter().map(|message| message.data).collect();
                assert!(rest[0].contains('1') && rest[1].contains('2'), "{way}, {query}: {rest:?}");
                assert!(stream.last_event_id().contains(&ids[1]), "{way}, {query}");
            }
        }
    }
}

#[test]
fn what_a_filter_passes_over_before_the_first_event_is_in_its_id() {
    let (_redis, nodes) = nodes();
    for node in &nodes {
        for kind in ["noise", "noise", "e"] {
            node.publish(&format!("/events/a?event={kind}"), "1");
        }
        let id = node.publish("/events/a?event=e", "2");
        let mut stream = node.subscribe("/events/a?since=earliest&events=e");
        assert!(!begins(&stream).contains("\n\ndata"), "{}", begins(&stream));
        assert_eq!(begins(&stream).matches("id: ").count(), begins(&stream).matches("data: ").count());
        assert_eq!((stream.numbers(2), stream.last_event_id()), (vec![1, 2], id));
    }
}

#[test]
fn who_would_lose_something_without_a_bare_id_is_told_one() {
    let (redis, nodes) = nodes();
    for node in &nodes {
        let ids = ["1", "2"].map(|data| node.publish("/events/a", data));
        node.publish("/events/large", &"x".repeat(10_000));
        let before = ids[1].parse::<Position>().expect("an id").before().to_string();
        for (query, id) in [
            ("channels=a", ids[1].as_str()),
            ("channels=a&since=9999999999999", &ids[1]),
            ("channels=a&tail=1", &before),
            ("channels=a&since=earliest&tail=1", &before),
            ("channels=a&since=earliest&events=other", "0-0"),
            (&format!("channels=a&since={}&lastEventId={}", ids[0], ids[1]), &ids[1]),
            (&format!("channels=a&since=earliest&lastEventId={}", ids[0]), &ids[0]),
            (&format!("channels=a&since={}&tail=0", ids[1]), &ids[1]),
            (&format!("channels=a,b&since={}", ids[1]), &format!("a={},b=0-0", ids[1])),
            ("channels=empty&since=earliest", "0-0"),
            ("channels=large&since=earliest", "0-0"),
        ] {
            for (way, stream) in by_all_ways(node, &format!("/events?{query}")) {
                let begin = begins(&stream);
                assert!(begin.starts_with(&format!("id: {id}\n\n")), "{way}, {query}: {begin}");
            }
        }
    }
    // What is gone behind an id is told, and the place behind that is not left to chance.
    let ids = add(&redis, "t", 1..=3);
    redis.command(&["XTRIM", "sse:t", "MAXLEN", "1"]);
    redis.command(&["XDEL", "sse:t", &ids[2]]);
    let mut stream = nodes[0].subscribe(&format!("/events/t?since={}", ids[0]));
    assert_eq!(stream.gap()["resume_from"], ids[0].as_str());
    assert!(begins(&stream).contains(&format!("\n\nid: {}\n\n", ids[2])), "{}", begins(&stream));
}

#[test]
fn who_asks_from_an_id_on_begins_without_one_and_loses_nothing() {
    let (_redis, nodes) = nodes();
    for node in &nodes {
        let id = node.publish("/events/a", "1");
        let target = format!("/events/a?since={id}");
        let mut streams = by_all_ways(node, &target);
        for (way, stream) in &streams {
            assert_eq!(begins(stream), "", "{way}");
        }
        let next = node.publish("/events/a", "2");
        // Cut off before its first event, it asks for the same again.
        streams.push(("again", node.subscribe(&target)));
        for (way, stream) in &mut streams {
            assert_eq!((stream.numbers(1), stream.last_event_id()), (vec![2], next.clone()), "{way}");
        }
    }
}

#[test]
fn an_event_that_is_the_last_one_goes_out_with_the_head_and_ends_the_stream() {
    let (_redis, nodes) = nodes();
    for node in &nodes {
        node.publish("/events/job?final=1", "1");
        for (way, mut stream) in by_all_ways(node, "/events/job?since=earliest") {
            let (end, messages) = stream.finish();
            assert_eq!((end, messages.len()), (End::Whole, 1), "{way}");
            assert!(begins(&stream).starts_with("id: "), "{way}");
        }
        node.metric_becomes("fantail_events_delivered_total", 5.0);
    }
}

#[test]
fn delays_have_no_blank_line_at_the_end_either() {
    let redis = Redis::start();
    let mut node = Node::on(&redis, &["--drain", "300ms", "--compress", "on"]);
    add(&redis, "a", [1]);
    let mut streams = by_all_ways(&node, "/events/a?since=earliest");
    node.metric_becomes("fantail_connections", streams.len() as f64);
    node.signal(Signal::TERM);
    for (way, stream) in &mut streams {
        let (end, messages) = stream.finish();
        let whole = *way == "HTTP/1.0";
        assert_eq!((end, messages.len()), (if whole { End::Whole } else { End::Incomplete }, 1), "{way}");
        let raw = String::from_utf8_lossy(&stream.raw).into_owned();
        let (rest, delay) = raw.rsplit_once("data: 1\n\n").expect("the event");
        assert!(!rest.contains("\n\n") && delay.starts_with("retry: ") && delay.matches('\n').count() == 1, "{raw:?}");
    }
    assert_eq!(node.wait(), Some(0));
}

#[test]
fn who_is_told_to_come_back_is_told_by_one_line() {
    let node = Node::start(&["--max-connections", "1", "--when-full", "retry", "--retry", "10ms..10ms"]);
    let _one = node.subscribe("/events/a").begun();
    for connection in [Connection::open(node.listen), Connection::open(node.listen).http2()] {
        let mut stream = Stream::on(connection, "/events/a", &[]);
        assert_eq!(stream.finish(), (End::Incomplete, vec![]));
        assert_eq!(begins(&stream), "");
    }
}
