//! What heads of requests must say, and what heads of answers do.

use crate::support::client::{Connection, Head, Response};
use crate::support::http2::{DATA, END_HEADERS, END_STREAM, Frame, HEADERS, Http2};
use crate::support::jwt::{Folder, SECRET};
use crate::support::node::Node;
use std::io::Write;

/// One request over HTTP/1, byte for byte.
fn raw(node: &Node, request: &str) -> Response {
    let mut connection = Connection::open(node.listen);
    connection.send(request);
    connection.answer(false)
}

/// The status of a `POST` over HTTP/2 with these lines.
fn over_http2(node: &Node, lines: &[(&str, &str)]) -> u16 {
    let mut raw = Connection::open(node.listen).raw;
    let mut http2 = Http2::begin(&mut raw).expect("the node takes it");
    let fixed = [(":method", "POST"), (":scheme", "http"), (":path", "/events/a")];
    let block = http2.block(&[&fixed[..], lines].concat());
    let frames = [Frame::new(HEADERS, END_HEADERS, 1, &block).bytes(), Frame::new(DATA, END_STREAM, 1, b"1").bytes()];
    raw.write_all(&frames.concat()).and_then(|()| raw.flush()).expect("the node takes it");
    loop {
        http2.frame(&mut raw).expect("an answer");
        if let Some(head) = http2.streams.get(&1).and_then(|received| received.head.as_ref()) {
            return head.status;
        }
    }
}

#[test]
fn a_request_names_its_host_once() {
    let node = Node::start(&[]);
    let post = |target: &str, lines: &str| {
        let answer = raw(&node, &format!("POST {target} HTTP/1.1\r\n{lines}Content-Length: 1\r\n\r\n1"));
        if answer.head.status == 400 {
            assert!(answer.problem(400, "bad_parameter").starts_with("Host"), "{}", answer.text());
        }
        answer.head.status
    };
    for bad in
        ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host: a b@/c\r\n", "Host: u@a\r\n", "Host: a:x\r\n"]
    {
        assert_eq!(post("/events/a", bad), 400, "{bad:?}");
    }
    assert_eq!(post("http://node/events/a", ""), 400);
    for good in ["Host: a\r\n", "Host: [::1]:8080\r\n", "Host:\r\n"] {
        assert_eq!(post("/events/a", good), 201, "{good:?}");
    }
    assert_eq!(raw(&node, "POST /events/a HTTP/1.0\r\nContent-Length: 1\r\n\r\n1").head.status, 201);
    // Whatever is asked for, and by whom.
    for request in ["GET /events/a", "HEAD /events/a", "GET /history/a", "OPTIONS /events/a", "GET /x"] {
        let mut connection = Connection::open(node.listen);
        connection.send(format!("{request} HTTP/1.1\r\n\r\n"));
        assert_eq!(connection.head().status, 400, "{request}");
    }
    for bad in [&[][..], &[("host", "a"), ("host", "a")], &[("host", "a b")], &[(":authority", "u@a")]] {
        assert_eq!(over_http2(&node, bad), 400, "{bad:?}");
    }
    for good in [[("host", "a")], [(":authority", "a")]] {
        assert_eq!(over_http2(&node, &good), 201, "{good:?}");
    }
}

#[test]
fn the_targets_authority_is_the_host_by_which_an_origin_is_own() {
    let node = Node::start(&[]);
    let post = |host: &str, origin: &str| {
        let lines = format!("Host: {host}\r\nOrigin: http://{origin}\r\nContent-Length: 1\r\n\r\n1");
        raw(&node, &format!("POST http://node:1/events/a HTTP/1.1\r\n{lines}")).head.status
    };
    assert_eq!([post("evil", "evil"), post("evil", "node:1"), post("node:1", "node:1")], [403, 201, 201]);
    let post =
        |host: &str, origin: &str| over_http2(&node, &[(":authority", "node:1"), ("host", host), ("origin", origin)]);
    assert_eq!([post("evil", "http://evil"), post("evil", "http://node:1")], [403, 201]);
}

#[test]
fn a_body_may_be_chunked_and_nothing_else() {
    let node = Node::start(&[]);
    let post = |lines: &str| {
        raw(&node, &format!("POST /events/a HTTP/1.1\r\nHost: n\r\n{lines}\r\n\r\n1\r\n1\r\n0\r\n\r\n")).head.status
    };
    assert_eq!(post("Transfer-Encoding: chunked"), 201);
    assert_eq!(post("Transfer-Encoding: Chunked"), 201);
    for coding in ["gzip, chunked", "x-gzip , chunked", "identity, chunked", "deflate\r\nTransfer-Encoding: chunked"] {
        assert_eq!(post(&format!("Transfer-Encoding: {coding}")), 501, "{coding:?}");
    }
    assert_eq!(post("Transfer-Encoding: chunked, chunked"), 400);
    assert_eq!(node.get("/history/a").json()["events"].as_array().map(Vec::len), Some(2), "nothing else was published");
    let packed = [("Content-Encoding", "gzip")];
    let detail = node.ask("POST", "/events/a", &packed, "1").problem(400, "bad_parameter");
    assert!(detail.contains("=\"gzip\":"), "{detail}");
    assert_eq!(node.ask("POST", "/events/a", &[("Content-Encoding", "Identity")], "1").head.status, 201);
}

/// `curl -F` would publish boundaries and heads as data, and a misspelt `ttl` would keep a stream for ever.
#[test]
fn what_was_meant_otherwise_is_not_published() {
    let node = Node::start(&[]);
    let form = [("Content-Type", "Multipart/Form-Data; boundary=x")];
    for path in ["/events/a", "/events"] {
        let detail = node.ask("POST", path, &form, "--x\r\n").problem(415, "unsupported_media_type");
        assert!(detail.starts_with("\"Multipart/Form-Data; boundary=x\":"), "{detail}");
    }
    let detail = node.ask("POST", "/events/a?tll=1h", &[], "1").problem(400, "bad_parameter");
    assert!(detail.starts_with("tll=\"1h\":"), "{detail}");
    assert_eq!(node.get("/history/a").json()["events"].as_array().map(Vec::len), Some(0));
    assert_eq!(node.ask("POST", "/events/a?v=2", &[("Content-Type", "application/json")], "1").head.status, 201);
}

#[test]
fn the_log_names_what_was_refused() {
    let node = Node::start(&[]);
    node.get("/events/a?tail=ma%0Any").problem(400, "bad_parameter");
    node.logs(&["refused", "127.0.0.1", "bad_parameter", r#"tail="ma\nny":"#]);
}

/// All values of a header.
fn all(head: &Head, name: &str) -> String {
    let values = head.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
    values.collect::<Vec<_>>().join(", ")
}

#[test]
fn nobody_takes_an_answer_for_a_page() {
    let folder = Folder::new();
    let secret = folder.write("secret", SECRET);
    let guarded = Node::start(&["--auth", "jwt", "--jwt-key", &secret]);
    let node = Node::start(&[]);
    let full = Node::start(&["--max-connections", "1"]);
    let ended = Node::start(&["--max-connections", "1", "--when-full", "retry", "--retry", "10ms..10ms"]);
    let sniffs = |what: &str, head: &Head| assert_eq!(all(head, "x-content-type-options"), "nosniff", "{what}");
    sniffs("a stream", &node.subscribe("/events/a").head);
    let tabs = crate::support::stream::Stream::on(Connection::open(node.listen).http2(), "/events/a", &[]);
    sniffs("a stream over HTTP/2", &tabs.head);
    for (method, target) in
        [("HEAD", "/events/a"), ("GET", "/history/a"), ("POST", "/events/a"), ("OPTIONS", "/events/a"), ("GET", "/x")]
    {
        sniffs(target, &node.ask(method, target, &[], "").head);
    }
    let _only = full.subscribe("/events/a").begun();
    sniffs("a full node", &full.get("/events/a").head);
    sniffs("a refusal", &guarded.get("/events/a").head);
    let _one = ended.subscribe("/events/a").begun();
    let mut connection = Connection::open(ended.listen);
    connection.send_request("GET", "/events/a", &[], b"");
    sniffs("a stream that ends", &connection.head());
    for page in ["/livez", "/readyz", "/metrics", "/status", "/", "/api/nodes", "/x"] {
        sniffs(page, &node.page(page).head);
    }
}

#[test]
fn answers_say_what_they_vary_with() {
    for (compress, expected) in [("off", ""), ("on", "Accept-Encoding, Cookie"), ("always", "Accept-Encoding")] {
        let node = Node::start(&["--compress", compress]);
        for headers in [&[][..], &[("Accept-Encoding", "gzip")], &[("Accept-Encoding", "gzip"), ("Cookie", "a=b")]] {
            let vary = |connection| {
                let stream = crate::support::stream::Stream::on(connection, "/events/a", headers);
                all(&stream.head, "vary")
            };
            assert_eq!(vary(Connection::open(node.listen)), expected, "{compress} {headers:?}");
            assert_eq!(vary(Connection::open(node.listen).http2()), expected, "{compress} {headers:?}");
            assert_eq!(all(&node.ask("HEAD", "/events/a", headers, "").head, "vary"), expected);
        }
    }
    let node = Node::start(&["--cors-origin", "https://a.example", "--compress", "on"]);
    let head = node.subscribe("/events/a").head;
    assert_eq!(all(&head, "vary"), "Accept-Encoding, Cookie, Origin");
}

#[test]
fn a_weight_that_is_none_asks_for_nothing() {
    let node = Node::start(&["--compress", "always"]);
    for (accept, packed) in
        [("gzip;q=1", true), ("gzip;q=0.001", true), ("gzip;q=inf", false), ("gzip;q=2", false), ("gzip;q=NaN", false)]
    {
        let answer = node.ask("HEAD", "/events/a", &[("Accept-Encoding", accept)], "");
        assert_eq!(answer.head.header("content-encoding").is_some(), packed, "{accept}");
    }
}
