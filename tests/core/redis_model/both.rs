//! A real server and a played one, which get the same commands on connections of the same numbers.

use super::frames::Frame;
use super::line::{Line, PATIENCE};
use super::played::{Refusal, Server, Version};
use crate::support::redis::Redis;
use bytes::Bytes;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Connections of one history.
pub const LINES: usize = 4;
/// A word of a command.
#[derive(Clone, PartialEq, Eq)]
pub enum Word {
    Same(Vec<u8>),
    /// What each of both has dumped last.
    Dumped,
}

pub fn words(words: &[&str]) -> Vec<Word> {
    words.iter().map(|word| Word::Same(word.as_bytes().to_vec())).collect()
}

pub struct Both<'a> {
    redis: &'a Redis,
    pub server: Server,
    pub lines: Vec<Line>,
    control: Line,
    dumped: [Vec<u8>; 2],
    /// Who has sent a command last.
    last: usize,
    named: String,
    history: Vec<String>,
}

pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// The version of a real server.
fn version(redis: &Redis) -> Version {
    let info = redis.command(&["INFO", "server"]);
    let line = |name: &str| info.text().lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match line("valkey_version:") {
        Some(version) => Version::parse(version, true),
        None => Version::parse(line("redis_version:").expect("a version"), false),
    }
}

impl<'a> Both<'a> {
    /// Both empty, with all connections. `named`: what a failure is told with.
    pub fn new(redis: &'a Redis, named: &str) -> Both<'a> {
        redis.pipeline(&[
            &["CONFIG", "SET", "maxmemory", "0"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
            &["FLUSHALL"],
        ]);
        let mut both = Both {
            redis,
            server: Server::new(version(redis)),
            lines: Vec::new(),
            control: Line::open(redis),
            dumped: Default::default(),
            last: 0,
            named: named.to_owned(),
            history: Vec::new(),
        };
        both.server.number_connections_from(both.control.id.0);
        both.server.connect();
        for _ in 0..LINES {
            let line = both.open();
            both.lines.push(line);
        }
        both
    }

    fn open(&mut self) -> Line {
        let line = Line::open(self.redis);
        self.server.number_connections_from(line.id.0);
        assert_eq!(self.server.connect(), line.id);
        line
    }

    /// Closes a connection, and opens another in its place.
    pub fn open_anew(&mut self, at: usize) {
        self.history.push(format!("{at} is closed"));
        let line = self.open();
        let before = std::mem::replace(&mut self.lines[at], line);
        self.server.disconnect(before.id);
        drop(before);
        // A server notices a closed connection in its own time: until then it answers who asks for it.
        while self.is_listed(&self.lines_gone()) {}
    }

    fn lines_gone(&self) -> Vec<u64> {
        self.lines.iter().map(|line| line.id.0).chain([self.control.id.0]).collect()
    }

    /// Whether the real server has other connections than these, and the one that asks.
    fn is_listed(&self, known: &[u64]) -> bool {
        let list = self.redis.command(&["CLIENT", "LIST"]);
        let ids = list.text().lines().filter_map(|line| line.strip_prefix("id=")?.split(' ').next()?.parse().ok());
        ids.filter(|id| !known.contains(id)).count() > 1
    }

    /// Sends a command to both.
    pub fn send(&mut self, at: usize, words: &[Word]) {
        let of = |which: usize| -> Vec<Vec<u8>> {
            let word = |word: &Word| match word {
                Word::Same(word) => word.clone(),
                Word::Dumped => self.dumped[which].clone(),
            };
            words.iter().map(word).collect()
        };
        let [real, played] = [of(0), of(1)];
        let shown: Vec<String> = played.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        self.history.push(format!("{at} {shown:?}"));
        let id = self.lines[at].id;
        self.last = at;
        self.lines[at].send(&real);
        self.server.execute(id, played.into_iter().map(Bytes::from).collect(), now_ms());
        self.await_real(at);
    }

    /// Waits until the real server has taken a command in, where no answer will tell: what others send comes after it.
    fn await_real(&mut self, at: usize) {
        let id = self.lines[at].id;
        if self.server.is_waiting(id) {
            let begun = Instant::now();
            while !self.redis.command(&["CLIENT", "LIST", "ID", &id.0.to_string()]).text().contains(" flags=b") {
                assert!(begun.elapsed() < PATIENCE, "{}: {at} does not wait\n{}", self.named, self.told());
            }
        } else if self.server.is_in_transaction(id) {
            let line = &mut self.lines[at];
            let mut is_reply = false;
            while !is_reply {
                let frame = line.frame();
                is_reply = !frame.is_push();
                line.early.push(frame);
            }
        }
    }

    /// Sends a command to both, and compares what they say to it.
    pub fn ask(&mut self, at: usize, command: &[&str]) -> Vec<Frame> {
        self.send(at, &words(command));
        match self.server.is_in_transaction(self.lines[at].id) {
            // What comes next would be noted only.
            true => Vec::new(),
            false => self.compare_line(at),
        }
    }

    /// Compares what both have said on each connection, as far as the real one can be asked.
    pub fn compare(&mut self) {
        // Its command is carried out before others are asked what they were told of that.
        let others = (0..self.lines.len()).filter(|at| *at != self.last);
        for at in std::iter::once(self.last).chain(others).collect::<Vec<_>>() {
            let id = self.lines[at].id;
            if !self.server.is_waiting(id) && !self.server.is_in_transaction(id) {
                self.compare_line(at);
            }
        }
    }

    /// What both have said on a connection, which must be the same.
    fn compare_line(&mut self, at: usize) -> Vec<Frame> {
        let (mut real, mut played) = self.said(at);
        if !self.server.version().pushes_behind() {
            // Where a reply is written before the change is told, it comes before the push: that is not played.
            real.sort_by_key(Frame::is_push);
            played.sort_by_key(Frame::is_push);
        }
        if self.server.version().is_redis_from(8, 10) {
            // How many there are depends on all that there has been.
            real.iter_mut().chain(&mut played).for_each(|frame| frame.blank("radix-tree-nodes"));
        }
        if let Some(first) = (0..real.len().max(played.len())).find(|at| real.get(*at) != played.get(*at)) {
            let (real, played) = (&real[first.min(real.len())..], &played[first.min(played.len())..]);
            panic!("{}: connection {at}\n{}\nreal   {real:?}\nplayed {played:?}", self.named, self.told());
        }
        played
    }

    /// What the real one and the played one have said on a connection.
    pub fn said(&mut self, at: usize) -> (Vec<Frame>, Vec<Frame>) {
        let line = &mut self.lines[at];
        line.answered += 1;
        let token = format!("token {}", line.answered).into_bytes();
        line.send(&[b"PING".to_vec(), token.clone()]);
        self.server.execute(line.id, vec!["PING".into(), token.clone().into()], now_ms());
        let mut bytes = Vec::new();
        self.server.output(line.id).iter().for_each(|outgoing| outgoing.encode(&mut bytes));
        let mut played = Frame::all(&bytes);
        assert!(played.pop() == Some(Frame::Text(b'$', token.clone())), "{}: no answer\n{}", self.named, self.told());
        let mut real = std::mem::take(&mut line.early);
        loop {
            match Frame::read(&mut line.stream) {
                Ok(Frame::Text(b'$', text)) if text == token => break,
                Ok(frame) => real.push(frame),
                Err(error) => panic!("{}: {error} after {real:?}, played {played:?}\n{}", self.named, self.told()),
            }
        }
        (real, played)
    }

    fn told(&self) -> String {
        self.history.join("\n")
    }

    /// Has both dump a key, for what is restored later.
    pub fn dump(&mut self, key: &str) {
        self.history.push(format!("dump {key}"));
        self.control.send(&[b"DUMP".to_vec(), key.as_bytes().to_vec()]);
        let id = self.control.id;
        self.server.execute(id, vec!["DUMP".into(), key.to_owned().into()], now_ms());
        let mut bytes = Vec::new();
        self.server.output(id).iter().for_each(|outgoing| outgoing.encode(&mut bytes));
        match (self.control.frame(), Frame::all(&bytes).pop()) {
            (Frame::Text(_, real), Some(Frame::Text(_, played))) => self.dumped = [real, played],
            (real, played) => assert_eq!(Some(real), played, "{}: dump\n{}", self.named, self.told()),
        }
    }

    /// Whether somebody waits.
    pub fn waits(&self) -> bool {
        self.lines.iter().any(|line| self.server.is_waiting(line.id))
    }

    /// Whether both have dumped something.
    pub fn has_dumped(&self) -> bool {
        !self.dumped[0].is_empty()
    }

    /// Has both refuse writes, or take them again.
    pub fn refuse(&mut self, refusal: Refusal, is_on: bool) {
        self.history.push(format!("{refusal:?} {is_on}"));
        let (setting, value) = match refusal {
            Refusal::OutOfMemory => ("maxmemory", "1"),
            _ => ("min-replicas-to-write", "1"),
        };
        self.control.send(&["CONFIG", "SET", setting, if is_on { value } else { "0" }].map(|word| word.into()));
        assert_eq!(self.control.frame(), Frame::Line(b'+', "OK".into()));
        self.server.set_refusal(refusal, is_on);
    }

    /// Ends waits and transactions, so that all that was said is compared.
    pub fn end(&mut self) {
        for at in 0..self.lines.len() {
            let id = self.lines[at].id;
            if self.server.is_waiting(id) {
                self.history.push(format!("{at} is waited for no more"));
                self.control.send(&[b"CLIENT".into(), b"UNBLOCK".into(), id.0.to_string().into()]);
                let control = self.control.id;
                self.server.execute(
                    control,
                    vec!["CLIENT".into(), "UNBLOCK".into(), id.0.to_string().into()],
                    now_ms(),
                );
                assert_eq!(self.control.frame(), Frame::Line(b':', "1".into()), "{}\n{}", self.named, self.told());
            }
            if self.server.is_in_transaction(id) {
                self.send(at, &words(&["DISCARD"]));
            }
        }
        self.compare();
        let unknown: Vec<&str> = self.server.unknown().collect();
        assert!(unknown.is_empty(), "{}: not played: {unknown:?}", self.named);
    }
}
