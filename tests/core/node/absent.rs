//! `absent=204`: what asks whether an answer is still running.

use super::add;
use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::End;
use serde_json::json;

fn status(node: &Node, method: &str, target: &str, id: &str) -> u16 {
    let mut connection = Connection::open(node.listen);
    connection.send_request(method, target, &[("Last-Event-ID", id)], b"");
    let head = connection.head();
    assert!(head.header("cache-control").is_some_and(|value| value.contains("no-store")), "{head:?}");
    head.status
}

#[test]
fn who_asks_is_answered_where_there_is_no_stream_or_it_has_ended_and_was_read() {
    let redis = Redis::start();
    let (on_redis, in_memory) = (Node::on(&redis, &["--publish", "on"]), Node::start(&[]));
    for node in [&on_redis, &in_memory] {
        let running = node.publish("/events/running", "1");
        let ended = node.publish("/events/ended?final=1", "1");
        for (query, id, expected) in [
            ("channels=none", "", 204),
            ("channels=none,nothing&since=earliest", "", 204),
            ("channels=none", "17-0", 204),
            ("channels=none&since=17-0&tail=5", "", 204),
            ("channels=none&control=off&hello=1", "17-0", 204),
            ("channels=none&control=end&hello=1", "", 204),
            ("channels=none&control=end", "0-0", 204),
            ("channels=none&control=end&since=earliest", "", 204),
            ("channels=none&control=end&hello=1", "17-0", 410),
            ("channels=none&control=end&since=17-0", "", 410),
            ("channels=none,ended&control=end", &format!("none=17-0,ended={ended}"), 410),
            ("channels=none,ended&control=end", &format!("ended={ended}"), 204),
            ("channels=ended", &ended, 204),
            ("channels=ended,none", &format!("ended={ended}"), 204),
            ("channels=ended&since=earliest", "", 200),
            ("channels=running", "", 200),
            ("channels=running", &running, 200),
            ("channels=none,running", "", 200),
        ] {
            let target = format!("/events?{query}&absent=204");
            for method in ["GET", "HEAD"] {
                assert_eq!(status(node, method, &target, id), expected, "{method} {query} {id}");
            }
            let mut http2 = Connection::open(node.listen).http2();
            http2.send_request("GET", &target, &[("Last-Event-ID", id)], b"");
            assert_eq!(http2.head().status, expected, "HTTP/2 {query} {id}");
        }
        assert_eq!(status(node, "GET", "/events/none?since=earliest", ""), 200, "who does not ask waits for it");
        let mut reader = node.subscribe("/events/later");
        node.publish("/events/later", "1");
        assert_eq!(reader.numbers(1), [1]);
        assert_eq!(status(node, "HEAD", "/events/later?absent=204", ""), 200, "it exists by now");
        assert_eq!(node.get("/events/none?absent=404").problem(400, "bad_parameter"), r#"absent="404": not 204"#);
    }
}

#[test]
fn a_stream_that_went_away_is_absent_and_an_empty_one_is_not() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let ids = add(&redis, "a", [1, 2]);
    assert_eq!(node.subscribe("/events/a?since=earliest&absent=204").numbers(2), [1, 2]);
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "0"]);
    assert_eq!(status(&node, "GET", "/events/a?absent=204", &ids[1]), 200, "its producer may go on");
    redis.command(&["DEL", "sse:a"]);
    for id in ["", &ids[0], &ids[1]] {
        assert_eq!(status(&node, "GET", "/events/a?absent=204", id), 204, "{id}");
    }
    // What followed may be lost, which who asked for that is told first.
    for id in &ids {
        let gone = node.ask("GET", "/events/a?absent=204&control=end", &[("Last-Event-ID", id)], "");
        gone.problem(410, "history_gone");
        let gap = gone.json();
        assert_eq!(
            (&gap["channel"], &gap["reason"], &gap["resume_from"]),
            (&json!("a"), &json!("missing"), &json!(id))
        );
    }
    add(&redis, "a", [3]);
    // It is a stream again. The node may not have been told yet that it was away; who joins before that is told so.
    let told = node.subscribe("/events/a?since=earliest&absent=204").before("3");
    assert!(told.is_empty() || told.iter().any(|message| message.event == "fantail.gap"), "{told:?}");
}

#[test]
fn who_had_to_wait_for_the_answer_is_ended_and_told_when_it_comes_back() {
    let redis = Redis::start_persistent();
    let node = Node::on(&redis, &[]);
    redis.stop();
    node.metric_becomes("fantail_backplane_up", 0.0);
    let mut held = node.subscribe("/events/none?absent=204");
    redis.run();
    assert_eq!(held.finish(), (End::Incomplete, vec![]));
    assert_eq!(status(&node, "GET", "/events/none?absent=204", ""), 204);
}
