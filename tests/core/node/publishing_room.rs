//! Room for bodies that are being received: nobody can take all of it, and who brings nothing gives it up.

use crate::support::client::Connection;
use crate::support::jwt::{Folder, SECRET, signed};
use crate::support::node::{Node, eventually};
use crate::support::web::Web;
use serde_json::json;
use socket2::{Domain, Socket, Type};
use std::io::Write as _;
use std::net::SocketAddr;

const BATCH: usize = 8 << 20;

/// A connection from one of this machine's addresses.
fn from(node: &Node, last: u8) -> Connection {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).expect("an address of this machine");
    socket.connect(&node.listen.into()).expect("the node takes it");
    Connection::of(socket.into())
}

/// Begins a batch and sends all of it but the end; the node may refuse it meanwhile.
fn held_batch(mut connection: Connection, head: &str) -> Connection {
    connection.send(format!("POST /events{head} HTTP/1.1\r\nHost: n\r\nContent-Length: {BATCH}\r\n\r\n"));
    let _ = connection.socket.write_all(&vec![b' '; BATCH - 1]);
    connection
}

#[test]
fn bodies_that_are_held_open_keep_nobody_else_from_publishing() {
    let node = Node::start(&[]);
    let held: Vec<Connection> = (0..9).map(|_| held_batch(from(&node, 1), "")).collect();
    let mut other = from(&node, 2);
    let data = "x".repeat(1 << 20);
    assert_eq!(other.ask("POST", "/events/a", &[], data.as_bytes()).head.status, 201);
    // At the same address, as behind a proxy, those that bring nothing give way after a moment.
    eventually("room at the same address", || {
        let answer = from(&node, 1).ask("POST", "/events/a", &[], data.as_bytes());
        assert!(answer.head.status == 201 || answer.problem(429, "publish_rate").contains("at once"));
        answer.head.status == 201
    });
    drop(held);
}

#[test]
fn a_subject_has_its_share_wherever_it_comes_from() {
    let folder = Folder::new();
    let node = Node::start(&["--auth", "jwt", "--jwt-key", &folder.write("secret", SECRET)]);
    let token = |name: &str| signed(json!({"sub": name, "fantail": {"publish": ["a"]}}));
    let alice = format!("?token={}", token("alice"));
    let held: Vec<Connection> = (1..=4).map(|last| held_batch(from(&node, last), &alice)).collect();
    let target = format!("/events/a?token={}", token("bob"));
    assert_eq!(from(&node, 5).ask("POST", &target, &[], b"x").head.status, 201);
    eventually("a refusal", || node.metric("fantail_publish_requests_total{outcome=\"publish_rate\"}") >= 1.0);
    drop(held);
}

#[test]
fn who_may_not_publish_is_refused_before_the_body_is_read() {
    let folder = Folder::new();
    let by_token = Node::start(&["--auth", "jwt", "--jwt-key", &folder.write("secret", SECRET), "--public", "**"]);
    let application = Web::start();
    application.answers(403, "text/plain", "");
    let by_application = Node::start(&["--auth", "forward", "--forward-url", &application.url("/may")]);
    let line = "{\"channel\":\"a\",\"data\":1}\n";
    for (node, path, sent, status) in [
        (&by_token, "/events", "", 401),
        (&by_token, "/events/a", "", 401),
        (&by_application, "/events/a", "", 403),
        // The application is asked about channels: the first one is known with the first line.
        (&by_application, "/events", line, 403),
    ] {
        let mut connection = Connection::open(node.listen);
        connection.send(format!("POST {path} HTTP/1.1\r\nHost: n\r\nContent-Length: {BATCH}\r\n\r\n{sent}"));
        assert_eq!(connection.answer(false).head.status, status, "{path}");
    }
}
