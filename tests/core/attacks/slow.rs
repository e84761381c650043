//! Who is slow on purpose: in the head, in the body, in the handshake, in reading.

use super::Target;
use crate::support::authority::Authority;
use crate::support::client::Connection;
use crate::support::node::{PATIENCE, eventually, within};
use crate::support::raw::trusting;
use crate::support::stream::Stream;
use rustls::ClientConnection;
use rustls::ProtocolVersion::TLSv1_3;
use rustls::pki_types::ServerName;
use std::io::{Read, Write};
use std::time::Duration;

const CONNECTIONS: usize = 300;

/// Sends one byte at a time to all, until all are closed or the bytes are out.
fn drip(connections: &mut Vec<Connection>, bytes: &[u8]) {
    for byte in bytes {
        connections.retain_mut(|connection| connection.socket.write_all(&[*byte]).is_ok());
        if connections.is_empty() {
            return;
        }
        // Slowness is the attack.
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn in_the_head() {
    let mut target = Target::new(&[]);
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| Connection::open(target.node.listen)).collect();
    let head = format!("GET /events/a HTTP/1.1\r\nHost: n\r\nX-Slow: {}", "x".repeat(1000));
    drip(&mut connections, &head.as_bytes()[..12]);
    target.is_unharmed();
    drip(&mut connections, &head.as_bytes()[12..]);
    assert!(connections.is_empty(), "a head has a deadline");
    assert!(target.node.metric("fantail_connections_refused_total{reason=\"slow_head\"}") >= CONNECTIONS as f64);
    target.ends_as_before();
}

#[test]
fn in_the_body() {
    let mut target = Target::new(&[]);
    let head = "POST /events/a HTTP/1.1\r\nHost: n\r\nContent-Length: 100000\r\n\r\n";
    let mut connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut connection = Connection::open(target.node.listen);
            connection.send(head);
            connection
        })
        .collect();
    drip(&mut connections, &[b'x'; 5]);
    target.is_unharmed();
    for connection in &mut connections {
        let answer = String::from_utf8_lossy(&connection.rest()).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    target.ends_as_before();
}

/// A client's first message.
fn hello() -> Vec<u8> {
    let authority = Authority::new("hello");
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let mut session = ClientConnection::new(trusting(&authority, &["h2"], &[TLSv1_3]), name).expect("a session");
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).expect("a vector takes all");
    bytes
}

#[test]
fn in_the_handshake() {
    let mut target = Target::secure("slow-handshake");
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| Connection::open(target.node.listen)).collect();
    // The beginning of a hello that never ends.
    let endless = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 400]].concat();
    drip(&mut connections, &endless[..5]);
    target.is_unharmed();
    drip(&mut connections, &endless[5..]);
    assert!(connections.is_empty(), "a handshake has a deadline");
    assert!(target.node.metric("fantail_connections_refused_total{reason=\"slow_head\"}") >= CONNECTIONS as f64);
    target.is_unharmed();
    // The same behind a whole first message.
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| Connection::open(target.node.listen)).collect();
    connections.iter_mut().for_each(|connection| connection.send(hello()));
    target.is_unharmed();
    let slow = "fantail_tls_handshakes_total{outcome=\"slow\"}";
    eventually("the deadline", || target.node.metric(slow) >= CONNECTIONS as f64);
    drop(connections);
    target.ends_as_before();
}

#[test]
fn thousands_of_handshakes_that_stop_half_way() {
    const MANY: usize = 5_000;
    // Those under way, and the doors where one begins: see `http::accept` and `http::lobby`.
    const ROOM: f64 = 4096.0 + 64.0;
    let mut target = Target::secure("many-handshakes");
    assert!(super::half_open::number() >= MANY, "the limit of files is too low for this test");
    let hello = hello();
    let refused = "fantail_connections_refused_total{reason=\"slow_head\"}";
    let slow = "fantail_tls_handshakes_total{outcome=\"slow\"}";
    for wave in 1..=2 {
        let mut connections = super::half_open::open(target.node.listen, MANY);
        // One that the node has closed takes nothing any more.
        connections.iter_mut().for_each(|connection| drop(connection.write_all(&hello)));
        let mut most = 0.0_f64;
        // How many are turned away for want of room, and how many come to their deadline, is a matter of the machine.
        let all = within(PATIENCE * 8, || {
            most = most.max(target.rss() - target.memory);
            target.node.metric(slow) + target.node.metric(refused) >= (MANY * wave) as f64
        });
        assert!(all, "{} slow, {} refused", target.node.metric(slow), target.node.metric(refused));
        assert!(most < ROOM * 25e3, "{most} bytes for so many handshakes");
        drop(connections);
        target.is_unharmed();
        // The allocator keeps the first wave's; the second one finds room in that.
        if wave == 1 {
            target.memory = target.rss();
        }
    }
    target.ends_as_before();
}

#[test]
fn in_reading() {
    const EVENTS: u64 = 60;
    let mut target = Target::new(&["--stall-timeout", "3s", "--heartbeat", "1s", "--tail-bytes", "1MiB"]);
    let mut reader = Stream::on(Connection::narrow(target.node.listen), "/events/a", &[]).begun();
    let data = "x".repeat(60_000);
    for number in 0..EVENTS {
        assert_eq!(target.node.ask("POST", "/events/a", &[], &format!("{number} {data}")).head.status, 201);
        // A byte now and then, which is too little for anything.
        let _ = reader.connection.raw.read(&mut [0; 1]);
        target.is_unharmed();
    }
    let closed = "fantail_connections_closed_total{reason=\"stalled\"}";
    eventually("the end of it", || target.node.metric(closed) == 1.0);
    drop(reader);
    target.ends_as_before();
}
