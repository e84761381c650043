//! What a page asks for to know that its stream lives: a first event that carries the id, heartbeats at its own pace and as events.

use super::add;
use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use serde_json::{Value, json};

fn opened(stream: &mut Stream) -> (String, Value) {
    let message = stream.next();
    assert_eq!(message.event, "fantail.opened", "{message:?}");
    (message.id, serde_json::from_str(&message.data).expect("JSON"))
}

/// By each kind of connection.
fn by_all_ways(node: &Node, target: &str) -> Vec<Stream> {
    let open = || Connection::open(node.listen);
    let gzip = [("Accept-Encoding", "gzip")];
    vec![
        Stream::on(open(), target, &[]),
        Stream::on(open().http2(), target, &[]),
        Stream::on(open(), target, &gzip),
        Stream::on(open().http2(), target, &gzip),
    ]
}

#[test]
fn the_first_block_is_an_event_with_the_id_that_a_bare_one_would_have() {
    let redis = Redis::start();
    for node in [Node::on(&redis, &["--compress", "on", "--publish", "on"]), Node::start(&["--compress", "on"])] {
        let ids = ["1", "2"].map(|data| node.publish("/events/a", data));
        let before = format!("a={},b=0-0", ids[1]);
        for (query, id, numbers) in [
            ("channels=a", ids[1].as_str(), &[][..]),
            ("channels=a&since=earliest", "0-0", &[1, 2]),
            (&format!("channels=a&since={}", ids[0]), &ids[0], &[2]),
            (&format!("channels=a&since={}&envelope=0&events=message", ids[0]), &ids[0], &[2]),
            (&format!("channels=a&lastEventId={}", ids[0]), &ids[0], &[2]),
            ("channels=a,b", &before, &[]),
            ("channels=b,a&since=earliest", "b=0-0,a=0-0", &[1, 2]),
        ] {
            let target = format!("/events?{query}&hello=1");
            for mut stream in by_all_ways(&node, &target) {
                let raw = String::from_utf8_lossy(&stream.raw).into_owned();
                let (delay, rest) = raw.split_once('\n').expect("a line");
                assert!(delay.starts_with("retry: "), "{raw}");
                assert!(rest.starts_with(&format!("id: {id}\nevent: fantail.opened\ndata: ")), "{query}: {raw}");
                let channels: Vec<&str> = query.split(['=', '&']).nth(1).expect("channels").split(',').collect();
                assert_eq!(opened(&mut stream), (id.to_owned(), json!({ "channels": channels })), "{query}");
                assert_eq!(stream.numbers(numbers.len()), *numbers, "{query}");
            }
        }
    }
}

#[test]
fn what_was_lost_is_told_before_it() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let ids = add(&redis, "a", 1..=4);
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "1"]);
    let mut stream = node.resume("/events/a?hello=1", &ids[0]);
    assert_eq!(stream.gap()["resume_from"], ids[0].as_str());
    let (id, _) = opened(&mut stream);
    assert!(id >= ids[0] && id < ids[3], "{id}");
    assert_eq!(stream.numbers(1), [4]);
}

#[test]
fn who_is_held_is_told_when_its_channels_have_come() {
    let redis = Redis::start_persistent();
    let node = Node::on(&redis, &["--heartbeat", "1m"]);
    add(&redis, "a", [1]);
    redis.stop();
    node.metric_becomes("fantail_backplane_up", 0.0);
    let mut held = ["/events?channels=a,b&since=earliest&hello=1&heartbeatEvent=1", "/events/c?hello=1&heartbeat=1s"]
        .map(|target| node.subscribe(target));
    let first = held[0].next();
    assert_eq!(
        (first.event.as_str(), first.data.as_str(), first.id.as_str()),
        ("fantail.heartbeat", r#"{"every_ms":60000}"#, "")
    );
    held[1].read_until("a heartbeat", |stream| stream.parser.comments() > 0);
    assert_eq!(held[1].last_event_id(), "");
    redis.run();
    let (at, channels) = opened(&mut held[0]);
    assert!(at.contains("a=") && at.contains("b=") && channels == json!({"channels": ["a", "b"]}), "{at} {channels}");
    let (_, channels) = opened(&mut held[1]);
    assert_eq!(channels, json!({"channels": ["c"]}));
}

#[test]
fn a_stream_has_heartbeats_at_the_pace_that_it_asks_for() {
    let node = Node::start(&["--heartbeat", "5m", "--heartbeat-range", "1s..2s", "--compress", "on"]);
    for target in ["/events/a?heartbeat=1s", "/events?channels=a,b&heartbeat=1s", "/events/a?heartbeat=1s&events=x"] {
        for stream in &mut by_all_ways(&node, target) {
            stream.read_until("three heartbeats", |stream| stream.parser.comments() >= 3);
            assert!(!String::from_utf8_lossy(&stream.raw).contains(":\n\n"), "no blank lines");
        }
    }
    for heartbeat in ["999ms", "2s%201ms", "5m", "x", ""] {
        let detail = node.get(&format!("/events/a?heartbeat={heartbeat}")).problem(400, "bad_parameter");
        assert!(detail.starts_with("heartbeat=") && detail.ends_with("not a duration from 1s to 2s"), "{detail}");
    }
    for query in ["hello=2", "heartbeatEvent=yes", "heartbeat=1s&heartbeat=1s"] {
        let detail = node.get(&format!("/events/a?{query}")).problem(400, "bad_parameter");
        assert!(detail.starts_with(query.split('=').next().expect("a name")), "{detail}");
    }
}

#[test]
fn heartbeats_that_are_events_come_at_once_and_carry_the_ids_that_bare_ones_would() {
    let redis = Redis::start();
    let mut node = Node::on(&redis, &["--heartbeat", "1s", "--publish", "on", "--compress", "on", "--drain", "0s"]);
    let before = node.publish("/events/a?event=noise", "1");
    for target in ["/events/a?events=e&heartbeatEvent=1", "/events?channels=a,b&events=e&heartbeatEvent=1"] {
        for mut stream in by_all_ways(&node, target) {
            let is_beat = |stream: &mut Stream| {
                let message = stream.next();
                let told = (message.event.as_str(), message.data.as_str());
                assert_eq!(told, ("fantail.heartbeat", r#"{"every_ms":1000}"#), "{target}");
                message.id
            };
            let first = is_beat(&mut stream);
            assert!(stream.raw.starts_with(b"retry: ") && first.contains('-'), "{first}");
            assert_eq!(stream.parser.blocks(), 1, "one block is both");
            let skipped = node.publish("/events/a?event=noise", "2");
            while !is_beat(&mut stream).contains(&skipped) {}
            assert_eq!(stream.parser.comments(), 0);
        }
    }
    let mut last = node.subscribe("/events/a?since=earliest&heartbeatEvent=1");
    let first = last.next();
    assert_eq!((first.id.as_str(), first.event.as_str()), (before.as_str(), "noise"));
    node.signal(rustix::process::Signal::TERM);
    let (end, messages) = last.finish();
    assert!(end == End::Incomplete && messages.iter().any(|message| message.event == "fantail.heartbeat"));
    assert_eq!(node.wait(), Some(0));
}
