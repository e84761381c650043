//! What really happened to the channels of a case, and what clients may therefore be told.

use bytes::Bytes;
use fantail::backplane::memory::Memory;
use fantail::channel::Channel;
use fantail::position::Position;
use fastrand::Rng;

/// Lines of the journal that are shown.
const JOURNAL_LINES: usize = 250;

/// See the module.
pub struct Truth {
    pub channels: Vec<History>,
    journal: Vec<String>,
}

/// All that was ever published to a channel.
pub struct History {
    pub name: Channel,
    pub records: Vec<Record>,
    life: u64,
    /// The first record of the stream's present life.
    life_begins: usize,
    ms: u64,
}

/// One published event.
pub struct Record {
    pub id: Position,
    pub kind: u8,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Held,
    /// Its producer took it back: who reads history meanwhile may be told of it late, or not at all.
    Deleted,
    /// Trimmed, or gone with its stream: whoever has not got it must be told.
    Lost,
}

impl Truth {
    pub fn new(names: impl Iterator<Item = Channel>) -> Truth {
        let history = |name| History { name, records: Vec::new(), life: 0, life_begins: 0, ms: 1_000_000 };
        Truth { channels: names.map(history).collect(), journal: Vec::new() }
    }

    pub fn note(&mut self, what: &str) {
        self.journal.push(what.to_owned());
    }

    pub fn journal(&self) -> String {
        self.journal[self.journal.len().saturating_sub(JOURNAL_LINES)..].join("\n")
    }

    /// The data begins with the channel's number and the record's.
    pub fn publish(&mut self, memory: &Memory, channel: usize, kind: u8, size: usize) {
        let history = &mut self.channels[channel];
        history.ms += 1;
        // No id is ever given twice, in another life neither.
        let id = Position::new(history.ms, history.life);
        let data = format!("{channel} {} {}", history.records.len(), "x".repeat(size));
        let kind_field = Bytes::from(vec![kind]);
        let fields =
            [("event", kind_field.clone()), ("kind", kind_field), ("data", data.into())].map(|(n, v)| (n.into(), v));
        memory.append_at(&history.name, id, &fields).expect("a greater id");
        history.records.push(Record { id, kind, state: State::Held });
    }

    /// Only in the first life: of a stream that was made anew and trimmed, Redis' counters may look like the old one's.
    pub fn trim(&mut self, memory: &Memory, channel: usize, rng: &mut Rng) {
        let history = &mut self.channels[channel];
        let held: Vec<usize> = history.held().collect();
        if history.life > 0 || held.is_empty() {
            return;
        }
        let keep = if rng.u8(0..4) == 0 { 0 } else { rng.usize(0..held.len()) };
        memory.trim(&history.name, keep as u64);
        for index in &held[..held.len() - keep] {
            history.records[*index].state = State::Lost;
        }
        self.note(&format!("trim {channel} to {keep}"));
    }

    pub fn delete_entry(&mut self, memory: &Memory, channel: usize, rng: &mut Rng) {
        let history = &mut self.channels[channel];
        let held: Vec<usize> = history.held().collect();
        let Some(index) = rng.choice(held).filter(|_| history.life == 0) else { return };
        let record = &mut history.records[index];
        assert!(memory.delete_entry(&history.name, record.id));
        record.state = State::Deleted;
        self.note(&format!("delete {index} of {channel}"));
    }

    /// The next life's ids go on, or begin below those of all lives before.
    pub fn delete_stream(&mut self, memory: &Memory, channel: usize, rng: &mut Rng) {
        let history = &mut self.channels[channel];
        if history.records.len() == history.life_begins {
            return;
        }
        assert!(memory.delete_stream(&history.name));
        let begins = history.life_begins;
        for record in history.records[begins..].iter_mut().filter(|record| record.state == State::Held) {
            record.state = State::Lost;
        }
        history.life += 1;
        history.life_begins = history.records.len();
        let back = rng.bool();
        if back {
            history.ms = 1_000_000 - history.life * 50_000;
        }
        self.note(&format!("delete stream {channel}, ids go {}", if back { "back" } else { "on" }));
    }
}

impl History {
    /// Indices of the records that the stream holds.
    fn held(&self) -> impl Iterator<Item = usize> {
        let indices = self.life_begins..self.records.len();
        indices.filter(|index| self.records[*index].state == State::Held)
    }

    pub fn index_of(&self, id: Position) -> Option<usize> {
        self.records.iter().rposition(|record| record.id == id)
    }

    /// Whether a client whose newest record is `last` may be told of a gap: something from there on is gone, or the
    /// stream was made anew, which the node may find out after it read the new one's history.
    pub fn may_have_gap(&self, last: Option<usize>, reason: &str) -> bool {
        if reason == "reset" && self.life > 0 {
            return true;
        }
        if reason == "deleted" {
            // Who comes from history into memory is told what its counts lack.
            return self.records.iter().any(|record| record.state == State::Deleted);
        }
        self.records[last.unwrap_or(0)..].iter().any(|record| record.state != State::Held)
    }

    /// The first record between two that a client must not miss in silence.
    pub fn missed(&self, last: Option<usize>, next: usize, filtered: bool, strict: bool) -> Option<usize> {
        let from = last.map_or(0, |last| last + 1);
        (from..next).find(|index| {
            let record = &self.records[*index];
            let excused = record.state == State::Deleted || (!strict && record.state == State::Lost);
            !(excused || filtered && record.kind != b'a')
        })
    }
}
