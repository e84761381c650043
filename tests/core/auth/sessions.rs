//! `/session`: a token becomes the browser's cookie, and the node keeps nothing of it.

use super::{bearer, node, node_on};
use crate::support::client::{Connection, Response};
use crate::support::jwt::{Folder, now, signed, subscriber};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use serde_json::json;

const PAGE: &str = "https://app.example.org";

fn open(node: &Node, token: &str, more: &[(&str, &str)]) -> Response {
    let (name, value) = bearer(token);
    node.ask("POST", "/session", &[&[(name, value.as_str())], more].concat(), "")
}

/// The cookie's line without its `Max-Age`, and that.
fn cookie(answer: &Response) -> (String, u64) {
    assert_eq!((answer.head.status, answer.text().as_str()), (204, ""));
    assert_eq!(answer.head.header("cache-control"), Some("no-store"));
    let line = answer.head.header("set-cookie").expect("a cookie");
    let (before, rest) = line.split_once("; Max-Age=").expect("an age");
    let (age, behind) = rest.split_once("; ").expect("more");
    (format!("{before}; {behind}"), age.parse().expect("seconds"))
}

#[test]
fn a_token_becomes_a_cookie_that_opens_streams_and_ends_with_it() {
    let folder = Folder::new();
    let node = node(&folder, &["--token-cookie", "sid"]);
    let token = signed(json!({"sub": "alice", "exp": now() + 600, "fantail": {"subscribe": ["a"]}}));
    let (line, age) = cookie(&open(&node, &token, &[("Sec-Fetch-Site", "same-origin")]));
    assert_eq!(line, format!("sid={token}; Path=/; HttpOnly; SameSite=Lax"));
    assert!((590..=600).contains(&age), "{age}");
    let (name, value) = bearer(&token);
    let by_http2 = Connection::open(node.listen).http2().ask("POST", "/session", &[(name, &value)], b"");
    assert_eq!(cookie(&by_http2).0, line);
    let kept = [("Cookie", line.split("; ").next().expect("a pair"))];
    drop(Stream::open(node.listen, "/events/a", &kept).begun());
    assert_eq!(node.ask("HEAD", "/events/b", &kept, "").head.status, 403);
    let gone = node.ask("DELETE", "/session", &kept, "");
    assert_eq!(cookie(&gone), ("sid=; Path=/; HttpOnly; SameSite=Lax".into(), 0));
    assert!(!node.log().contains(&token), "a token is never logged");
}

#[test]
fn the_cookie_is_secure_where_the_browser_came_by_tls() {
    let folder = Folder::new();
    let token = subscriber(&["a"]);
    let is_secure = |flags: &[&str], more: &[(&str, &str)]| {
        let node = node(&folder, flags);
        let lines =
            [open(&node, &token, more), node.ask("DELETE", "/session", more, "")].map(|answer| cookie(&answer).0);
        let secure = lines.clone().map(|line| line.ends_with("; SameSite=Lax; Secure"));
        assert_eq!(secure[0], secure[1], "{lines:?}");
        secure[0]
    };
    let (plain, https) = (["--token-cookie", "sid"], [("X-Forwarded-Proto", "https")]);
    assert!(!is_secure(&plain, &https), "who is no proxy says nothing of others");
    assert!(is_secure(&[&plain[..], &["--trusted-proxies", "127.0.0.1"]].concat(), &https));
    assert!(!is_secure(&[&plain[..], &["--trusted-proxies", "127.0.0.1"]].concat(), &[]));
    assert!(is_secure(&[&plain[..], &["--public-url", "https://events.example.org"]].concat(), &[]));
    assert!(is_secure(&["--token-cookie", "__Host-sid"], &[]), "browsers take that name with Secure alone");
}

#[test]
fn what_is_no_good_token_of_a_page_of_ours_becomes_nothing() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = node_on(&redis, &folder, &["--token-cookie", "sid", "--cors-origin", PAGE]);
    let token = signed(json!({"sub": "alice", "jti": "1", "fantail": {"subscribe": ["a"]}}));
    let without_cookie = |answer: Response, status: u16, code: &str| {
        assert_eq!(answer.head.header("set-cookie"), None);
        let detail = answer.problem(status, code);
        assert!(!detail.contains(&token[token.len() - 20..]), "{detail}");
        detail
    };
    without_cookie(node.ask("POST", "/session", &[], ""), 401, "unauthorized");
    without_cookie(node.ask("POST", &format!("/session?token={token}"), &[], ""), 401, "unauthorized");
    let kept = format!("sid={token}");
    without_cookie(node.ask("POST", "/session", &[("Cookie", &kept)], ""), 401, "unauthorized");
    without_cookie(open(&node, "x.y.z", &[]), 401, "bad_token");
    let over = signed(json!({"exp": now() - 60, "fantail": {"subscribe": ["a"]}}));
    without_cookie(open(&node, &over, &[]), 401, "token_expired");
    let detail = without_cookie(open(&node, &"x".repeat(4094), &[]), 400, "bad_parameter");
    assert!(detail.contains("4093 bytes") && !detail.contains("xxx"), "{detail}");
    without_cookie(open(&node, &"x".repeat(4093), &[]), 401, "bad_token");
    without_cookie(open(&node, &token, &[("Origin", "https://evil.example.org")]), 403, "forbidden");
    without_cookie(open(&node, &token, &[("Sec-Fetch-Site", "cross-site")]), 403, "cross_site");
    without_cookie(node.ask("DELETE", "/session", &[("Sec-Fetch-Site", "same-site")], ""), 403, "cross_site");
    let put = node.ask("PUT", "/session", &[], "");
    assert_eq!(put.head.header("allow"), Some("POST, DELETE, OPTIONS"));
    without_cookie(put, 405, "method_not_allowed");
    redis.command(&["XADD", "sse:~control", "*", "disconnect", "token", "name", "1"]);
    node.metric_becomes("fantail_auth_barred", 1.0);
    without_cookie(open(&node, &token, &[]), 401, "token_revoked");
    assert_eq!(node.metric("fantail_connections_refused_total{reason=\"cross_site\"}"), 2.0);
}

#[test]
fn a_new_node_makes_no_cookie_of_a_revoked_token() {
    let (redis, folder) = (Redis::start(), Folder::new());
    redis.command(&["XADD", "sse:~control", "*", "disconnect", "token", "name", "1"]);
    let token = signed(json!({"sub": "alice", "jti": "1", "fantail": {"subscribe": ["a"]}}));
    for _ in 0..5 {
        // As early as can be: its control stream may not have been read yet.
        let node = node_on(&redis, &folder, &["--token-cookie", "sid"]);
        open(&node, &token, &[]).problem(401, "token_revoked");
    }
}

#[test]
fn a_page_of_a_listed_origin_may_and_none_where_any_is_listed() {
    let folder = Folder::new();
    let token = subscriber(&["a"]);
    let listed = node(&folder, &["--token-cookie", "sid", "--cors-origin", PAGE]);
    let asked = [("Origin", PAGE), ("Access-Control-Request-Method", "POST")];
    let preflight = listed.ask("OPTIONS", "/session", &asked, "").head;
    assert_eq!(preflight.header("access-control-allow-methods"), Some("POST, DELETE, OPTIONS"));
    assert_eq!(preflight.header("access-control-allow-credentials"), Some("true"));
    let answer = open(&listed, &token, &[("Origin", PAGE), ("Sec-Fetch-Site", "cross-site")]);
    assert_eq!(answer.head.header("access-control-allow-origin"), Some(PAGE));
    cookie(&answer);
    let any = node(&folder, &["--token-cookie", "sid", "--cors-origin", "*"]);
    open(&any, &token, &[("Origin", PAGE), ("Sec-Fetch-Site", "cross-site")]).problem(403, "cross_site");
}

#[test]
fn a_session_counts_for_the_rates_of_subscribing() {
    let folder = Folder::new();
    let token = signed(json!({"sub": "alice", "fantail": {"subscribe": ["a"]}}));
    for limit in ["--subscribe-rate", "--subscribe-rate-per-subject"] {
        let node = node(&folder, &["--token-cookie", "sid", limit, "1"]);
        let mut answers = (0..1000).map(|_| open(&node, &token, &[]));
        let refused = answers.find(|answer| answer.head.status != 204).expect("a thousand were taken");
        refused.problem(429, "subscribe_rate");
        assert_eq!(refused.head.header("set-cookie"), None);
    }
}

#[test]
fn without_a_cookies_name_there_is_no_such_path() {
    let folder = Folder::new();
    let said = open(&node(&folder, &[]), &subscriber(&["a"]), &[]).problem(404, "not_found");
    assert_eq!(said, "there is no /session without --token-cookie; clients ask for /events, /history");
    open(&Node::start(&[]), &subscriber(&["a"]), &[]).problem(404, "not_found");
}
