//! A connection's state beside a client that writes frames by itself.

mod floods;
mod flow;
mod frames;

use super::connection::{Connection, Event};
use super::error_code::ErrorCode;
use loona_hpack::Encoder;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// Whose a stream is, here: a number.
type Owner = u32;

/// One end, and what the other one says.
pub struct Pair {
    pub node: Connection<Owner>,
    encoder: Encoder<'static>,
    pub now_ms: u64,
}

/// A frame as it is seen by a client.
pub type Seen = (u8, u8, u32, Vec<u8>);

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// The frames that bytes are.
pub fn frames(mut bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let stream = u32::from_be_bytes(bytes[5..9].try_into().expect("four bytes"));
        seen.push((bytes[3], bytes[4], stream, bytes[9..9 + length].to_vec()));
        bytes = &bytes[9 + length..];
    }
    seen
}

impl Pair {
    /// Both have said hello.
    pub fn new(streams: u32) -> Pair {
        let mut pair = Pair { node: Connection::new(streams), encoder: Encoder::new(), now_ms: 0 };
        pair.say(PREFACE).expect("a preface");
        pair.say(&frame(SETTINGS, 0, 0, &[])).expect("settings");
        pair.heard();
        pair
    }

    /// The client says something.
    pub fn say(&mut self, bytes: &[u8]) -> Result<Vec<Event<Owner>>, ErrorCode> {
        let mut events = Vec::new();
        self.node.receive(bytes, self.now_ms, &mut events).map(|()| events)
    }

    /// What the node has said since.
    pub fn heard(&mut self) -> Vec<Seen> {
        frames(&std::mem::take(&mut self.node.out))
    }

    pub fn block(&mut self, lines: &[(&str, &str)]) -> Vec<u8> {
        self.encoder.encode(lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    pub fn get(&mut self) -> Vec<u8> {
        self.block(&[(":method", "GET"), (":scheme", "http"), (":authority", "node"), (":path", "/events/a")])
    }

    /// The bytes of a request.
    pub fn request(&mut self, stream: u32, ends: bool) -> Vec<u8> {
        let block = self.get();
        frame(HEADERS, END_HEADERS | u8::from(ends), stream, &block)
    }

    /// A request is made.
    pub fn open(&mut self, stream: u32, ends: bool) {
        let bytes = self.request(stream, ends);
        let events = self.say(&bytes).expect("a request");
        assert!(matches!(events[..], [Event::Request { stream: id, ends: said, .. }] if id == stream && said == ends));
    }

    /// A frame is an error of the whole connection.
    pub fn is_fatal(&mut self, bytes: &[u8], code: ErrorCode) {
        assert_eq!(self.say(bytes).map(|_| ()), Err(code));
        let heard = self.heard();
        let (kind, _, stream, payload) = heard.last().expect("a farewell");
        assert_eq!((*kind, *stream, &payload[4..]), (GOAWAY, 0, &(code as u32).to_be_bytes()[..]));
        assert!(self.say(&frame(PING, 0, 0, &[0; 8])).is_ok() && self.heard().is_empty(), "nothing counts any more");
    }

    /// A frame is an error of one stream.
    pub fn is_refused(&mut self, bytes: &[u8], stream: u32, code: ErrorCode) {
        self.say(bytes).expect("no more than an error of a stream");
        let reset = (RST_STREAM, 0, stream, (code as u32).to_be_bytes().to_vec());
        assert_eq!(self.heard().last(), Some(&reset));
    }
}
