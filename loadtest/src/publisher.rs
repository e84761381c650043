//! Publishes numbered events at intended times. An event that goes out late still carries the intended time.

pub mod pipeline;
pub mod posters;

use crate::clock;
use crate::measure::Distribution;
use crate::payload::Payload;
use crate::plan::zipf;
use crate::process::stay_on;
use crate::redis::{Connection, encode};
use anyhow::{Context as _, Result, ensure};
use pipeline::Pipeline;
use posters::{Posters, is_accepted};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::thread::JoinHandle;
use std::time::Duration;

/// Where events go.
pub enum Sink {
    /// `XADD`, pipelined.
    Redis { connection: Connection, key_prefix: String, keep: u64 },
    /// Lines of data to a server of this crate.
    Feed(TcpStream),
    /// `POST /pub/<channel>`, one after the other.
    Nchan(TcpStream),
    /// To Redis without waiting for replies.
    Pipeline(Pipeline),
    /// `POST`, many at a time.
    Posters(Posters),
}

const TIMEOUT: Duration = Duration::from_secs(20);

impl Sink {
    /// `keep`: about how many entries a stream keeps.
    pub fn redis(address: SocketAddr, keep: u64) -> Result<Sink> {
        Ok(Sink::Redis { connection: Connection::open(address)?, key_prefix: "sse:".into(), keep })
    }

    pub fn feed(address: SocketAddr) -> Result<Sink> {
        Ok(Sink::Feed(stream(address)?))
    }

    pub fn nchan(address: SocketAddr) -> Result<Sink> {
        Ok(Sink::Nchan(stream(address)?))
    }

    /// Sends events and waits until the other side has confirmed them; a feed, a pipeline and posters do not wait.
    fn send(&mut self, prefix: &str, events: &[(u32, Vec<u8>)]) -> Result<()> {
        let mut bytes = Vec::new();
        match self {
            Sink::Redis { connection, key_prefix, keep } => {
                let keep = keep.to_string();
                for (channel, data) in events {
                    let key = format!("{key_prefix}{prefix}{channel}");
                    let parts: [&[u8]; 8] =
                        [b"XADD", key.as_bytes(), b"MAXLEN", b"~", keep.as_bytes(), b"*", b"data", data];
                    encode(&mut bytes, &parts);
                }
                connection.send(&bytes)?;
                events.iter().try_for_each(|_| connection.reply().map(drop))
            }
            Sink::Feed(stream) => {
                for (_, data) in events {
                    bytes.extend_from_slice(data);
                    bytes.push(b'\n');
                }
                stream.write_all(&bytes).context("feeding a server")
            }
            Sink::Nchan(stream) => events.iter().try_for_each(|(channel, data)| {
                bytes.clear();
                write!(
                    bytes,
                    "POST /pub/{prefix}{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
                    data.len()
                )?;
                bytes.extend_from_slice(data);
                stream.write_all(&bytes)?;
                accepted(stream)
            }),
            Sink::Pipeline(pipeline) => pipeline.send(prefix, events),
            Sink::Posters(posters) => posters.send(prefix, events),
        }
    }

    /// Waits for what is not confirmed yet.
    fn settle(&mut self) -> Result<()> {
        match self {
            Sink::Pipeline(pipeline) => pipeline.settle(),
            Sink::Posters(posters) => posters.settle(),
            Sink::Redis { .. } | Sink::Feed(_) | Sink::Nchan(_) => Ok(()),
        }
    }
}

fn stream(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("publishing to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Reads one response; fails unless it is a 2xx.
fn accepted(stream: &mut TcpStream) -> Result<()> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let read = stream.read(&mut part)?;
        ensure!(read > 0, "the server closed the publishing connection");
        bytes.extend_from_slice(&part[..read]);
        if is_accepted(&bytes)? {
            return Ok(());
        }
    }
}

/// Which channel the next event goes to.
#[derive(Clone, Copy, Debug)]
pub enum Choice {
    /// `0..n` in turn.
    InTurn(u32),
    /// `0..n`, low numbers more often.
    Zipf(u32),
    /// `0..n`, each as often.
    Random(u32),
}

/// What to publish.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Events per second.
    pub rate: f64,
    /// Events that are due at the same moment.
    pub burst: u32,
    /// Bytes of data.
    pub size: usize,
    /// Events in all.
    pub count: u64,
    pub choice: Choice,
}

impl Schedule {
    /// The channel of each event in turn; the same each time.
    fn channels(&self) -> impl Iterator<Item = u32> + use<> {
        let mut random = fastrand::Rng::with_seed(7);
        let choice = self.choice;
        (0..self.count).map(move |event| match choice {
            Choice::InTurn(n) => (event % u64::from(n)) as u32,
            Choice::Zipf(n) => zipf(&mut random, n),
            Choice::Random(n) => random.u32(..n),
        })
    }

    /// Events by channel.
    pub fn counts(&self) -> BTreeMap<u32, u64> {
        let mut counts = BTreeMap::new();
        self.channels().for_each(|channel| *counts.entry(channel).or_default() += 1);
        counts
    }
}

/// Events that were published under one schedule.
#[derive(Clone, Debug, Default)]
pub struct Published {
    pub events: u64,
    /// How late events went out, in microseconds.
    pub late: Distribution,
    /// CPU of the publisher's thread in nanoseconds.
    pub cpu: u64,
}

/// Numbers events and sends them to every sink.
pub struct Publisher {
    pub sinks: Vec<Sink>,
    /// Where its thread runs; `None` for any.
    pub core: Option<usize>,
    prefix: String,
    /// The last number of each channel.
    last: BTreeMap<u32, u64>,
}

/// Most events that are sent before the clock is read again.
const MOST_AT_ONCE: usize = 512;

impl Publisher {
    pub fn new(sinks: Vec<Sink>, prefix: &str) -> Publisher {
        Publisher { sinks, core: None, prefix: prefix.to_owned(), last: BTreeMap::new() }
    }

    /// The last number of each channel.
    pub fn last(&self) -> Vec<(u32, u64)> {
        self.last.iter().map(|(&channel, &last)| (channel, last)).collect()
    }

    /// Publishes until all is out.
    pub fn run(&mut self, schedule: &Schedule) -> Result<Published> {
        let mut channels = schedule.channels();
        let start = clock::now() + 5_000_000;
        let gap = f64::from(schedule.burst) / schedule.rate * 1e9;
        let intended = |event: u64| start + ((event / u64::from(schedule.burst)) as f64 * gap) as u64;
        let (mut published, mut late, mut batch) = (Published::default(), Vec::new(), Vec::new());
        let mut event = 0;
        while event < schedule.count {
            match &mut self.sinks[..] {
                [Sink::Posters(posters)] => posters.attend(intended(event))?,
                _ => clock::sleep_until(intended(event)),
            }
            let now = clock::now();
            batch.clear();
            while event < schedule.count && intended(event) <= now && batch.len() < MOST_AT_ONCE {
                let Some(channel) = channels.next() else { break };
                batch.push((channel, self.next(channel, intended(event), schedule.size)));
                late.push(((now - intended(event)) / 1_000, 1));
                event += 1;
            }
            for sink in &mut self.sinks {
                sink.send(&self.prefix, &batch)?;
            }
        }
        self.sinks.iter_mut().try_for_each(Sink::settle)?;
        published.events = event;
        published.late = Distribution::of(&late);
        Ok(published)
    }

    fn next(&mut self, channel: u32, intended: u64, size: usize) -> Vec<u8> {
        let last = self.last.entry(channel).or_default();
        *last += 1;
        let mut data = Vec::with_capacity(size);
        Payload { sequence: *last, intended, channel }.write(&mut data, size);
        data
    }

    /// Publishes on a thread of its own.
    pub fn start(mut self, schedule: Schedule) -> Publication {
        let thread = std::thread::spawn(move || {
            // Linux wakes sleepers up to 50 µs late otherwise, which would count as the server's.
            let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
            self.core.map_or(Ok(()), stay_on)?;
            let mut published = self.run(&schedule)?;
            published.cpu = clock::of_thread();
            Ok((self, published))
        });
        Publication { thread }
    }
}

/// A publisher at work.
pub struct Publication {
    thread: JoinHandle<Result<(Publisher, Published)>>,
}

impl Publication {
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn join(self) -> Result<(Publisher, Published)> {
        self.thread.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))?
    }
}
