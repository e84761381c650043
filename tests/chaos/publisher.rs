//! The publisher: numbered events at a steady pace, and the fate of each.
//!
//! A number is used once. What was not acknowledged is never sent again, so that an event that comes twice is the
//! cluster's doing.

use crate::support::redis::Reply;
use fantail::position::Position;
use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const CHANNELS: usize = 6;
/// Over all channels.
const EVENTS_PER_SECOND: u64 = 240;
/// The clients of a case take apart every byte on the same two cores.
const WITH_LARGE_EVENTS_PER_SECOND: u64 = 14;
/// One event of so many is a large one.
const LARGE: usize = 7;
const TICK: Duration = Duration::from_millis(10);
/// A frozen server answers when it is thawed, and must not find commands of two connections then.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// Where somebody else takes over from a frozen server.
pub const IMPATIENCE: Duration = Duration::from_millis(1_500);
/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(10);

pub fn channel_name(channel: usize) -> String {
    format!("c{channel}")
}

pub fn key(channel: usize) -> String {
    format!("sse:c{channel}")
}

/// What became of an event, as far as its publisher was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Sent, or the connection was lost before the answer came.
    Unknown,
    Acknowledged(Position),
    Refused,
}

#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub sent: Instant,
    pub fate: Fate,
}

/// Everything that was ever published, by channel and number.
pub type Truth = Vec<Vec<Published>>;

/// Where a channel's stream is written: a port of 127.0.0.1; `None` where nobody knows now.
pub type Route = Box<dyn Fn(usize) -> Option<u16> + Send>;

/// How to reach the servers.
pub struct Servers {
    pub route: Route,
    /// How long a server may take to answer.
    pub patience: Duration,
}

impl Servers {
    /// One server for everything.
    pub fn one(port: u16) -> Servers {
        Servers { route: Box::new(move |_| Some(port)), patience: PATIENCE }
    }
}

/// What the thread and the test share.
struct Shared {
    truth: Mutex<Truth>,
    pause: AtomicBool,
    stop: AtomicBool,
    /// Bytes of a large event's data beyond its name and number.
    padding: AtomicUsize,
}

pub struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// Publishes one event to each channel, and is then ready to go on with [`Publisher::resume`].
    pub fn start(servers: Servers) -> Publisher {
        let shared = Arc::new(Shared {
            truth: Mutex::new(vec![Vec::new(); CHANNELS]),
            pause: AtomicBool::new(true),
            stop: AtomicBool::new(false),
            padding: AtomicUsize::new(0),
        });
        let mut writer = Writer { shared: shared.clone(), servers, lines: HashMap::new(), turn: 0 };
        writer.everywhere();
        assert!(shared.truth().iter().all(|of| matches!(of[0].fate, Fate::Acknowledged(_))), "the first events");
        let thread = Some(std::thread::spawn(move || writer.run()));
        Publisher { shared, thread }
    }

    pub fn resume(&self) {
        self.shared.pause.store(false, Ordering::SeqCst);
    }

    pub fn pad(&self, bytes: usize) {
        self.shared.padding.store(bytes, Ordering::SeqCst);
    }

    pub fn truth(&self) -> MutexGuard<'_, Truth> {
        self.shared.truth()
    }

    /// Publishes once more to every channel, until each has an acknowledged event that was sent from now on; ends.
    pub fn finish(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the publisher");
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

struct Writer {
    shared: Arc<Shared>,
    servers: Servers,
    lines: HashMap<u16, BufReader<TcpStream>>,
    turn: usize,
}

impl Writer {
    fn run(mut self) {
        let mut begun = Instant::now();
        let mut sent = 0;
        while !self.shared.stop.load(Ordering::SeqCst) {
            std::thread::sleep(TICK);
            let is_large = self.shared.padding.load(Ordering::SeqCst) > 0;
            let rate = if is_large { WITH_LARGE_EVENTS_PER_SECOND } else { EVENTS_PER_SECOND };
            let due = begun.elapsed().as_millis() as u64 * rate / 1_000;
            if self.shared.pause.load(Ordering::SeqCst) || due > sent + EVENTS_PER_SECOND / 4 {
                // After an outage it goes on at its pace, and does not make up for it.
                (begun, sent) = (Instant::now(), 0);
                continue;
            }
            let batch: Vec<usize> = (sent..due).map(|_| self.next_channel()).collect();
            sent = due;
            self.send(&batch);
        }
        self.everywhere();
    }

    fn next_channel(&mut self) -> usize {
        self.turn += 1;
        self.turn % CHANNELS
    }

    /// One acknowledged event more in every channel.
    fn everywhere(&mut self) {
        let deadline = Instant::now() + 2 * PATIENCE;
        for channel in 0..CHANNELS {
            while !self.send(&[channel]) {
                assert!(Instant::now() < deadline, "nothing can be published to channel {channel}");
                std::thread::sleep(RETRY);
            }
        }
    }

    /// Sends events pipelined, by the server that they go to; whether all were acknowledged.
    fn send(&mut self, batch: &[usize]) -> bool {
        let mut rest = batch.to_vec();
        let mut good = true;
        while let Some(first) = rest.first().copied() {
            let Some(port) = (self.servers.route)(first) else {
                std::thread::sleep(RETRY);
                return false;
            };
            let (here, elsewhere): (Vec<usize>, Vec<usize>) =
                rest.iter().partition(|channel| **channel == first || (self.servers.route)(**channel) == Some(port));
            rest = elsewhere;
            good &= self.send_to(port, &here);
        }
        good
    }

    fn send_to(&mut self, port: u16, batch: &[usize]) -> bool {
        let Some(mut line) = self.lines.remove(&port).or_else(|| open(port, self.servers.patience).ok()) else {
            std::thread::sleep(RETRY);
            return false;
        };
        let mut bytes = Vec::new();
        let large = "x".repeat(self.shared.padding.load(Ordering::SeqCst));
        let mut numbers = Vec::new();
        {
            let mut truth = self.shared.truth();
            for &channel in batch {
                let number = truth[channel].len();
                truth[channel].push(Published { sent: Instant::now(), fate: Fate::Unknown });
                numbers.push((channel, number));
                let padding = if (channel + number).is_multiple_of(LARGE) { &large[..] } else { "" };
                let data = format!("{} {number} {padding}", channel_name(channel));
                let key = key(channel);
                let parts = ["XADD", &key, "*", "data", &data];
                write!(bytes, "*{}\r\n", parts.len()).expect("memory");
                parts.iter().for_each(|p| write!(bytes, "${}\r\n{p}\r\n", p.len()).expect("memory"));
            }
        }
        let mut all = line.get_mut().write_all(&bytes).is_ok();
        for (channel, number) in numbers {
            let Ok(reply) = Reply::read(&mut line) else { return false };
            let fate = match reply {
                Reply::Text(id) => Fate::Acknowledged(id.parse().expect("an id")),
                _ => Fate::Refused,
            };
            all &= fate != Fate::Refused;
            self.shared.truth()[channel][number].fate = fate;
        }
        // One that refuses is maybe not the primary any more.
        if all {
            self.lines.insert(port, line);
        }
        all
    }
}

fn open(port: u16, patience: Duration) -> io::Result<BufReader<TcpStream>> {
    let socket = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), patience)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))?;
    Ok(BufReader::new(socket))
}
