//! Every refusal that there is, provoked on a real node: its status, its code, and what it tells besides.
//!
//! That one does not depend on which channels exist is shown in `auth::refusals`.

use crate::support::client::{Connection, Response};
use crate::support::jwt::{Folder, SECRET, now, signed, subscriber};
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::relay::Relay;
use fantail::problem::Code;
use rustix::process::Signal;
use serde_json::json;

/// Makes a node refuse by a code. A new code does not compile here before it has its case.
fn provoke(code: Code) -> Response {
    let ask =
        |flags: &[&str], method: &str, target: &str, body: &str| Node::start(flags).ask(method, target, &[], body);
    match code {
        Code::BadChannel => ask(&[], "GET", "/events/a%20b", ""),
        Code::BadParameter => ask(&[], "GET", "/events/a?tail=many", ""),
        Code::BadBody => ask(&[], "POST", "/events", "nonsense\n"),
        Code::TooManyChannels => ask(&["--max-channels-per-connection", "1"], "GET", "/events?channels=a,b", ""),
        Code::ReservedChannel => ask(&[], "GET", "/events/~control", ""),
        Code::PublishOff => ask(&["--publish", "off"], "POST", "/events/a", "x"),
        Code::NotFound => ask(&[], "GET", "/nowhere", ""),
        Code::MethodNotAllowed => ask(&[], "DELETE", "/events/a", ""),
        Code::UnsupportedMediaType => ask(&[], "QUERY", "/events", "channels=a"),
        Code::HistoryGone => {
            let node = Node::start(&[]);
            node.ask("GET", "/events/a?control=end", &[("Last-Event-ID", "none of ours")], "")
        }
        Code::UnknownCoding => {
            let node = Node::start(&[]);
            let mut connection = Connection::open(node.listen);
            connection.send("POST /events/a HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
            connection.answer(false)
        }
        Code::BodyTooLarge => ask(&["--max-event-bytes", "1KiB"], "POST", "/events/a", &"x".repeat(1025)),
        Code::BodyTimeout => {
            let node = Node::start(&[]);
            let mut connection = Connection::open(node.listen);
            connection.send("POST /events/a HTTP/1.1\r\nHost: n\r\nContent-Length: 9\r\n\r\nslow");
            connection.answer(false)
        }
        Code::AuthDown => {
            ask(&["--auth", "forward", "--forward-url", "http://127.0.0.1:1/may"], "GET", "/events/a", "")
        }
        Code::Unauthorized | Code::BadToken | Code::TokenExpired | Code::Forbidden | Code::CrossSite => by_token(code),
        Code::TokenRevoked => revoked(),
        Code::TooManySubscriptions => ask(&["--max-channels-per-address", "1"], "GET", "/events?channels=a,b", ""),
        Code::TooManyConnections => beside_one(&["--max-connections-per-address", "1"]),
        Code::ChannelFull => beside_one(&["--max-channel-subscribers", "1"]),
        Code::NodeFull => beside_one(&["--max-connections", "1"]),
        Code::SubscribeRate => until_refused(&["--subscribe-rate", "1"], "GET"),
        Code::PublishRate => until_refused(&["--publish-rate", "1"], "POST"),
        Code::Draining => draining(),
        Code::BackplaneDown => {
            let redis = Redis::start();
            let node = Node::on(&redis, &["--publish", "on"]);
            redis.stop();
            node.metric_becomes("fantail_backplane_up", 0.0);
            node.ask("POST", "/events/a", &[], "x")
        }
        Code::BackplaneRefused => {
            let redis = Redis::start();
            redis.command(&["SET", "sse:a", "no stream"]);
            Node::on(&redis, &["--publish", "on"]).ask("POST", "/events/a", &[], "x")
        }
        Code::NotSupported => {
            let redis = Redis::start();
            let relay = Relay::start(redis.port());
            relay.spoil(|name, _| (name == "XCFGSET").then(|| b"-ERR unknown command 'XCFGSET'\r\n".to_vec()));
            let node = Node::start(&["--redis", &relay.url(), "--publish", "on"]);
            node.ask("POST", "/events/a", &[("Idempotency-Key", "k")], "x")
        }
    }
}

fn by_token(code: Code) -> Response {
    let folder = Folder::new();
    let secret = folder.write("secret", SECRET);
    let node = Node::start(&["--auth", "jwt", "--jwt-key", &secret, "--token-cookie", "sid"]);
    let expired = signed(json!({"exp": now() - 600, "fantail": {"subscribe": ["a"]}}));
    match code {
        Code::Unauthorized => node.get("/events/a"),
        Code::BadToken => node.get("/events/a?token=x.y.z"),
        Code::TokenExpired => node.get(&format!("/events/a?token={expired}")),
        Code::Forbidden => node.get(&format!("/events/a?token={}", subscriber(&["b"]))),
        _ => {
            let cookie = format!("sid={}", subscriber(&["a"]));
            node.ask("GET", "/events/a", &[("Cookie", &cookie), ("Sec-Fetch-Site", "cross-site")], "")
        }
    }
}

fn revoked() -> Response {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = Node::on(&redis, &["--auth", "jwt", "--jwt-key", &folder.write("secret", SECRET)]);
    let target = format!("/events/a?token={}", signed(json!({"jti": "one", "fantail": {"subscribe": ["a"]}})));
    redis.command(&["XADD", "sse:~control", "*", "disconnect", "token", "name", "one"]);
    eventually("the revocation", || node.ask("HEAD", &target, &[], "").head.status == 401);
    node.get(&target)
}

/// The second of two subscribers.
fn beside_one(flags: &[&str]) -> Response {
    let node = Node::start(flags);
    let _one = node.subscribe("/events/a").begun();
    node.get("/events/a")
}

/// A rate lets some pass first.
fn until_refused(flags: &[&str], method: &str) -> Response {
    let node = Node::start(flags);
    for _ in 0..1000 {
        let mut connection = Connection::open(node.listen);
        connection.send_request(method, "/events/a", &[], b"x");
        let head = connection.head();
        if head.status == 429 {
            let length = head.header("content-length").and_then(|length| length.parse().ok()).expect("a length");
            return Response { body: connection.exactly(length), head };
        }
    }
    panic!("{flags:?}: a thousand requests were taken");
}

/// A connection from before the drain asks on.
fn draining() -> Response {
    let node = Node::start(&["--drain", "1h"]);
    let _stream = node.subscribe("/events/a").begun();
    let mut connection = Connection::open(node.listen);
    assert_eq!(connection.ask("HEAD", "/events/a", &[], b"").head.status, 200);
    node.signal(Signal::TERM);
    node.logs(&["draining"]);
    let answer = connection.ask("GET", "/events/a", &[], b"");
    node.signal(Signal::TERM);
    answer
}

#[test]
fn every_code_has_a_request_that_gets_it() {
    for code in Code::ALL {
        let answer = provoke(code);
        let detail = answer.problem(code.status().as_u16(), code.as_str());
        assert!(!detail.is_empty() && detail.len() < 300, "{code:?}: {detail}");
        let head = &answer.head;
        assert_eq!(head.header("cache-control"), Some("no-store"), "{code:?}");
        assert_eq!(head.header("www-authenticate").is_some(), head.status == 401, "{code:?}");
        assert_eq!(head.header("allow").is_some(), head.status == 405, "{code:?}");
        // Who is refused learns neither of files, nor of Redis, nor of what the node is made of.
        let told = format!("{head:?} {}", answer.text()).to_ascii_lowercase();
        for inner in ["redis://", "127.0.0.1:", "/tmp", ".rs:", "hyper", "fred", "server:"] {
            assert!(!told.contains(inner), "{code:?}: {told}");
        }
    }
}
