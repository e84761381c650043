//! The stream of one channel: its head, its first bytes, its events on the wire.

use super::add;
use crate::support::client::{Connection, Head};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use std::collections::HashSet;

/// Headers without the one that tells the time.
fn timeless(head: &Head) -> Vec<(String, String)> {
    let mut headers = head.headers.clone();
    headers.retain(|(name, _)| name != "date");
    headers
}

#[test]
fn the_head_is_that_of_an_unbuffered_event_stream() {
    let node = Node::start(&[]);
    let stream = node.subscribe("/events/orders");
    let header = |name| stream.head.header(name);
    assert_eq!((stream.head.version.as_str(), stream.head.status), ("HTTP/1.1", 200));
    assert_eq!(header("cache-control"), Some("no-cache, no-store, no-transform"));
    assert_eq!(header("x-accel-buffering"), Some("no"));
    assert_eq!(header("transfer-encoding"), Some("chunked"));
    assert!(header("date").is_some_and(|date| date.ends_with(" GMT")));
    assert_eq!((header("content-length"), header("connection")), (None, Some("close")));
    assert!(!stream.head.headers.iter().any(|(name, _)| name.starts_with("access-control-")), "{:?}", stream.head);
}

#[test]
fn the_first_bytes_are_a_delay_of_its_own_and_a_bare_id() {
    let node = Node::start(&["--retry", "200ms..900ms"]);
    let id = node.publish("/events/orders", "1");
    let mut delays = HashSet::new();
    for _ in 0..20 {
        let stream = node.subscribe("/events/orders").begun();
        let delay = stream.parser.retry().expect("a retry");
        assert!((200..=900).contains(&delay), "{delay}");
        assert_eq!(String::from_utf8_lossy(&stream.raw), format!("retry: {delay}\nid: {id}\n\n"));
        delays.insert(delay);
    }
    assert!(delays.len() > 5, "each has its own delay: {delays:?}");
    assert_eq!(node.subscribe("/events/empty").begun().last_event_id(), "0-0");
}

#[test]
fn events_come_as_they_were_published() {
    let node = Node::start(&[]);
    let mut stream = node.subscribe("/events/orders").begun();
    let begin = stream.raw.len();
    let one = node.publish("/events/orders", "a\r\nb\rc\n");
    let two = node.publish("/events/orders?event=created&retry=777", "{\"id\":1}");
    let three = node.publish("/events/orders", "");
    let messages = stream.take(3);
    let told: Vec<_> = messages.iter().map(|m| (m.id.as_str(), m.event.as_str(), m.data.as_str())).collect();
    let expected = [(&*one, "message", "a\nb\nc\n"), (&two, "created", "{\"id\":1}"), (&three, "message", "")];
    assert_eq!(told, expected);
    assert_eq!(stream.parser.retry(), Some(777));
    let raw = String::from_utf8_lossy(&stream.raw[begin..]).into_owned();
    assert!(raw.starts_with(&format!("id: {one}\ndata: a\ndata: b\ndata: c\ndata: \n\nid: {two}\nevent: created\n")));
}

#[test]
fn an_entry_without_data_is_an_object_of_its_fields() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let mut stream = node.subscribe("/events/orders");
    redis.command(&["XADD", "sse:orders", "*", "price", "7", "name", "a \"b\""]);
    let message = stream.next();
    assert_eq!(message.event, "message");
    let data: serde_json::Value = serde_json::from_str(&message.data).expect("JSON");
    assert_eq!(data, serde_json::json!({"price": "7", "name": "a \"b\""}));
}

#[test]
fn what_a_producer_writes_stays_within_its_field() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let mut stream = node.subscribe("/events/orders");
    let (kind, data) = ("x\ndata: 666\n\nid: 9-9", "1\n\nid: 9-9\nevent: y\r\rdata: 666\0");
    redis.command(&["XADD", "sse:orders", "*", "event", kind, "data", data, "retry", "5\nid: 9-9"]);
    let ids = add(&redis, "orders", [2]);
    let evil = stream.next();
    assert_eq!(evil.data, "1\n\nid: 9-9\nevent: y\n\ndata: 666\0");
    assert!(evil.id != "9-9" && !evil.event.contains('\n'), "{evil:?}");
    let next = stream.next();
    assert_eq!((next.id.as_str(), next.event.as_str(), next.data.as_str()), (ids[0].as_str(), "message", "2"));
}

#[test]
fn all_forms_of_the_path_name_the_same_channel() {
    let node = Node::start(&[]);
    let targets = ["/events/a%3Ab", "/events/a:b", "/events?channels=a:b", "/events/?channels=a%3Ab&_=123&x"];
    let mut streams: Vec<Stream> = targets.iter().map(|target| node.subscribe(target)).collect();
    node.publish("/events/a:b", "1");
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [1]));
}

#[test]
fn head_has_the_same_head_and_the_connection_goes_on() {
    let node = Node::start(&[]);
    let mut connection = Connection::open(node.listen);
    let answer = connection.ask("HEAD", "/events/orders", &[], b"");
    assert_eq!(answer.head.status, 200);
    assert_eq!(connection.ask("HEAD", "/events/orders?tail=x", &[], b"").head.status, 400);
    let stream = Stream::on(connection, "/events/orders", &[]);
    let (mut of_head, mut of_get) = (timeless(&answer.head), timeless(&stream.head));
    for headers in [&mut of_head, &mut of_get] {
        headers.retain(|(name, _)| !matches!(name.as_str(), "connection" | "content-length" | "transfer-encoding"));
        headers.sort();
    }
    assert_eq!(of_head, of_get);
    node.metric_becomes("fantail_connections_opened_total", 1.0);
}

#[test]
fn options_names_the_methods() {
    let node = Node::start(&[]);
    for target in ["/events/orders", "/events"] {
        let answer = node.ask("OPTIONS", target, &[], "");
        assert_eq!((answer.head.status, answer.head.header("allow")), (204, Some("GET, HEAD, POST, QUERY, OPTIONS")));
    }
}

#[test]
fn requests_before_a_subscription_share_its_connection() {
    let node = Node::start(&[]);
    let mut connection = Connection::open(node.listen);
    assert_eq!(connection.ask("POST", "/events/orders", &[], b"1").head.status, 201);
    assert_eq!(connection.ask("GET", "/nothing", &[], b"").head.status, 404);
    assert_eq!(connection.ask("OPTIONS", "/events/orders", &[], b"").head.status, 204);
    let mut stream = Stream::on(connection, "/events/orders?since=earliest", &[]);
    node.publish("/events/orders", "2");
    assert_eq!(stream.numbers(2), [1, 2]);
}

#[test]
fn an_http_1_0_client_gets_an_unchunked_stream_that_ends_with_the_connection() {
    let node = Node::start(&[]);
    for target in ["/events/orders", "/events?channels=orders,other"] {
        let mut connection = Connection::open(node.listen);
        connection.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
        let mut stream = Stream::answered(connection).begun();
        assert_eq!(stream.head.header("transfer-encoding"), None);
        assert_eq!(stream.head.header("connection"), Some("close"));
        assert!(stream.raw.starts_with(b"retry: "));
        node.publish("/events/orders", "1");
        node.publish("/events/orders", "2");
        assert_eq!(stream.numbers(2), [1, 2]);
    }
    let mut connection = Connection::open(node.listen);
    connection.send("GET /events/job HTTP/1.0\r\n\r\n");
    let mut stream = Stream::answered(connection);
    node.publish("/events/job?final=1", "3");
    assert_eq!(stream.numbers(1), [3]);
    assert_eq!(stream.finish(), (End::Whole, vec![]));
}

#[test]
fn the_demo_channel_counts() {
    let node = Node::start(&["--demo"]);
    let mut stream = node.subscribe("/events/demo?since=earliest");
    for count in 1..=3 {
        let message = stream.next();
        assert_eq!((message.event.as_str(), message.data), ("tick", format!("{{\"count\":{count}}}")));
    }
}

#[test]
fn every_subscriber_of_every_node_gets_every_event_in_order() {
    let redis = Redis::start();
    let nodes = [Node::on(&redis, &[]), Node::on(&redis, &["--follow", "block"])];
    let mut streams: Vec<Stream> = (0..40).map(|i| nodes[i % 2].subscribe("/events/orders")).collect();
    for from in (0..2000).step_by(100) {
        add(&redis, "orders", from..from + 100);
    }
    for stream in &mut streams {
        assert_eq!(stream.numbers(2000), (0..2000).collect::<Vec<_>>());
    }
    let delivered: f64 = nodes.iter().map(|node| node.metric("fantail_events_received_total")).sum();
    assert_eq!(delivered, 4000.0);
    nodes.iter().for_each(|node| node.metric_becomes("fantail_events_delivered_total", 40_000.0));
}
