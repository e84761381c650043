//! The same grants whatever carries the request: HTTP/1.0, 1.1 and 2, compressed or not.

use super::{bearer, node, node_on};
use crate::support::client::Connection;
use crate::support::jwt::{Folder, now, signed, subscriber};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use serde_json::json;

/// A stream by each carrier.
fn by_all(node: &Node, target: &str, token: &str) -> Vec<(&'static str, Stream)> {
    let (name, value) = bearer(token);
    let mut old = Connection::open(node.listen);
    old.send(format!("GET {target} HTTP/1.0\r\n{name}: {value}\r\n\r\n"));
    let gzip = [(name, value.as_str()), ("Accept-Encoding", "gzip")];
    vec![
        ("HTTP/1.0", Stream::answered(old)),
        ("HTTP/1.1", Stream::open(node.listen, target, &gzip[..1])),
        ("HTTP/2", Stream::on(Connection::open(node.listen).http2(), target, &gzip[..1])),
        ("HTTP/1.1 gzip", Stream::open(node.listen, target, &gzip)),
        ("HTTP/2 gzip", Stream::on(Connection::open(node.listen).http2(), target, &gzip)),
    ]
}

/// How a stream ends that is to come back: HTTP/1.0 knows one end only.
fn cut_short(carrier: &str) -> End {
    if carrier == "HTTP/1.0" { End::Whole } else { End::Incomplete }
}

#[test]
fn every_stream_ends_with_its_token() {
    let folder = Folder::new();
    let node = node(&folder, &["--compress", "on", "--token-expiring", "3s"]);
    let exp = now() + 15;
    let token = signed(json!({"exp": exp, "fantail": {"subscribe": ["a", "b"]}}));
    let mut streams = by_all(&node, "/events/a", &token);
    streams.extend(by_all(&node, "/events?channels=a,b", &token));
    for (carrier, stream) in &mut streams {
        let (end, messages) = stream.finish();
        let events: Vec<&str> = messages.iter().map(|message| message.event.as_str()).collect();
        assert_eq!(events, ["fantail.expiring", "fantail.expired"], "{carrier}");
        assert_eq!(end, cut_short(carrier), "{carrier}");
        assert!(now() >= exp && !stream.last_event_id().is_empty(), "{carrier}");
    }
    node.metric_becomes("fantail_connections_closed_total{reason=\"expired\"}", 10.0);
}

#[test]
fn every_stream_ends_by_a_revocation() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = node_on(&redis, &folder, &["--compress", "on"]);
    let mut streams = by_all(&node, "/events?channels=a,b", &subscriber(&["**"]));
    // Whoever is on its way is sent off with a delay to come back, so all must be there.
    node.metric_becomes("fantail_connections", 5.0);
    redis.command(&["XADD", "sse:~control", "*", "disconnect", "channel", "name", "b"]);
    for (carrier, stream) in &mut streams {
        let (end, messages) = stream.finish();
        let events: Vec<&str> = messages.iter().map(|message| message.event.as_str()).collect();
        assert_eq!((end, &events[..]), (cut_short(carrier), &["fantail.revoked"][..]), "{carrier}");
    }
    node.metric_becomes("fantail_connections_closed_total{reason=\"revoked\"}", 5.0);
}

#[test]
fn http2_is_refused_and_bound_to_pages_as_http1_is() {
    let folder = Folder::new();
    let node = node(&folder, &["--token-cookie", "sid", "--max-connections-per-subject", "2"]);
    let token = signed(json!({"sub": "alice", "fantail": {"subscribe": ["a"], "publish": ["a"]}}));
    let cookie = format!("sid={token}");
    let ask = |method: &str, headers: &[(&str, &str)]| {
        Connection::open(node.listen).http2().ask(method, "/events/a", headers, b"x")
    };
    ask("GET", &[]).problem(401, "unauthorized");
    ask("GET", &[("Authorization", "Bearer x.y.z")]).problem(401, "bad_token");
    ask("GET", &[("Cookie", &cookie), ("Sec-Fetch-Site", "cross-site")]).problem(403, "cross_site");
    ask("GET", &[("Cookie", &cookie), ("Origin", "https://evil.org")]).problem(403, "cross_site");
    // The node's own pages: HTTP/2 names the host elsewhere.
    assert_eq!(ask("POST", &[("Cookie", &cookie), ("Origin", "http://node")]).head.status, 201);
    // HTTP/2 may split cookies.
    let split = [("Cookie", "x=1"), ("Cookie", cookie.as_str())];
    let one = Stream::on(Connection::open(node.listen).http2(), "/events/a", &split);
    let mut both = Connection::open(node.listen).http2();
    both.send_request("GET", "/events/a", &split, b"");
    assert_eq!(both.head().status, 200);
    ask("GET", &split).problem(429, "too_many_connections");
    drop((one, both));
}
