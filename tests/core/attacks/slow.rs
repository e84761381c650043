//! Who is slow on purpose: in the head, in the body, in the handshake, in reading.

use super::Target;
use crate::support::authority::Authority;
use crate::support::client::Connection;
use crate::support::http2::{DATA, END_HEADERS, Frame, HEADERS, Http2};
use crate::support::node::{Node, PATIENCE, eventually, within};
use crate::support::raw::trusting;
use crate::support::stream::Stream;
use rustls::ClientConnection;
use rustls::ProtocolVersion::TLSv1_3;
use rustls::pki_types::ServerName;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 300;
/// Handshakes whose clients are waited for at once, and the permits where one begins: see `http::tls` and `http::acceptor`.
const ROOM: f64 = 1024.0 + 64.0;

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

#[test]
fn in_bodies_over_http2() {
    const STREAMS: u32 = 50;
    for mut target in [Target::new(&[]), Target::secure("slow-bodies", &[])] {
        let mut connections: Vec<_> = (0..10)
            .map(|_| {
                let mut raw = target.open_for_http2().raw;
                let mut http2 = Http2::begin(&mut raw).expect("the node takes it");
                let mut heads = Vec::new();
                for stream in (1..).step_by(2).take(STREAMS as usize) {
                    let block = http2.request("POST", "/events/a", &[("content-length", "100000")]);
                    heads.extend(Frame::new(HEADERS, END_HEADERS, stream, &block).bytes());
                }
                raw.write_all(&heads).and_then(|()| raw.flush()).expect("the node takes it");
                (raw, http2)
            })
            .collect();
        for _ in 0..5 {
            for (raw, _) in &mut connections {
                let streams = (1..).step_by(2).take(STREAMS as usize);
                let bytes: Vec<u8> = streams.flat_map(|stream| Frame::new(DATA, 0, stream, b"x").bytes()).collect();
                raw.write_all(&bytes).and_then(|()| raw.flush()).expect("the node takes it");
            }
            // Slowness is the attack.
            std::thread::sleep(Duration::from_millis(300));
            target.is_unharmed();
        }
        let grown = target.rss() - target.memory;
        assert!(grown < 32e6, "{grown} bytes for {} bodies", 10 * STREAMS);
        // Each has its deadline; the connection lives on, on which the node's pings are no answers.
        let begun = Instant::now();
        for (raw, http2) in &mut connections {
            let heads = |http2: &Http2| http2.streams.values().filter(|stream| stream.head.is_some()).count();
            while heads(http2) < STREAMS as usize {
                assert!(begun.elapsed() < PATIENCE * 2, "{} of {STREAMS} were answered", heads(http2));
                http2.frame(raw).expect("answers");
            }
            let statuses = http2.streams.values().filter_map(|stream| stream.head.as_ref()).map(|head| head.status);
            assert!(statuses.into_iter().all(|status| status == 408));
        }
        drop(connections);
        target.ends_as_before();
    }
}

/// A client's first message.
pub fn hello() -> Vec<u8> {
    let authority = Authority::new(&format!("hello-{}", fastrand::u32(..)));
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let mut session = ClientConnection::new(trusting(&authority, &["h2"], &[TLSv1_3]), name).expect("a session");
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).expect("a vector takes all");
    bytes
}

#[test]
fn in_the_handshake() {
    let mut target = Target::secure("slow-handshake", &[]);
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
    let hello = hello();
    connections.iter_mut().for_each(|connection| connection.send(&hello));
    target.is_unharmed();
    let slow = "fantail_tls_handshakes_total{outcome=\"slow\"}";
    eventually("the deadline", || target.node.metric(slow) >= CONNECTIONS as f64);
    drop(connections);
    target.ends_as_before();
}

#[test]
fn thousands_of_handshakes_that_stop_half_way() {
    const MANY: usize = 5_000;
    let (_, _right) = super::half_open::crowd();
    let mut target = Target::secure("many-handshakes", &[]);
    let hello = hello();
    let slow = "fantail_tls_handshakes_total{outcome=\"slow\"}";
    let silent = "fantail_connections_refused_total{reason=\"slow_head\"}";
    for wave in 1..=2 {
        let mut connections = super::half_open::open(target.node.listen, MANY);
        // One that was silent for too long on a busy machine takes nothing any more.
        connections.iter_mut().for_each(|connection| drop(connection.write_all(&hello)));
        let mut most = 0.0_f64;
        // All have their turn: who has waited for longer than others can wait goes.
        let all = within(PATIENCE * 8, || {
            most = most.max(target.rss() - target.memory);
            target.node.metric(slow) + target.node.metric(silent) >= (MANY * wave) as f64
        });
        assert!(all, "{} slow, {} silent", target.node.metric(slow), target.node.metric(silent));
        // The allocator rounds sizes up by an eighth at most.
        assert!(most < ROOM * 18e3, "{most} bytes for so many handshakes");
        drop(connections);
        target.is_unharmed();
    }
    target.ends_as_before();
}

#[test]
fn behind_a_proxys_header() {
    const CLIENTS: usize = 200;
    let authority = Authority::new("silent-behind-proxies");
    let trust = ["--trusted-proxies", "127.0.0.1", "--proxy-protocol", "--publish", "on"];
    let nodes = [
        (Node::start(&trust), "slow_head", false),
        (crate::transport::secure_node(&authority, &trust), "slow_handshake", true),
    ];
    for (node, reason, secure) in nodes {
        let open = || {
            let mut connection = Connection::open(node.listen);
            connection.send("PROXY UNKNOWN\r\n");
            connection
        };
        let connections: Vec<_> = (0..CLIENTS).map(|_| open()).collect();
        // More than there are permits, and they hold none.
        let mut other = match secure {
            true => open().secure(trusting(&authority, &[], &[TLSv1_3])),
            false => open(),
        };
        assert_eq!(other.ask("POST", "/events/a", &[], b"1").head.status, 201);
        let refused = format!("fantail_connections_refused_total{{reason=\"{reason}\"}}");
        eventually("the deadline", || node.metric(&refused) >= CLIENTS as f64);
        drop(connections);
    }
}

#[test]
fn behind_the_handshake() {
    const CLIENTS: usize = 1_500;
    let (_, _right) = super::half_open::crowd();
    let mut target = Target::secure("silent-clients", &[]);
    // They shake hands and say nothing more.
    let connections: Vec<_> = (0..CLIENTS).map(|_| target.open()).collect();
    let grown = target.rss() - target.memory;
    assert!(grown < ROOM * 16e3, "{grown} bytes for clients that are silent under TLS");
    target.is_unharmed();
    let refused = "fantail_connections_refused_total{reason=\"slow_head\"}";
    eventually("the deadline", || target.node.metric(refused) >= CLIENTS as f64);
    drop(connections);
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
