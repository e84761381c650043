//! What a publisher is told while Redis is away: whether anything can have been stored.

use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::resp_proxy::{Act, RespProxy, error};

const NOTHING: &str = "; nothing was stored, so it may be published again";
const UNKNOWN: &str = "; whether anything was stored is unknown, so a repeat without a key may publish twice";

fn lines(count: usize) -> String {
    (0..count).map(|n| format!("{{\"channel\":\"a\",\"data\":\"{n}\"}}\n")).collect()
}

fn entries(redis: &Redis) -> i64 {
    redis.command(&["XLEN", "sse:a"]).number()
}

#[test]
fn what_was_never_sent_to_redis_is_said_not_to_be_stored() {
    let redis = Redis::start_persistent();
    redis.stop();
    let node = Node::on(&redis, &["--publish", "on"]);
    let refused = |target: &str, body: &str| {
        let detail = node.ask("POST", target, &[], body).problem(503, "backplane_down");
        assert!(detail.ends_with(NOTHING), "{detail}");
    };
    refused("/events/a", "1");
    refused("/events", &lines(2));
    redis.run();
    eventually("it is published", || node.ask("POST", "/events/a", &[], "2").head.status == 201);
    assert_eq!(entries(&redis), 1);
    // The same where there was a connection.
    redis.stop();
    node.metric_becomes("fantail_backplane_up", 0.0);
    refused("/events/a", "3");
    refused("/events", &lines(2));
}

#[test]
fn what_was_sent_and_not_answered_may_be_stored() {
    let redis = Redis::start();
    let proxy = RespProxy::start(redis.port(), |_| Act::Pass);
    let node = Node::start(&["--redis", &proxy.url(), "--publish", "on"]);
    node.publish("/events/a", "1");
    proxy.decide(|words| if words[0] == "XADD" { Act::HangUp } else { Act::Pass });
    let detail = node.ask("POST", "/events/a", &[], "2").problem(503, "backplane_down");
    assert!(detail.ends_with(UNKNOWN), "{detail}");
    let detail = node.ask("POST", "/events", &[], &lines(2)).problem(503, "backplane_down");
    assert!(detail.ends_with(UNKNOWN), "{detail}");
}

#[test]
fn a_batch_says_of_each_line_whether_it_can_be_stored() {
    let redis = Redis::start();
    let mut count = 0;
    let proxy = RespProxy::start(redis.port(), move |words| {
        count += usize::from(words[0] == "XADD");
        // The last one of the second write.
        if words[0] == "XADD" && count == 512 { error("LOADING Redis is loading") } else { Act::Pass }
    });
    let node = Node::start(&["--redis", &proxy.url(), "--publish", "on"]);
    let answer = node.ask("POST", "/events", &[], &lines(700));
    assert_eq!(answer.head.status, 207, "{}", answer.text());
    let answer = answer.json();
    let ids = answer["ids"].as_array().expect("ids");
    assert_eq!(ids.iter().filter(|id| id.is_string()).count(), 256);
    let errors = answer["errors"].as_array().expect("errors");
    let told = |end: &str| {
        let told = errors.iter().filter(|error| error["detail"].as_str().expect("a detail").ends_with(end));
        told.map(|error| error["line"].as_u64().expect("a line")).collect::<Vec<_>>()
    };
    assert_eq!(told(UNKNOWN), (257..=512).collect::<Vec<_>>());
    assert_eq!(told(NOTHING), (513..=700).collect::<Vec<_>>());
    assert_eq!(entries(&redis), 511);
}
