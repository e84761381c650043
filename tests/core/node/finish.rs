//! Channels that a producer finishes.

use super::add;
use crate::support::client::Connection;
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::stream::End;

#[test]
fn the_last_event_comes_then_the_end_and_a_reconnect_gets_204_on_every_node() {
    let redis = Redis::start();
    let (one, other) = (Node::on(&redis, &[]), Node::on(&redis, &[]));
    let mut streams = ["/events/job", "/events/job?events=done", "/events/job?envelope=1"].map(|t| one.subscribe(t));
    add(&redis, "job", [1]);
    let last = redis.command(&["XADD", "sse:job", "*", "event", "done", "final", "1", "data", "2"]);
    for stream in &mut streams {
        let (end, messages) = stream.finish();
        assert_eq!(end, End::Whole);
        assert_eq!(messages.last().map(|m| m.id.as_str()), Some(last.text()), "the last event was delivered");
    }
    for node in [&one, &other] {
        for target in ["/events/job", "/events?channels=job"] {
            let answer = node.ask("GET", target, &[("Last-Event-ID", last.text())], "");
            assert_eq!((answer.head.status, answer.body.len()), (204, 0), "{target}");
            assert_eq!(answer.head.header("transfer-encoding"), None);
        }
    }
    one.metric_becomes("fantail_connections", 0.0);
    assert!(one.metric("fantail_connections_closed_total{reason=\"final\"}") >= 3.0);
}

#[test]
fn who_has_not_had_all_of_it_gets_the_rest_and_the_end() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let ids = add(&redis, "job", 1..=3);
    redis.command(&["XADD", "sse:job", "*", "final", "1", "data", "4"]);
    for (target, id, expected) in [
        ("/events/job", ids[0].as_str(), &[2, 3, 4][..]),
        ("/events/job", &ids[2], &[4]),
        ("/events/job?since=earliest", "", &[1, 2, 3, 4]),
        ("/events/job?tail=1", "", &[4]),
    ] {
        let (end, messages) = node.resume(target, id).finish();
        let numbers: Vec<u64> = messages.iter().map(|m| m.data.parse().expect("a number")).collect();
        assert_eq!((numbers.as_slice(), end), (expected, End::Whole), "{target} {id}");
    }
    // The latest of a finished channel is: nothing more.
    let mut connection = Connection::open(node.listen);
    assert_eq!(connection.ask("GET", "/events/job", &[], b"").head.status, 204);
}

#[test]
fn of_several_channels_all_have_to_end() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let mut stream = node.subscribe("/events?channels=job,orders");
    redis.command(&["XADD", "sse:job", "*", "final", "1", "data", "1"]);
    assert_eq!(stream.numbers(1), [1]);
    add(&redis, "orders", [2]);
    assert_eq!(stream.numbers(1), [2]);
    let id = stream.last_event_id();
    let mut resumed = node.resume("/events?channels=job,orders", &id);
    redis.command(&["XADD", "sse:orders", "*", "final", "1", "data", "3"]);
    for stream in [&mut stream, &mut resumed] {
        let (end, messages) = stream.finish();
        assert_eq!((end, messages.len(), messages[0].data.as_str()), (End::Whole, 1, "3"));
    }
    let answer = node.ask("GET", "/events?channels=job,orders", &[("Last-Event-ID", &stream.last_event_id())], "");
    assert_eq!(answer.head.status, 204);
}

#[test]
fn a_channel_that_goes_on_after_its_end_is_open_again() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let last = redis.command(&["XADD", "sse:job", "*", "final", "1", "data", "1"]);
    let ask = || {
        let mut connection = Connection::open(node.listen);
        connection.send_request("GET", "/events/job", &[("Last-Event-ID", last.text())], b"");
        connection.head().status
    };
    assert_eq!(ask(), 204);
    add(&redis, "job", [2]);
    // A producer's mistake, or a new job: what came after the end is delivered.
    eventually("the channel is open again", || ask() == 200);
    assert_eq!(node.resume("/events/job", last.text()).numbers(1), [2]);
}
