//! Streams as Redis documents them, and who wants to be told of their changes. Nothing here waits.

use bytes::Bytes;
use fantail::backplane::{Entry, Span, StreamState, Toward};
use fantail::event::closes;
use fantail::position::Position;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    pub entries: VecDeque<Entry>,
    pub last: Position,
    pub added: u64,
    pub max_deleted: Position,
}

/// All streams of one server.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    by_name: BTreeMap<String, Stream>,
    /// Which connections are told of the next change of a stream, each once.
    watched: BTreeMap<String, BTreeSet<usize>>,
}

impl Stream {
    /// `XADD`; false where the id is not greater than the last one.
    pub fn append(&mut self, position: Position, fields: Vec<(Bytes, Bytes)>) -> bool {
        if position <= self.last {
            return false;
        }
        self.entries.push_back(Entry { position, fields });
        self.last = position;
        self.added += 1;
        true
    }

    /// The id that `XADD *` gives at a time.
    pub fn next_id(&self, now_ms: u64) -> Position {
        if now_ms > self.last.ms { Position::new(now_ms, 0) } else { self.last.after() }
    }

    /// `XTRIM MAXLEN`; which are gone.
    pub fn trim(&mut self, keep: usize) -> Vec<Entry> {
        let surplus = self.entries.len().saturating_sub(keep);
        self.entries.drain(..surplus).collect()
    }

    /// `XDEL`; whether it was there.
    pub fn delete(&mut self, position: Position) -> bool {
        let Ok(at) = self.entries.binary_search_by_key(&position, |entry| entry.position) else { return false };
        self.entries.remove(at);
        self.max_deleted = self.max_deleted.max(position);
        true
    }

    /// The oldest entries after a position.
    pub fn after(&self, after: Position, count: usize) -> Vec<Entry> {
        let start = self.entries.partition_point(|entry| entry.position <= after);
        self.entries.range(start..).take(count).cloned().collect()
    }

    /// A piece of history.
    pub fn span(&self, span: &Span) -> Vec<Entry> {
        let start = self.entries.partition_point(|entry| entry.position < span.oldest);
        let end = self.entries.partition_point(|entry| entry.position <= span.newest).max(start);
        let count = span.count.min(end - start);
        let range = match span.toward {
            Toward::Newest => start..start + count,
            Toward::Oldest => end - count..end,
        };
        self.entries.range(range).cloned().collect()
    }

    /// `XINFO STREAM`.
    pub fn state(&self) -> StreamState {
        StreamState {
            length: self.entries.len() as u64,
            last: self.last,
            first: self.entries.front().map(|entry| entry.position),
            added: Some(self.added),
            max_deleted: Some(self.max_deleted),
            finished: self.entries.back().is_some_and(|entry| entry.position == self.last && closes(&entry.fields)),
        }
    }
}

impl Streams {
    pub fn get(&self, name: &str) -> Option<&Stream> {
        self.by_name.get(name)
    }

    /// A stream, made where there is none.
    pub fn entry(&mut self, name: &str) -> &mut Stream {
        self.by_name.entry(name.to_owned()).or_default()
    }

    /// `DEL`, expiry or eviction.
    pub fn remove(&mut self, name: &str) -> Option<Stream> {
        self.by_name.remove(name)
    }

    /// Whatever was there is replaced.
    pub fn replace(&mut self, name: &str, stream: Stream) {
        self.by_name.insert(name.to_owned(), stream);
    }

    /// Everything as it was at another time: who watched what is forgotten.
    pub fn roll_back(&mut self, to: &Streams) {
        self.by_name.clone_from(&to.by_name);
        self.watched.clear();
    }

    /// That connection is told of the next change.
    pub fn watch(&mut self, name: &str, connection: usize) {
        self.watched.entry(name.to_owned()).or_default().insert(connection);
    }

    /// Forgets what a connection watched.
    pub fn unwatch(&mut self, connection: usize) {
        self.watched.values_mut().for_each(|watching| {
            watching.remove(&connection);
        });
    }

    /// Forgets who watched those streams.
    pub fn unwatch_where(&mut self, which: impl Fn(&str) -> bool) {
        self.watched.retain(|name, _| !which(name));
    }

    /// Forgets all that anybody watched, as an overflow of the tracking table does for its keys; returns it.
    pub fn forget_watches(&mut self) -> BTreeMap<String, BTreeSet<usize>> {
        std::mem::take(&mut self.watched)
    }

    /// Who has to be told that a stream has changed.
    pub fn changed(&mut self, name: &str) -> BTreeSet<usize> {
        self.watched.remove(name).unwrap_or_default()
    }
}
