//! `QUERY /events`: subscriptions whose parameters come in a body.

use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::Stream;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// Subscribes by a body.
fn query(node: &Node, target: &str, form: &str) -> Stream {
    let mut connection = Connection::open(node.listen);
    connection.send_request("QUERY", target, &[FORM], form.as_bytes());
    Stream::answered(connection)
}

#[test]
fn a_set_that_no_url_holds_is_subscribed_and_resumed_by_its_body() {
    let redis = Redis::start();
    let (node, other) = (Node::on(&redis, &["--publish", "on"]), Node::on(&redis, &["--publish", "on"]));
    let names: Vec<String> =
        (0..300).map(|n| format!("a.long.name.of.a.channel.for.everybody.{n:03}.{}", "x".repeat(100))).collect();
    let form = format!("channels={}", names.join(","));
    let mut stream = query(&node, "/events", &form).begun();
    for (number, name) in names.iter().enumerate().step_by(7) {
        other.publish(&format!("/events/{name}"), &number.to_string());
        assert_eq!(stream.numbers(1), [number as u64]);
    }
    let last = stream.last_event_id();
    assert!(last.len() > 4_000, "an id of so many channels is too long for the headers of many proxies");
    drop(stream);
    node.publish(&format!("/events/{}", names[299]), "1000");
    let id: String = form_urlencoded::byte_serialize(last.as_bytes()).collect();
    assert_eq!(query(&other, "/events", &format!("{form}&lastEventId={id}")).numbers(1), [1000]);
}

#[test]
fn it_is_a_subscription_like_any_other() {
    let node = Node::start(&["--cors-origin", "https://a.example"]);
    let last = node.publish("/events/a?event=made", "1");
    node.publish("/events/b?event=other", "2");
    assert_eq!(query(&node, "/events?since=earliest", "channels=a,b&events=made").numbers(1), [1]);
    assert_eq!(query(&node, "/events/b?tail=1", "events=other").numbers(1), [2]);
    let mut connection = Connection::open(node.listen).http2();
    connection.send_request("QUERY", "/events?tail=1", &[FORM], b"channels=b");
    assert_eq!(Stream::answered(connection).numbers(1), [2]);
    // A body in pieces, on a connection that was used before.
    let mut connection = Connection::open(node.listen);
    assert_eq!(connection.ask("GET", "/history/a", &[], b"").head.status, 200);
    connection.send("QUERY /events HTTP/1.1\r\nHost: n\r\nOrigin: https://a.example\r\nTransfer-Encoding: chunked\r\n");
    connection.send("Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n\r\n9\r\nchannels=\r\n");
    connection.send("f\r\na&since=earlies\r\n1\r\nt\r\n0\r\n\r\n");
    let mut stream = Stream::answered(connection);
    assert_eq!(stream.head.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!((stream.numbers(1), stream.last_event_id()), (vec![1], last));
}

#[test]
fn what_is_no_such_body_is_refused_by_name() {
    let node = Node::start(&["--max-channels-per-query", "3"]);
    let ask = |target: &str, headers: &[(&str, &str)], body: &str| node.ask("QUERY", target, headers, body);
    let refused = ask("/events", &[("Content-Type", "application/json")], "{}");
    assert_eq!(refused.head.header("accept-query"), Some("application/x-www-form-urlencoded"));
    assert!(refused.problem(415, "unsupported_media_type").contains("application/json"));
    ask("/events", &[], "channels=a").problem(415, "unsupported_media_type");
    ask("/events", &[FORM, ("Content-Encoding", "gzip")], "x").problem(415, "unsupported_media_type");
    assert!(ask("/events?tail=1", &[FORM], "channels=a&tail=1").problem(400, "bad_parameter").contains("tail"));
    ask("/events/a", &[FORM], "channels=a").problem(400, "bad_parameter");
    ask("/events", &[FORM], "").problem(400, "bad_channel");
    ask("/events", &[FORM], "channels=a,b,c,d").problem(400, "too_many_channels");
    ask("/events", &[FORM], &"x".repeat((64 << 10) + 1)).problem(413, "body_too_large");
    ask("/history/a", &[FORM], "").problem(405, "method_not_allowed");
    let options = node.ask("OPTIONS", "/events", &[], "");
    assert_eq!(options.head.header("accept-query"), Some("application/x-www-form-urlencoded"));
    // Nobody else noticed, and a connection that was refused may ask again.
    assert_eq!(query(&node, "/events", "channels=a,b,c").begun().head.status, 200);
}
