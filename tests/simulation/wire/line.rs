//! The way between one node and its servers: sockets that listen, and what becomes of bytes and connections there.

use super::place::Place;
use crate::chance::{Draw, source};
use crate::redis_model::front::{Piece, Way};
use fastrand::Rng;
use parking_lot::Mutex;
use std::path::PathBuf;
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
    /// What listens, each at its socket.
    accepting: Mutex<Vec<(PathBuf, AbortHandle)>>,
}

impl Line {
    /// Sockets that lead to servers from now on.
    pub fn listen(sockets: Vec<(PathBuf, Place)>, seed: u64, number: usize) -> Arc<Line> {
        let behaviour = Behaviour {
            rng: source(seed, &format!("wire {number}")),
            up: true,
            generation: 0,
            slowest: CALM,
            crumbs: false,
            tear: None,
            troubled: Instant::now(),
        };
        let behaviour = Mutex::new(behaviour);
        let line = Arc::new(Line { behaviour, bell: Notify::new(), accepting: Mutex::default() });
        for (socket, place) in sockets {
            let listener = UnixListener::bind(&socket).expect("a socket");
            let accepting = tokio::spawn(accept(listener, number, line.clone(), place)).abort_handle();
            line.accepting.lock().push((socket, accepting));
        }
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
        for (socket, accepting) in self.accepting.lock().drain(..) {
            accepting.abort();
            let _ = std::fs::remove_file(&socket);
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

async fn accept(listener: UnixListener, number: usize, line: Arc<Line>, place: Place) {
    while let Ok((stream, _)) = listener.accept().await {
        let (Some(generation), Some(age)) = (line.generation(), place.age()) else { continue };
        let (place, line) = (place.clone(), line.clone());
        let way = Bytewise { number, line: line.clone(), place: place.clone() };
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = line.lost(generation) => {}
                () = place.ended(age) => {}
                () = place.host.serve(stream, way) => {}
            }
        });
    }
}

/// One connection of a line.
struct Bytewise {
    number: usize,
    line: Arc<Line>,
    place: Place,
}

impl Bytewise {
    fn pieces(&self, bytes: Vec<u8>, answer: bool) -> Vec<Piece> {
        let text = || bytes.iter().map(|byte| byte.escape_ascii().to_string()).collect::<String>();
        tracing::debug!(line = self.number, answer, "{}", text());
        let stopped = self.place.weather.lock().stopped().map(Piece::Pause);
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
