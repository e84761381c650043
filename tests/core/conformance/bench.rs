//! A backplane to test, with the means to do to its streams what operators and other producers do.

use crate::support::redis::{Redis, Reply};
use bytes::Bytes;
use fantail::backplane::memory::{Memory, Settings};
use fantail::backplane::{Ask, Backplane, BackplaneError, Entry, Publication, Span, StreamState, Toward};
use fantail::channel::Channel;
use fantail::position::Position;
use std::sync::Arc;

/// Names and values of one entry.
pub type Fields<'a> = &'a [(&'a str, &'a str)];

/// What operators, other producers and time do to streams. It does not pass through the backplane's own calls.
pub trait Operator: Send + Sync {
    /// `XADD` with a given id. Returns whether it was taken.
    fn append_at(&self, channel: &Channel, position: Position, fields: Fields) -> bool;

    /// `XTRIM MAXLEN =`. Returns how many entries were removed.
    fn trim(&self, channel: &Channel, maxlen: u64) -> u64;

    /// `XDEL`. Returns whether the entry was there.
    fn delete_entry(&self, channel: &Channel, position: Position) -> bool;

    /// `DEL`. Returns whether there was a stream.
    fn delete_stream(&self, channel: &Channel) -> bool;

    /// Lets the key expire.
    fn expire(&self, channel: &Channel);

    /// `XSETID`. Returns whether it was allowed.
    fn set_last_id(&self, channel: &Channel, last: Position) -> bool;
}

/// A backplane under test.
pub trait Bench: Operator {
    fn backplane(&self) -> Arc<dyn Backplane>;
}

/// The in-process backplane.
pub struct MemoryBench(Arc<Memory>);

impl MemoryBench {
    pub fn new() -> MemoryBench {
        MemoryBench(Memory::new(Settings { maxlen: 0, ..Settings::default() }))
    }
}

impl Bench for MemoryBench {
    fn backplane(&self) -> Arc<dyn Backplane> {
        self.0.clone()
    }
}

impl Operator for MemoryBench {
    fn append_at(&self, channel: &Channel, position: Position, fields: Fields) -> bool {
        self.0.append_at(channel, position, &owned(fields)).is_ok()
    }

    fn trim(&self, channel: &Channel, maxlen: u64) -> u64 {
        self.0.trim(channel, maxlen)
    }

    fn delete_entry(&self, channel: &Channel, position: Position) -> bool {
        self.0.delete_entry(channel, position)
    }

    fn delete_stream(&self, channel: &Channel) -> bool {
        self.0.delete_stream(channel)
    }

    fn expire(&self, channel: &Channel) {
        self.0.delete_stream(channel);
    }

    fn set_last_id(&self, channel: &Channel, last: Position) -> bool {
        self.0.set_last_id(channel, last).is_ok()
    }
}

/// What precedes a channel's name in its key.
pub const KEY_PREFIX: &str = "sse:";

/// The key of a channel's stream.
pub fn key(channel: &Channel) -> String {
    format!("{KEY_PREFIX}{channel}")
}

/// A redis-server, written to directly.
impl Operator for Redis {
    fn append_at(&self, channel: &Channel, position: Position, fields: Fields) -> bool {
        let (key, id) = (key(channel), position.to_string());
        let mut command = vec!["XADD", &key, &id];
        command.extend(fields.iter().flat_map(|(name, value)| [*name, *value]));
        !matches!(self.command(&command), Reply::Error(_))
    }

    fn trim(&self, channel: &Channel, maxlen: u64) -> u64 {
        self.command(&["XTRIM", &key(channel), "MAXLEN", "=", &maxlen.to_string()]).number() as u64
    }

    fn delete_entry(&self, channel: &Channel, position: Position) -> bool {
        self.command(&["XDEL", &key(channel), &position.to_string()]).number() == 1
    }

    fn delete_stream(&self, channel: &Channel) -> bool {
        self.command(&["DEL", &key(channel)]).number() == 1
    }

    fn expire(&self, channel: &Channel) {
        let key = key(channel);
        assert_eq!(self.command(&["PEXPIRE", &key, "1"]).number(), 1);
        while self.command(&["EXISTS", &key]).number() == 1 {
            std::thread::yield_now();
        }
    }

    fn set_last_id(&self, channel: &Channel, last: Position) -> bool {
        !matches!(self.command(&["XSETID", &key(channel), &last.to_string()]), Reply::Error(_))
    }
}

pub fn channel(name: &str) -> Channel {
    Channel::new(name).expect("a channel name")
}

/// Position `n-0`; 0 is `0-0`.
pub fn id(n: u64) -> Position {
    Position::new(n, 0)
}

pub fn owned(fields: Fields) -> Vec<(Bytes, Bytes)> {
    let copy = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    fields.iter().map(|(name, value)| (copy(name), copy(value))).collect()
}

/// The usual entry, marked by a number.
pub fn numbered(n: u64) -> Vec<(Bytes, Bytes)> {
    vec![(Bytes::from_static(b"data"), Bytes::from(n.to_string()))]
}

/// Appends `n-0` for each `n`, as another producer.
pub fn fill(bench: &dyn Bench, channel: &Channel, ids: impl IntoIterator<Item = u64>) {
    for n in ids {
        assert!(bench.append_at(channel, id(n), &[("data", &n.to_string())]), "{n}-0 was refused");
    }
}

pub fn positions(entries: &[Entry]) -> Vec<Position> {
    entries.iter().map(|e| e.position).collect()
}

type Result<T> = std::result::Result<T, BackplaneError>;

/// Calls for one channel; a lost connection fails the test.
pub async fn append(backplane: &dyn Backplane, channel: &Channel, fields: Vec<(Bytes, Bytes)>) -> Result<Position> {
    let publication = Publication::new(channel.clone(), fields);
    backplane.append(vec![publication]).await.expect("the backplane is up").remove(0)
}

pub async fn read(backplane: &dyn Backplane, channel: &Channel, after: Position, count: usize) -> Vec<Entry> {
    let ask = Ask { channel: channel.clone(), after, count };
    backplane.read(vec![ask]).await.expect("the backplane is up").remove(0).expect("a readable stream")
}

pub async fn inspect(backplane: &dyn Backplane, channel: &Channel) -> Option<StreamState> {
    backplane.inspect(vec![channel.clone()]).await.expect("the backplane is up").remove(0).expect("a readable stream")
}

pub fn span(channel: &Channel, oldest: Position, newest: Position, count: usize, toward: Toward) -> Span {
    Span { channel: channel.clone(), oldest, newest, count, toward }
}

pub async fn history(backplane: &dyn Backplane, span: Span) -> Vec<Entry> {
    backplane.history(vec![span]).await.expect("the backplane is up").remove(0).expect("a readable stream")
}
