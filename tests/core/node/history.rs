//! Past events by `GET /history/{channel}`.

use crate::support::node::Node;
use crate::support::redis::Redis;
use serde_json::Value;

const LARGEST: &str = "18446744073709551615-18446744073709551615";

/// The ids of a page's events.
fn ids(page: &Value) -> Vec<&str> {
    page["events"].as_array().expect("events").iter().map(|event| event["id"].as_str().expect("an id")).collect()
}

#[test]
fn before_and_after_exclude_their_id_whatever_it_is() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let all = ["0-1", "5-0", "5-18446744073709551615", "6-0", LARGEST];
    for id in all {
        super::add_at(&redis, "a", id, 1);
    }
    assert_eq!(ids(&node.get("/history/a").json()), all);
    for (place, id) in all.iter().enumerate() {
        let before = node.get(&format!("/history/a?before={id}")).json();
        assert_eq!((ids(&before), &before["more"]), (all[..place].to_vec(), &Value::from(false)), "before {id}");
        let after = node.get(&format!("/history/a?after={id}")).json();
        assert_eq!((ids(&after), &after["more"]), (all[place + 1..].to_vec(), &Value::from(false)), "after {id}");
        let both = node.get(&format!("/history/a?after={id}&before={id}")).json();
        assert_eq!(ids(&both), [""; 0], "between {id} and itself");
    }
    assert_eq!(ids(&node.get("/history/a?before=0-0").json()), [""; 0]);
    assert_eq!(ids(&node.get("/history/a?after=0-0&limit=5").json()), all);
}

#[test]
fn its_text_is_that_of_the_stream() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let mut stream = node.subscribe("/events/a");
    let odd: &[&[u8]] = &[b"a\rb", b"a\r\nb\n\r\nc\r", b"\r", b"", b"\n", b"x\xff\ry", b" \xef\xbb\xbf", b"a\0b"];
    for data in odd {
        redis.command_of_bytes(&[&b"XADD"[..], b"sse:a", b"*", b"event", b"a\rb\n c", b"data", data]);
    }
    redis.command(&["XADD", "sse:a", "*", "k", "a\rb", "k", "\r"]);
    let history = node.get("/history/a").json();
    let events = history["events"].as_array().expect("events");
    assert_eq!(events.len(), odd.len() + 1);
    for event in events {
        let message = stream.next();
        let seen = [&message.id, &message.event, &message.data].map(|text| Value::from(text.as_str()));
        assert_eq!([&event["id"], &event["event"], &event["data"]], [&seen[0], &seen[1], &seen[2]]);
    }
}
