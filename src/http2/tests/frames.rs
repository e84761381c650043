//! What frames mean, and what is wrong with some.

use super::*;
use crate::http2::hpack::encode;
use hyper::{HeaderMap, StatusCode};
use proptest::prelude::*;

#[test]
fn a_connection_begins_with_the_preface_and_settings() {
    let mut pair = Pair { node: Connection::new(5), encoder: Encoder::new(), now_ms: 0 };
    let heard = pair.heard();
    assert_eq!(heard[0], (SETTINGS, 0, 0, vec![0, 3, 0, 0, 0, 5, 0, 6, 0, 1, 0, 0]));
    assert_eq!(heard[1], (WINDOW_UPDATE, 0, 0, ((1 << 20) - 65_535_u32).to_be_bytes().to_vec()));
    pair.say(PREFACE).expect("a preface");
    pair.is_fatal(&frame(PING, 0, 0, &[0; 8]), ErrorCode::Protocol);
    let mut pair = Pair { node: Connection::new(5), encoder: Encoder::new(), now_ms: 0 };
    assert_eq!(pair.say(b"GET / HTTP/1.1\r\n").map(|_| ()), Err(ErrorCode::Protocol));
}

#[test]
fn a_request_is_answered_and_its_stream_is_gone() {
    let mut pair = Pair::new(5);
    let block = pair.block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "node:8080"),
        (":path", "/events/a?tail=1"),
        ("last-event-id", "1-0"),
    ]);
    let events = pair.say(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).expect("a request");
    let [Event::Request { stream: 1, request, ends: true }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(request.uri(), "http://node:8080/events/a?tail=1");
    assert_eq!(request.headers()["last-event-id"], "1-0");
    let head = encode::head(StatusCode::OK, &HeaderMap::new());
    assert!(pair.node.answer(1, &head));
    assert!(pair.node.finish(1).is_some() && pair.node.finish(1).is_none());
    assert_eq!(pair.heard(), [(HEADERS, END_HEADERS, 1, vec![0x88]), (DATA, END_STREAM, 1, vec![])]);
    assert!(pair.node.is_idle() && pair.node.pending_bytes() == 0);
    // Who has not said all is told that the rest is not needed.
    pair.open(3, false);
    pair.node.finish(3);
    assert_eq!(pair.heard()[1], (RST_STREAM, 0, 3, vec![0; 4]));
    pair.say(&frame(DATA, END_STREAM, 3, b"late")).expect("what was on its way is passed over");
    assert!(pair.heard().is_empty());
}

#[test]
fn heads_in_pieces_are_one_and_nothing_comes_between() {
    let mut pair = Pair::new(5);
    let block = pair.get();
    let mut bytes = frame(HEADERS, END_STREAM, 1, &block[..2]);
    bytes.extend(frame(CONTINUATION, 0, 1, &block[2..5]));
    assert!(pair.say(&bytes).expect("pieces").is_empty());
    let events = pair.say(&frame(CONTINUATION, END_HEADERS, 1, &block[5..])).expect("the last piece");
    assert!(matches!(events[..], [Event::Request { stream: 1, ends: true, .. }]));
    for between in [frame(PING, 0, 0, &[0; 8]), frame(CONTINUATION, END_HEADERS, 5, &[]), frame(0x77, 0, 0, &[])] {
        let mut pair = Pair::new(5);
        pair.say(&frame(HEADERS, END_STREAM, 3, &block[..2])).expect("a piece");
        pair.is_fatal(&between, ErrorCode::Protocol);
    }
    pair.is_fatal(&frame(CONTINUATION, END_HEADERS, 1, &[]), ErrorCode::Protocol);
    // An answer's head takes as many frames as it needs.
    let mut pair = Pair::new(5);
    pair.open(1, true);
    pair.node.answer(1, &[0; 40_000]);
    let sizes: Vec<_> =
        pair.heard().into_iter().map(|(kind, flags, _, payload)| (kind, flags, payload.len())).collect();
    assert_eq!(sizes, [(HEADERS, 0, 16_384), (CONTINUATION, 0, 16_384), (CONTINUATION, END_HEADERS, 7_232)]);
}

#[test]
fn requests_that_are_none_are_refused_alone() {
    let good = [(":method", "GET"), (":scheme", "http"), (":authority", "node"), (":path", "/")];
    let with = |line: (&'static str, &'static str)| [&good[..], &[line]].concat();
    let without = |name: &str| good.iter().copied().filter(|(other, _)| *other != name).collect::<Vec<_>>();
    let heads = [
        without(":method"),
        without(":scheme"),
        without(":path"),
        with((":path", "/again")),
        with((":status", "200")),
        with(("X-Upper", "1")),
        with(("connection", "close")),
        with(("transfer-encoding", "chunked")),
        with(("te", "gzip")),
        with(("content-length", "1")),
        with(("content-length", "+0")),
        with(("a b", "1")),
        with(("a", "1\n")),
        [&[("early", "1")][..], &good[..]].concat(),
        vec![(":method", "GET"), (":scheme", "http"), (":path", "events")],
        vec![(":method", "CONNECT"), (":scheme", "http"), (":authority", "node"), (":path", "/")],
    ];
    let mut pair = Pair::new(5);
    for (number, head) in heads.iter().enumerate() {
        let stream = 1 + 2 * number as u32;
        let block = pair.block(head);
        let bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
        pair.is_refused(&bytes, stream, ErrorCode::Protocol);
    }
    let stream = 1 + 2 * heads.len() as u32;
    for (at, head) in [with(("te", "trailers")), with(("content-length", "0"))].into_iter().enumerate() {
        let block = pair.block(&head);
        let events = pair.say(&frame(HEADERS, END_HEADERS | END_STREAM, stream + 2 * at as u32, &block));
        assert!(matches!(events.expect("good")[..], [Event::Request { .. }]));
    }
}

#[test]
fn a_head_that_is_too_large_is_answered() {
    let mut pair = Pair::new(5);
    let value = "x".repeat(4_000);
    let mut block = pair.get();
    // One line that is kept, and many references to it.
    let line = pair.block(&[("x-large", &value)]);
    block.extend_from_slice(&line);
    block.extend(std::iter::repeat_n(0xbe, 20));
    pair.say(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).expect("the connection goes on");
    let kinds: Vec<_> = pair.heard().into_iter().map(|(kind, flags, ..)| (kind, flags)).collect();
    assert_eq!(kinds, [(HEADERS, END_HEADERS | END_STREAM), (RST_STREAM, 0)]);
    // As it comes, it has a limit, too.
    let mut pair = Pair::new(5);
    pair.say(&frame(HEADERS, 0, 1, &[0; 16_384])).expect("a piece");
    for _ in 0..4 {
        pair.say(&frame(CONTINUATION, 0, 1, &[0; 16_384])).expect("a piece");
    }
    pair.is_fatal(&frame(CONTINUATION, 0, 1, &[0]), ErrorCode::EnhanceYourCalm);
}

#[test]
fn frames_that_end_the_connection() {
    let head = |length: u32, kind: u8, stream: u32| {
        let length = length.to_be_bytes();
        [&length[1..], &[kind, 0], &stream.to_be_bytes()].concat()
    };
    for (bytes, code) in [
        (head(16_385, DATA, 1), ErrorCode::FrameSize),
        (head(16_385, 0x77, 0), ErrorCode::FrameSize),
        (frame(DATA, 0, 0, b"x"), ErrorCode::Protocol),
        (frame(DATA, 0, 7, b"x"), ErrorCode::Protocol),
        (frame(DATA, PADDED, 1, &[4, b'x', 0, 0]), ErrorCode::Protocol),
        (frame(HEADERS, END_HEADERS, 2, &[]), ErrorCode::Protocol),
        (frame(HEADERS, END_HEADERS, 0, &[]), ErrorCode::Protocol),
        (frame(HEADERS, END_HEADERS, 3, &[0x80]), ErrorCode::Compression),
        (frame(HEADERS, END_HEADERS | 0x20, 3, &[0, 0, 0, 3, 9, 0x82]), ErrorCode::Protocol),
        (frame(HEADERS, END_HEADERS | 0x20, 3, &[0, 0]), ErrorCode::FrameSize),
        (frame(PRIORITY, 0, 3, &[0; 4]), ErrorCode::FrameSize),
        (frame(PRIORITY, 0, 0, &[0; 5]), ErrorCode::Protocol),
        (frame(PRIORITY, 0, 3, &[0, 0, 0, 3, 1]), ErrorCode::Protocol),
        (frame(RST_STREAM, 0, 7, &[0; 4]), ErrorCode::Protocol),
        (frame(RST_STREAM, 0, 1, &[0; 3]), ErrorCode::FrameSize),
        (frame(SETTINGS, 0, 1, &[]), ErrorCode::Protocol),
        (frame(SETTINGS, ACK, 0, &[0; 6]), ErrorCode::FrameSize),
        (frame(SETTINGS, 0, 0, &[0; 5]), ErrorCode::FrameSize),
        (frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), ErrorCode::Protocol),
        (frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]), ErrorCode::FlowControl),
        (frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff]), ErrorCode::Protocol),
        (frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), ErrorCode::Protocol),
        (frame(PING, 0, 1, &[0; 8]), ErrorCode::Protocol),
        (frame(PING, 0, 0, &[0; 7]), ErrorCode::FrameSize),
        (frame(GOAWAY, 0, 1, &[0; 8]), ErrorCode::Protocol),
        (frame(GOAWAY, 0, 0, &[0; 7]), ErrorCode::FrameSize),
        (window(0, 0), ErrorCode::Protocol),
        (window(0, (1 << 31) - 1), ErrorCode::FlowControl),
        (window(7, 1), ErrorCode::Protocol),
        (frame(WINDOW_UPDATE, 0, 0, &[0; 3]), ErrorCode::FrameSize),
    ] {
        let mut pair = Pair::new(5);
        pair.open(1, false);
        pair.is_fatal(&bytes, code);
    }
    // A stream that was passed over, and one that has ended.
    let mut pair = Pair::new(5);
    pair.open(5, true);
    let bytes = pair.request(3, true);
    pair.is_fatal(&bytes, ErrorCode::Protocol);
    let mut pair = Pair::new(5);
    pair.open(1, true);
    pair.node.finish(1);
    pair.heard();
    let bytes = pair.request(1, true);
    pair.is_fatal(&bytes, ErrorCode::StreamClosed);
}

#[test]
fn frames_that_end_a_stream() {
    let body = |length: &str| {
        let mut pair = Pair::new(5);
        let block = pair.block(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "node"),
            (":path", "/events/a"),
            ("content-length", length),
        ]);
        pair.say(&frame(HEADERS, END_HEADERS, 1, &block)).expect("a request");
        pair
    };
    body("3").is_refused(&frame(DATA, 0, 1, b"four"), 1, ErrorCode::Protocol);
    body("3").is_refused(&frame(DATA, END_STREAM, 1, b"tw"), 1, ErrorCode::Protocol);
    let events = body("3").say(&frame(DATA, END_STREAM | PADDED, 1, &[2, b'a', b'b', b'c', 0, 0])).expect("a body");
    assert!(matches!(&events[..], [Event::Data { stream: 1, bytes, ends: true }] if bytes == b"abc"));
    // Behind the end there is nothing.
    let mut pair = Pair::new(5);
    pair.open(1, true);
    pair.is_refused(&frame(DATA, 0, 1, b"x"), 1, ErrorCode::StreamClosed);
    pair.open(3, true);
    let bytes = pair.request(3, true);
    pair.is_refused(&bytes, 3, ErrorCode::StreamClosed);
    // Trailers end a body, and are no request.
    pair.open(5, false);
    let bytes = pair.request(5, true);
    pair.is_refused(&bytes, 5, ErrorCode::Protocol);
    pair.open(7, false);
    let trailers = pair.block(&[("x-sum", "1")]);
    pair.is_refused(&frame(HEADERS, END_HEADERS, 7, &trailers), 7, ErrorCode::Protocol);
    pair.open(9, false);
    let events = pair.say(&frame(HEADERS, END_HEADERS | END_STREAM, 9, &trailers)).expect("trailers");
    assert!(matches!(&events[..], [Event::Data { stream: 9, ends: true, .. }]));
    pair.is_refused(&window(9, 0), 9, ErrorCode::Protocol);
}

#[test]
fn who_resets_and_who_goes() {
    let mut pair = Pair::new(2);
    pair.open(1, true);
    *pair.node.owner(1).expect("there") = 77;
    let events = pair.say(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).expect("a reset");
    assert!(matches!(events[..], [Event::Gone { stream: 1, owner: 77 }]));
    assert!(!pair.node.answer(1, &[0x88]) && pair.node.allowance(1, 1).is_none());
    // A task that still works for it counts.
    pair.node.works_on();
    pair.open(3, true);
    let third = pair.request(5, true);
    pair.is_refused(&third, 5, ErrorCode::RefusedStream);
    pair.node.has_worked();
    pair.open(7, true);
    pair.node.go_away();
    pair.node.go_away();
    assert_eq!(pair.heard(), [(GOAWAY, 0, 0, [7_u32.to_be_bytes(), [0; 4]].concat())]);
    pair.node.finish(3);
    pair.heard();
    let late = pair.request(9, true);
    pair.is_refused(&late, 9, ErrorCode::RefusedStream);
    assert_eq!(pair.node.owner(7), Some(&mut 0), "who is there goes on");
}

proptest! {
    /// Wherever bytes are cut, they mean the same, and no more is kept than what is not whole.
    #[test]
    fn bytes_mean_the_same_however_they_come(
        parts in prop::collection::vec((0_u8..11, any::<u8>(), 0_u32..9, prop::collection::vec(any::<u8>(), 0..40)), 0..30),
        cuts in prop::collection::vec(1_usize..50, 1..20),
    ) {
        let (mut whole, mut cut) = (Pair::new(3), Pair::new(3));
        let mut bytes = whole.request(1, false);
        for (kind, flags, stream, payload) in parts {
            bytes.extend(frame(kind, flags, stream, &payload));
        }
        let expected = whole.say(&bytes).map(|events| format!("{events:?}"));
        let (mut rest, mut events, mut cuts) = (&bytes[..], Ok(Vec::new()), cuts.iter().cycle());
        while !rest.is_empty() && events.is_ok() {
            let (piece, behind) = rest.split_at(rest.len().min(*cuts.next().expect("a cycle")));
            rest = behind;
            events = cut.say(piece).map(|more| { let mut all = events.expect("just seen"); all.extend(more); all });
            prop_assert!(cut.node.pending_bytes() <= 9 + 16_384 + 80 * 1024 && cut.node.streams() <= 3);
        }
        prop_assert_eq!(events.map(|events| format!("{events:?}")), expected);
        prop_assert_eq!(cut.heard(), whole.heard());
    }
}
