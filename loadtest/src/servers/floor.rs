//! The bare limit: one loop that sends the same bytes to all sockets. No HTTP server, no history, no limits.
//!
//! It reads a request's head, answers with the head of a stream, keeps the socket in epoll for hang-ups, and for each
//! line of the feed calls `send` once per socket; lines that arrive together go out together. Events may come from Redis
//! instead, and may be for the sockets of one channel alone.

use super::addressed::{Addressed, channel_asked};
use super::fault::Fault;
use super::floor_session::{self, Sessions};
use super::redis_feed::RedisFeed;
use crate::clock;
use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use rustls::ServerConnection;
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
    /// Subscribers speak TLS, to a session of rustls' each.
    #[arg(long)]
    pub tls: bool,
    /// Each event goes to the sockets of its channel, not to all.
    #[arg(long)]
    pub apart: bool,
    /// What to do wrong, for tests of the checker.
    #[arg(long)]
    pub fault: Option<super::fault::Kind>,
    /// Every how many deliveries.
    #[arg(long, default_value_t = 10_000)]
    pub every: u64,
}

struct Socket {
    stream: TcpStream,
    session: Option<Box<ServerConnection>>,
    asked: bool,
    /// The number of the channel that it asked for, where that is one.
    channel: Option<u32>,
    /// What a full socket did not take.
    rest: Vec<u8>,
}

struct Loop {
    poll: Poll,
    sessions: Option<Sessions>,
    sockets: Slab<Socket>,
    addressed: Option<Addressed>,
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
    let addressed = floor.apart.then(Addressed::default);
    let id_length = floor.id_length;
    let sessions = floor.tls.then(Sessions::new).transpose()?;
    let (sockets, dead) = (Slab::new(), Vec::new());
    let mut state = Loop { poll, sessions, sockets, addressed, fault, id_length, sent: 0, dead };
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
                        state.publish(redis.take()?.iter().map(Vec::as_slice));
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
    let SocketAddr::V4(address) = address else { anyhow::bail!("only IPv4: {address}") };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, 4096)?;
    Ok(std::net::TcpListener::from(socket))
}

impl Loop {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    let entry = self.sockets.vacant_entry();
                    self.poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE)?;
                    let session = self.sessions.as_ref().map(Sessions::begin).transpose()?;
                    entry.insert(Socket { stream, session, asked: false, channel: None, rest: Vec::new() });
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
        let end = memchr::memrchr(b'\n', rest).map_or(0, |at| at + 1);
        self.publish(rest[..end].split(|&b| b == b'\n').filter(|line| !line.is_empty()));
        rest.drain(..end);
        Ok(())
    }

    /// Sends events to whom they are for.
    fn publish<'a>(&mut self, events: impl Iterator<Item = &'a [u8]>) {
        if self.addressed.is_none() {
            let frames: Vec<_> = events.map(|data| self.frame(data)).collect();
            return self.send_together(&frames);
        }
        for data in events {
            let frame = self.frame(data);
            let sockets = self.addressed.as_ref().map_or_else(Vec::new, |addressed| addressed.of(data));
            sockets.into_iter().for_each(|key| self.send(key, &frame));
        }
        self.bury();
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
            if !socket.is_usable(sent, key, self.poll.registry()) {
                self.dead.push(key);
            }
        }
        self.bury();
    }

    fn send(&mut self, key: usize, bytes: &[u8]) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let sent = socket.send(bytes);
        if !socket.is_usable(sent, key, self.poll.registry()) {
            self.dead.push(key);
        }
    }

    fn ready(&mut self, key: usize, readable: bool, writable: bool) {
        let (sent, length) = (self.sent, self.id_length);
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let (mut good, had_asked) = (true, !readable || socket.asked);
        if writable && let Some(session) = &mut socket.session {
            good = floor_session::flush(session, &mut socket.stream).is_ok();
        } else if writable && !socket.rest.is_empty() {
            let rest = std::mem::take(&mut socket.rest);
            good = socket.send(&rest).is_ok();
        }
        if good && readable {
            good = socket.hear(sent, length);
        }
        if !good {
            self.dead.push(key);
        } else if let (Some(addressed), Some(channel), false) = (&mut self.addressed, socket.channel, had_asked) {
            addressed.add(channel, key);
        }
        self.bury();
    }

    fn bury(&mut self) {
        for key in self.dead.drain(..) {
            let Some(socket) = self.sockets.try_remove(key) else { continue };
            if let (Some(addressed), Some(channel)) = (&mut self.addressed, socket.channel) {
                addressed.remove(channel, key);
            }
        }
    }
}

impl Socket {
    /// Sends, or keeps what the socket does not take. `Ok(false)` if something is kept.
    fn send(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if let Some(session) = &mut self.session {
            session.writer().write_all(bytes)?;
            return floor_session::flush(session, &mut self.stream);
        }
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

    /// What a send came to: watches a socket that is full. False where it is broken.
    fn is_usable(&mut self, sent: io::Result<bool>, key: usize, registry: &Registry) -> bool {
        if let Ok(false) = sent {
            drop(registry.reregister(&mut self.stream, Token(key), Interest::READABLE | Interest::WRITABLE));
        }
        sent.is_ok()
    }

    /// The request, which is taken for granted once something of it is there, or the hang-up.
    fn hear(&mut self, sent: u64, id_length: usize) -> bool {
        let mut part = [0; 4096];
        loop {
            let read = match &mut self.session {
                Some(session) => floor_session::read(session, &mut self.stream, &mut part),
                None => self.stream.read(&mut part),
            };
            match read {
                Ok(0) => return false,
                Ok(read) if !self.asked => {
                    self.asked = true;
                    self.channel = channel_asked(&part[..read]);
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
