//! An HTTP/2 client (RFC 9113) that shares no code with what it tests: it sees and can send any frame.

use super::client::Head;
use super::raw::Raw;
use loona_hpack::{Decoder, Encoder};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
/// Of RST_STREAM and GOAWAY (RFC 9113, section 7).
pub const INTERNAL_ERROR: u32 = 2;

/// One frame.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
        Frame { kind, flags, stream, payload: payload.to_vec() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let length = (self.payload.len() as u32).to_be_bytes();
        let head = [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes()].concat();
        [head, self.payload.clone()].concat()
    }
}

/// What came on a stream.
#[derive(Default)]
pub struct Received {
    pub head: Option<Head>,
    pub body: Vec<u8>,
    pub ended: bool,
    /// The code it was reset with.
    pub reset: Option<u32>,
}

/// A connection's state.
pub struct Http2 {
    unparsed: Vec<u8>,
    encoder: Encoder<'static>,
    decoder: Decoder<'static>,
    next: u32,
    pub streams: HashMap<u32, Received>,
    /// The last stream that the other end promises to serve, once it says that it goes.
    pub goaway: Option<(u32, u32)>,
    /// What the peer's settings said, by identifier.
    pub settings: HashMap<u16, u32>,
    /// Streams whose bytes are taken without making room for more.
    pub unread: Vec<u32>,
}

impl Http2 {
    /// Sends the preface.
    pub fn begin(raw: &mut impl Write) -> io::Result<Http2> {
        raw.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        raw.write_all(&Frame::new(SETTINGS, 0, 0, &[]).bytes())?;
        raw.flush()?;
        Ok(Http2 {
            unparsed: Vec::new(),
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            next: 1,
            streams: HashMap::new(),
            goaway: None,
            settings: HashMap::new(),
            unread: Vec::new(),
        })
    }

    /// Encoded headers of a request.
    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        let pseudo = [(":method", method), (":scheme", "http"), (":authority", "node"), (":path", target)];
        self.block(&[&pseudo[..], headers].concat())
    }

    /// Encoded header lines, pseudo-headers among them.
    pub fn block(&mut self, lines: &[(&str, &str)]) -> Vec<u8> {
        let lower: Vec<(String, &str)> =
            lines.iter().map(|(name, value)| (name.to_ascii_lowercase(), *value)).collect();
        self.encoder.encode(lower.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    /// Opens a stream with a request; its number.
    pub fn open(
        &mut self,
        raw: &mut impl Write,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> u32 {
        let stream = self.next;
        self.next += 2;
        let block = self.request(method, target, headers);
        let end = if body.is_empty() { END_STREAM } else { 0 };
        let mut bytes = Frame::new(HEADERS, END_HEADERS | end, stream, &block).bytes();
        if !body.is_empty() {
            let mut pieces = body.chunks(16 << 10).peekable();
            while let Some(piece) = pieces.next() {
                let end = if pieces.peek().is_none() { END_STREAM } else { 0 };
                bytes.extend(Frame::new(DATA, end, stream, piece).bytes());
            }
        }
        self.streams.insert(stream, Received::default());
        raw.write_all(&bytes).and_then(|()| raw.flush()).expect("the node takes it");
        stream
    }

    /// Reads one frame, and does what it asks for.
    pub fn frame(&mut self, raw: &mut Raw) -> io::Result<Frame> {
        let frame = self.next_frame(raw)?;
        let answer = self.heed(&frame);
        if !answer.is_empty() {
            // The other end may be gone already.
            let _ = raw.write_all(&answer).and_then(|()| raw.flush());
        }
        Ok(frame)
    }

    fn next_frame(&mut self, raw: &mut Raw) -> io::Result<Frame> {
        loop {
            if self.unparsed.len() >= 9 {
                let length = u32::from_be_bytes([0, self.unparsed[0], self.unparsed[1], self.unparsed[2]]) as usize;
                if self.unparsed.len() >= 9 + length {
                    let bytes: Vec<u8> = self.unparsed.drain(..9 + length).collect();
                    let stream = number(&bytes[5..9]) & 0x7fff_ffff;
                    return Ok(Frame { kind: bytes[3], flags: bytes[4], stream, payload: bytes[9..].to_vec() });
                }
            }
            let mut bytes = [0u8; 16 << 10];
            match raw.read(&mut bytes)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => self.unparsed.extend_from_slice(&bytes[..n]),
            }
        }
    }

    /// Notes what a frame says; the bytes to answer.
    fn heed(&mut self, frame: &Frame) -> Vec<u8> {
        let mut answer = Vec::new();
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => {
                for setting in frame.payload.chunks_exact(6) {
                    let identifier = u16::from_be_bytes([setting[0], setting[1]]);
                    self.settings.insert(identifier, number(&setting[2..]));
                }
                answer = Frame::new(SETTINGS, ACK, 0, &[]).bytes();
            }
            PING if frame.flags & ACK == 0 => answer = Frame::new(PING, ACK, 0, &frame.payload).bytes(),
            GOAWAY => self.goaway = Some((number(&frame.payload[..4]), number(&frame.payload[4..8]))),
            HEADERS => {
                assert_eq!(frame.flags & END_HEADERS, END_HEADERS, "heads here fit a frame");
                let head = self.head(&frame.payload);
                let received = self.streams.entry(frame.stream).or_default();
                received.head = Some(head);
                received.ended |= frame.flags & END_STREAM != 0;
            }
            DATA => {
                let received = self.streams.entry(frame.stream).or_default();
                received.body.extend_from_slice(&frame.payload);
                received.ended |= frame.flags & END_STREAM != 0;
                if !frame.payload.is_empty() && !self.unread.contains(&frame.stream) {
                    answer = window(0, frame.payload.len());
                    if !received.ended {
                        answer.extend(window(frame.stream, frame.payload.len()));
                    }
                }
            }
            RST_STREAM => self.streams.entry(frame.stream).or_default().reset = Some(number(&frame.payload)),
            _ => {}
        }
        answer
    }

    fn head(&mut self, block: &[u8]) -> Head {
        let mut head = Head { version: "HTTP/2".into(), ..Head::default() };
        for (name, value) in self.decoder.decode(block).expect("good HPACK") {
            let (name, value) = (String::from_utf8(name).unwrap(), String::from_utf8(value).unwrap());
            match name.as_str() {
                ":status" => head.status = value.parse().expect("a status"),
                _ => head.headers.push((name, value)),
            }
        }
        head
    }
}

/// Makes room for so many bytes.
pub fn window(stream: u32, bytes: usize) -> Vec<u8> {
    Frame::new(WINDOW_UPDATE, 0, stream, &(bytes as u32).to_be_bytes()).bytes()
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))
}
