//! The application decides: what it is asked, what its answers mean, and that nothing opens when it fails.

use crate::support::node::{Node, eventually};
use crate::support::stream::{End, Stream};
use crate::support::web::Web;
use std::time::{Duration, Instant};

fn node(web: &Web, more: &[&str]) -> Node {
    Node::start(&[&["--auth", "forward", "--forward-url", &web.url("/may"), "--forward-cache", "0s"], more].concat())
}

#[test]
fn it_is_asked_with_what_it_needs_and_nothing_more() {
    let web = Web::start();
    let node = node(&web, &["--forward-headers", "x-tenant,authorization"]);
    let headers = [
        ("Cookie", "sid=1"),
        ("Cookie", "lang=de"),
        ("X-Tenant", "t"),
        ("X-Fantail-Channels", "forged"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("Accept-Language", "de"),
    ];
    drop(Stream::open(node.listen, "/events?channels=a,b&token=tok&x=1", &headers));
    let asked = web.last();
    assert_eq!(asked.target, "/may");
    for (name, value) in [
        ("cookie", "sid=1; lang=de"),
        ("x-tenant", "t"),
        ("authorization", "Bearer tok"),
        ("x-fantail-action", "subscribe"),
        ("x-fantail-channels", "a,b"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/events"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "node"),
    ] {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
    assert!(asked.header("accept-language").is_none() && !format!("{asked:?}").contains("forged"));
    assert_eq!(asked.headers.iter().filter(|(name, _)| name == "cookie").count(), 1);
    assert_eq!(node.ask("POST", "/events/a", &headers, "1").head.status, 201);
    assert_eq!(web.last().header("x-fantail-action"), Some("publish"));
    let batch = "{\"channel\":\"b\",\"data\":\"1\"}\n{\"channel\":\"c\",\"data\":\"1\"}\n";
    assert_eq!(node.ask("POST", "/events", &[], batch).head.status, 200);
    assert_eq!(web.last().header("x-fantail-channels"), Some("b,c"));
}

#[test]
fn its_answers_grant_narrow_end_and_refuse() {
    let web = Web::start();
    let node = node(&web, &["--token-expiring", "0s"]);
    for (status, code) in [(401, "unauthorized"), (403, "forbidden")] {
        web.answers(status, "text/html", "<p>no</p>");
        node.get("/events/a").problem(status, code);
        node.ask("POST", "/events/a", &[], "x").problem(status, code);
    }
    web.answers(200, "application/json", r#"{"subject":"alice","channels":["user.{sub}.*"]}"#);
    drop(node.subscribe("/events/user.alice.1"));
    node.get("/events/user.bob.1").problem(403, "forbidden");
    node.get("/events?channels=user.alice.1,other").problem(403, "forbidden");
    // Who names none gets those that the answer names, and not what its patterns cover.
    web.answers(200, "application/json", r#"{"subject":"alice","channels":["user.{sub}.1","more.*"]}"#);
    let mut own = node.subscribe("/events");
    web.answers(200, "application/json", "{}");
    node.publish("/events/user.alice.1", "7");
    assert_eq!(own.numbers(1), [7]);
    node.get("/events").problem(400, "bad_channel");
    web.answers(200, "application/json", r#"{"where":"n>1"}"#);
    let mut some = node.subscribe("/events/b");
    for number in ["1", "2"] {
        node.ask("POST", &format!("/events/b?field.n={number}"), &[], number);
    }
    assert_eq!(some.numbers(1), [2], "conditions of the answer hold");
    web.answers(200, "application/json", r#"{"where":"n"}"#);
    node.get("/events/b").problem(503, "auth_down");
    web.answers(200, "application/json", "{\"expires\":1}");
    node.get("/events/a").problem(401, "token_expired");
    node.ask("POST", "/events/a", &[], "x").problem(401, "token_expired");
    let exp = crate::support::jwt::now() + 6;
    web.answers(200, "application/json", &format!("{{\"expires\":{exp},\"limits\":{{\"channels\":1}}}}"));
    node.get("/events?channels=a,b").problem(400, "too_many_channels");
    let (end, messages) = node.subscribe("/events/a").finish();
    assert_eq!((end, messages.last().map(|m| m.event.as_str())), (End::Incomplete, Some("fantail.expired")));
    assert!(crate::support::jwt::now() >= exp);
}

#[test]
fn nothing_opens_when_it_fails_and_it_is_left_alone() {
    let web = Web::start();
    let node = node(&web, &["--forward-timeout", "3s", "--trusted-proxies", "127.0.0.0/8"]);
    for (status, kind, body) in [
        (500, "text/plain", ""),
        (302, "text/plain", ""),
        (404, "text/plain", ""),
        (200, "application/json", "{"),
        (200, "application/json", "{\"chanels\":[]}"),
    ] {
        web.answers(status, kind, body);
        node.get("/events/a").problem(503, "auth_down");
    }
    web.answers(431, "", "");
    for _ in 0..20 {
        node.get("/events/a").problem(503, "auth_down");
    }
    let long: Vec<String> = (0..40).map(|n| format!("{}{n}", "x".repeat(190))).collect();
    node.get(&format!("/events?channels={}", long.join(","))).problem(400, "too_many_channels");
    assert_eq!(node.metric("fantail_auth_forward_paused"), 0.0, "a client cannot have it left alone");
    web.answers(500, "", "");
    for n in 0..5 {
        let client = format!("192.0.2.{n}");
        node.ask("GET", "/events/a", &[("X-Forwarded-For", &client)], "").problem(503, "auth_down");
    }
    node.metric_becomes("fantail_auth_forward_paused", 1.0);
    node.logs(&["the application fails to decide"]);
    // While it is left alone it is not asked.
    web.answers(200, "", "");
    let asked = web.asked();
    node.get("/events/a").problem(503, "auth_down");
    assert_eq!(web.asked(), asked);
    eventually("it is tried again", || node.ask("HEAD", "/events/a", &[], "").head.status == 200);
    assert_eq!(node.metric("fantail_auth_forward_paused"), 0.0);
    web.falls_silent();
    let begun = Instant::now();
    node.get("/events/a").problem(503, "auth_down");
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    assert!(node.metric("fantail_auth_total{outcome=\"auth_down\"}") >= 7.0);
}

#[test]
fn answers_are_remembered_by_all_that_was_asked() {
    let web = Web::start();
    let more = ["--auth", "forward", "--forward-url", &web.url("/"), "--forward-cache", "1h"];
    let node = Node::start(&more);
    let ask = |cookie: &str, target: &str| {
        let status = node.ask("HEAD", target, &[("Cookie", cookie)], "").head.status;
        (status, web.asked())
    };
    assert_eq!(ask("sid=1", "/events/a"), (200, 1));
    assert_eq!(ask("sid=1", "/events/a"), (200, 1));
    web.answers(403, "", "");
    assert_eq!(ask("sid=1", "/events/a"), (200, 1), "remembered");
    assert_eq!(ask("sid=2", "/events/a"), (403, 2), "another's credentials are another question");
    assert_eq!(ask("sid=1", "/events/b"), (403, 3));
    assert_eq!(node.ask("POST", "/events/a", &[("Cookie", "sid=1")], "x").head.status, 403);
    assert!(node.metric("fantail_auth_forward_total{outcome=\"remembered\"}") >= 2.0);
}

#[test]
fn cookies_of_other_sites_pages_are_refused_before_it_is_asked() {
    let web = Web::start();
    let node = node(&web, &[]);
    let headers = [("Cookie", "sid=1"), ("Sec-Fetch-Site", "cross-site")];
    node.ask("GET", "/events/a", &headers, "").problem(403, "cross_site");
    node.ask("POST", "/events/a", &headers, "x").problem(403, "cross_site");
    let basic = [("Authorization", "Basic eDp5"), ("Sec-Fetch-Site", "cross-site")];
    node.ask("GET", "/events/a", &basic, "").problem(403, "cross_site");
    assert_eq!(web.asked(), 0);
    let bearer = [("Authorization", "Bearer x"), ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(node.ask("HEAD", "/events/a", &bearer, "").head.status, 200, "no browser adds that by itself");
    assert_eq!(node.ask("HEAD", "/events/a", &headers[1..], "").head.status, 200, "without cookies there is no harm");
}
