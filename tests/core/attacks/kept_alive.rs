//! Connections that are answered and stay: they hold nothing that others need, and are answered again.

use super::half_open::crowd;
use crate::support::authority::Authority;
use crate::support::client::Connection;
use crate::support::node::{Node, eventually};
use crate::support::stream::Stream;
use crate::transport::{secure, secure_node};

const SLOW: &str = "fantail_slow_requests_total";
const REFUSED_HEADS: &str = "fantail_connections_refused_total{reason=\"slow_head\"}";

/// How many of them are still open.
fn open(connections: &mut [Connection]) -> usize {
    let is_open = |connection: &mut Connection| {
        connection.socket.set_nonblocking(true).expect("an option");
        let seen = connection.socket.peek(&mut [0]);
        connection.socket.set_nonblocking(false).expect("an option");
        !matches!(seen, Ok(0)) && !matches!(seen, Err(error) if error.kind() != std::io::ErrorKind::WouldBlock)
    };
    connections.iter_mut().map(is_open).filter(|open| *open).count()
}

#[test]
fn refusals_that_stay_hold_no_door() {
    const MANY: usize = 3_000;
    let (_, _right) = crowd();
    let node = Node::start(&["--publish", "off"]);
    let mut connections: Vec<_> = (0..MANY).map(|_| Connection::open(node.listen)).collect();
    for connection in &mut connections {
        assert_eq!(connection.ask("GET", "/x", &[], b"").head.status, 404);
    }
    drop(node.subscribe("/events/a").begun());
    // Nobody waited for a permit that one of them had.
    assert_eq!(node.metric(SLOW), 0.0);
    assert_eq!(node.metric(REFUSED_HEADS), 0.0);
    drop(connections);
    node.metric_becomes("fantail_connections_waiting", 0.0);
}

#[test]
fn nor_do_those_with_a_body_or_under_tls() {
    const MANY: usize = 200;
    let authority = Authority::new("kept-alive");
    let refuse = ["--publish", "off"];
    for (node, tls) in [(Node::start(&refuse), None), (secure_node(&authority, &refuse), Some(&authority))] {
        let connect = || match tls {
            None => Connection::open(node.listen),
            Some(authority) => secure(node.listen, authority),
        };
        for (method, status) in [("GET", 404), ("HEAD", 404), ("OPTIONS", 404), ("DELETE", 404), ("POST", 403)] {
            let target = if method == "POST" { "/events/a" } else { "/x" };
            let before = node.metric(SLOW);
            let mut connections: Vec<_> = (0..MANY).map(|_| connect()).collect();
            for connection in &mut connections {
                let body: &[u8] = if method == "POST" { b"a body" } else { b"" };
                assert_eq!(connection.ask(method, target, &[], body).head.status, status, "{method}");
            }
            // Each was slow as long as permits were kept; a machine that stands still makes some so.
            let slow = node.metric(SLOW) - before;
            assert!(slow < MANY as f64 / 2.0, "{method}: {slow} of {MANY} gave their permits back late");
            assert!(open(&mut connections) > 0, "{method}");
        }
        node.metric_becomes("fantail_connections_waiting", 0.0);
    }
}

#[test]
fn they_are_answered_again_whatever_they_ask() {
    let authority = Authority::new("asked-again");
    let publish = ["--publish", "on"];
    for (node, tls) in [(Node::start(&publish), None), (secure_node(&authority, &publish), Some(&authority))] {
        let connect = || match tls {
            None => Connection::open(node.listen),
            Some(authority) => secure(node.listen, authority),
        };
        let mut connection = connect();
        for _ in 0..3 {
            assert_eq!(connection.ask("GET", "/x", &[], b"").head.status, 404);
            assert_eq!(connection.ask("HEAD", "/events/a", &[], b"").head.status, 200);
            assert_eq!(connection.ask("OPTIONS", "/events/a", &[], b"").head.status, 204);
            assert_eq!(connection.ask("POST", "/events/a", &[], b"1").head.status, 201);
            assert_eq!(connection.ask("GET", "/history/a", &[], b"").head.status, 200);
        }
        // Two at once, and the beginning of a third, whose end comes when they are answered.
        connection.send("GET /x HTTP/1.1\r\nHost: n\r\n\r\nGET /y HTTP/1.1\r\nHost: n\r\n\r\nGET /z HT");
        assert!([(); 2].map(|()| connection.answer(false).head.status).iter().all(|status| *status == 404));
        connection.send("TP/1.1\r\nHost: n\r\n\r\n");
        assert!(connection.answer(false).text().contains("/z"));
        // A subscription at last, and its events.
        let mut stream = Stream::on(connection, "/events/a?since=earliest", &[]);
        assert_eq!(stream.numbers(3), [1, 1, 1]);
        assert_eq!(connect().ask("POST", "/events/a", &[], b"2").head.status, 201);
        assert_eq!(stream.numbers(1), [2]);
    }
}

#[test]
fn those_who_want_to_be_closed_are() {
    let node = Node::start(&[]);
    for request in [
        "GET /x HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: n\r\nConnection: te, Close\r\n\r\n",
        "GET /x HTTP/1.0\r\n\r\n",
    ] {
        let mut connection = Connection::open(node.listen);
        connection.send(request);
        assert_eq!(connection.answer(false).head.status, 404, "{request:?}");
        assert!(connection.is_closed(), "{request:?}");
    }
    let mut old = Connection::open(node.listen);
    for _ in 0..2 {
        old.send("GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(old.answer(false).head.status, 404);
    }
}

#[test]
fn who_says_nothing_more_is_closed_and_refused_nothing() {
    let node = Node::start(&[]);
    let mut connections: Vec<_> = (0..20).map(|_| Connection::open(node.listen)).collect();
    for connection in &mut connections {
        assert_eq!(connection.ask("GET", "/x", &[], b"").head.status, 404);
    }
    assert!(connections.iter_mut().all(Connection::is_closed));
    assert_eq!(node.metric(REFUSED_HEADS), 0.0);
    eventually("nobody", || node.metric("fantail_connections_waiting") == 0.0);
}

#[test]
fn a_proxys_client_is_known_for_all_requests_of_its_connection() {
    let flags = ["--trusted-proxies", "127.0.0.1", "--proxy-protocol", "--max-connections-per-address", "1"];
    let node = Node::start(&flags);
    let connect = |client: &str| {
        let mut connection = Connection::open(node.listen);
        connection.send(format!("PROXY TCP4 {client} 10.0.0.1 40000 443\r\n"));
        assert_eq!(connection.ask("GET", "/x", &[], b"").head.status, 404);
        connection
    };
    let _first = Stream::on(connect("192.0.2.1"), "/events/a", &[]).begun();
    let detail = connect("192.0.2.1").ask("GET", "/events/a", &[], b"").problem(429, "too_many_connections");
    assert!(detail.contains("192.0.2.1"), "{detail}");
    drop(Stream::on(connect("192.0.2.2"), "/events/a", &[]).begun());
    // A second header is none of HTTP.
    let mut liar = connect("192.0.2.1");
    liar.send("PROXY TCP4 192.0.2.9 10.0.0.1 40000 443\r\nGET /events/a HTTP/1.1\r\nHost: n\r\n\r\n");
    assert!(String::from_utf8_lossy(&liar.rest()).starts_with("HTTP/1.1 400"));
}
