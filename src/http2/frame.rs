//! Frames (RFC 9113, section 4): nine bytes of head, then a payload.

use super::error_code::ErrorCode;

/// What a client says before its first frame.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's head.
pub const HEAD_BYTES: usize = 9;
/// Bytes of a payload at most, both ways: what holds where nobody says otherwise.
pub const PAYLOAD_BYTES: usize = 16 << 10;

/// No more comes on this stream; on DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// On SETTINGS and PING.
pub const ACK: u8 = 1;
/// The head is whole; on HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// One that nobody here knows, which is passed over.
    Other(u8),
}

impl Kind {
    fn of(byte: u8) -> Kind {
        match byte {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::Reset,
            4 => Kind::Settings,
            5 => Kind::PushPromise,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            other => Kind::Other(other),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Kind::Data => 0,
            Kind::Headers => 1,
            Kind::Priority => 2,
            Kind::Reset => 3,
            Kind::Settings => 4,
            Kind::PushPromise => 5,
            Kind::Ping => 6,
            Kind::GoAway => 7,
            Kind::WindowUpdate => 8,
            Kind::Continuation => 9,
            Kind::Other(byte) => byte,
        }
    }
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of the payload.
    pub length: usize,
    pub kind: Kind,
    pub flags: u8,
    /// 0: the connection.
    pub stream: u32,
}

impl FrameHead {
    /// Reads a head.
    pub fn read(bytes: &[u8; HEAD_BYTES]) -> FrameHead {
        let [a, b, c, kind, flags, stream @ ..] = *bytes;
        FrameHead {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind: Kind::of(kind),
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    /// The head as bytes.
    pub fn bytes(self) -> [u8; HEAD_BYTES] {
        let [_, a, b, c] = (self.length as u32).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind.byte(), self.flags, d, e, f, g]
    }

    /// Whether a flag is set.
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload of DATA or HEADERS without its padding and its priority.
    pub fn content(self, mut payload: &[u8]) -> Result<&[u8], ErrorCode> {
        let mut padding = 0;
        if self.has(PADDED) {
            let (length, rest) = payload.split_first().ok_or(ErrorCode::FrameSize)?;
            (padding, payload) = (usize::from(*length), rest);
        }
        if self.kind == Kind::Headers && self.has(PRIORITY) {
            let (priority, rest) = payload.split_first_chunk::<5>().ok_or(ErrorCode::FrameSize)?;
            if depends_on(priority) == self.stream {
                return Err(ErrorCode::Protocol);
            }
            payload = rest;
        }
        let end = payload.len().checked_sub(padding).ok_or(ErrorCode::Protocol)?;
        Ok(&payload[..end])
    }
}

/// The stream that a priority names.
pub fn depends_on(priority: &[u8; 5]) -> u32 {
    let [a, b, c, d, _] = *priority;
    u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff
}

/// The head of a piece of a body.
pub fn data_head(stream: u32, length: usize, ends: bool) -> [u8; HEAD_BYTES] {
    FrameHead { length, kind: Kind::Data, flags: if ends { END_STREAM } else { 0 }, stream }.bytes()
}

/// Adds a frame.
pub fn push(into: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    into.extend_from_slice(&FrameHead { length: payload.len(), kind, flags, stream }.bytes());
    into.extend_from_slice(payload);
}

/// Adds a RST_STREAM.
pub fn push_reset(into: &mut Vec<u8>, stream: u32, code: ErrorCode) {
    push(into, Kind::Reset, 0, stream, &(code as u32).to_be_bytes());
}

/// Adds a WINDOW_UPDATE.
pub fn push_window(into: &mut Vec<u8>, stream: u32, bytes: u32) {
    push(into, Kind::WindowUpdate, 0, stream, &bytes.to_be_bytes());
}

/// Adds a GOAWAY: streams up to `last` are served.
pub fn push_go_away(into: &mut Vec<u8>, last: u32, code: ErrorCode) {
    let [a, b, c, d] = last.to_be_bytes();
    let [e, f, g, h] = (code as u32).to_be_bytes();
    push(into, Kind::GoAway, 0, 0, &[a, b, c, d, e, f, g, h]);
}

/// Adds a head that was encoded, in as many frames as it takes.
pub fn push_block(into: &mut Vec<u8>, stream: u32, block: &[u8], ends: bool) {
    let mut pieces = block.chunks(PAYLOAD_BYTES).peekable();
    let (mut kind, mut flags) = (Kind::Headers, if ends { END_STREAM } else { 0 });
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            flags |= END_HEADERS;
        }
        push(into, kind, flags, stream, piece);
        (kind, flags) = (Kind::Continuation, 0);
    }
}
