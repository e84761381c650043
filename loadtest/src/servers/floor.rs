//! The bare limit: one loop that sends the same bytes to all sockets. No HTTP server, no history, no limits.
//!
//! It reads a request's head, answers with the head of a stream, keeps the socket in epoll for hang-ups, and for each
//! line of the feed calls `send` once per socket; lines that arrive together go out together. Events may come from Redis
//! instead.

use super::fault::Fault;
use super::redis_feed::RedisFeed;
use crate::clock;
use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

const LISTENER: Token = Token(usize::MAX - 1);
const FEED_LISTENER: Token = Token(usize::MAX - 2);
const FEED: Token = Token(usize::MAX - 3);
const REDIS: Token = Token(usize::MAX - 4);
/// A time slice of heartbeats.
const TICK: Duration = Duration::from_millis(100);
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
    Transfer-Encoding: chunked\r\n\r\n";
const HEARTBEAT: &[u8] = b"3\r\n:\n\n\r\n";

/// How the floor runs.
#[derive(Clone, Debug, clap::Args)]
pub struct Floor {
    /// Where subscribers connect.
    #[arg(long)]
    pub listen: SocketAddr,
    /// Where lines of data are taken.
    #[arg(long)]
    pub feed: SocketAddr,
    /// A Redis whose streams are followed besides.
    #[arg(long)]
    pub redis: Option<SocketAddr>,
    /// Bytes of an id, so that frames are as long as those of the server that is compared.
    #[arg(long, default_value_t = 15)]
    pub id_length: usize,
    /// Seconds between heartbeats; 0: none.
    #[arg(long, default_value_t = 0)]
    pub heartbeat: u64,
    /// What to do wrong, for tests of the checker.
    #[arg(long)]
    pub fault: Option<super::fault::Kind>,
    /// Every how many deliveries.
    #[arg(long, default_value_t = 10_000)]
    pub every: u64,
}

struct Socket {
    stream: TcpStream,
    asked: bool,
    /// What a full socket did not take.
    rest: Vec<u8>,
}

struct Loop {
    poll: Poll,
    sockets: Slab<Socket>,
    fault: Option<Fault>,
    id_length: usize,
    sent: u64,
    dead: Vec<usize>,
}

/// Runs until killed.
pub fn run(floor: &Floor) -> Result<()> {
    let poll = Poll::new()?;
    let mut listener = TcpListener::from_std(listen(floor.listen)?);
    let mut feed_listener = TcpListener::bind(floor.feed)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    poll.registry().register(&mut feed_listener, FEED_LISTENER, Interest::READABLE)?;
    let fault = floor.fault.map(|kind| Fault::new(kind, floor.every));
    let mut state = Loop { poll, sockets: Slab::new(), fault, id_length: floor.id_length, sent: 0, dead: Vec::new() };
    let mut feed: Option<(TcpStream, Vec<u8>)> = None;
    let mut redis = floor.redis.map(RedisFeed::open).transpose()?;
    if let Some(redis) = &mut redis {
        state.poll.registry().register(&mut redis.stream, REDIS, Interest::READABLE)?;
    }
    let mut events = Events::with_capacity(1024);
    let mut beats = Beats { every: floor.heartbeat, last: clock::now(), due: 0.0, next: 0 };
    loop {
        let wait = (floor.heartbeat > 0).then_some(TICK);
        match state.poll.poll(&mut events, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            match event.token() {
                LISTENER => state.accept(&listener)?,
                FEED_LISTENER => feed = state.accept_feed(&feed_listener)?.or(feed),
                FEED => {
                    if let Some((stream, rest)) = &mut feed {
                        state.take_lines(stream, rest)?;
                    }
                }
                REDIS => {
                    if let Some(redis) = &mut redis {
                        let frames: Vec<_> = redis.take()?.iter().map(|data| state.frame(data)).collect();
                        state.send_together(&frames);
                    }
                }
                Token(key) => state.ready(key, event.is_readable(), event.is_writable()),
            }
        }
        if floor.heartbeat > 0 {
            beats.tick(&mut state);
        }
    }
}

/// A listener with a long backlog; `TCP_NODELAY` set here is inherited.
pub fn listen(address: SocketAddr) -> Result<std::net::TcpListener> {
    use nix::sys::socket as s;
    use std::os::fd::AsRawFd as _;
    let SocketAddr::V4(v4) = address else { anyhow::bail!("only IPv4: {address}") };
    let flags = s::SockFlag::SOCK_NONBLOCK | s::SockFlag::SOCK_CLOEXEC;
    let fd = s::socket(s::AddressFamily::Inet, s::SockType::Stream, flags, None)?;
    s::setsockopt(&fd, s::sockopt::ReuseAddr, &true)?;
    s::setsockopt(&fd, s::sockopt::TcpNoDelay, &true)?;
    s::bind(fd.as_raw_fd(), &s::SockaddrIn::from(v4))?;
    s::listen(&fd, s::Backlog::new(4096)?)?;
    Ok(std::net::TcpListener::from(fd))
}

impl Loop {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    let entry = self.sockets.vacant_entry();
                    self.poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE)?;
                    entry.insert(Socket { stream, asked: false, rest: Vec::new() });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => {}
            }
        }
    }

    /// The newest feed; the one that only looked whether the server is up comes first and is dropped here.
    fn accept_feed(&self, listener: &TcpListener) -> Result<Option<(TcpStream, Vec<u8>)>> {
        let mut newest = None;
        while let Ok((mut stream, _)) = listener.accept() {
            self.poll.registry().register(&mut stream, FEED, Interest::READABLE)?;
            newest = Some((stream, Vec::new()));
        }
        Ok(newest)
    }

    /// Reads the feed until it is empty, then sends all complete lines at once.
    fn take_lines(&mut self, stream: &mut TcpStream, rest: &mut Vec<u8>) -> Result<()> {
        let mut part = [0; 64 * 1024];
        loop {
            match stream.read(&mut part) {
                Ok(0) => break,
                Ok(read) => rest.extend_from_slice(&part[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut frames = Vec::new();
        let end = memchr::memrchr(b'\n', rest).map_or(0, |at| at + 1);
        for line in rest[..end].split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            frames.push(self.frame(line));
        }
        rest.drain(..end);
        self.send_together(&frames);
        Ok(())
    }

    fn send_together(&mut self, frames: &[Vec<u8>]) {
        if self.fault.is_some() {
            frames.iter().for_each(|frame| self.send_all(frame));
        } else if !frames.is_empty() {
            self.send_all(&frames.concat());
        }
    }

    fn frame(&mut self, data: &[u8]) -> Vec<u8> {
        self.sent += 1;
        let id = id(self.sent, self.id_length);
        let mut block = format!("id: {id}\ndata: ").into_bytes();
        block.extend_from_slice(data);
        block.extend_from_slice(b"\n\n");
        chunk(&block)
    }

    fn send_all(&mut self, bytes: &[u8]) {
        for (key, socket) in &mut self.sockets {
            if !socket.asked {
                continue;
            }
            let sent = match &mut self.fault {
                None => socket.send(bytes),
                Some(fault) => socket.send(&fault.alter(key, bytes)),
            };
            match sent {
                Ok(true) => {}
                Ok(false) => drop(self.poll.registry().reregister(
                    &mut socket.stream,
                    Token(key),
                    Interest::READABLE | Interest::WRITABLE,
                )),
                Err(_) => self.dead.push(key),
            }
        }
        self.bury();
    }

    fn ready(&mut self, key: usize, readable: bool, writable: bool) {
        let (sent, length) = (self.sent, self.id_length);
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let mut good = true;
        if writable && !socket.rest.is_empty() {
            let rest = std::mem::take(&mut socket.rest);
            good = socket.send(&rest).is_ok();
        }
        if good && readable {
            good = socket.hear(sent, length);
        }
        if !good {
            self.dead.push(key);
        }
        self.bury();
    }

    fn bury(&mut self) {
        for key in self.dead.drain(..) {
            if self.sockets.contains(key) {
                drop(self.sockets.remove(key));
            }
        }
    }
}

impl Socket {
    /// Sends, or keeps what the socket does not take. `Ok(false)` if something is kept.
    fn send(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if !self.rest.is_empty() {
            self.rest.extend_from_slice(bytes);
            return Ok(false);
        }
        let sent = match self.stream.write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.rest.extend_from_slice(&bytes[sent..]);
        Ok(sent == bytes.len())
    }

    /// The request, which is taken for granted once something of it is there, or the hang-up.
    fn hear(&mut self, sent: u64, id_length: usize) -> bool {
        let mut part = [0; 4096];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) => return false,
                Ok(_) if !self.asked => {
                    self.asked = true;
                    let first = chunk(format!("retry: 2000\nid: {}\n\n", id(sent, id_length)).as_bytes());
                    if self.send(&[HEAD, &first].concat()).is_err() {
                        return false;
                    }
                }
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }
}

/// Heartbeats to all sockets, spread over their period.
struct Beats {
    every: u64,
    last: u64,
    due: f64,
    next: usize,
}

impl Beats {
    fn tick(&mut self, state: &mut Loop) {
        let now = clock::now();
        let count = state.sockets.len();
        self.due += clock::seconds(self.last, now) / self.every as f64 * count as f64;
        self.last = now;
        let size = state.sockets.capacity().max(1);
        while self.due >= 1.0 && count > 0 {
            self.next = (self.next + 1) % size;
            if let Some(socket) = state.sockets.get_mut(self.next) {
                self.due -= 1.0;
                if !socket.asked {
                    continue;
                }
                let _ = socket.send(HEARTBEAT);
            }
        }
    }
}

/// An id that grows with the number, of a length.
fn id(number: u64, length: usize) -> String {
    let position = format!("{}-0", 1_700_000_000_000 + number);
    match length.checked_sub(position.len() + 1) {
        Some(room) if room > 0 => format!("{}={position}", "c".repeat(room)),
        _ => position,
    }
}

/// Wraps a block in chunk framing (RFC 9112, section 7.1).
pub fn chunk(block: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", block.len()).as_bytes(), block, b"\r\n"].concat()
}
