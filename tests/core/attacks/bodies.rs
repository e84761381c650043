//! A publisher that sends a gibibyte, and heads without an end.

use super::Target;
use crate::support::client::Connection;
use crate::support::http2::{CONTINUATION, END_HEADERS, END_STREAM, Frame, HEADERS, Http2};
use std::io::Write;

const GIBIBYTE: usize = 1 << 30;

/// Writes as much as the node takes, at most a gibibyte; how much that was.
fn pour(into: &mut impl Write, piece: &[u8]) -> usize {
    let mut sent = 0;
    while sent < GIBIBYTE && into.write_all(piece).is_ok() {
        sent += piece.len();
    }
    sent
}

#[test]
fn a_publisher_that_sends_a_gibibyte() {
    let mut target = Target::new(&[]);
    let piece = vec![b'x'; 1 << 20];
    let lengths = [format!("Content-Length: {GIBIBYTE}\r\n"), "Transfer-Encoding: chunked\r\n".to_owned()];
    for (length, path) in lengths.iter().flat_map(|length| [(length, "/events/a"), (length, "/events")]) {
        let mut connection = Connection::open(target.node.listen);
        connection.send(format!("POST {path} HTTP/1.1\r\nHost: n\r\n{length}\r\n"));
        let chunk = match length.starts_with('C') {
            true => piece.clone(),
            false => [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat(),
        };
        let sent = pour(&mut connection.socket, &chunk);
        assert!(sent < GIBIBYTE / 4, "the node took {sent} bytes");
        let peak = target.rss() - target.memory;
        assert!(peak < 200e6, "{peak} bytes of memory");
        drop(connection);
        target.is_unharmed();
    }
    target.ends_as_before();
}

#[test]
fn heads_without_an_end() {
    let mut target = Target::new(&[]);
    let mut connection = Connection::open(target.node.listen);
    connection.send("GET /events/a HTTP/1.1\r\n");
    let line = format!("X-Filler: {}\r\n", "y".repeat(1000));
    assert!(pour(&mut connection.socket, line.as_bytes()) < 16 << 20);
    target.is_unharmed();

    // The same in HTTP/2: a head in ever more pieces (CVE-2024-27316), and one that unpacks to far more than it is.
    let mut raw = Connection::open(target.node.listen).raw;
    let mut http2 = Http2::begin(&mut raw).expect("the node takes it");
    let block = http2.request("GET", "/events/a", &[]);
    raw.write_all(&Frame::new(HEADERS, 0, 1, &block).bytes()).expect("the node takes it");
    let filler = http2.request("GET", "/events/a", &[("x-filler", &"y".repeat(1000))]);
    assert!(pour(&mut raw, &Frame::new(CONTINUATION, 0, 1, &filler).bytes()) < 16 << 20);
    target.is_unharmed();

    let mut bomber = Connection::open(target.node.listen).raw;
    let mut http2 = Http2::begin(&mut bomber).expect("the node takes it");
    // One header of 4,000 bytes for the table (RFC 7541, section 6.2.1), and then its index again and again.
    let mut block = http2.request("GET", "/events/a", &[]);
    block.extend([&b"\x40\x06x-bomb\x7f\xa1\x1e"[..], &[b'z'; 4000], &[0xbe; 10_000]].concat());
    let frame = Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, &block);
    bomber.write_all(&frame.bytes()).expect("the node takes it");
    // Refused, by an answer or by the end of the stream or the connection.
    while let Ok(frame) = http2.frame(&mut bomber) {
        if frame.stream == 1 {
            let received = &http2.streams[&1];
            assert!(
                received.reset.is_some() || matches!(received.head.as_ref().map(|head| head.status), Some(400 | 431))
            );
            break;
        }
    }
    drop((bomber, raw));
    target.ends_as_before();
}
