//! Any entry becomes exactly one message of an independent event-stream parser, with its own id, type and data.
#![no_main]

#[path = "../../tests/core/support/event_stream.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod event_stream;

use bytes::Bytes;
use event_stream::Parser;
use fantail::backplane::Entry;
use fantail::channel::Channel;
use fantail::event::Event;
use fantail::frame::Frame;
use fantail::position::Position;
use libfuzzer_sys::fuzz_target;

type Fields = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

fuzz_target!(|input: (u64, u64, Fields)| {
    let (ms, seq, (kind, retry, other, data)) = input;
    let position = Position::new(ms, seq);
    let mut fields = Vec::new();
    for (name, value) in [("event", kind), ("retry", retry), ("other", other), ("data", data)] {
        fields.extend(value.map(|value| (Bytes::from(name), Bytes::from(value))));
    }
    let event = Event::from_entry(&Entry { position, fields });
    let data = String::from_utf8_lossy(&event.data).replace("\r\n", "\n").replace('\r', "\n");
    let retry = event.retry;
    let frame = Frame::new(position, event);

    let chunk = frame.chunk();
    let (size, behind) = chunk.split_at(chunk.windows(2).position(|pair| pair == b"\r\n").expect("a size line"));
    let size = usize::from_str_radix(std::str::from_utf8(size).expect("digits"), 16).expect("a size");
    assert_eq!(&behind[2..2 + size], frame.block());
    assert_eq!(&behind[2 + size..], b"\r\n");

    let mut parser = Parser::new();
    let messages = parser.feed(frame.block());
    assert_eq!(messages.len(), 1);
    assert_eq!((&messages[0].data, &messages[0].id), (&data, &position.to_string()));
    assert_eq!((parser.retry(), parser.blocks(), parser.comments()), (retry, 1, 0));

    let mut parser = Parser::new();
    let wrapped = parser.feed(frame.enveloped(&Channel::new("a").expect("a name")));
    let json: serde_json::Value = serde_json::from_str(&wrapped[0].data).expect("JSON");
    assert_eq!((&json["data"], &json["event"]), (&data.into(), &messages[0].event.clone().into()));
    assert_eq!((wrapped.len(), parser.retry()), (1, retry));
});
