//! A client on bare sockets, which shares no code with what it tests: it sees the very bytes, and can stop reading,
//! half-close, or send anything. It speaks HTTP/1.1, or HTTP/2 with one request, both under TLS where asked.

use super::http2::Http2;
use super::node::PATIENCE;
use super::raw::Raw;
use super::watchdog::watched;
use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

/// The head of an answer.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub version: String,
    pub status: u16,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The value of a header that may come once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let first = found.next();
        assert_eq!(found.next(), None, "{name} came twice: {self:?}");
        first
    }

    pub fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|coding| coding == "chunked")
    }

    fn parse(text: &str) -> Head {
        let mut lines = text.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let mut words = status_line.splitn(3, ' ');
        let version = words.next().unwrap_or_default().to_owned();
        let status = words.next().and_then(|word| word.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {text:?}"));
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Head { version, status, headers: lines.filter(|line| !line.is_empty()).map(header).collect() }
    }
}

/// A whole answer.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.text()))
    }

    /// Checks that this is problem+json of a status and code; its detail.
    pub fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.head.status, status, "{}", self.text());
        assert_eq!(self.head.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.head.header("retry-after").is_some(), matches!(status, 429 | 503), "{:?}", self.head);
        let json = self.json();
        assert_eq!((json["code"].as_str(), json["status"].as_u64()), (Some(code), Some(status.into())), "{json}");
        assert!(json["title"].is_string(), "{json}");
        json["detail"].as_str().expect("a detail").to_owned()
    }
}

/// A connection, and what came that nobody has taken yet.
pub struct Connection {
    pub socket: TcpStream,
    pub raw: Raw,
    http2: Option<Box<Http2>>,
    buffer: Vec<u8>,
}

/// The stream of the only request.
const FIRST: u32 = 1;

impl Connection {
    pub fn open(address: SocketAddr) -> Connection {
        Connection::with_receive_buffer(address, None)
    }

    /// A connection whose kernel takes few bytes that are not read.
    pub fn narrow(address: SocketAddr) -> Connection {
        Connection::with_receive_buffer(address, Some(4096))
    }

    fn with_receive_buffer(address: SocketAddr, bytes: Option<usize>) -> Connection {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        if let Some(bytes) = bytes {
            socket.set_recv_buffer_size(bytes).expect("a small buffer");
        }
        socket.connect_timeout(&address.into(), PATIENCE).unwrap_or_else(|e| panic!("connect to {address}: {e}"));
        Connection::of(socket.into())
    }

    /// A connection that was made elsewhere.
    pub fn of(socket: TcpStream) -> Connection {
        watched();
        socket.set_nodelay(true).expect("an option");
        socket.set_read_timeout(Some(PATIENCE)).expect("an option");
        socket.set_write_timeout(Some(PATIENCE)).expect("an option");
        let raw = Raw::plain(socket.try_clone().expect("a descriptor"));
        Connection { socket, raw, http2: None, buffer: Vec::new() }
    }

    /// The same under TLS.
    pub fn secure(mut self, config: Arc<ClientConfig>) -> Connection {
        self.raw = Raw::secure(self.raw.socket, config).expect("a handshake");
        self
    }

    /// The same with HTTP/2.
    pub fn http2(mut self) -> Connection {
        self.http2 = Some(Box::new(Http2::begin(&mut self.raw).expect("the node takes it")));
        self
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.raw.write_all(bytes.as_ref()).and_then(|()| self.raw.flush()).expect("the node takes it");
    }

    pub fn send_request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        if let Some(http2) = &mut self.http2 {
            assert_eq!(http2.open(&mut self.raw, method, target, headers, body), FIRST);
            return;
        }
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: node\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if ["POST", "QUERY"].contains(&method) {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        self.send([request.as_bytes(), body].concat());
    }

    pub fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.send_request(method, target, headers, body);
        self.answer(method == "HEAD")
    }

    /// Reads one whole answer. One that goes on without end, as a stream with its heartbeats, is none.
    pub fn answer(&mut self, without_body: bool) -> Response {
        let deadline = Instant::now() + PATIENCE;
        let head = self.head();
        let length = head.header("content-length").map(|length| length.parse::<usize>().expect("a length"));
        let body = match length {
            _ if without_body || head.status == 204 => Vec::new(),
            Some(length) => self.exactly(length),
            None if head.is_chunked() => {
                let mut body = Vec::new();
                while let Some(chunk) = self.chunk().expect("a chunk") {
                    body.extend(chunk);
                    assert!(Instant::now() < deadline, "an answer without end: {head:?}");
                }
                body
            }
            None => self.rest(),
        };
        Response { head, body }
    }

    /// Reads a head.
    pub fn head(&mut self) -> Head {
        let deadline = Instant::now() + PATIENCE;
        if self.http2.is_some() {
            loop {
                assert!(Instant::now() < deadline, "no head, but other frames");
                self.more().unwrap_or_else(|e| panic!("no head: {e}"));
                let received = self.http2.as_mut().and_then(|http2| http2.streams.get_mut(&FIRST));
                if let Some(head) = received.and_then(|received| received.head.take()) {
                    return head;
                }
            }
        }
        let text = self.through(b"\r\n\r\n").unwrap_or_else(|e| panic!("no head: {e}; {:?}", self.seen()));
        Head::parse(&String::from_utf8(text).expect("heads are ASCII"))
    }

    /// Reads one chunk (RFC 9112, section 7.1); `None` after the last.
    pub fn chunk(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let line = self.through(b"\r\n")?;
        let text = std::str::from_utf8(&line).expect("a chunk size").trim_end();
        let size = usize::from_str_radix(text, 16).unwrap_or_else(|_| panic!("no chunk size: {text:?}"));
        while self.buffer.len() < size + 2 {
            self.more()?;
        }
        assert_eq!(&self.buffer[size..size + 2], b"\r\n", "a chunk ends with CR LF");
        let chunk = self.buffer.drain(..size + 2).take(size).collect();
        Ok((size > 0).then_some(chunk))
    }

    /// What is there or comes next, undecoded; `None` at the end.
    pub fn some(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        while self.buffer.is_empty() {
            match self.more() {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                result => result?,
            }
        }
        Ok(Some(std::mem::take(&mut self.buffer)))
    }

    /// The code that an HTTP/2 answer was reset with.
    pub fn reset(&self) -> Option<u32> {
        self.http2.as_ref()?.streams.get(&FIRST)?.reset
    }

    /// Whether nothing is there that nobody has taken.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether the node has closed the connection, in whatever way, and sends nothing more before that.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.more(), Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// All that comes until the node closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "the node does not close: {:?}", self.seen());
            match self.more() {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the node does not close: {:?}", self.seen())
                }
                Err(_) => return std::mem::take(&mut self.buffer),
            }
        }
    }

    /// Sends FIN, and goes on reading; a node that has closed already has no need of it.
    pub fn half_close(&self) {
        match self.socket.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => panic!("a shutdown: {error}"),
            _ => {}
        }
    }

    pub fn exactly(&mut self, length: usize) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        while self.buffer.len() < length {
            assert!(Instant::now() < deadline, "a body that does not get on: {:?}", self.seen());
            self.more().unwrap_or_else(|e| panic!("{e} within a body: {:?}", self.seen()));
        }
        self.buffer.drain(..length).collect()
    }

    fn through(&mut self, end: &[u8]) -> std::io::Result<Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if Instant::now() > deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Ok(self.buffer.drain(..at + end.len()).collect());
            }
            self.more()?;
        }
    }

    fn more(&mut self) -> std::io::Result<()> {
        if let Some(http2) = &mut self.http2 {
            let received = http2.streams.entry(FIRST).or_default();
            if received.ended || received.reset.is_some() {
                let whole = received.ended && received.reset.is_none();
                return Err(if whole { ErrorKind::UnexpectedEof } else { ErrorKind::ConnectionReset }.into());
            }
            // The end of the connection is not that of the stream.
            let cut = |error: std::io::Error| match error.kind() {
                ErrorKind::UnexpectedEof => ErrorKind::ConnectionAborted.into(),
                _ => error,
            };
            http2.frame(&mut self.raw).map_err(cut)?;
            self.buffer.append(&mut http2.streams.entry(FIRST).or_default().body);
            return Ok(());
        }
        let mut bytes = [0u8; 16 << 10];
        // rustls gives a FIN without close_notify the kind that a whole end has here.
        let torn = |error: std::io::Error| match error.kind() {
            ErrorKind::UnexpectedEof => ErrorKind::ConnectionAborted.into(),
            _ => error,
        };
        match self.raw.read(&mut bytes).map_err(torn)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            n => {
                self.buffer.extend_from_slice(&bytes[..n]);
                Ok(())
            }
        }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.buffer).chars().take(500).collect()
    }
}
