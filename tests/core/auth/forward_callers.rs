//! The application is asked on behalf of many: what one client sends or provokes is that client's alone.

use crate::support::http2::Http2;
use crate::support::node::Node;
use crate::support::raw::Raw;
use crate::support::web::Web;
use std::net::TcpStream;

fn node(web: &Web, more: &[&str]) -> Node {
    Node::start(&[&["--auth", "forward", "--forward-url", &web.url("/may"), "--forward-cache", "0s"], more].concat())
}

fn ask_as(node: &Node, client: &str) -> u16 {
    node.ask("HEAD", "/events/a", &[("X-Forwarded-For", client)], "").head.status
}

#[test]
fn cookies_of_http2_are_one_line_for_the_application() {
    let web = Web::start();
    let node = node(&web, &[]);
    let mut raw = Raw::plain(TcpStream::connect(node.listen).expect("the node listens"));
    let mut http2 = Http2::begin(&mut raw).expect("the node takes it");
    let cookies = [("cookie", "sid=1"), ("cookie", "lang=de"), ("cookie", "x=2; y=3")];
    http2.open(&mut raw, "GET", "/events/a", &cookies, b"");
    crate::support::node::eventually("it is asked", || web.asked() == 1);
    let asked = web.last();
    let cookies: Vec<&str> =
        asked.headers.iter().filter(|(name, _)| name == "cookie").map(|(_, value)| value.as_str()).collect();
    assert_eq!(cookies, ["sid=1; lang=de; x=2; y=3"]);
    // Lines of HTTP/1.1 mean the same, also where the setting names the header, too.
    let named = self::node(&web, &["--forward-headers", "cookie,x-tenant"]);
    named.ask("HEAD", "/events/a", &[("Cookie", "a=1"), ("Cookie", "b=2")], "");
    let asked = web.last();
    assert_eq!(asked.headers.iter().filter(|(name, _)| name == "cookie").count(), 1);
    assert_eq!(asked.header("cookie"), Some("a=1; b=2"));
}

#[test]
fn a_token_in_the_query_is_passed_on_only_where_it_is_taken() {
    let web = Web::start();
    let headers = ["--forward-headers", "authorization"];
    let off = node(&web, &[&headers[..], &["--token-query", "off"]].concat());
    off.ask("HEAD", "/events/a?token=secret", &[], "");
    assert!(!format!("{:?}", web.last()).contains("secret"), "{:?}", web.last());
    let on = node(&web, &headers);
    on.ask("HEAD", "/events/a?token=secret", &[], "");
    assert_eq!(web.last().header("authorization"), Some("Bearer secret"));
}

#[test]
fn one_client_that_makes_the_application_fail_has_it_left_alone_for_nobody() {
    let web = Web::start();
    let node = node(&web, &["--trusted-proxies", "127.0.0.0/8"]);
    web.answers(500, "", "");
    for _ in 0..30 {
        assert_eq!(ask_as(&node, "192.0.2.1"), 503);
        // An IPv6 client has a whole network of addresses.
        assert_eq!(ask_as(&node, "2001:db8::1"), 503);
        assert_eq!(ask_as(&node, "2001:db8::2"), 503);
        web.answers(200, "", "");
        assert_eq!(ask_as(&node, "192.0.2.2"), 200);
        web.answers(500, "", "");
    }
    for _ in 0..30 {
        assert_eq!(ask_as(&node, "192.0.2.1"), 503);
    }
    assert_eq!((node.metric("fantail_auth_forward_paused"), web.asked()), (0.0, 150));
    // Failures of several clients in a row are the application's.
    for client in ["192.0.2.3", "192.0.2.4"] {
        assert_eq!(ask_as(&node, client), 503);
    }
    assert_eq!(node.metric("fantail_auth_forward_paused"), 1.0);
}

#[test]
fn an_application_that_does_not_answer_is_left_alone_whoever_asks() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let node = Node::start(&["--auth", "forward", "--forward-url", &format!("http://{gone}/")]);
    for _ in 0..5 {
        node.get("/events/a").problem(503, "auth_down");
    }
    assert_eq!(node.metric("fantail_auth_forward_paused"), 1.0);
}
