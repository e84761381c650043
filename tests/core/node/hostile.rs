//! Whatever a client sends costs no more than its own connection.

use crate::support::client::Connection;
use crate::support::node::{Node, eventually};
use crate::support::stream::Stream;
use rustix::process::Signal;
use std::time::Duration;

/// A subscriber from before goes on, and a new one comes in.
fn unharmed(node: &Node, witness: &mut Stream, number: u64) {
    node.publish("/events/witness", &number.to_string());
    assert_eq!(witness.numbers(1), [number]);
    drop(node.subscribe("/events/witness").begun());
    node.metric_becomes("fantail_connections_waiting", 0.0);
    assert_eq!(node.page("/livez").head.status, 200);
}

#[test]
fn garbage_is_refused_or_closed() {
    let node = Node::start(&[]);
    let mut witness = node.subscribe("/events/witness").begun();
    let garbage: [&[u8]; 10] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // a TLS hello
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /events/a HTTP/9.9\r\n\r\n",
        b"GET /events/a HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"GET /events/a HTTP/1.1\r\nLast-Event-ID: \x01\x02\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"\xff\xfe\xfd GET / HTTP/1.1\r\n\r\n",
        b"POST /events/a HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /events/a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    ];
    for (number, bytes) in (1..).zip(garbage) {
        let mut connection = Connection::open(node.listen);
        connection.send(bytes);
        connection.half_close();
        let answer = String::from_utf8_lossy(&connection.rest()).into_owned();
        let first = answer.lines().next().unwrap_or_default();
        assert!(first.is_empty() || first.starts_with("HTTP/1.1 4"), "{bytes:?}: {first}");
        unharmed(&node, &mut witness, number);
    }
}

#[test]
fn random_bytes_cost_their_connection() {
    let node = Node::start(&[]);
    let mut witness = node.subscribe("/events/witness").begun();
    for _ in 0..200 {
        let mut connection = Connection::open(node.listen);
        let length = fastrand::usize(1..4000);
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(length).collect();
        if fastrand::bool() {
            bytes.splice(0..0, *b"GET /events/a?x= HTTP/1.1\r\n");
        }
        // The node may close before it has all of it.
        let _ = std::io::Write::write_all(&mut connection.socket, &bytes);
    }
    unharmed(&node, &mut witness, 1);
    node.metric_becomes("fantail_connections", 1.0);
}

#[test]
fn a_head_may_have_16_kib_and_an_endless_one_is_cut() {
    let node = Node::start(&[]);
    let mut witness = node.subscribe("/events/witness").begun();
    let filler = "x".repeat(15_500);
    let long = node.resume("/events/a", &filler);
    assert_eq!(long.head.status, 200);
    drop(long);
    let mut connection = Connection::open(node.listen);
    connection.send("GET /events/a HTTP/1.1\r\n");
    let header = format!("X-Filler: {}\r\n", "y".repeat(1000));
    // Far more than any buffer holds, if the node took it all.
    let taken =
        (0..10_000).take_while(|_| std::io::Write::write_all(&mut connection.socket, header.as_bytes()).is_ok());
    assert!(taken.count() < 10_000, "the node must not read on for ever");
    let many: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
    let mut connection = Connection::open(node.listen);
    connection.send(format!("GET /events/a HTTP/1.1\r\n{many}\r\n"));
    let answer = String::from_utf8_lossy(&connection.rest()).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    unharmed(&node, &mut witness, 1);
}

#[test]
fn slow_heads_have_a_deadline() {
    let node = Node::start(&[]);
    let mut witness = node.subscribe("/events/witness").begun();
    let mut silent: Vec<Connection> = (0..100).map(|_| Connection::open(node.listen)).collect();
    let mut begun: Vec<Connection> = (0..100).map(|_| Connection::open(node.listen)).collect();
    begun.iter_mut().for_each(|connection| connection.send("GET /events/a HTTP/1.1\r\nHo"));
    // None of them has sent a whole request.
    node.metric_becomes("fantail_connections_waiting", 200.0);
    // They hold nobody up meanwhile.
    node.publish("/events/witness", "1");
    assert_eq!(witness.numbers(1), [1]);
    drop(node.subscribe("/events/witness").begun());
    for connection in silent.iter_mut().chain(&mut begun) {
        let last = String::from_utf8_lossy(&connection.rest()).into_owned();
        assert!(last.is_empty() || last.starts_with("HTTP/1.1 408"), "{last}");
    }
    node.metric_becomes("fantail_connections_waiting", 0.0);
    assert!(node.metric("fantail_connections_refused_total{reason=\"slow_head\"}") >= 200.0);
    node.logs(&["refused", "slow_head"]);
    unharmed(&node, &mut witness, 2);
}

#[test]
fn a_machine_that_stood_still_gives_clients_their_time() {
    let node = Node::start(&[]);
    let mut slow = Connection::open(node.listen);
    node.metric_becomes("fantail_connections_waiting", 1.0);
    node.signal(Signal::STOP);
    // The deadline of a head passes meanwhile.
    std::thread::sleep(Duration::from_secs(11));
    node.signal(Signal::CONT);
    // The second is let in behind the first one's round, in which silent connections were looked through.
    drop([(); 2].map(|()| node.subscribe("/events/a").begun()));
    slow.send("GET /events/a HTTP/1.1\r\nHost: n\r\n\r\n");
    assert_eq!(slow.head().status, 200);
    assert_eq!(node.metric("fantail_connections_refused_total{reason=\"slow_head\"}"), 0.0);
}

#[test]
fn what_is_pipelined_behind_a_subscription_is_not_answered_and_does_no_harm() {
    let node = Node::start(&[]);
    let mut connection = Connection::open(node.listen);
    let get = "GET /events/a HTTP/1.1\r\nHost: n\r\n\r\n";
    let post = "POST /events/a HTTP/1.1\r\nHost: n\r\nContent-Length: 2\r\n\r\n99";
    connection.send(format!("{get}{post}{get}"));
    let mut stream = Stream::answered(connection).begun();
    // A subscriber that sends on and on.
    stream.connection.socket.set_nonblocking(true).expect("an option");
    let bytes = [b'x'; 4096];
    while std::io::Write::write(&mut stream.connection.socket, &bytes).is_ok() {}
    stream.connection.socket.set_nonblocking(false).expect("an option");
    node.publish("/events/a", "1");
    assert_eq!(stream.numbers(1), [1]);
    drop(stream);
    node.metric_becomes("fantail_connections", 0.0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let node = Node::start(&[]);
    let mut connection = Connection::open(node.listen);
    let post = |n: u32| format!("POST /events/a HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\n\r\n{n}");
    connection.send(format!("{}{}HEAD /nothing HTTP/1.1\r\nHost: n\r\n\r\n{}", post(1), post(2), post(3)));
    assert_eq!(connection.answer(false).head.status, 201);
    assert_eq!(connection.answer(false).head.status, 201);
    assert_eq!(connection.answer(true).head.status, 404);
    assert_eq!(connection.answer(false).head.status, 201);
    assert_eq!(node.subscribe("/events/a?since=earliest").numbers(3), [1, 2, 3]);
}

#[test]
fn half_closed_sockets_are_let_go() {
    let node = Node::start(&[]);
    let mut witness = node.subscribe("/events/witness").begun();
    // Before a byte, in mid-head, and as a subscriber.
    for bytes in ["", "GET /events/a HT", "GET /events/a HTTP/1.1\r\nHost: n\r\n\r\n"] {
        let mut connection = Connection::open(node.listen);
        connection.send(bytes);
        connection.half_close();
        let _ = connection.rest();
    }
    let stream = node.subscribe("/events/a").begun();
    node.metric_becomes("fantail_connections", 2.0);
    stream.connection.half_close();
    node.metric_becomes("fantail_connections", 1.0);
    unharmed(&node, &mut witness, 1);
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let node = Node::start(&[]);
    node.metric_becomes("fantail_connections_waiting", 0.0);
    let before = node.metric("process_open_fds");
    for round in 0..300 {
        let mut connection = Connection::open(node.listen);
        match round % 3 {
            0 => {}
            1 => connection.send("GET /events/a"),
            _ => connection.send(format!("GET /events?channels=a,b{round} HTTP/1.1\r\nHost: n\r\n\r\n")),
        }
    }
    node.metric_becomes("fantail_connections", 0.0);
    node.metric_becomes("fantail_connections_waiting", 0.0);
    node.metric_becomes("fantail_subscriptions", 0.0);
    eventually("all descriptors are back", || node.metric("process_open_fds") <= before + 2.0);
}
