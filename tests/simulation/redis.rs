//! Redis as nodes see it through the backplane's contract: one server with replicas that may be behind, a connection for
//! each node that can be slow, lose what it is told, and break at any moment of a call.

use super::backplane::PlayedBackplane;
use super::chance::{Draw, source};
use super::played::{Fields, Meddling, Played};
use super::relaying::Relaying;
use super::streams::{Stream, Streams};
use fantail::backplane::{Backplane, Changes, Link};
use fantail::channel::Channel;
use fantail::outside::Outside;
use fantail::position::Position;
use fantail::watched as watch;
use fastrand::Rng;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// A push that was lost is noticed within this time, as the probe key does.
const PUSH_LOSS_NOTICED: std::ops::RangeInclusive<u64> = 200..=4_000;

/// One server.
pub struct Redis {
    pub streams: Mutex<Streams>,
    lines: Mutex<Vec<Arc<Line>>>,
    /// What a replica has.
    replica: Mutex<Option<Streams>>,
    /// The shard that is down, if one is.
    down: Mutex<Option<usize>>,
    /// Rung at every change, for reads that wait.
    pub bell: Notify,
    /// Streams that nodes read for each other.
    pub relaying: Relaying,
    seed: u64,
    /// Unix time in milliseconds.
    now_ms: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Shards that streams lie on.
pub const SHARDS: usize = 2;

/// The shard of a stream.
fn shard_of(name: &str) -> usize {
    name.bytes().map(usize::from).sum::<usize>() % SHARDS
}

/// How a node's connection behaves.
pub struct Line {
    pub changes: Arc<Changes>,
    pub link: watch::Sender<Link>,
    pub state: Mutex<LineState>,
}

pub struct LineState {
    pub rng: Rng,
    /// Another number after each loss.
    pub generation: u64,
    /// The longest delay of a request, an answer or a push.
    pub slowest: Duration,
    /// Of how many pushes one is lost; 0: none.
    pub losing: u32,
    pub reconnects: u64,
    /// When it last began or ceased to misbehave.
    pub troubled: Instant,
}

impl LineState {
    /// From now on it is so slow, and loses one of so many pushes.
    pub fn behave(&mut self, slowest: Duration, losing: u32) {
        (self.slowest, self.losing, self.troubled) = (slowest, losing, Instant::now());
    }
}

impl Redis {
    pub fn new(seed: u64, now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Arc<Redis> {
        let (streams, lines, down, replica) = (Mutex::default(), Mutex::default(), Mutex::default(), Mutex::default());
        let relaying = Relaying::new(seed);
        Arc::new(Redis { streams, lines, replica, down, bell: Notify::new(), relaying, seed, now_ms: Box::new(now_ms) })
    }

    /// A connection of one more node; its number and itself.
    pub fn connect(&self) -> (usize, Arc<Line>) {
        let mut lines = self.lines.lock();
        let number = lines.len();
        let state = LineState {
            rng: source(self.seed, &format!("line {number}")),
            generation: 0,
            slowest: Duration::from_millis(20),
            losing: 0,
            reconnects: 0,
            troubled: Instant::now(),
        };
        let (changes, link) = (Arc::default(), watch::Sender::new(Link::Up));
        lines.push(Arc::new(Line { changes, link, state: Mutex::new(state) }));
        (number, lines[number].clone())
    }

    pub fn line(&self, number: usize) -> Arc<Line> {
        self.lines.lock()[number].clone()
    }

    /// Changes a stream that is there or is made, and tells who watches it.
    pub fn change<T>(&self, name: &str, change: impl FnOnce(&mut Stream) -> T) -> T {
        let mut streams = self.streams.lock();
        let done = change(streams.entry(name));
        self.tell(&mut streams, name);
        done
    }

    /// Changes which streams there are, and tells who watches that one.
    pub fn alter<T>(&self, name: &str, change: impl FnOnce(&mut Streams) -> T) -> T {
        let mut streams = self.streams.lock();
        let done = change(&mut streams);
        self.tell(&mut streams, name);
        done
    }

    fn tell(&self, streams: &mut Streams, name: &str) {
        for number in streams.changed(name) {
            self.line(number).push(name);
        }
        self.bell.notify_waiters();
    }

    /// Which shard is down.
    pub fn shard_down(&self) -> Option<usize> {
        *self.down.lock()
    }

    fn disconnect(&self, line: &Line) {
        let mut state = line.state.lock();
        state.generation += 1;
        state.troubled = Instant::now();
        drop(state);
        line.link.send_replace(Link::Down);
    }
}

impl Played for Arc<Redis> {
    fn open(&self, waits: bool, outside: Outside) -> (usize, Arc<dyn Backplane>) {
        let ahead_ms = (self.now_ms)() as i64 - outside.clock.unix_ms() as i64;
        outside.clock.set_ahead_ms(ahead_ms);
        let backplane = PlayedBackplane::new(self.clone(), waits, ahead_ms);
        (backplane.number(), Arc::new(backplane))
    }

    fn end(&self, line: usize) {
        self.cut(line);
    }

    fn now_ms(&self) -> u64 {
        (self.now_ms)()
    }

    fn last(&self, name: &str) -> Position {
        self.streams.lock().get(name).map_or(Position::ZERO, |stream| stream.last)
    }

    fn held(&self, name: &str) -> Vec<Position> {
        let ids = |stream: &Stream| stream.entries.iter().map(|entry| entry.position).collect();
        self.streams.lock().get(name).map_or(Vec::new(), ids)
    }

    fn add(&self, name: &str, id: Option<Position>, fields: Fields) -> bool {
        self.change(name, |stream| {
            let id = id.unwrap_or_else(|| stream.next_id(self.now_ms()));
            stream.append(id, fields)
        })
    }

    fn trim(&self, name: &str, keep: usize, _: bool) {
        self.change(name, |stream| stream.trim(keep));
    }

    fn delete(&self, name: &str, id: Position) {
        self.change(name, |stream| stream.delete(id));
    }

    fn remove(&self, name: &str) -> bool {
        self.alter(name, |streams| streams.remove(name)).is_some()
    }

    fn replace(&self, name: &str, entries: Vec<(Position, Fields)>) -> bool {
        let mut stream = Stream::default();
        let count = entries.len();
        entries.into_iter().for_each(|(id, fields)| assert!(stream.append(id, fields), "ids grow"));
        self.alter(name, |streams| if count > 0 { streams.replace(name, stream) } else { drop(streams.remove(name)) });
        true
    }

    fn replicate(&self) {
        *self.replica.lock() = Some(self.streams.lock().clone());
    }

    fn fail_over(&self, stream: &str) -> Position {
        let replica = self.replica.lock().take().unwrap_or_default();
        self.streams.lock().roll_back(&replica);
        let lines = self.lines.lock().clone();
        lines.iter().for_each(|line| self.disconnect(line));
        self.bell.notify_waiters();
        self.last(stream)
    }

    fn cut(&self, line: usize) {
        self.relaying.ended(line);
        self.disconnect(&self.line(line));
    }

    fn restore(&self, number: usize) {
        let line = self.line(number);
        if *line.link.borrow() == Link::Up {
            return;
        }
        self.streams.lock().unwatch(number);
        let mut state = line.state.lock();
        state.reconnects += 1;
        state.troubled = Instant::now();
        drop(state);
        line.link.send_replace(Link::Up);
        line.changes.doubt();
    }

    fn slow(&self, line: usize, most: Duration) {
        let line = self.line(line);
        let mut state = line.state.lock();
        let losing = state.losing;
        state.behave(most, losing);
    }

    fn lose(&self, line: usize, of: u32) {
        let line = self.line(line);
        let mut state = line.state.lock();
        let slowest = state.slowest;
        state.behave(slowest, of);
    }

    /// All that is watched is reported as changed and forgotten, as when the tracking table is too small.
    fn overflow(&self) {
        let forgotten = self.streams.lock().forget_watches();
        for (name, watching) in forgotten {
            watching.iter().for_each(|number| self.line(*number).push(&name));
        }
    }

    /// Who watched streams of a shard is not told of them any more.
    fn set_shard_down(&self, down: Option<usize>) {
        let before = std::mem::replace(&mut *self.down.lock(), down);
        if before == down {
            return;
        }
        if let Some(shard) = before {
            self.streams.lock().unwatch_where(|name| shard_of(name) == shard);
        }
        let lines = self.lines.lock().clone();
        for line in &lines {
            line.state.lock().troubled = Instant::now();
            line.changes.doubt();
        }
        self.bell.notify_waiters();
    }

    fn is_down(&self, name: &str) -> bool {
        *self.down.lock() == Some(shard_of(name))
    }

    fn is_still(&self) -> bool {
        false
    }

    fn calm_since(&self, line: usize) -> Option<Instant> {
        self.line(line).calm_since()
    }

    fn heal(&self) {
        self.set_shard_down(None);
        let lines = self.lines.lock().clone();
        for (number, line) in lines.iter().enumerate() {
            line.state.lock().behave(Duration::from_millis(5), 0);
            self.restore(number);
        }
    }

    fn meddle(&self, _: &Meddling) -> bool {
        false
    }
}

impl Line {
    /// Waits as long as a message takes one way; false where the connection is not that of before any more.
    pub async fn pass(&self, generation: u64) -> bool {
        let delay = {
            let mut state = self.state.lock();
            let slowest = state.slowest;
            state.rng.delay(slowest)
        };
        if !delay.is_zero() {
            sleep(delay).await;
        }
        self.state.lock().generation == generation
    }

    /// Since when it has behaved well; `None`: it does not.
    pub fn calm_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        let calm = *self.link.borrow() == Link::Up && state.slowest <= Duration::from_millis(20) && state.losing == 0;
        calm.then_some(state.troubled)
    }

    /// The number of the connection that is there; `None` while there is none.
    pub fn generation(&self) -> Option<u64> {
        (*self.link.borrow() == Link::Up).then(|| self.state.lock().generation)
    }

    /// Tells the node that a stream has changed, a little later, unless that is lost.
    fn push(self: &Arc<Line>, name: &str) {
        let mut state = self.state.lock();
        let generation = state.generation;
        let slowest = state.slowest;
        let delay = state.rng.delay(slowest);
        let lost = state.losing > 0 && {
            let of = state.losing;
            state.rng.once_in(of)
        };
        let noticed = Duration::from_millis(state.rng.u64(PUSH_LOSS_NOTICED));
        drop(state);
        let (line, channel) = (self.clone(), Channel::new(name).expect("a name of the run"));
        tokio::spawn(async move {
            if lost {
                sleep(noticed).await;
                return line.changes.doubt();
            }
            if !delay.is_zero() {
                sleep(delay).await;
            }
            if line.state.lock().generation == generation {
                line.changes.changed([channel]);
            }
        });
    }
}
