//! A worker process: thousands of clients in one poll loop, commanded over standard input.

use super::books::{Books, Reader};
use super::connection::{Client, Manner, Phase};
use super::dialing::Dialer;
use super::parser::Item;
use super::protocol::{Clients, Command, Paths, Report, SLOW_BYTES, Stats};
use super::sessions::Sessions;
use super::way::Way;
use crate::checker::{Checker, Leg};
use crate::clock;
use anyhow::{Context as _, Result};
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::VecDeque;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

const WAKE: Token = Token(usize::MAX);
/// A connect that is not live after this many nanoseconds has failed.
const CONNECT_LIMIT: u64 = 60_000_000_000;
/// A failed connect is tried again after this many nanoseconds, where clients reconnect by themselves.
const RETRY_AFTER: u64 = 100_000_000;
/// Read at once.
const READ_BYTES: usize = 64 * 1024;
/// How often slow readers read, in nanoseconds.
const SLOW_TICK: u64 = 100_000_000;

/// Live clients from which a worker that has read something lets more come before it looks again, as a network card
/// gathers interrupts. Otherwise it falls asleep between two sends, and the server pays for waking it: the same server
/// took 4.7 to 7 us per delivery, by how often that happened.
const MANY: u64 = 1_000;
const GATHER: Duration = Duration::from_micros(250);

/// Runs until standard input ends.
pub fn run() -> Result<()> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
    let (send, commands) = sync_channel(64);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let command = serde_json::from_str(&line).with_context(|| format!("not a command: {line:.80}"));
            if send.send(Some(command)).is_err() || waker.wake().is_err() {
                return;
            }
        }
        let _ = send.send(None);
        let _ = waker.wake();
    });
    Worker::new(poll).run(&commands)
}

struct Worker {
    poll: Poll,
    books: Books,
    setup: Option<Clients>,
    clients: Vec<Client>,
    dialer: Dialer,
    sessions: Sessions,
    /// Whose turn to connect is next.
    queue: VecDeque<u32>,
    /// Failed connects and when to try again.
    later: VecDeque<(u64, u32)>,
    /// Connects under way, oldest first; also ones that are live meanwhile.
    under_way: VecDeque<(u64, u32)>,
    live: u64,
    connecting: usize,
    in_flight: usize,
    /// Nobody asks before `in_flight` are connected, or all are.
    gather: bool,
    gathered: Vec<u32>,
    /// Per second; 0 for no limit.
    rate: f64,
    churn: f64,
    /// Connects and churn that are due, in parts of one.
    allowance: f64,
    churn_due: f64,
    ticked: u64,
    slow_ticked: u64,
    /// What a slow reader reads per tick.
    slow_bytes: usize,
    again: bool,
    lazy: Vec<u32>,
    buffer: Vec<u8>,
}

impl Worker {
    fn new(poll: Poll) -> Worker {
        Worker {
            poll,
            books: Books::new(),
            setup: None,
            clients: Vec::new(),
            dialer: Dialer::new(),
            sessions: Sessions::new(Way::Plain, 0),
            queue: VecDeque::new(),
            later: VecDeque::new(),
            under_way: VecDeque::new(),
            live: 0,
            connecting: 0,
            in_flight: 0,
            gather: false,
            gathered: Vec::new(),
            rate: 0.0,
            churn: 0.0,
            allowance: 0.0,
            churn_due: 0.0,
            ticked: clock::now(),
            slow_ticked: 0,
            slow_bytes: SLOW_BYTES * SLOW_TICK as usize / 1_000_000_000,
            again: false,
            lazy: Vec::new(),
            buffer: vec![0; READ_BYTES],
        }
    }

    fn run(mut self, commands: &Receiver<Option<Result<Command>>>) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let busy =
                !self.queue.is_empty() || !self.gathered.is_empty() || !self.later.is_empty() || self.churn > 0.0;
            let wait = Duration::from_millis(if busy { 2 } else { 100 });
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => other?,
            }
            let now = clock::now();
            for event in &events {
                if event.token() != WAKE {
                    let gone = event.is_read_closed() || event.is_error();
                    self.ready(event.token().0 as u32, event.is_writable(), gone, now);
                }
            }
            while let Ok(command) = commands.try_recv() {
                match command {
                    Some(command) => self.obey(command?)?,
                    None => return Ok(()),
                }
            }
            self.tick(clock::now());
            if !busy && self.live >= MANY && !events.is_empty() {
                std::thread::sleep(GATHER);
            }
        }
    }

    fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Clients(clients) => {
                self.books.prefix = clients.prefix.clone();
                self.books.compare_ids = clients.ids;
                self.books.within_pushes = clients.paths == Paths::Centrifugo;
                self.sessions = Sessions::new(clients.way, if clients.tickets { clients.count } else { 0 });
                self.clients = (0..clients.count).map(|index| Client::new(&clients, index)).collect();
                self.setup = Some(clients);
            }
            Command::Connect { rate, in_flight } => {
                (self.rate, self.in_flight, self.gather) = (rate, in_flight, false);
                self.queue_idle();
            }
            Command::Gather { at_once } => {
                (self.rate, self.in_flight, self.gather) = (0.0, at_once, true);
                self.queue_idle();
            }
            Command::Pace { rate, in_flight } => (self.rate, self.in_flight, self.gather) = (rate, in_flight, false),
            Command::Target { targets, again } => {
                self.again = again;
                self.setup.as_mut().context("no clients yet")?.targets = targets;
            }
            Command::Hurry => self.slow_bytes = usize::MAX,
            Command::Churn { rate } => self.churn = rate,
            Command::Close => {
                self.again = false;
                self.queue.clear();
                self.later.clear();
                (0..self.clients.len() as u32).for_each(|index| self.close(index));
            }
            Command::Reset => self.books.reset(),
            Command::Stats => answer(&Report::Stats(self.stats()))?,
            Command::Collect => answer(&Report::Collected(Box::new(self.books.collect())))?,
            Command::Finish { published } => answer(&Report::Finished(self.finish(&published)))?,
        }
        Ok(())
    }

    fn queue_idle(&mut self) {
        let idle = self.clients.iter().enumerate().filter(|(_, c)| c.phase == Phase::Idle);
        self.queue = idle.map(|(index, _)| index as u32).collect();
        self.later.clear();
        self.allowance = 0.0;
    }

    fn stats(&self) -> Stats {
        let pending = self.queue.len() + self.later.len() + self.connecting;
        self.books.snapshot(self.live, pending as u64)
    }

    /// The stats with what live prompt and slow readers still miss counted as lost.
    fn finish(&self, published: &[(u32, u64)]) -> Stats {
        let mut stats = self.stats();
        let last: std::collections::HashMap<u32, u64> = published.iter().copied().collect();
        for client in self.clients.iter().filter(|c| c.phase == Phase::Live && c.manner != Manner::Stalled) {
            let missing = client
                .legs
                .iter()
                .filter_map(|&(channel, leg)| Some(Checker::missing_at_end(leg, *last.get(&channel)?)));
            let tally = if client.manner == Manner::Prompt { &mut stats.tally } else { &mut stats.tally_slow };
            tally.lost += missing.sum::<u64>();
        }
        stats
    }

    /// A socket has something to say.
    fn ready(&mut self, index: u32, writable: bool, gone: bool, now: u64) {
        let Some(setup) = &self.setup else { return };
        let Some(client) = self.clients.get_mut(index as usize) else { return };
        match client.phase {
            Phase::Idle => {}
            Phase::Connecting if gone => self.ended(index, now),
            Phase::Connecting if writable && self.gather => self.gathered.push(index),
            Phase::Connecting if writable => match client.ask(setup) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                Err(_) => self.ended(index, now),
            },
            Phase::Connecting => {}
            Phase::Live if client.manner != Manner::Prompt => {}
            Phase::Waiting | Phase::Live => self.read(index, usize::MAX, gone, now),
        }
    }

    /// Reads what there is, up to a limit. After a short read nothing is left, unless the end is.
    fn read(&mut self, index: u32, limit: usize, gone: bool, now: u64) {
        let mut left = limit;
        while left > 0 {
            let client = &mut self.clients[index as usize];
            let Some(stream) = &mut client.stream else { return };
            let room = READ_BYTES.min(left);
            match stream.read(&mut self.buffer[..room]) {
                Ok(0) => return self.ended(index, now),
                Ok(read) => {
                    let usable = match self.decode(index, read) {
                        Some(decoded) => self.digest(index, decoded, now),
                        None => false,
                    };
                    if !usable {
                        return self.ended(index, now);
                    }
                    left -= read;
                    if read < room && !gone {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.ended(index, now),
            }
        }
    }

    /// Takes what was read out of its frames and its encryption; how much is left of it, `None` where it is broken.
    fn decode(&mut self, index: u32, read: usize) -> Option<usize> {
        let client = &mut self.clients[index as usize];
        let (Some(wire), Some(stream)) = (&mut client.wire, &mut client.stream) else { return Some(read) };
        let decoded = wire.receive(&self.buffer[..read], stream).ok()?;
        // What waited for its end may make it longer than what came.
        self.buffer.resize(self.buffer.len().max(decoded.len()), 0);
        self.buffer[..decoded.len()].copy_from_slice(&decoded);
        Some(decoded.len())
    }

    /// Parses what was read. False if the connection is of no more use.
    fn digest(&mut self, index: u32, read: usize, now: u64) -> bool {
        let Some(setup) = &self.setup else { return false };
        let client = &mut self.clients[index as usize];
        let (mut usable, mut live) = (true, client.phase == Phase::Live);
        let mut reader = Reader {
            client: setup.first + index,
            is_slow: client.manner != Manner::Prompt,
            legs: &mut client.legs,
            id: &mut client.id,
        };
        let books = &mut self.books;
        books.stats.bytes += read as u64;
        let parsed = client.parser.feed(&self.buffer[..read], &mut |item| match item {
            Item::Head { status: 200 } => live |= !setup.live_at_block,
            Item::Head { status } => {
                *books.stats.refused.entry(status).or_default() += 1;
                usable = false;
            }
            Item::Block(block) => {
                live = true;
                books.block(&mut reader, &block, now);
            }
            Item::End => usable = false,
        });
        books.stats.violations += u64::from(parsed.is_err());
        if live && client.phase == Phase::Waiting {
            client.phase = Phase::Live;
            books.stats.resumed += u64::from(client.wire.as_ref().is_some_and(|wire| wire.is_resumed()));
            self.books.joined(client.started, now);
            self.live += 1;
            self.connecting -= 1;
            if client.manner != Manner::Prompt {
                self.lazy.push(index);
            }
        }
        usable && parsed.is_ok()
    }

    /// The server ended a connection, or it failed.
    fn ended(&mut self, index: u32, now: u64) {
        let client = &self.clients[index as usize];
        let (phase, manner) = (client.phase, client.manner);
        self.close(index);
        match phase {
            Phase::Idle => return,
            Phase::Live if manner == Manner::Prompt => self.books.stats.dropped += 1,
            Phase::Live => self.books.stats.dropped_slow += 1,
            Phase::Connecting | Phase::Waiting => {
                self.books.stats.failed += 1;
                if self.again {
                    self.later.push_back((now + RETRY_AFTER, index));
                }
                return;
            }
        }
        if self.again && manner != Manner::Stalled {
            self.queue.push_back(index);
        }
    }

    fn close(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        if let Some(mut stream) = client.stream.take() {
            let _ = self.poll.registry().deregister(&mut stream);
        }
        match client.phase {
            Phase::Idle => {}
            Phase::Live => {
                self.live -= 1;
                if client.manner != Manner::Prompt {
                    self.lazy.retain(|&lazy| lazy != index);
                }
            }
            Phase::Connecting | Phase::Waiting => self.connecting -= 1,
        }
        client.phase = Phase::Idle;
    }

    fn tick(&mut self, now: u64) {
        let passed = clock::seconds(self.ticked, now);
        self.ticked = now;
        self.churn(passed);
        while self.later.front().is_some_and(|&(at, _)| at <= now) {
            self.queue.extend(self.later.pop_front().map(|(_, index)| index));
        }
        self.expire(now);
        self.connect(passed);
        // Compared with all under way: the batch is whole when every one of it is connected.
        if self.gathered.len() >= self.connecting.max(1) && (self.queue.is_empty() || self.connecting >= self.in_flight)
        {
            self.ask_gathered(now);
        }
        if now - self.slow_ticked > SLOW_TICK && !self.lazy.is_empty() {
            self.slow_ticked = now;
            for index in self.lazy.clone() {
                if self.clients[index as usize].manner == Manner::Slow {
                    self.read(index, self.slow_bytes, false, now);
                }
            }
        }
    }

    /// Starts the connects that rate and concurrency allow; never so many at once that readers wait long.
    fn connect(&mut self, passed: f64) {
        self.allowance = if self.rate > 0.0 { (self.allowance + passed * self.rate).min(1_000.0) } else { 256.0 };
        while self.allowance >= 1.0 && self.connecting < self.in_flight {
            let Some(index) = self.queue.pop_front() else { return };
            self.allowance -= 1.0;
            self.start(index);
        }
    }

    fn ask_gathered(&mut self, now: u64) {
        for index in std::mem::take(&mut self.gathered) {
            let (Some(setup), client) = (&self.setup, &mut self.clients[index as usize]) else { return };
            if client.phase == Phase::Connecting && client.ask(setup).is_err() {
                self.ended(index, now);
            }
        }
    }

    fn start(&mut self, index: u32) {
        let Some(setup) = &self.setup else { return };
        let client = &mut self.clients[index as usize];
        if client.phase != Phase::Idle {
            return;
        }
        let now = clock::now();
        if self.books.stats.first_connect == 0 {
            self.books.stats.first_connect = now;
        }
        self.books.stats.opened += 1;
        self.connecting += 1;
        let registered = client.connect(setup, &mut self.dialer, &self.sessions, index, now).and_then(|stream| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(stream, Token(index as usize), both)
        });
        match registered {
            Ok(()) => self.under_way.push_back((now, index)),
            Err(_) => self.ended(index, now),
        }
    }

    /// Gives up connects that take too long.
    fn expire(&mut self, now: u64) {
        while let Some(&(started, index)) = self.under_way.front() {
            let client = &self.clients[index as usize];
            let current = client.started == started && matches!(client.phase, Phase::Connecting | Phase::Waiting);
            if current && started + CONNECT_LIMIT > now {
                return;
            }
            self.under_way.pop_front();
            if current {
                self.ended(index, now);
            }
        }
    }

    /// Closes random clients at the churn rate; they come back, every other one as somebody new.
    fn churn(&mut self, passed: f64) {
        self.churn_due = (self.churn_due + passed * self.churn).min(1_000.0);
        while self.churn_due >= 1.0 && self.live > 0 {
            self.churn_due -= 1.0;
            let index = fastrand::u32(..self.clients.len() as u32);
            if self.clients[index as usize].phase != Phase::Live {
                continue;
            }
            self.close(index);
            let number = self.setup.as_ref().map_or(0, |setup| setup.first) + index;
            let client = &mut self.clients[index as usize];
            if fastrand::bool() {
                client.id.clear();
                for (channel, leg) in &mut client.legs {
                    self.books.normal.forget(number, *channel);
                    *leg = Leg::ANYWHERE;
                }
            }
            self.queue.push_back(index);
        }
    }
}

fn answer(report: &Report) -> Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()?;
    Ok(())
}
