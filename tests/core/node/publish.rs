//! Publishing over HTTP, and what it refuses.

use crate::support::client::Connection;
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use serde_json::json;

#[test]
fn the_answer_has_the_id_that_subscribers_see() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--publish", "on"]);
    let mut stream = node.subscribe("/events/orders");
    let answer = node.ask("POST", "/events/orders", &[("X-Event", "created"), ("X-Retry", "5000")], "1");
    assert_eq!(answer.head.status, 201);
    let message = stream.next();
    assert_eq!((answer.json(), message.event.as_str()), (json!({"id": message.id}), "created"));
    // The query goes before headers.
    let answer = node.ask("POST", "/events/orders?event=a", &[("X-Event", "b")], "2");
    let message = stream.next();
    assert_eq!((answer.json()["id"].as_str(), message.event.as_str()), (Some(message.id.as_str()), "a"));
    // It is a plain XADD: any Redis client sees it.
    let entries = redis.command(&["XRANGE", "sse:orders", "-", "+"]);
    assert_eq!(entries.list().len(), 2);
    node.metric_becomes("fantail_publish_requests_total{outcome=\"ok\"}", 2.0);
}

#[test]
fn a_batch_keeps_its_order_and_is_read_whole_before_anything_is_published() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--publish", "on"]);
    let mut stream = node.subscribe("/events?channels=a,b");
    let lines: String =
        (1..=20).map(|n| format!("{{\"channel\":\"{}\",\"data\":\"{n}\"}}\n", ["a", "b"][n % 2])).collect();
    let answer = node.ask("POST", "/events", &[], &lines);
    assert_eq!((answer.head.status, answer.json()["ids"].as_array().map(Vec::len)), (200, Some(20)));
    let mut numbers = stream.numbers(20);
    let odd: Vec<u64> = numbers.iter().copied().filter(|n| n % 2 == 1).collect();
    assert_eq!(odd, (1..=20).step_by(2).collect::<Vec<u64>>());
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    let bad = "{\"channel\":\"a\",\"data\":\"99\"}\n{\"channel\":\"a b\",\"data\":\"99\"}\n";
    node.ask("POST", "/events", &[], bad).problem(400, "bad_channel");
    let bad = "{\"channel\":\"a\",\"data\":\"99\"}\nnonsense\n";
    assert!(node.ask("POST", "/events", &[], bad).problem(400, "bad_body").contains('2'), "the line is named");
    node.publish("/events/a", "21");
    assert_eq!(stream.numbers(1), [21]);
}

#[test]
fn a_body_cut_off_half_way_publishes_nothing() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--publish", "on"]);
    let line = "{\"channel\":\"a\",\"data\":\"1\"}\n";
    for half in [
        "POST /events/a HTTP/1.1\r\nHost: n\r\nContent-Length: 10\r\n\r\n12345".to_owned(),
        "POST /events/a HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n".into(),
        "POST /events/a HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123".into(),
        format!("POST /events HTTP/1.1\r\nHost: n\r\nContent-Length: {}\r\n\r\n{line}", 2 * line.len()),
    ] {
        for reset in [false, true] {
            let mut connection = Connection::open(node.listen);
            connection.send(&half);
            if reset {
                drop(connection);
            } else {
                connection.half_close();
                let answer = String::from_utf8_lossy(&connection.rest()).into_owned();
                assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
            }
        }
    }
    node.metric_becomes("fantail_connections_waiting", 0.0);
    assert_eq!(redis.command(&["EXISTS", "sse:a"]).number(), 0);
}

#[test]
fn limits_are_told_by_code() {
    let node = Node::start(&["--max-event-bytes", "1KiB"]);
    let post = |target: &str, body: &str| node.ask("POST", target, &[], body);
    post("/events/a", &"x".repeat(1025)).problem(413, "body_too_large");
    assert_eq!(post("/events/a", &"x".repeat(1024)).head.status, 201);
    post("/events", &format!("{{\"channel\":\"a\",\"data\":\"{}\"}}", "x".repeat(1025))).problem(413, "body_too_large");
    post("/events/a%20b", "x").problem(400, "bad_channel");
    post("/events/~nodes", "x").problem(403, "reserved_channel");
    post("/events/a?event=fantail.gap", "x").problem(400, "bad_parameter");
    post("/events/a?retry=soon", "x").problem(400, "bad_parameter");
    post("/events", "").problem(400, "bad_body");
    // A length that is not allowed is refused before the body is sent.
    let mut connection = Connection::open(node.listen);
    connection.send("POST /events/a HTTP/1.1\r\nHost: n\r\nContent-Length: 999999999\r\n\r\n");
    connection.answer(false).problem(413, "body_too_large");
    node.metric_becomes("fantail_publish_requests_total{outcome=\"body_too_large\"}", 3.0);
}

#[test]
fn publishing_is_off_on_redis_unless_allowed_and_can_be_off_without() {
    let redis = Redis::start();
    for node in [Node::on(&redis, &[]), Node::start(&["--publish", "off"])] {
        for target in ["/events/a", "/events"] {
            assert!(node.ask("POST", target, &[], "x").problem(403, "publish_off").contains("--publish on"));
        }
    }
    assert_eq!(redis.command(&["EXISTS", "sse:a"]).number(), 0);
}

#[test]
fn an_address_publishes_no_faster_than_its_rate() {
    let node = Node::start(&["--publish-rate", "5"]);
    let mut stream = node.subscribe("/events/a");
    let mut refused = 0;
    for number in 1..=200 {
        let answer = node.ask("POST", "/events/a", &[], &number.to_string());
        if answer.head.status != 201 {
            answer.problem(429, "publish_rate");
            refused += 1;
        }
    }
    assert!(refused > 0, "200 events at once are more than 5 a second");
    eventually("the rate allows one again", || node.ask("POST", "/events/a", &[], "1000").head.status == 201);
    let numbers: Vec<u64> = stream.before("1000").iter().map(|m| m.data.parse().expect("a number")).collect();
    assert!(numbers.is_sorted() && numbers.len() == 200 - refused, "{numbers:?}");
}

#[test]
fn the_stream_keeps_as_many_entries_as_asked() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--publish", "on", "--publish-maxlen", "100"]);
    let lines = |from: u64| -> String {
        (from..from + 1000).map(|n| format!("{{\"channel\":\"a\",\"data\":\"{n}\"}}\n")).collect()
    };
    for from in [0, 1000] {
        assert_eq!(node.ask("POST", "/events", &[], &lines(from)).head.status, 200);
    }
    // About: Redis drops whole nodes of 100 entries.
    let length = redis.command(&["XLEN", "sse:a"]).number();
    assert!((100..=300).contains(&length), "{length}");
}
