//! What the fields of an entry become, whoever appended it.

use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::End;

/// Appends an entry with these fields.
fn append(redis: &Redis, channel: &str, fields: &[&[u8]]) -> String {
    let key = format!("sse:{channel}");
    redis.command_of_bytes(&[&[&b"XADD"[..], key.as_bytes(), b"*"], fields].concat()).text().to_owned()
}

#[test]
fn an_entry_without_data_keeps_its_fields_order_and_repeats() {
    let redis = Redis::start();
    let nodes = [Node::on(&redis, &[]), Node::on(&redis, &["--follow", "block"])];
    let mut streams: Vec<_> = nodes.iter().map(|node| node.subscribe("/events/a")).collect();
    let mut wrapped = nodes[0].subscribe("/events/a?envelope=1");
    append(&redis, "a", &[b"tag", b"a", b"n", b"1", b"tag", b"b", b"event", b"made"]);
    let expected = r#"{"tag":["a","b"],"n":"1","event":"made"}"#;
    for stream in &mut streams {
        let message = stream.next();
        assert_eq!((message.event.as_str(), message.data.as_str()), ("made", expected));
    }
    let message = wrapped.next();
    let envelope: serde_json::Value = serde_json::from_str(&message.data).expect("JSON");
    assert_eq!((envelope["data"].as_str(), envelope["event"].as_str()), (Some(expected), Some("made")));
    let history = nodes[0].get("/history/a").json();
    assert_eq!(history["events"][0]["data"], expected);
}

#[test]
fn a_delay_or_an_end_in_an_entry_of_the_producers_own_is_data_alone() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let mut stream = node.subscribe("/events/a").begun();
    let told = stream.parser.retry();
    let last = append(&redis, "a", &[b"retry", b"3", b"final", b"1", b"attempt", b"2"]);
    assert_eq!(stream.next().data, r#"{"retry":"3","final":"1","attempt":"2"}"#);
    assert_eq!(stream.parser.retry(), told);
    // Nor does a reconnect find the channel at its end, on a node that has read it and on one that has not.
    for node in [&node, &Node::on(&redis, &[])] {
        assert_eq!(node.resume("/events/a", &last).head.status, 200);
    }
    append(&redis, "a", &[b"retry", b"3", b"data", b"x"]);
    assert_eq!(stream.next().data, "x");
    assert_eq!(stream.parser.retry(), Some(500), "less than half a second is raised to it");
    append(&redis, "a", &[b"retry", b"99999999999999999999", b"data", b"x"]);
    assert_eq!(stream.next().data, "x");
    assert_eq!(stream.parser.retry(), Some(86_400_000), "more than a day is cut to it");
    let last = append(&redis, "a", &[b"event", b"done", b"final", b"1"]);
    let (end, messages) = stream.finish();
    assert_eq!((end, messages.len(), messages[0].event.as_str()), (End::Whole, 1, "done"));
    assert_eq!(node.ask("GET", "/events/a", &[("Last-Event-ID", &last)], "").head.status, 204);
}

#[test]
fn what_is_not_utf8_is_counted_or_refused() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--publish", "on"]);
    let mut stream = node.subscribe("/events/a");
    append(&redis, "a", &[b"data", b"x\xff\xe2\x82y"]);
    assert_eq!(stream.next().data, "x\u{fffd}\u{fffd}y");
    append(&redis, "a", &[b"na\xffme", b"x"]);
    assert_eq!(stream.next().data, "{\"na\u{fffd}me\":\"x\"}");
    append(&redis, "a", &["data".as_bytes(), "ä\0€".as_bytes()]);
    assert_eq!(stream.next().data, "ä\0€");
    assert_eq!(node.metric("fantail_invalid_utf8_total"), 2.0);

    let mut connection = crate::support::client::Connection::open(node.listen);
    let detail = connection.ask("POST", "/events/a", &[], b"ab\xff").problem(400, "bad_body");
    assert_eq!(detail, "not UTF-8 from byte 2 on");
    node.publish("/events/a", "ö");
    assert_eq!(stream.next().data, "ö", "nothing of what was refused was published");
}
