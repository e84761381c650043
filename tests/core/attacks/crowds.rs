//! Crowds of connections of one address, or of all: what they leave to others.

use super::half_open::{crowd, open};
use crate::support::client::Connection;
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use socket2::{Domain, SockAddr, Socket, Type};
use std::net::{IpAddr, SocketAddr};

const CROWDED: &str = "fantail_connections_refused_total{reason=\"address_connections\"}";
const DISPLACED: &str = "fantail_connections_refused_total{reason=\"displaced\"}";

/// A connection from another address of this machine.
fn from(address: &str, to: SocketAddr) -> Connection {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let own: IpAddr = address.parse().expect("an address");
    socket.bind(&SockAddr::from(SocketAddr::new(own, 0))).expect("a loopback address");
    socket.connect(&to.into()).expect("a listener");
    Connection::of(socket.into())
}

#[test]
fn silent_connections_count_for_their_address() {
    let node = Node::start(&["--max-connections-per-address", "5", "--max-connections", "100"]);
    let silent = open(node.listen, 1_000);
    eventually("refusals", || node.metric(CROWDED) == 984.0);
    assert_eq!(node.metric(DISPLACED), 0.0);
    node.logs(&["refused", "address_connections", "127.0.0.1"]);
    // Others notice nothing.
    for client in ["127.0.0.2", "127.0.0.3"] {
        assert_eq!(from(client, node.listen).ask("POST", "/events/a", &[], b"1").head.status, 201);
    }
    assert_eq!(node.metric(CROWDED), 984.0);
    drop(silent);
    node.metric_becomes("fantail_connections_waiting", 0.0);
    let _streams: Vec<_> = (0..5).map(|_| node.subscribe("/events/a").begun()).collect();
    node.get("/events/a").problem(429, "too_many_connections");
}

#[test]
fn so_do_those_that_were_answered_or_are_slow() {
    let node = Node::start(&["--max-connections-per-address", "1"]);
    let mut answered: Vec<_> = (0..10).map(|_| Connection::open(node.listen)).collect();
    for connection in &mut answered {
        assert_eq!(connection.ask("GET", "/x", &[], b"").head.status, 404);
    }
    let slow: Vec<_> = (0..6)
        .map(|_| {
            let mut connection = Connection::open(node.listen);
            connection.send("POST /events/a HTTP/1.1\r\nHost: n\r\nContent-Length: 9\r\n\r\nslow");
            connection
        })
        .collect();
    node.metric_becomes("fantail_connections_waiting", 16.0);
    assert!(Connection::open(node.listen).is_closed());
    assert_eq!(node.metric(CROWDED), 1.0);
    // A subscriber counts as one, and no longer as a connection that waits.
    let _subscriber = crate::support::stream::Stream::on(answered.remove(0), "/events/a", &[]).begun();
    node.metric_becomes("fantail_connections_waiting", 15.0);
    assert_eq!(Connection::open(node.listen).ask("GET", "/x", &[], b"").head.status, 404);
    drop(slow);
}

#[test]
fn a_trusted_proxys_connections_are_not_its_own() {
    let flags = ["--max-connections-per-address", "1", "--trusted-proxies", "127.0.0.1"];
    let node = Node::start(&flags);
    let _silent = open(node.listen, 200);
    node.metric_becomes("fantail_connections_waiting", 200.0);
    let forwarded = [("X-Forwarded-For", "192.0.2.1")];
    assert_eq!(node.ask("POST", "/events/a", &forwarded, "1").head.status, 201);
    assert_eq!(node.metric(CROWDED), 0.0);
}

#[test]
fn a_low_limit_of_files_leaves_some_for_operators_redis_and_newcomers() {
    let (_, _right) = crowd();
    let redis = Redis::start();
    let node = Node::with_files(1024, &["--redis", &redis.url(), "--publish", "on"]);
    let mut stream = node.subscribe("/events/a").begun();
    let silent = open(node.listen, 4_000);
    eventually("those who gave way", || node.metric(DISPLACED) >= 3_000.0);
    assert!(node.metric("process_open_fds") < 960.0);
    for _ in 0..20 {
        for page in ["/livez", "/readyz", "/status"] {
            assert_eq!(node.page(page).head.status, 200);
        }
        node.publish("/events/a", "1");
        assert_eq!(stream.numbers(1), [1]);
        drop(node.subscribe("/events/a").begun());
    }
    assert_eq!(node.metric("fantail_connections_refused_total{reason=\"accept_error\"}"), 0.0);
    drop(silent);
    node.metric_becomes("fantail_connections_waiting", 0.0);
}
