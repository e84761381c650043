//! Flow control of HTTP/2, through the whole node: what there is room for comes, whole and in order, and nothing more.

use super::keeper::Keeper;
use crate::support::event_stream::Parser;
use crate::support::http2::{DATA, Frame, Http2, SETTINGS, window};
use crate::support::node::Node;
use crate::support::raw::Raw;
use std::io::Write;

/// A connection on which no room is made by itself, whose streams begin with a window of so many bytes.
fn narrow(keeper: &Keeper, node: &Node, first: u32, target: &str) -> (Raw, Http2, u32) {
    let mut raw = keeper.open(node);
    let mut http2 = Http2::begin(&mut raw).expect("the node takes it");
    let setting = [&[0, 4][..], &first.to_be_bytes()].concat();
    raw.write_all(&Frame::new(SETTINGS, 0, 0, &setting).bytes()).expect("the node takes it");
    let stream = http2.open(&mut raw, "GET", target, &[], b"");
    http2.unread.push(stream);
    while http2.streams[&stream].head.is_none() {
        http2.frame(&mut raw).expect("a head");
    }
    (raw, http2, stream)
}

/// Reads until so many bytes of the body have come; the sizes of the frames that had them.
fn read_to(raw: &mut Raw, http2: &mut Http2, stream: u32, bytes: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    while http2.streams[&stream].body.len() < bytes {
        let frame = http2.frame(raw).expect("a frame");
        if frame.kind == DATA && frame.stream == stream {
            sizes.push(frame.payload.len());
        }
    }
    assert_eq!(http2.streams[&stream].body.len(), bytes, "no more than there is room for");
    sizes
}

#[test]
fn an_event_comes_byte_by_byte_where_there_is_room_for_one() {
    for keeper in Keeper::all("bytes") {
        let node = keeper.node(&[]);
        let (mut raw, mut http2, stream) = narrow(&keeper, &node, 1, "/events/a?hello=1");
        keeper.publish(&node, "/events/a", "0123456789");
        // How long all of it is, by a stream with more room.
        let mut wide = keeper.open(&node);
        let mut other = Http2::begin(&mut wide).expect("the node takes it");
        let whole = other.open(&mut wide, "GET", "/events/a?tail=1", &[], b"");
        while !other.streams[&whole].body.ends_with(b"data: 0123456789\n\n") {
            other.frame(&mut wide).expect("a frame");
        }
        read_to(&mut raw, &mut http2, stream, 1);
        for room in 2..=40 {
            raw.write_all(&window(stream, 1)).expect("the node takes it");
            assert_eq!(read_to(&mut raw, &mut http2, stream, room), [1], "{keeper}");
        }
        raw.write_all(&window(stream, 1 << 20)).expect("the node takes it");
        while !http2.streams[&stream].body.ends_with(b"data: 0123456789\n\n") {
            http2.frame(&mut raw).expect("a frame");
        }
        let messages = Parser::new().feed(&http2.streams[&stream].body);
        let datas: Vec<&str> = messages.iter().map(|message| message.data.as_str()).collect();
        assert!(datas.last() == Some(&"0123456789") && datas.len() == 2, "{keeper}: {datas:?}");
    }
}

#[test]
fn a_large_event_comes_whole_whatever_the_windows_are() {
    for keeper in Keeper::all("windows") {
        let node = keeper.node(&["--max-event-bytes", "2MiB"]);
        let data: String = (0..100_000).map(|number| format!("{number:09}\\")).collect();
        for (first, step) in [((1 << 31) - 1, 1 << 30), (70_000, 50_000), (16_385, 16_383)] {
            let (mut raw, mut http2, stream) = narrow(&keeper, &node, first, "/events/a");
            keeper.publish(&node, "/events/a", &data);
            let due = data.len();
            while !http2.streams[&stream].body.ends_with(b"\\\n\n") {
                let frame = http2.frame(&mut raw).expect("a frame");
                let room = frame.payload.len();
                if frame.kind == DATA && room > 0 {
                    raw.write_all(&window(0, room)).expect("the node takes it");
                    if first < 1 << 30 && http2.streams[&stream].body.len() % step < room {
                        raw.write_all(&window(stream, step)).expect("the node takes it");
                    }
                }
                assert!(frame.payload.len() <= 16_384 && http2.streams[&stream].body.len() < due + 1_000);
            }
            let messages = Parser::new().feed(&http2.streams[&stream].body);
            assert!(messages.last().is_some_and(|message| message.data == data), "{keeper} {first} {step}");
        }
    }
}
