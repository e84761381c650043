//! Nodes in processes of their own and hundreds of clients at once, on tokio.
//!
//! The client speaks HTTP/1.1 and undoes chunks by itself, so it shares no code with the node; what the bytes mean is
//! told by [`Parser`].

use super::chunked::Chunk;
use super::event_stream::{Message, Parser};
use super::program::without_settings;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How long a process may take to start or to end, and a server to answer a request.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at something that only polling tells.
const LOOK: Duration = Duration::from_millis(10);

/// A node in a process of its own; SIGKILL when dropped.
///
/// Start it from a thread that lives as long as the node: it dies with that thread.
pub struct Process {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Process {
    /// Starts `fantail serve` with further flags on free ports; returns when it accepts connections.
    pub fn start(flags: &[&str]) -> Process {
        let log = std::env::temp_dir().join(format!("fantail-node-{}-{:x}.log", std::process::id(), fastrand::u64(..)));
        let stderr = std::fs::File::create(&log).expect("a log file");
        let mut command = Command::new("setpriv");
        without_settings(&mut command);
        let mut child = command
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_fantail"), "serve"])
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("setpriv starts a node");
        let banner = child.stdout.take().expect("piped");
        let Some(address) = address_of(banner) else {
            let _ = child.wait();
            panic!("the node does not start:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
        };
        Process { child, address, log }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and waits for its end.
    pub async fn drain(mut self) -> ExitStatus {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = Pid::from_raw(self.child.id() as i32).expect("a pid");
        kill_process(pid, Signal::TERM).expect("a signal to an own child");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("own child") {
                return status;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("the node does not end after SIGTERM:\n{}", self.log());
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        let _ = std::fs::remove_file(&self.log);
    }
}

/// Reads the banner up to the address for clients; `None` where the process ended before.
fn address_of(banner: ChildStdout) -> Option<SocketAddr> {
    let mut lines = BufReader::new(banner).lines().map_while(Result::ok);
    let address = lines.by_ref().find_map(|line| {
        let url = line.trim().strip_prefix("clients")?.trim().strip_prefix("http://")?.to_owned();
        url.split('/').next()?.parse().ok()
    });
    // What it prints later must find a reader.
    std::thread::spawn(move || lines.for_each(drop));
    address
}

/// One open event stream.
pub struct EventStream {
    socket: TcpStream,
    /// Read, not undone yet.
    raw: VecDeque<u8>,
    chunk: Chunk,
    parser: Parser,
    pub status: u16,
}

impl EventStream {
    /// Asks for `/events?<query>`; returns when the head has come. `receive_buffer`: the kernel's, in bytes.
    pub async fn open(
        node: SocketAddr,
        query: &str,
        last_event_id: &str,
        receive_buffer: Option<u32>,
    ) -> io::Result<EventStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let mut request = format!("GET /events?{query} HTTP/1.1\r\nHost: {node}\r\nAccept: text/event-stream\r\n");
        if !last_event_id.is_empty() {
            request += &format!("Last-Event-ID: {last_event_id}\r\n");
        }
        request += "\r\n";
        let opened = async {
            let mut socket = socket.connect(node).await?;
            socket.write_all(request.as_bytes()).await?;
            let (raw, chunk, parser) = (VecDeque::new(), Chunk::default(), Parser::new());
            let mut stream = EventStream { socket, raw, chunk, parser, status: 0 };
            stream.status = stream.read_head().await?;
            Ok(stream)
        };
        tokio::time::timeout(PATIENCE, opened).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))?
    }

    async fn read_head(&mut self) -> io::Result<u16> {
        loop {
            let bytes = self.raw.make_contiguous();
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                self.raw.drain(..end + 4);
                let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
                return status.ok_or_else(|| io::Error::other(format!("no head of HTTP: {head}")));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0u8; 16 << 10];
        match self.socket.read(&mut buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            n => {
                self.raw.extend(&buffer[..n]);
                Ok(())
            }
        }
    }

    /// Waits for bytes, of one chunk at most, and returns the events that they complete, maybe none; `None` where the
    /// body has ended as it should. Cancel safe.
    pub async fn read(&mut self) -> io::Result<Option<Vec<Message>>> {
        let mut messages = Vec::new();
        loop {
            let before = (self.raw.len(), self.chunk);
            self.undo(&mut messages)?;
            match self.chunk {
                Chunk::Over => return Ok(None),
                Chunk::Break if before.1 != Chunk::Break => return Ok(Some(messages)),
                Chunk::Data(_) if !messages.is_empty() => return Ok(Some(messages)),
                // Nothing more can be undone before more has come.
                _ if before == (self.raw.len(), self.chunk) => self.fill().await?,
                _ => {}
            }
        }
    }

    /// Takes one step of the chunked coding.
    fn undo(&mut self, messages: &mut Vec<Message>) -> io::Result<()> {
        let mut body = Vec::new();
        self.chunk.undo(&mut self.raw, &mut body).map_err(io::Error::other)?;
        messages.extend(self.parser.feed(&body));
        Ok(())
    }

    /// What a reconnect would send; empty before the first `id:`.
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }
}

/// Whether an error only says that the connection ended, not that its bytes were wrong.
pub fn is_hang_up(error: &io::Error) -> bool {
    error.kind() != ErrorKind::Other
}

/// A plain connection to Redis on which commands are sent without waiting for replies.
pub struct Pipeline {
    socket: TcpStream,
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Pipeline {
    pub async fn connect(port: u16) -> Pipeline {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.expect("redis-server accepts");
        Pipeline { socket, sent: Vec::new(), received: Vec::new() }
    }

    /// Adds a command to the next batch.
    pub fn push(&mut self, command: &[&str]) {
        self.sent.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
        for word in command {
            self.sent.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }

    /// Sends the batch and returns as many bulk replies.
    pub async fn flush(&mut self, replies: usize) -> Vec<String> {
        self.socket.write_all(&std::mem::take(&mut self.sent)).await.expect("redis-server takes commands");
        let mut texts = Vec::new();
        while texts.len() < replies {
            match bulk(&self.received) {
                Some((text, size)) => {
                    texts.push(text);
                    self.received.drain(..size);
                }
                None => {
                    let n = self.socket.read_buf(&mut self.received).await.expect("redis-server answers");
                    assert!(n > 0, "redis-server hung up");
                }
            }
        }
        texts
    }
}

/// The first bulk reply and its size on the wire, if it is complete.
fn bulk(bytes: &[u8]) -> Option<(String, usize)> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = std::str::from_utf8(&bytes[..end]).expect("text");
    let length: usize = line.strip_prefix('$').and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("replied {line}"));
    let text = bytes.get(end + 2..end + 2 + length)?;
    (bytes.len() >= end + length + 4).then(|| (String::from_utf8_lossy(text).into_owned(), end + length + 4))
}

/// The seed of a test's random choices: `FANTAIL_TEST_SEED`, or a new one. Printed, so that a failure can be repeated.
pub fn seed(test: &str) -> u64 {
    let given = std::env::var("FANTAIL_TEST_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |text| text.parse().expect("FANTAIL_TEST_SEED is a number"));
    println!("{test}: FANTAIL_TEST_SEED={seed}");
    seed
}
