//! What `loadtest nodes` is compared with: connections that are subscribed by sharded pub/sub, in the place of nodes.
//! They check what they get, and do nothing else with it.

use super::redis_feed::{read_all, text};
use crate::checker::{Checker, Leg, Tally};
use crate::clients::books::histogram;
use crate::clock;
use crate::measure::Distribution;
use crate::payload::Payload;
use crate::process::stay_on;
use crate::redis::encode;
use anyhow::{Context as _, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use redis_protocol::resp3::decode::complete::decode;
use redis_protocol::resp3::types::OwnedFrame;
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Nothing has come for so many nanoseconds: nothing more will.
const PATIENCE: u64 = 8_000_000_000;
/// How often the thread looks whether it shall end.
const TICK: Duration = Duration::from_millis(50);

/// The connections, on a thread of their own.
pub struct Subscribers {
    thread: JoinHandle<Result<Received>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Confirmed subscriptions.
    subscribed: AtomicU64,
    received: AtomicU64,
    forget: AtomicBool,
    stop: AtomicBool,
}

/// What the connections got.
pub struct Received {
    pub tally: Tally,
    pub latency: Distribution,
    /// Each connection's place in each channel.
    legs: Vec<Vec<Leg>>,
}

impl Subscribers {
    /// Connects so many, each subscribed to so many channels, and waits until all are.
    pub fn start(
        address: SocketAddr,
        prefix: &str,
        (connections, channels): (u32, u32),
        core: Option<usize>,
    ) -> Result<Subscribers> {
        let shared = Arc::new(Shared::default());
        let mut inner = Inner::connect(address, prefix, (connections, channels), shared.clone())?;
        let thread = std::thread::spawn(move || {
            core.map_or(Ok(()), stay_on)?;
            inner.run()?;
            Ok(inner.received())
        });
        let subscribers = Subscribers { thread, shared };
        let due = u64::from(connections) * u64::from(channels);
        let began = clock::now();
        while subscribers.shared.subscribed.load(Ordering::Relaxed) < due && clock::now() - began < PATIENCE {
            std::thread::sleep(TICK / 10);
        }
        Ok(subscribers)
    }

    /// Waits until so many events have come over all, or nothing comes any more.
    pub fn wait(&self, due: u64) {
        let (mut moved, mut before) = (clock::now(), 0);
        loop {
            let received = self.shared.received.load(Ordering::Relaxed);
            if received != before {
                (moved, before) = (clock::now(), received);
            }
            if received >= due || clock::now() - moved > PATIENCE || self.thread.is_finished() {
                return;
            }
            std::thread::sleep(TICK / 10);
        }
    }

    /// Latencies count from now on; places stay.
    pub fn forget_times(&mut self) {
        self.shared.forget.store(true, Ordering::Relaxed);
    }

    /// Ends them. `published`: the last number of each channel.
    pub fn stop(self, published: &[(u32, u64)]) -> Result<Received> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut received = self.thread.join().ok().context("the floor's thread panicked")??;
        for legs in &received.legs {
            for &(channel, last) in published {
                received.tally.lost += Checker::missing_at_end(legs[channel as usize], last);
            }
        }
        Ok(received)
    }
}

struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    legs: Vec<Leg>,
}

struct Inner {
    poll: Poll,
    connections: Vec<Connection>,
    checker: Checker,
    latency: hdrhistogram::Histogram<u64>,
    shared: Arc<Shared>,
}

impl Inner {
    fn connect(
        address: SocketAddr,
        prefix: &str,
        (connections, channels): (u32, u32),
        shared: Arc<Shared>,
    ) -> Result<Inner> {
        let poll = Poll::new()?;
        let keys: Vec<String> = (0..channels).map(|channel| format!("sse:{prefix}{channel}")).collect();
        let mut bytes = Vec::new();
        encode(&mut bytes, &[b"HELLO", b"3"]);
        let parts: Vec<&[u8]> = [&b"SSUBSCRIBE"[..]].into_iter().chain(keys.iter().map(String::as_bytes)).collect();
        encode(&mut bytes, &parts);
        let connect = |number: u32| -> Result<Connection> {
            let mut stream = std::net::TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.write_all(&bytes)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number as usize), Interest::READABLE)?;
            Ok(Connection { stream, unread: Vec::new(), legs: vec![Leg::START; channels as usize] })
        };
        let connections = (0..connections).map(connect).collect::<Result<_>>()?;
        Ok(Inner { poll, connections, checker: Checker::default(), latency: histogram(), shared })
    }

    fn run(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.shared.stop.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, Some(TICK)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            if self.shared.forget.swap(false, Ordering::Relaxed) {
                self.latency.reset();
            }
            for event in &events {
                self.read(event.token().0)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, number: usize) -> Result<()> {
        let connection = &mut self.connections[number];
        read_all(&mut connection.stream, &mut connection.unread)?;
        let (now, mut used) = (clock::now(), 0);
        while let Some((frame, length)) = decode(&connection.unread[used..])? {
            used += length;
            match frame {
                OwnedFrame::SimpleError { data, .. } => bail!("Redis: {data}"),
                OwnedFrame::Push { data, .. } => match &data[..] {
                    [kind, _, message] if text(kind) == Some(b"smessage") => {
                        let payload = text(message).and_then(Payload::read);
                        let leg = payload.and_then(|p| connection.legs.get_mut(p.channel as usize));
                        let (Some(payload), Some(leg)) = (payload, leg) else {
                            bail!("not an event of the publisher's")
                        };
                        self.checker.arrived(number as u32, payload.channel, leg, payload.sequence);
                        self.latency.saturating_record((now.saturating_sub(payload.intended) / 1_000).max(1));
                        self.shared.received.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => drop(self.shared.subscribed.fetch_add(1, Ordering::Relaxed)),
                },
                _ => {}
            }
        }
        connection.unread.drain(..used);
        Ok(())
    }

    fn received(self) -> Received {
        let pairs: Vec<(u64, u64)> =
            self.latency.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect();
        Received {
            tally: self.checker.tally,
            latency: Distribution::of(&pairs),
            legs: self.connections.into_iter().map(|connection| connection.legs).collect(),
        }
    }
}
