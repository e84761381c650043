//! Streams without events of the node's own: `control=end`, where a loss is an answer, and `control=off`, where it is a comment.

use super::{add, add_at};
use crate::support::client::{Connection, Response};
use crate::support::jwt::{Folder, flags, now, signed};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use serde_json::{Value, json};

/// The members of a refusal that tell what was lost.
fn gone(answer: &Response) -> Value {
    answer.problem(410, "history_gone");
    assert_eq!(answer.head.header("cache-control"), Some("no-store"));
    let told = answer.json();
    let members = ["channel", "reason", "resume_from", "continues_at", "lost"];
    members.iter().map(|name| ((*name).to_owned(), told[name].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn ask(connection: Connection, method: &str, target: &str, id: &str) -> Response {
    let mut connection = connection;
    connection.ask(method, target, &[("Last-Event-ID", id)], b"")
}

fn said(stream: &Stream) -> String {
    String::from_utf8_lossy(&stream.raw).into_owned()
}

/// Events 1 to 6 of a channel under the ids `10-0` to `60-0`, of which two are left.
fn trimmed(redis: &Redis, channel: &str) {
    (1..=6).for_each(|n| add_at(redis, channel, &format!("{n}0-0"), n));
    redis.command(&["XTRIM", &format!("sse:{channel}"), "MAXLEN", "2"]);
}

#[test]
fn a_loss_that_is_known_at_the_beginning_is_the_answer() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--compress", "on"]);
    trimmed(&redis, "a");
    let lost =
        json!({"channel": "a", "reason": "trimmed", "resume_from": "20-0", "continues_at": "50-0", "lost": null});
    for (target, id) in [
        ("/events/a?control=end", "20-0"),
        ("/events/a?control=end&hello=1&envelope=1&events=x", "20-0"),
        ("/events?channels=b,a&control=end", "b=0-0,a=20-0"),
        ("/events/a?control=end&since=20-0", ""),
    ] {
        assert_eq!(gone(&ask(Connection::open(node.listen), "GET", target, id)), lost, "{target}");
        let head = ask(Connection::open(node.listen), "HEAD", target, id).head;
        assert_eq!((head.status, head.header("content-type")), (410, Some("application/problem+json")), "{target}");
    }
    let mut http2 = Connection::open(node.listen).http2();
    http2.send_request("GET", "/events/a?control=end", &[("Last-Event-ID", "20-0")], b"");
    assert_eq!(http2.head().status, 410);
    let foreign = ask(Connection::open(node.listen), "GET", "/events/a?control=end", "none of ours");
    assert_eq!((&gone(&foreign)["reason"], &gone(&foreign)["resume_from"]), (&json!("reset"), &json!(null)));
    // Where nothing is lost it is a stream as any other.
    for (target, id, numbers) in [
        ("/events/a?control=end", "50-0", &[6][..]),
        ("/events/a?control=end&since=earliest", "", &[5, 6]),
        ("/events?channels=b,a&control=end", "b=0-0,a=50-0", &[6]),
    ] {
        assert_eq!(node.resume(target, id).numbers(numbers.len()), numbers, "{target}");
    }
    assert!(node.metric("fantail_gaps_total{reason=\"trimmed\"}") >= 4.0);
    assert!(node.metric("fantail_connections_refused_total{reason=\"history_gone\"}") >= 4.0);
}

#[test]
fn from_memory_as_from_redis() {
    let node = Node::start(&["--publish-maxlen", "2"]);
    let ids = ["1", "2", "3", "4", "5", "6", "7"].map(|data| node.publish("/events/a", data));
    let told = gone(&ask(Connection::open(node.listen), "GET", "/events/a?control=end", &ids[0]));
    assert_eq!((&told["reason"], &told["resume_from"]), (&json!("trimmed"), &json!(ids[0])));
    let mut off = node.resume("/events/a?control=off", &ids[0]);
    let (gap, rest) = said(&off)
        .split_once("\n: fantail.gap ")
        .map(|(_, rest)| rest.split_once('\n').expect("a line"))
        .map(|(gap, rest)| (gap.to_owned(), rest.to_owned()))
        .expect("a comment");
    let gap: Value = serde_json::from_str(&gap).expect("JSON");
    assert_eq!((&gap["reason"], &gap["resume_from"]), (&json!("trimmed"), &json!(ids[0])));
    assert!(rest.starts_with("id: "), "who resumes is told where it goes on: {rest}");
    let next = off.next();
    assert_eq!((next.event.as_str(), next.id == *gap["continues_at"].as_str().expect("an id")), ("message", true));
}

#[test]
fn a_loss_on_the_way_ends_the_stream_and_whoever_comes_back_is_told() {
    let redis = Redis::start();
    let flags = ["--max-entry-bytes", "64KiB", "--max-event-bytes", "64KiB", "--compress", "on"];
    let (node, other) = (Node::on(&redis, &flags), Node::on(&redis, &flags));
    let gzip = [("Accept-Encoding", "gzip")];
    let targets = [
        "/events/a?control=end",
        "/events?channels=a,b&control=end",
        "/events/a?control=end&events=message&envelope=1",
    ];
    let mut streams: Vec<(&str, Stream)> = Vec::new();
    for target in targets {
        let open = || Connection::open(node.listen);
        streams.push((target, Stream::on(open(), target, &[]).begun()));
        streams.push((target, Stream::on(open(), target, &gzip).begun()));
        streams.push((target, Stream::on(open().http2(), target, &[]).begun()));
    }
    add_at(&redis, "a", "10-0", 1);
    redis.command(&["XADD", "sse:a", "11-0", "data", &"x".repeat(100_000)]);
    add_at(&redis, "a", "12-0", 2);
    for (target, stream) in &mut streams {
        let (end, messages) = stream.finish();
        assert_eq!((end, messages.len()), (End::Incomplete, 1), "{target}: {}", said(stream));
        assert!(!said(stream).contains("fantail.") && said(stream).ends_with('\n'), "{}", said(stream));
        let id = stream.last_event_id();
        assert!(id.contains("10-0"), "{id}");
        for node in [&node, &other] {
            let told = gone(&ask(Connection::open(node.listen), "GET", target, &id));
            assert_eq!(
                (&told["channel"], &told["reason"], &told["lost"]),
                (&json!("a"), &json!("too_large"), &json!(1))
            );
        }
    }
    node.metric_becomes("fantail_connections_closed_total{reason=\"gap\"}", streams.len() as f64);
    // It goes on behind what it was told of.
    assert_eq!(other.subscribe("/events/a?control=end&since=11-0").numbers(1), [2]);
}

#[test]
fn a_stream_that_was_made_anew_ends_its_readers() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    add_at(&redis, "a", "50-0", 1);
    let mut streams = ["/events/a?control=end&since=earliest", "/events?channels=a,b&control=end&since=earliest"]
        .map(|target| (target, node.subscribe(target)));
    streams.iter_mut().for_each(|(_, stream)| assert_eq!(stream.numbers(1), [1]));
    redis.pipeline(&[&["DEL", "sse:a"], &["XADD", "sse:a", "1-0", "data", "2"]]);
    for (target, stream) in &mut streams {
        assert_eq!(stream.finish(), (End::Incomplete, vec![]), "{target}");
        let told = gone(&ask(Connection::open(node.listen), "GET", target, &stream.last_event_id()));
        assert_eq!(told["reason"], "reset", "{told}");
    }
}

#[test]
fn a_loss_on_the_way_is_a_comment_where_control_is_off() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--max-entry-bytes", "64KiB", "--max-event-bytes", "64KiB", "--compress", "on"]);
    let gzip = [("Accept-Encoding", "gzip")];
    let mut streams = Vec::new();
    for target in ["/events/a?control=off", "/events?channels=a,b&control=off", "/events/a?control=off&events=message"]
    {
        let open = || Connection::open(node.listen);
        streams.push(Stream::on(open(), target, &[]));
        streams.push(Stream::on(open(), target, &gzip));
        streams.push(Stream::on(open().http2(), target, &[]));
    }
    for stream in &streams {
        assert_eq!(said(stream).lines().count(), 1, "no bare id: {}", said(stream));
    }
    node.metric_becomes("fantail_connections", streams.len() as f64);
    add_at(&redis, "a", "10-0", 1);
    redis.command(&["XADD", "sse:a", "11-0", "data", &"x".repeat(100_000)]);
    add_at(&redis, "a", "12-0", 2);
    for stream in &mut streams {
        assert_eq!(stream.numbers(2), [1, 2]);
        let (before, gap) = stream_split(stream);
        assert!(before.ends_with("data: 1\n\n") && gap.contains(r#""reason":"too_large""#), "{}", said(stream));
        assert!(stream.last_event_id().contains("12-0"));
    }
    node.metric_becomes("fantail_gaps_total{reason=\"too_large\"}", 1.0);
}

/// What came before the comment that tells of a loss, and that comment.
fn stream_split(stream: &Stream) -> (String, String) {
    let said = said(stream);
    let (before, rest) = said.split_once(": fantail.gap ").expect("a comment");
    assert!(!before.contains("event: fantail") && !rest.contains("event: fantail"), "{said}");
    (before.to_owned(), rest.split('\n').next().expect("a line").to_owned())
}

#[test]
fn ends_of_grants_are_not_told() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let flags = flags(&folder);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--token-expiring", "2s"]).collect();
    let node = Node::on(&redis, &flags);
    let token = signed(json!({"exp": now() + 6, "jti": "t", "fantail": {"subscribe": ["a", "b"]}}));
    let mut streams = [
        "a&control=off",
        "a,b&control=off",
        "a&control=end",
        "a,b&control=end",
        "a&control=off&hello=1&heartbeatEvent=1",
    ]
    .map(|query| node.subscribe(&format!("/events?channels={query}&token={token}")));
    for stream in &mut streams {
        let (end, messages) = stream.finish();
        let told: Vec<&str> = messages.iter().map(|message| message.event.as_str()).collect();
        let asked = said(stream).contains("fantail.opened");
        assert_eq!(
            (end, &told[..]),
            (End::Incomplete, if asked { &["fantail.opened", "fantail.heartbeat"][..] } else { &[] })
        );
        assert_eq!(said(stream).matches("retry: ").count(), 2);
    }
    node.metric_becomes("fantail_connections_closed_total{reason=\"expired\"}", streams.len() as f64);
}

#[test]
fn channels_that_wait_are_not_told_and_what_they_have_lost_ends_the_stream() {
    let redis = Redis::start();
    redis.command(&["SET", "sse:late", "no stream"]);
    let node = Node::on(&redis, &[]);
    let ids = add(&redis, "a", [1]);
    let mut off = node.subscribe("/events?channels=a,late&control=off&since=earliest");
    let mut end = node.resume("/events?channels=a,late&control=end", &format!("a={},late=5-0", ids[0]));
    assert_eq!(off.numbers(1), [1]);
    redis.command(&["DEL", "sse:late"]);
    add_at(&redis, "late", "1-0", 2);
    let message = off.next();
    assert_eq!((message.event.as_str(), message.data.as_str()), ("message", "2"), "{}", said(&off));
    let (how, messages) = end.finish();
    assert_eq!((how, messages.len()), (End::Incomplete, 0), "{}", said(&end));
    let told =
        gone(&ask(Connection::open(node.listen), "GET", "/events?channels=a,late&control=end", &end.last_event_id()));
    assert_eq!((&told["channel"], &told["reason"]), (&json!("late"), &json!("reset")));
}
