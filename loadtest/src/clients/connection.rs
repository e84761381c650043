//! One client: a socket, a parser, its legs. Knows how to connect and what to ask; the worker's loop drives it.

use super::dialing::Dialer;
use super::parser::Parser;
use super::protocol::{Clients, Paths};
use super::sessions::Sessions;
use super::way::Wire;
use crate::centrifugo;
use crate::checker::Leg;
use crate::plan::lot;
use mio::net::TcpStream;
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Idle,
    Connecting,
    /// Asked, and not yet live.
    Waiting,
    Live,
}

/// How a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Prompt,
    Slow,
    Stalled,
}

/// One client.
pub struct Client {
    pub stream: Option<TcpStream>,
    /// Between the stream and the parser, where that is not HTTP/1.1 in the clear.
    pub wire: Option<Box<Wire>>,
    pub phase: Phase,
    pub manner: Manner,
    pub parser: Parser,
    pub legs: Box<[(u32, Leg)]>,
    /// The last event id.
    pub id: Vec<u8>,
    /// When the connect began.
    pub started: u64,
    /// Connects so far; decides on the target and source address.
    pub attempts: u32,
}

impl Client {
    /// Client `index` of a worker's, subscribed before anything is published.
    pub fn new(clients: &Clients, index: u32) -> Client {
        let number = clients.first + index;
        let legs = clients.plan.channels(number).into_iter().map(|channel| (channel, Leg::START)).collect();
        let manner = match lot(number) {
            lot if lot < clients.stalled => Manner::Stalled,
            lot if lot < clients.stalled + clients.slow => Manner::Slow,
            _ => Manner::Prompt,
        };
        Client {
            stream: None,
            wire: None,
            phase: Phase::Idle,
            manner,
            parser: Parser::default(),
            legs,
            id: Vec::new(),
            started: 0,
            attempts: 0,
        }
    }

    /// Opens a socket towards the next target, from one of the source addresses.
    pub fn connect(
        &mut self,
        clients: &Clients,
        dialer: &mut Dialer,
        sessions: &Sessions,
        index: u32,
        now: u64,
    ) -> io::Result<&mut TcpStream> {
        let turn = index.wrapping_add(self.attempts) as usize;
        self.attempts += 1;
        let target = clients.targets[turn % clients.targets.len()];
        let source = clients.sources[turn % clients.sources.len()];
        self.parser = Parser::default();
        self.wire = Wire::new(clients.way, sessions, index).map_err(io::Error::other)?;
        self.started = now;
        self.phase = Phase::Connecting;
        let stream = dialer.dial(target, source, self.manner != Manner::Prompt)?;
        Ok(self.stream.insert(stream))
    }

    /// Sends the request.
    pub fn ask(&mut self, clients: &Clients) -> io::Result<()> {
        let requests = self.requests(clients);
        let stream = self.stream.as_mut().expect("connected");
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        if let Some(wire) = &mut self.wire {
            wire.ask(&requests, stream).map_err(io::Error::other)?;
            self.phase = Phase::Waiting;
            return Ok(());
        }
        // A fresh socket takes a few hundred bytes at once.
        let request = requests.concat();
        if stream.write(request.as_bytes())? < request.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.phase = Phase::Waiting;
        Ok(())
    }

    /// One for all channels, or one for each.
    fn requests(&self, clients: &Clients) -> Vec<String> {
        let channels: Vec<String> =
            self.legs.iter().map(|(channel, _)| format!("{}{channel}", clients.prefix)).collect();
        let each = if clients.stream_each { 1 } else { channels.len() };
        channels.chunks(each).map(|channels| self.request(clients, channels)).collect()
    }

    fn request(&self, clients: &Clients, channels: &[String]) -> String {
        let path = match clients.paths {
            Paths::Events => format!("/events?channels={}{}", channels.join(","), clients.asks),
            Paths::Nchan => format!("/sub/{}", channels.join(",")),
            Paths::Centrifugo => centrifugo::path(channels),
        };
        let mut text = format!("GET {path}");
        text.push_str(" HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n");
        if clients.gzip {
            text.push_str("Accept-Encoding: gzip\r\n");
        }
        if !self.id.is_empty() {
            let _ = write!(text, "Last-Event-ID: {}\r\n", String::from_utf8_lossy(&self.id));
        }
        text.push_str("\r\n");
        text
    }
}
