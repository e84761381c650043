//! Servers that do not take RESP3, no room for connections, ways that drop idle ones, and keys of another type: what can be
//! served is, and what cannot is named.

use crate::redis::rights::checked;
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::resp_proxy::{Act, RespProxy, error};
use std::net::TcpListener;

#[test]
fn a_server_that_does_not_take_resp3_is_followed_by_blocking_reads() {
    let server = Redis::start();
    let acts: [fn() -> Act; 3] = [|| Act::HangUp, || Act::FallSilent, || error("what do you mean?")];
    for (act, at) in acts.into_iter().flat_map(|act| [(act, "HELLO"), (act, "TRACKING")]) {
        let odd = move |words: &[String]| match words.iter().take(2).any(|word| word == at) {
            true => act(),
            false => Act::Pass,
        };
        let proxy = RespProxy::start(server.port(), odd);
        let node = Node::start(&["--redis", &proxy.url(), "--redis-timeout", "300ms"]);
        node.metric_becomes("fantail_backplane_up", 1.0);
        assert_eq!(node.status()["backplane"]["follow"], "block");
        let mut stream = node.subscribe("/events/a").begun();
        server.command(&["XADD", "sse:a", "*", "data", at]);
        assert_eq!(stream.next().data, at);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_without_a_server_is_told_from_a_port_that_wants_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("bound");
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let (said, code) = checked(&format!("redis://{at}"), &[]).await;
    assert!(code == 1 && said.contains("is there a server behind it?") && !said.contains("want TLS"), "{said}");
}

#[test]
fn a_key_of_another_type_costs_its_own_channel_alone() {
    let server = Redis::start();
    server.command(&["SET", "sse:wrong", "no stream"]);
    let node = Node::on(&server, &[]);
    for _ in 0..20 {
        assert_eq!(node.get("/events/wrong").head.status, 502);
    }
    assert_eq!(node.log().matches("a stream cannot be read").count(), 1);
    assert_eq!(node.status()["unreadable"][0]["channel"], "wrong");
    let mut both = node.subscribe("/events?channels=good,wrong");
    server.command(&["XADD", "sse:good", "*", "data", "1"]);
    let held = both.next();
    assert_eq!((held.event.as_str(), held.data.as_str()), ("fantail.held", r#"{"channels":["wrong"]}"#));
    assert_eq!(both.next().data, "1");
    server.command(&["DEL", "sse:wrong"]);
    assert_eq!(both.next().event, "fantail.joined");
    server.command(&["XADD", "sse:wrong", "*", "data", "2"]);
    assert_eq!(both.next().data, "2");
    eventually("all readable", || node.status()["unreadable"].as_array().is_some_and(Vec::is_empty));
    // Nothing can begin where all are refused.
    server.command(&["SET", "sse:wrong2", "no stream"]);
    server.command(&["SET", "sse:wrong3", "no stream"]);
    assert_eq!(node.get("/events?channels=wrong2,wrong3").head.status, 502);
}

#[test]
fn the_live_connection_comes_first_where_there_is_little_room() {
    let server = Redis::start();
    let node = Node::on(&server, &["--publish", "on"]);
    node.metric_becomes("fantail_backplane_up", 1.0);
    node.publish("/events/a", "1");
    assert_eq!(node.get("/history/a").head.status, 200);
    // The test's own connections come and go.
    server.command(&["CONFIG", "SET", "maxclients", "3"]);
    for _ in 0..3 {
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        node.metric_becomes("fantail_backplane_up", 1.0);
        let _ = node.get("/history/a");
    }
}
