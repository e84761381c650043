//! A publisher that sends a gibibyte, and heads without an end.

use super::Target;
use crate::support::client::Connection;
use crate::support::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, Http2, WINDOW_UPDATE,
};
use crate::support::node::PATIENCE;
use crate::support::raw::Raw;
use std::collections::HashMap;
use std::io::Write;
use std::time::Instant;

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

/// A publisher on an HTTP/2 connection.
struct Http2Publisher {
    raw: Raw,
    http2: Http2,
    /// Bytes that the node has room for, by stream; 0 is the connection.
    windows: HashMap<u32, i64>,
    sent: usize,
    begun: Instant,
}

/// The first window of a connection (RFC 9113, section 6.9.2); of a stream, where settings say nothing else.
const FIRST_WINDOW: i64 = 65_535;
const PIECE: usize = 16 << 10;

impl Http2Publisher {
    fn begin(target: &Target, path: &str, headers: &[(&str, &str)]) -> Http2Publisher {
        let mut raw = target.open_for_http2().raw;
        let mut http2 = Http2::begin(&mut raw).expect("the node takes it");
        let block = http2.request("POST", path, headers);
        let head = Frame::new(HEADERS, END_HEADERS, 1, &block).bytes();
        raw.write_all(&head).and_then(|()| raw.flush()).expect("the node takes it");
        let windows = HashMap::from([(0, FIRST_WINDOW)]);
        Http2Publisher { raw, http2, windows, sent: 0, begun: Instant::now() }
    }

    /// Reads a frame; whether the connection goes on. The node's pings alone are no progress.
    fn read(&mut self) -> bool {
        assert!(self.begun.elapsed() < PATIENCE * 2, "no answer after {} bytes", self.sent);
        let Ok(frame) = self.http2.frame(&mut self.raw) else { return false };
        if frame.kind == WINDOW_UPDATE {
            let more = u32::from_be_bytes(frame.payload[..4].try_into().expect("four bytes"));
            *self.windows.entry(frame.stream).or_default() += i64::from(more);
        }
        frame.kind != GOAWAY
    }

    fn room(&self) -> i64 {
        let first = self.http2.settings.get(&4).map_or(FIRST_WINDOW, |bytes| i64::from(*bytes));
        let stream = first + self.windows.get(&1).copied().unwrap_or_default();
        stream.min(self.windows[&0])
    }

    fn is_answered(&self) -> bool {
        self.http2.streams.get(&1).is_some_and(|stream| stream.head.is_some() || stream.reset.is_some())
    }

    /// Sends what there is room for, until the node answers or a gibibyte is out.
    fn pour_heeding_windows(&mut self) {
        while !self.is_answered() && self.sent < GIBIBYTE {
            if self.room() < PIECE as i64 {
                assert!(self.read(), "the node ends the connection without an answer");
                continue;
            }
            let piece = Frame::new(DATA, 0, 1, &[b'x'; PIECE]).bytes();
            self.raw.write_all(&piece).and_then(|()| self.raw.flush()).expect("the node takes it");
            self.sent += PIECE;
            for stream in [0, 1] {
                *self.windows.entry(stream).or_default() -= PIECE as i64;
            }
        }
    }

    fn status(&mut self) -> Option<u16> {
        while !self.is_answered() && self.read() {}
        self.http2.streams.get(&1).and_then(|stream| stream.head.as_ref()).map(|head| head.status)
    }
}

#[test]
fn a_publisher_that_sends_a_gibibyte_over_http2() {
    for mut target in [Target::new(&[]), Target::secure("gibibyte", &[])] {
        let length = GIBIBYTE.to_string();
        for path in ["/events/a", "/events"] {
            // One that says how much it has is refused before it sends anything.
            let mut honest = Http2Publisher::begin(&target, path, &[("content-length", &length)]);
            assert_eq!((honest.status(), honest.sent), (Some(413), 0));
            // One that does not say is refused when it has sent too much, and has room for no more than that.
            let mut silent = Http2Publisher::begin(&target, path, &[]);
            silent.pour_heeding_windows();
            assert_eq!(silent.status(), Some(413), "after {} bytes", silent.sent);
            assert!(silent.sent < 12 << 20, "the node took {} bytes", silent.sent);
            // One that asks nobody breaks the protocol at the connection's window.
            let mut reckless = Http2Publisher::begin(&target, path, &[]);
            let mut answers = reckless.raw.socket.try_clone().expect("a descriptor");
            let reader = std::thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
            let sent = pour(&mut reckless.raw, &Frame::new(DATA, 0, 1, &[b'x'; PIECE]).bytes());
            assert!(sent < 64 << 20, "the node took {sent} bytes");
            let _ = reader.join();
            let grown = target.rss() - target.memory;
            assert!(grown < 64e6, "{grown} bytes of memory");
            drop((honest, silent, reckless));
            target.is_unharmed();
        }
        target.ends_as_before();
    }
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
