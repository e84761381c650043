//! An event stream over a connection: decoded by [`super::client`], parsed by [`super::event_stream`].

use super::client::{Connection, Head};
use super::event_stream::{Message, Parser};
use super::http2::INTERNAL_ERROR;
use super::node::PATIENCE;
use flate2::write::GzDecoder;
use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Instant;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the last chunk, or, unchunked, with FIN.
    Whole,
    /// Between two events, so that nobody takes it for all of it: chunked with FIN and without the last chunk, on
    /// HTTP/2 with INTERNAL_ERROR.
    Incomplete,
    /// In any other way.
    Cut,
}

/// What an EventSource sees.
pub struct Stream {
    pub connection: Connection,
    pub head: Head,
    /// The body so far, without chunk framing and compression.
    pub raw: Vec<u8>,
    /// Bytes of the body as they came.
    pub wire: usize,
    gzip: Option<GzDecoder<Vec<u8>>>,
    pub parser: Parser,
    messages: VecDeque<Message>,
    pub end: Option<End>,
}

impl Stream {
    pub fn open(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Stream {
        Stream::on(Connection::open(address), target, headers)
    }

    /// Subscribes on a connection; the answer must be a stream.
    pub fn on(mut connection: Connection, target: &str, headers: &[(&str, &str)]) -> Stream {
        connection.send_request("GET", target, headers, b"");
        Stream::answered(connection)
    }

    /// The answer to a request that was sent.
    pub fn answered(mut connection: Connection) -> Stream {
        let head = connection.head();
        if head.status != 200 {
            panic!("no stream: {head:?} {}", String::from_utf8_lossy(&connection.rest()));
        }
        assert_eq!(head.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let (parser, messages) = (Parser::new(), VecDeque::new());
        let gzip = head.header("content-encoding").map(|coding| {
            assert_eq!(coding, "gzip");
            GzDecoder::new(Vec::new())
        });
        let mut stream = Stream { connection, head, raw: Vec::new(), wire: 0, gzip, parser, messages, end: None };
        // With the first block the node has taken the place in its channels, or said that it will.
        stream.read();
        stream
    }

    /// Reads until the bare `id:` of the beginning is there.
    pub fn begun(mut self) -> Stream {
        self.read_until("the position", |stream| !stream.parser.last_event_id().is_empty());
        self
    }

    /// The next message; panics where none comes.
    pub fn next(&mut self) -> Message {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(message) = self.messages.pop_front() {
                return message;
            }
            self.read_by(deadline);
            let ended = self.end.is_some() && self.messages.is_empty();
            assert!(!ended, "the stream ended: {}", String::from_utf8_lossy(&self.raw));
        }
    }

    /// Whether all messages that were read have been taken.
    pub fn is_taken(&self) -> bool {
        self.messages.is_empty()
    }

    /// The next message, if one is here or comes with what lies in the socket.
    pub fn here(&mut self) -> Option<Message> {
        let socket = &self.connection.socket;
        socket.set_nonblocking(true).expect("an option");
        let any = socket.peek(&mut [0]).is_ok();
        socket.set_nonblocking(false).expect("an option");
        if self.messages.is_empty() && any {
            self.read();
        }
        self.messages.pop_front()
    }

    pub fn take(&mut self, count: usize) -> Vec<Message> {
        (0..count).map(|_| self.next()).collect()
    }

    /// The data of so many messages, which are numbers.
    pub fn numbers(&mut self, count: usize) -> Vec<u64> {
        let number = |message: Message| {
            message.data.parse().unwrap_or_else(|_| panic!("a numbered event was expected: {message:?}"))
        };
        (0..count).map(|_| number(self.next_told())).collect()
    }

    /// The next message that is about events, not about channels that a busy machine makes wait.
    fn next_told(&mut self) -> Message {
        loop {
            let message = self.next();
            if !["fantail.held", "fantail.joined"].contains(&message.event.as_str()) {
                return message;
            }
        }
    }

    /// Messages up to one whose data is this, itself left out.
    pub fn before(&mut self, data: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            match self.next() {
                message if message.data == data => return messages,
                message => messages.push(message),
            }
        }
    }

    /// The next message, which must be a gap; its JSON.
    pub fn gap(&mut self) -> serde_json::Value {
        let message = self.next_told();
        assert_eq!(message.event, "fantail.gap", "{message:?}");
        let raw = String::from_utf8_lossy(&self.raw);
        let block = raw.split("\n\n").find(|block| block.contains(&message.data)).expect("its block");
        assert!(!block.contains("id: "), "a gap carries no id: {block}");
        serde_json::from_str(&message.data).expect("a gap's data is JSON")
    }

    /// What a reconnect would send: the id of the last block that was read, taken or not.
    pub fn last_event_id(&self) -> String {
        self.parser.last_event_id().to_owned()
    }

    pub fn read_until(&mut self, what: &str, condition: impl Fn(&Stream) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            let raw = String::from_utf8_lossy(&self.raw);
            assert!(self.end.is_none(), "the stream ended before {what}: {raw}");
            self.read_by(deadline);
        }
    }

    /// Reads until an id has come, or the end; whether the id came.
    pub fn reaches(&mut self, id: &str) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while self.end.is_none() && self.parser.last_event_id() != id {
            self.read_by(deadline);
        }
        self.parser.last_event_id() == id
    }

    /// Reads to the end; how it was, and the messages that came before it.
    pub fn finish(&mut self) -> (End, Vec<Message>) {
        let deadline = Instant::now() + PATIENCE;
        while self.end.is_none() {
            self.read_by(deadline);
        }
        (self.end.expect("just seen"), self.messages.drain(..).collect())
    }

    /// Heartbeats alone are no progress.
    fn read_by(&mut self, deadline: Instant) {
        let raw = &self.raw[self.raw.len().saturating_sub(2000)..];
        assert!(Instant::now() < deadline, "it does not come; before that came: {}", String::from_utf8_lossy(raw));
        self.read();
    }

    /// What can be read of a piece by itself: an event may not wait in the decoder for the next one.
    fn unpack(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Some(gzip) = &mut self.gzip else { return bytes };
        gzip.write_all(&bytes).and_then(|()| gzip.flush()).expect("gzip");
        std::mem::take(gzip.get_mut())
    }

    /// Takes the next piece of the body.
    fn read(&mut self) {
        let piece = match self.head.is_chunked() {
            true => self.connection.chunk(),
            false => self.connection.some(),
        };
        match piece {
            Ok(Some(bytes)) => {
                self.wire += bytes.len();
                let bytes = self.unpack(bytes);
                self.raw.extend_from_slice(&bytes);
                self.messages.extend(self.parser.feed(&bytes));
            }
            Ok(None) => {
                // Looks at the checksum, too.
                let whole = self.gzip.iter_mut().all(|gzip| gzip.try_finish().is_ok());
                self.end = Some(if whole { End::Whole } else { End::Cut });
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("nothing comes any more, after: {}", String::from_utf8_lossy(&self.raw))
            }
            Err(error) => self.end = Some(self.torn(&error)),
        }
    }

    /// Which end without an end it was.
    fn torn(&mut self, error: &std::io::Error) -> End {
        let between = self.parser.is_between_events() && self.connection.is_empty();
        let announced = match self.connection.reset() {
            Some(code) => code == INTERNAL_ERROR,
            None => self.head.is_chunked() && error.kind() == std::io::ErrorKind::UnexpectedEof,
        };
        if !between || !announced {
            return End::Cut;
        }
        // Whoever unpacks it knows, too.
        assert!(self.gzip.iter_mut().all(|gzip| gzip.try_finish().is_err()), "no whole gzip stream");
        End::Incomplete
    }
}
