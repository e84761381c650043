//! What really happened to the channels of a run, by which clients are judged. It knows nothing of nodes.

use super::orders::Order;
use fantail::position::Position;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Lines of the journal that are kept.
const JOURNAL_LINES: usize = 400;

/// All that ever happened.
#[derive(Default)]
pub struct Truth {
    pub channels: Vec<History>,
    pub orders: Vec<Order>,
    /// Ids of what was published over HTTP, by its number.
    posts: BTreeMap<usize, Position>,
    journal: VecDeque<String>,
}

/// All that was ever published to a channel.
#[derive(Clone, Default)]
pub struct History {
    pub name: String,
    pub records: Vec<Record>,
    /// When ids went back, or a stream was replaced, deleted or rolled back.
    pub breaks: Vec<Duration>,
    /// The stream's present life: ids of each have a sequence number of their own.
    pub life: u64,
    /// Which stream it is: a life that a failover begins goes on with the one that the replica has, and with its counts.
    pub stream: u64,
    /// How many entries the present stream has had.
    pub added: usize,
    /// How far the ids of this life lie behind the clock, in milliseconds.
    pub behind_ms: u64,
}

/// One published event.
#[derive(Clone, Debug)]
pub struct Record {
    pub id: Position,
    pub kind: u8,
    pub life: u64,
    pub stream: u64,
    pub added: Duration,
    pub gone: Option<Gone>,
    /// It was gone, and a failover brought it back.
    pub was_gone: bool,
    /// It was gone as its producer took it back.
    pub was_deleted: bool,
    /// It is too large to be delivered.
    pub large: bool,
    /// It ends its channel.
    pub last: bool,
    /// How many its stream had had with it.
    pub rank: usize,
}

/// When and how an event left its stream.
#[derive(Clone, Copy, Debug)]
pub struct Gone {
    pub at: Duration,
    pub how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Its producer took it back: who reads history meanwhile may be told of it late, or not at all.
    Deleted,
    Trimmed,
    /// With its stream.
    Away,
    /// A failover lost it.
    Undone,
}

impl Truth {
    pub fn new(names: impl Iterator<Item = String>) -> Truth {
        let channels = names.map(|name| History { name, ..History::default() }).collect();
        Truth { channels, orders: Vec::new(), posts: BTreeMap::new(), journal: VecDeque::new() }
    }

    pub fn note(&mut self, at: Duration, what: &str) {
        if self.journal.len() == JOURNAL_LINES {
            self.journal.pop_front();
        }
        self.journal.push_back(format!("{:>10.3} {what}", at.as_secs_f64()));
    }

    pub fn journal(&self) -> String {
        self.journal.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// A stream holds entries of these ids: those that are new are what nodes have appended.
    pub fn found(&mut self, channel: usize, held: &[Position], at: Duration) {
        let history = &mut self.channels[channel];
        let newest = history.records.iter().rev().find(|record| record.gone.is_none()).map(|record| record.id);
        for id in held.iter().filter(|id| newest.is_none_or(|newest| **id > newest)) {
            history.add(*id, b'a', at);
        }
    }

    /// What was published over HTTP is there once: under one id.
    pub fn is_of_post(&mut self, id: Position, number: usize) -> Result<(), String> {
        match *self.posts.entry(number).or_insert(id) {
            before if before == id => Ok(()),
            before => Err(format!("post {number} is there as {before} and as {id}")),
        }
    }

    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.channels.iter().position(|history| history.name == name)
    }
}

impl History {
    /// Takes note of an event; its number.
    pub fn add(&mut self, id: Position, kind: u8, added: Duration) -> usize {
        self.added += 1;
        let History { life, stream, added: rank, .. } = *self;
        let (gone, was_gone, was_deleted, large, last) = (None, false, false, false, false);
        self.records.push(Record { id, kind, life, stream, added, gone, was_gone, was_deleted, large, last, rank });
        self.records.len() - 1
    }

    /// Whether the newest event that is there ends the channel.
    pub fn has_ended(&self) -> bool {
        self.records.iter().rev().find(|record| record.gone.is_none()).is_some_and(|record| record.last)
    }

    /// The event of an id is gone.
    pub fn lose(&mut self, id: Position, gone: Gone) {
        if let Some(record) = self.records.iter_mut().rev().find(|record| record.id == id && record.gone.is_none()) {
            record.gone = Some(gone);
            record.was_deleted |= gone.how == How::Deleted;
        }
    }

    /// All of the stream is gone; another life begins, whose ids lie so far behind the clock.
    pub fn end_life(&mut self, at: Duration, behind_ms: u64) {
        for record in self.records.iter_mut().rev().filter(|record| record.gone.is_none()) {
            record.gone = Some(Gone { at, how: How::Away });
        }
        self.added = 0;
        self.begin_life(at, behind_ms);
    }

    pub fn begin_life(&mut self, at: Duration, behind_ms: u64) {
        self.life += 1;
        self.stream = self.life;
        self.behind_ms = behind_ms;
        self.breaks.push(at);
    }

    /// The stream is again as it was when there were so many records.
    pub fn roll_back(&mut self, at: Duration, before: &History) {
        let known = before.records.len();
        for record in &mut self.records[known..] {
            record.gone = Some(Gone { at, how: How::Undone });
        }
        for (now, then) in self.records.iter_mut().zip(&before.records) {
            if then.gone.is_none() && now.gone.take().is_some() {
                now.was_gone = true;
            }
        }
        self.added = before.added;
        self.begin_life(at, before.behind_ms);
        self.stream = before.stream;
    }

    /// Whether as many were had of one life, up to `last`, as are gone of another one, a failover's too: before `next`, or in all. By
    /// what Redis tells of a stream whose entry `last` is gone, nothing was lost then.
    pub fn counts_coincide(&self, last: usize, next: usize) -> bool {
        let (before, now) = (&self.records[last], &self.records[next]);
        let held = |records: &[Record]| records.iter().filter(|record| record.gone.is_none()).count();
        let least = now.rank.saturating_sub(1 + held(&self.records[..next]));
        let in_all = self.added.saturating_sub(held(&self.records));
        let most = if now.stream == self.stream { in_all.max(least) } else { least };
        before.life != now.life && (least..=most).contains(&before.rank)
    }

    pub fn index_of(&self, id: Position) -> Option<usize> {
        self.records.iter().rposition(|record| record.id == id)
    }

    /// Whether anything but publishing happened between two moments.
    pub fn broke_since(&self, since: Duration) -> bool {
        self.breaks.iter().any(|at| *at >= since)
    }
}
