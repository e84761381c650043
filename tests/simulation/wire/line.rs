//! The way between one node and the server: a socket that listens, and what becomes of bytes and connections there.

use crate::chance::{Draw, source};
use crate::redis_model::Refusal;
use crate::redis_model::front::{Host, Piece, Way};
use fastrand::Rng;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// A line that is slower is no calm one.
const CALM: Duration = Duration::from_millis(20);
/// Into how many pieces bytes are torn at most.
const MOST_PIECES: usize = 6;

/// What is the matter with the server as a whole.
pub struct Weather {
    until: Instant,
    refusals: BTreeSet<Refusal>,
    troubled: Instant,
}

impl Default for Weather {
    fn default() -> Weather {
        Weather { until: Instant::now(), refusals: BTreeSet::new(), troubled: Instant::now() }
    }
}

impl Weather {
    /// How long it still stands still, if it does.
    pub fn stopped(&self) -> Option<Duration> {
        Some(self.until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    pub fn stop(&mut self, time: Duration) {
        self.until = self.until.max(Instant::now() + time);
        self.troubled = self.until;
    }

    pub fn refuse(&mut self, host: &Host, refusal: Refusal, on: bool) {
        host.with(|server| server.set_refusal(refusal, on));
        match on {
            true => self.refusals.insert(refusal),
            false => self.refusals.remove(&refusal),
        };
        self.troubled = self.troubled.max(Instant::now());
    }

    /// Nothing is the matter any more.
    pub fn clear(&mut self, host: &Host) {
        for refusal in std::mem::take(&mut self.refusals) {
            host.with(|server| server.set_refusal(refusal, false));
        }
        self.until = Instant::now();
        self.troubled = Instant::now();
    }

    pub fn calm_since(&self) -> Option<Instant> {
        (self.refusals.is_empty() && self.stopped().is_none()).then_some(self.troubled)
    }
}

/// How a line behaves.
pub struct Behaviour {
    rng: Rng,
    /// Whether there can be connections.
    up: bool,
    /// Another number after each loss of all connections.
    generation: u64,
    /// The longest delay of what is said in either direction.
    pub slowest: Duration,
    /// Whether all that is said comes in pieces.
    pub crumbs: bool,
    /// A connection ends after so many of the next bytes, of an answer or of a question.
    pub tear: Option<(usize, bool)>,
    troubled: Instant,
}

impl Behaviour {
    pub fn calm(&mut self) {
        (self.slowest, self.crumbs, self.tear) = (Duration::from_millis(5), false, None);
    }

    /// What becomes of bytes, `answer` tells whose.
    fn pieces(&mut self, mut bytes: Vec<u8>, answer: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let (slowest, crumbs) = (self.slowest, self.crumbs);
        let delay = self.rng.delay(slowest);
        if !delay.is_zero() {
            pieces.push(Piece::Pause(delay));
        }
        let tear = self.tear.take_if(|(_, of)| *of == answer);
        if let Some((after, _)) = tear {
            bytes.truncate(after);
        }
        let torn = if crumbs { self.rng.usize(0..MOST_PIECES) } else { usize::from(self.rng.once_in(10)) };
        for _ in 0..torn {
            if bytes.len() < 2 {
                break;
            }
            let rest = bytes.split_off(self.rng.usize(1..bytes.len()));
            pieces.extend([Piece::Bytes(bytes), Piece::Pause(Duration::from_millis(self.rng.u64(1..=3)))]);
            bytes = rest;
        }
        pieces.push(Piece::Bytes(bytes));
        pieces.extend(tear.map(|_| Piece::Cut));
        pieces
    }
}

/// See the module.
pub struct Line {
    behaviour: Mutex<Behaviour>,
    /// Rung when all connections are lost.
    bell: Notify,
    socket: PathBuf,
    accepting: Mutex<Option<AbortHandle>>,
}

impl Line {
    /// A socket that leads to the server from now on.
    pub fn listen(socket: &Path, seed: u64, number: usize, host: Host, weather: Arc<Mutex<Weather>>) -> Arc<Line> {
        let behaviour = Behaviour {
            rng: source(seed, &format!("wire {number}")),
            up: true,
            generation: 0,
            slowest: CALM,
            crumbs: false,
            tear: None,
            troubled: Instant::now(),
        };
        let listener = UnixListener::bind(socket).expect("a socket");
        let (behaviour, socket) = (Mutex::new(behaviour), socket.to_owned());
        let line = Arc::new(Line { behaviour, bell: Notify::new(), socket, accepting: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, number, line.clone(), host, weather)).abort_handle();
        *line.accepting.lock() = Some(accepting);
        line
    }

    /// Changes how it behaves.
    pub fn behave(&self, how: impl FnOnce(&mut Behaviour)) {
        let mut behaviour = self.behaviour.lock();
        how(&mut behaviour);
        behaviour.troubled = Instant::now();
    }

    /// All connections are lost, and there can be none.
    pub fn cut(&self) {
        self.behave(|behaviour| {
            behaviour.up = false;
            behaviour.generation += 1;
        });
        self.bell.notify_waiters();
    }

    /// There can be connections again.
    pub fn restore(&self) {
        if !self.behaviour.lock().up {
            self.behave(|behaviour| behaviour.up = true);
        }
    }

    /// It leads nowhere any more.
    pub fn end(&self) {
        self.cut();
        if let Some(accepting) = self.accepting.lock().take() {
            accepting.abort();
            let _ = std::fs::remove_file(&self.socket);
        }
    }

    pub fn calm_since(&self) -> Option<Instant> {
        let behaviour = self.behaviour.lock();
        let calm = behaviour.up && behaviour.slowest <= CALM && !behaviour.crumbs && behaviour.tear.is_none();
        calm.then_some(behaviour.troubled)
    }

    /// The number of this time without a loss; `None`: there can be no connection.
    fn generation(&self) -> Option<u64> {
        let behaviour = self.behaviour.lock();
        behaviour.up.then_some(behaviour.generation)
    }

    async fn lost(&self, generation: u64) {
        loop {
            let rung = self.bell.notified();
            if self.generation() != Some(generation) {
                return;
            }
            rung.await;
        }
    }
}

async fn accept(listener: UnixListener, number: usize, line: Arc<Line>, host: Host, weather: Arc<Mutex<Weather>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let Some(generation) = line.generation() else { continue };
        let (host, line) = (host.clone(), line.clone());
        let way = Bytewise { number, line: line.clone(), weather: weather.clone() };
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = line.lost(generation) => {}
                () = host.serve(stream, way) => {}
            }
        });
    }
}

/// One connection of a line.
struct Bytewise {
    number: usize,
    line: Arc<Line>,
    weather: Arc<Mutex<Weather>>,
}

impl Bytewise {
    fn pieces(&self, bytes: Vec<u8>, answer: bool) -> Vec<Piece> {
        let text = || bytes.iter().map(|byte| byte.escape_ascii().to_string()).collect::<String>();
        tracing::debug!(line = self.number, answer, "{}", text());
        let stopped = self.weather.lock().stopped().map(Piece::Pause);
        stopped.into_iter().chain(self.line.behaviour.lock().pieces(bytes, answer)).collect()
    }
}

impl Way for Bytewise {
    fn sent(&mut self, bytes: Vec<u8>) -> Vec<Piece> {
        self.pieces(bytes, false)
    }

    fn said(&mut self, bytes: Vec<u8>) -> Vec<Piece> {
        self.pieces(bytes, true)
    }
}
