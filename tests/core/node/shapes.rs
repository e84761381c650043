//! Events in other forms: `type=channel`, and `data=raw` with a `field`.

use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use serde_json::json;

/// Streams by each kind of connection.
fn by_all_ways(node: &Node, target: &str) -> Vec<(&'static str, Stream)> {
    let open = || Connection::open(node.listen);
    let gzip = [("Accept-Encoding", "gzip")];
    let mut old = open();
    old.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
    vec![
        ("HTTP/1.1", Stream::on(open(), target, &[])),
        ("HTTP/2", Stream::on(open().http2(), target, &[])),
        ("gzip", Stream::on(open(), target, &gzip)),
        ("gzip on HTTP/2", Stream::on(open().http2(), target, &gzip)),
        ("HTTP/1.0", Stream::answered(old)),
    ]
}

/// Types and data of the next events.
fn told(stream: &mut Stream, count: usize) -> Vec<(String, String)> {
    stream.take(count).into_iter().map(|message| (message.event, message.data)).collect()
}

fn owned(events: &[(&str, &str)]) -> Vec<(String, String)> {
    events.iter().map(|(kind, data)| ((*kind).to_owned(), (*data).to_owned())).collect()
}

#[test]
fn an_events_type_is_its_channels_name() {
    let redis = Redis::start();
    let flags = ["--compress", "on", "--publish", "on"];
    for node in [Node::on(&redis, &flags), Node::start(&flags)] {
        let first = node.publish("/events/orders?event=created&retry=700", "1\n2");
        let queries = [
            "channels=orders&type=channel",
            "channels=orders,fantail.x&type=channel",
            "channels=orders&type=channel&events=created,message&heartbeat=1s",
            "channels=orders&type=channel&control=off&hello=0",
        ];
        for query in queries {
            let live = by_all_ways(&node, &format!("/events?{query}"));
            let past = by_all_ways(&node, &format!("/events?{query}&since=earliest"));
            let resumed =
                node.resume(&format!("/events?{query}"), if query.contains(',') { "orders=0-1" } else { "0-1" });
            for (_, mut stream) in past.into_iter().chain([("resumed", resumed)]) {
                // Who comes back from nowhere is told so, where it is told at all.
                let message = std::iter::repeat_with(|| stream.next()).find(|message| message.event != "fantail.gap");
                let message = message.expect("one");
                assert_eq!((message.event.as_str(), message.data.as_str()), ("orders", "1\n2"), "{query}");
                assert!(message.id.contains(&first) && stream.parser.retry() == Some(700), "{query}: {message:?}");
            }
            let last = node.publish("/events/orders?event=created", "3");
            for (way, mut stream) in live {
                let mut newest = stream.next();
                // Of what was published just before, the node may not have known.
                while !newest.id.contains(&last) {
                    newest = stream.next();
                }
                assert_eq!((newest.event.as_str(), newest.data.as_str()), ("orders", "3"), "{way} {query}");
            }
        }
        let mut filtered = node.subscribe("/events?channels=orders,fantail.x&type=channel&events=deleted,message");
        let mut wrapped = node.subscribe("/events?channels=orders,fantail.x&type=channel&envelope=1");
        node.publish("/events/orders?event=created", "skipped");
        let id = node.publish("/events/fantail.x?event=deleted", "4");
        assert_eq!(told(&mut filtered, 1), owned(&[("_fantail.x", "4")]));
        // There is no order between channels.
        let mut both = wrapped.take(2);
        both.sort_by(|one, other| one.event.cmp(&other.event));
        let [message, skipped] = &both[..] else { panic!("two") };
        assert_eq!((skipped.event.as_str(), message.event.as_str()), ("orders", "_fantail.x"));
        let envelope: serde_json::Value = serde_json::from_str(&message.data).expect("JSON");
        assert_eq!(envelope, json!({"channel": "fantail.x", "id": id, "event": "deleted", "data": "4"}));
        node.publish("/events/job?event=done&final=1", "5");
        for (way, mut stream) in by_all_ways(&node, "/events/job?type=channel&since=earliest") {
            let (end, messages) = stream.finish();
            assert_eq!((end, messages[0].event.as_str()), (End::Whole, "job"), "{way}");
        }
    }
}

#[test]
fn a_field_is_the_data_of_entries_that_have_none() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--compress", "on"]);
    let add = |fields: &[&str]| {
        redis.command(&[&["XADD", "sse:answer", "*"], fields].concat());
    };
    add(&["event", "chunk", "text", "a\nb", "n", "1"]);
    let expected =
        owned(&[("chunk", "a\nb"), ("message", "it has data"), ("message", r#"{"other":"x"}"#), ("message", "first")]);
    let rest = || {
        add(&["data", "it has data", "text", "y"]);
        add(&["other", "x"]);
        add(&["text", "first", "text", "second"]);
    };
    let target = "/events/answer?data=raw&field=text&since=earliest";
    let several = "/events?channels=answer,b&data=raw&field=text&since=earliest&events=chunk,message";
    let mut streams = by_all_ways(&node, target);
    streams.extend(by_all_ways(&node, several));
    rest();
    streams.extend(by_all_ways(&node, target));
    for (way, stream) in &mut streams {
        assert_eq!(told(stream, 4), expected, "{way}");
    }
    let mut typed = node.subscribe("/events/answer?data=raw&field=text&type=channel&since=earliest");
    assert_eq!(told(&mut typed, 2), owned(&[("answer", "a\nb"), ("answer", "it has data")]));
    let mut wrapped = node.subscribe("/events/answer?data=raw&field=text&envelope=1&since=earliest");
    let envelope: serde_json::Value = serde_json::from_str(&wrapped.next().data).expect("JSON");
    assert_eq!((&envelope["event"], &envelope["data"]), (&json!("chunk"), &json!("a\nb")));
    // As many forms as anybody likes, of which few are kept.
    let mut many: Vec<Stream> = (0..20)
        .map(|n| {
            let gzip = if n % 2 == 0 { &[("Accept-Encoding", "gzip")][..] } else { &[] };
            Stream::open(node.listen, &format!("/events?channels=answer,b&data=raw&field=f{n}"), gzip)
        })
        .collect();
    let fields: Vec<String> = (0..20).flat_map(|n| [format!("f{n}"), format!("value {n}")]).collect();
    add(&fields.iter().map(String::as_str).collect::<Vec<_>>());
    for (n, stream) in many.iter_mut().enumerate() {
        assert_eq!(told(stream, 1), owned(&[("message", &format!("value {n}"))]));
    }
}

#[test]
fn history_has_the_same_data() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    redis.command(&["XADD", "sse:a", "*", "event", "e", "text", "x\r\ny", "n", "1"]);
    redis.command(&["XADD", "sse:a", "*", "data", "z", "text", "w"]);
    let data = |query: &str| {
        let page = node.get(&format!("/history/a?{query}")).json();
        let events = page["events"].as_array().expect("events").clone();
        events.iter().map(|event| event["data"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(data("data=raw&field=text"), ["x\ny", "z"]);
    assert_eq!(data("data=raw&field=n&where=n=1"), ["1"], "what is filtered by is what the entry has");
    assert_eq!(data("data=raw&field=none"), [r#"{"event":"e","text":"x\r\ny","n":"1"}"#, "z"]);
    node.get("/history/a?data=raw").problem(400, "bad_parameter");
    node.get("/history/a?field=text").problem(400, "bad_parameter");
}

#[test]
fn nonsense_is_refused_by_name() {
    let node = Node::start(&[]);
    for query in ["type=orders", "type=", "data=text", "data=raw", "field=x", "data=json&field=x", "data=raw&field="] {
        let detail = node.get(&format!("/events/a?{query}")).problem(400, "bad_parameter");
        let name = detail.split('=').next().expect("a name");
        assert!(query.split('&').any(|part| part.starts_with(name)), "{query}: {detail}");
    }
}
