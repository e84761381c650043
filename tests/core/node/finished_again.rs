//! Who comes to a finished channel with an id that is not of its end, and what `HEAD` says of one.

use super::{add, add_at};
use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};

/// Finishes a channel; the last entry's id.
fn finish(redis: &Redis, channel: &str) -> String {
    redis
        .command(&["XADD", &format!("sse:{channel}"), "*", "event", "done", "final", "1", "data", "9"])
        .text()
        .to_owned()
}

/// The gap, the last event, the clean end; and the answer to a reconnect.
fn told_and_ended(node: &Node, mut stream: Stream, target: &str, last: &str) {
    let gap = stream.gap();
    assert_eq!((&gap["reason"], &gap["continues_at"]), (&"reset".into(), &last.into()), "{target}");
    let (end, messages) = stream.finish();
    let ids: Vec<_> = messages.iter().map(|message| (message.id.as_str(), message.data.as_str())).collect();
    assert_eq!((ids, end), (vec![(last, "9")], End::Whole), "{target}");
    let id = stream.last_event_id();
    assert_eq!(node.ask("GET", target, &[("Last-Event-ID", &id)], "").head.status, 204, "{target} {id}");
}

#[test]
fn a_foreign_or_future_id_is_told_of_the_gap_and_gets_the_last_event_and_the_end() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    add(&redis, "job", 1..=3);
    let last = finish(&redis, "job");
    let memory = Node::start(&[]);
    memory.publish("/events/job", "1");
    let last_in_memory = memory.publish("/events/job?event=done&final=1", "9");
    for (node, last) in [(&node, &last), (&memory, &last_in_memory)] {
        // The first comes to a channel that is not in memory, the others find it there.
        for id in ["foreign", "99999999999999-0", "18446744073709551615-18446744073709551615", "foreign"] {
            told_and_ended(node, node.resume("/events/job", id), "/events/job", last);
        }
    }
}

#[test]
fn the_same_holds_for_a_filter_an_envelope_and_compression() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--compress", "on"]);
    add(&redis, "job", 1..=3);
    let last = finish(&redis, "job");
    told_and_ended(&node, node.resume("/events/job?events=done", "x"), "/events/job?events=done", &last);
    let headers = [("Last-Event-ID", "x"), ("Accept-Encoding", "gzip")];
    told_and_ended(&node, Stream::open(node.listen, "/events/job", &headers), "/events/job", &last);
    let mut wrapped = node.resume("/events/job?envelope=1", "x");
    wrapped.gap();
    assert_eq!(wrapped.next().id, last);
    // A filter that skips the last event moves the id over it all the same.
    for headers in [&headers[..1], &headers] {
        let mut stream = Stream::open(node.listen, "/events/job?events=other", headers);
        stream.gap();
        assert_eq!(stream.finish(), (End::Whole, vec![]));
        assert_eq!(stream.last_event_id(), last);
    }
}

#[test]
fn of_several_channels_each_that_has_ended_brings_its_last_event() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let ends = ["a", "b"].map(|channel| {
        add(&redis, channel, 1..=2);
        finish(&redis, channel)
    });
    let target = "/events?channels=a,b";
    let mut stream = node.resume(target, "foreign");
    let gaps = [stream.gap(), stream.gap()];
    for (gap, (channel, last)) in gaps.iter().zip(["a", "b"].iter().zip(&ends)) {
        assert_eq!((&gap["channel"], &gap["continues_at"]), (&(*channel).into(), &last.as_str().into()));
    }
    let (end, messages) = stream.finish();
    assert_eq!((end, messages.len()), (End::Whole, 2));
    assert_eq!(stream.last_event_id(), format!("a={},b={}", ends[0], ends[1]));
    assert_eq!(node.ask("GET", target, &[("Last-Event-ID", &stream.last_event_id())], "").head.status, 204);

    // One that goes on keeps the stream open.
    add(&redis, "open", [5]);
    let mut stream = node.resume("/events?channels=a,open", "foreign");
    stream.gap();
    stream.gap();
    assert_eq!(stream.next().data, "9");
    add(&redis, "open", [6]);
    assert_eq!(stream.numbers(1), [6]);
}

#[test]
fn a_life_that_has_ended_is_told_to_who_knows_another_one() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    add_at(&redis, "job", "9-1", 1);
    let id = node.resume("/events/job?since=earliest", "").next().id;
    redis.command(&["DEL", "sse:job"]);
    redis.command(&["XADD", "sse:job", "5-0", "final", "1", "data", "9"]);
    // On a node that has never read it.
    let other = Node::on(&redis, &[]);
    told_and_ended(&other, other.resume("/events/job", &id), "/events/job", "5-0");
}

#[test]
fn head_says_what_get_would() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let ids = add(&redis, "job", 1..=2);
    let last = finish(&redis, "job");
    let mut connection = Connection::open(node.listen);
    for (target, id, status) in [
        ("/events/job", last.as_str(), 204),
        ("/events/job", "", 204),
        ("/events?channels=job", &last, 204),
        ("/events/job", &ids[1], 200),
        ("/events/job", "foreign", 200),
        ("/events/job?since=earliest", "", 200),
        ("/events?channels=job,other", "", 200),
    ] {
        let answer = connection.ask("HEAD", target, &[("Last-Event-ID", id)], b"");
        assert_eq!(answer.head.status, status, "{target} {id}");
        let mut get = Connection::open(node.listen);
        get.send_request("GET", target, &[("Last-Event-ID", id)], b"");
        assert_eq!(get.head().status, status, "{target} {id}");
    }
    assert_eq!(connection.ask("HEAD", "/events/job", &[], b"").head.header("cache-control"), Some("no-store"));
    node.metric_becomes("fantail_subscriptions", 0.0);
}
