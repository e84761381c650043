//! Type filters and envelopes.

use crate::support::node::Node;
use crate::support::redis::Redis;

fn publish(node: &Node, kinds: &[(&str, u64)]) -> Vec<String> {
    kinds.iter().map(|(kind, n)| node.publish(&format!("/events/orders?event={kind}"), &n.to_string())).collect()
}

#[test]
fn only_the_asked_types_come_and_message_is_the_one_without_a_name() {
    let node = Node::start(&[]);
    let mut some = node.subscribe("/events/orders?events=created,updated");
    let mut plain = node.subscribe("/events/orders?events=message&events=deleted");
    publish(&node, &[("created", 1), ("", 2), ("deleted", 3), ("updated", 4), ("Created", 5), ("created", 6)]);
    assert_eq!(some.numbers(3), [1, 4, 6]);
    assert_eq!(plain.numbers(2), [2, 3]);
    // History is filtered, too.
    assert_eq!(node.subscribe("/events/orders?events=created&since=earliest").numbers(2), [1, 6]);
}

#[test]
fn a_heartbeat_carries_the_id_of_what_the_filter_skipped() {
    let redis = Redis::start();
    let (node, other) = (Node::on(&redis, &["--heartbeat", "1s", "--publish", "on"]), Node::on(&redis, &[]));
    for target in ["/events/orders?events=created", "/events?channels=orders,other&events=created"] {
        let mut stream = node.subscribe(target).begun();
        let begun = stream.last_event_id();
        let skipped = publish(&node, &[("noise", 1), ("noise", 2)]).remove(1);
        stream.read_until("an advanced id", |stream| stream.last_event_id() != begun);
        assert!(stream.last_event_id().contains(&skipped), "{} has {skipped}", stream.last_event_id());
        // It is a bare id: nothing was dispatched. Who comes back with it has missed nothing.
        let mut resumed = other.resume(&target.replace("events=created", ""), &stream.last_event_id());
        publish(&node, &[("created", 3)]);
        assert_eq!(stream.numbers(1), [3]);
        assert_eq!(resumed.numbers(1), [3]);
    }
}

#[test]
fn an_unfiltered_quiet_stream_gets_comments() {
    let node = Node::start(&["--heartbeat", "1s"]);
    let targets = ["/events/orders", "/events?channels=orders,other", "/events/orders?events=created"];
    let mut streams = targets.map(|target| node.subscribe(target).begun());
    for stream in &mut streams {
        let begun = stream.raw.len();
        stream.read_until("two comments", |stream| stream.parser.comments() >= 2);
        // Without a blank line, which some libraries take for an event.
        assert_eq!(&stream.raw[begun..begun + 4], b":\n:\n");
    }
}

#[test]
fn an_envelope_tells_channel_id_type_and_data() {
    let node = Node::start(&[]);
    let id = node.publish("/events/orders?event=created", "{\"n\": 1,\n\"x\":\"\\u0000\"}");
    for target in ["/events/orders?envelope=1&tail=1", "/events?channels=other,orders&envelope=1&tail=1"] {
        let mut stream = node.subscribe(target);
        let message = stream.next();
        assert_eq!(message.event, "message");
        let json: serde_json::Value = serde_json::from_str(&message.data).expect("JSON");
        let data = "{\"n\": 1,\n\"x\":\"\\u0000\"}";
        let expected = serde_json::json!({"channel": "orders", "id": id, "event": "created", "data": data});
        assert_eq!(json, expected, "{target}");
        if target.contains("other") {
            let id = node.publish("/events/other", "plain");
            let json: serde_json::Value = serde_json::from_str(&stream.next().data).expect("JSON");
            assert_eq!(json["channel"], "other");
            assert_eq!(json["id"], id.as_str());
            assert_eq!(json["data"], "plain");
        }
    }
}

#[test]
fn a_filter_looks_into_envelopes_and_gaps_pass_all_filters_unwrapped() {
    let node = Node::start(&[]);
    let mut stream = node.resume("/events/orders?envelope=1&events=created", "elsewhere");
    assert_eq!(stream.gap()["reason"], "reset");
    publish(&node, &[("noise", 1), ("created", 2)]);
    let json: serde_json::Value = serde_json::from_str(&stream.next().data).expect("JSON");
    assert_eq!((json["data"].as_str(), json["event"].as_str()), (Some("2"), Some("created")));
}
