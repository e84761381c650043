//! A way to Redis that ends connections, whatever is asked: nothing that was to be answered is taken for something else.

use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::resp_proxy::{Act, RespProxy};

/// Ends the connection at the first `info` questions for a stream's state, and at the first `range` questions for entries.
fn torn(server: &Redis, mut info: usize, mut range: usize) -> RespProxy {
    RespProxy::start(server.port(), move |words| {
        let left = match words[0].as_str() {
            "XINFO" if words.iter().any(|word| word.ends_with("sse:a")) => &mut info,
            "XRANGE" | "XREVRANGE" => &mut range,
            _ => return Act::Pass,
        };
        match left.checked_sub(1) {
            Some(less) => {
                *left = less;
                Act::HangUp
            }
            None => Act::Pass,
        }
    })
}

#[test]
fn a_channel_has_ended_though_connections_end_while_its_state_is_asked_for() {
    for info in [1, 2] {
        let server = Redis::start();
        let last = server.command(&["XADD", "sse:a", "*", "final", "1", "data", "1"]);
        let proxy = torn(&server, info, 0);
        let node = Node::start(&["--redis", &proxy.url()]);
        node.metric_becomes("fantail_backplane_up", 1.0);
        let answer = node.ask("GET", "/events/a", &[("Last-Event-ID", last.text())], "");
        // Where Redis is late, who waits has a head by then, and the end comes behind it.
        assert!([200, 204].contains(&answer.head.status), "{info} ended: {}", answer.head.status);
    }
}

#[test]
fn an_entry_is_not_too_large_because_connections_end() {
    for range in 2..=8 {
        let server = Redis::start();
        (1..=3).for_each(|n| drop(server.command(&["XADD", "sse:a", &format!("{n}-0"), "data", &n.to_string()])));
        let proxy = torn(&server, 4, range);
        let node = Node::start(&["--redis", &proxy.url()]);
        node.metric_becomes("fantail_backplane_up", 1.0);
        let mut stream = node.subscribe("/events/a?since=earliest");
        assert_eq!(stream.numbers(3), [1, 2, 3], "{range} ended");
        server.command(&["XADD", "sse:a", "4-0", "data", "4"]);
        assert_eq!(stream.numbers(1), [4]);
        let log = node.log();
        assert!(!log.contains("client-output-buffer-limit"), "{range} ended: {log}");
    }
}
