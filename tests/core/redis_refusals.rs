//! What a server, or a proxy in front of several, refuses: it costs what was refused and nothing else, and is said.

use crate::support::node::{Node, PATIENCE, within};
use crate::support::redis::Redis;
use crate::support::resp_proxy::{Act, RespProxy, error};

fn add(server: &Redis, key: &str, data: &str) {
    server.command(&["XADD", key, "*", "data", data]);
}

#[test]
fn an_error_without_a_code_is_a_refusal_and_no_lost_connection() {
    let server = Redis::start();
    let proxy = RespProxy::start(server.port(), |words| match words[0].as_str() {
        "XINFO" if words.iter().any(|word| word == "sse:bad") => error("Unsupported operation: xinfo"),
        _ => Act::Pass,
    });
    let node = Node::start(&["--redis", &proxy.url()]);
    node.metric_becomes("fantail_backplane_up", 1.0);
    for _ in 0..3 {
        assert_eq!(node.get("/events/bad").head.status, 502);
    }
    let mut good = node.subscribe("/events/good").begun();
    add(&server, "sse:good", "1");
    assert_eq!(good.next().data, "1");
    assert_eq!(node.metric("fantail_backplane_reconnects_total"), 0.0);
    let (tracking, elsewhere) = (["CLIENT", "TRACKING", "ON"], ["CLIENT", "TRACKING", "ON", "REDIRECT"]);
    assert!(proxy.count(&tracking) - proxy.count(&elsewhere) <= 1, "one live connection");
}

/// As several servers behind one address: one command has the keys of one slot.
fn shards(words: &[String]) -> Act {
    let Some(at) = words.iter().position(|word| word == "STREAMS").filter(|_| words[0] == "XREAD") else {
        return Act::Pass;
    };
    match words[at + 1..].len() > 2 {
        true => error("CROSSSLOT Keys in request don't hash to the same slot"),
        false => Act::Pass,
    }
}

#[test]
fn streams_that_lie_apart_behind_one_address_are_read_apart() {
    for follow in ["auto", "block"] {
        let server = Redis::start();
        let proxy = RespProxy::start(server.port(), shards);
        let node = Node::start(&["--redis", &proxy.url(), "--follow", follow]);
        node.metric_becomes("fantail_backplane_up", 1.0);
        let names: Vec<String> = (0..6).map(|n| format!("c{n}")).collect();
        let mut all = node.subscribe(&format!("/events?channels={}", names.join(","))).begun();
        let sent = |round: u32| {
            let adds: Vec<Vec<String>> = names
                .iter()
                .map(|name| {
                    ["XADD", &format!("sse:{name}"), "*", "data", &round.to_string()].map(str::to_owned).to_vec()
                })
                .collect();
            let words: Vec<Vec<&str>> = adds.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
            server.pipeline(&words.iter().map(Vec::as_slice).collect::<Vec<_>>());
        };
        for round in 0..5 {
            sent(round);
            let got: Vec<String> = all.take(6).into_iter().map(|message| message.data).collect();
            assert_eq!(got, vec![round.to_string(); 6], "{follow}");
        }
        if follow == "auto" {
            node.logs(&["reads are split from now on"]);
            let said = node.log().matches("reads are split from now on").count();
            assert_eq!(said, 1, "it is remembered");
        }
        assert_eq!(node.metric("fantail_backplane_reconnects_total"), 0.0);
    }
}

#[test]
fn an_interrupt_that_is_refused_is_not_sent_again() {
    let server = Redis::start();
    let proxy = RespProxy::start(server.port(), |words| match words.get(1).map(String::as_str) {
        Some("UNBLOCK") => error("ERR unknown subcommand 'unblock'"),
        _ => Act::Pass,
    });
    let node = Node::start(&["--redis", &proxy.url(), "--follow", "block"]);
    node.metric_becomes("fantail_backplane_up", 1.0);
    let mut streams: Vec<_> = (0..4).map(|n| node.subscribe(&format!("/events/c{n}")).begun()).collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        add(&server, &format!("sse:c{n}"), "1");
        assert_eq!(stream.next().data, "1");
    }
    assert!(proxy.count(&["CLIENT", "UNBLOCK"]) <= 1, "{}", proxy.count(&["CLIENT", "UNBLOCK"]));
}

#[test]
fn ids_that_are_no_time_are_counted_apart_and_are_not_late() {
    let server = Redis::start();
    let node = Node::on(&server, &[]);
    let mut stream = node.subscribe("/events/a").begun();
    for (id, data) in [("0-7", "1"), ("5-0", "2"), ("1700000000-0", "3"), ("*", "4"), ("1900000000000000-0", "5")] {
        server.command(&["XADD", "sse:a", id, "data", data]);
        assert_eq!(stream.next().data, data);
    }
    assert_eq!(node.metric("fantail_untimed_events_total"), 4.0);
    for name in ["follower", "delivery"] {
        let count = format!("fantail_{name}_lag_seconds_count");
        assert!(within(PATIENCE, || node.sample(&count) == Some(1.0)), "{name}: {:?}", node.sample(&count));
        assert!(node.metric(&format!("fantail_{name}_lag_seconds_sum")) < 60.0);
    }
}
