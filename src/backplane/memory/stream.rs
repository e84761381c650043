//! One stream as Redis keeps it: ids, counters, reading, trimming, deleting. Pure; knows no locks and no clock.
//!
//! The rules are those of Redis 7 (`t_stream.c`): ids only grow within the life of the key, `XTRIM` keeps every
//! counter, `XDEL` raises `max-deleted-entry-id`, and neither lowers `last-generated-id`.

use super::keys::Keys;
use crate::backplane::{BackplaneError, Entry, Span, StreamState, Toward};
use crate::event::closes;
use crate::position::Position;
use bytes::{BufMut as _, Bytes, BytesMut};
use std::collections::VecDeque;

/// What an entry takes beside its names and values: itself, and the header of its one buffer.
const ENTRY_OVERHEAD: usize = size_of::<Entry>() + 64;

#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Oldest first.
    entries: VecDeque<Entry>,
    last: Position,
    added: u64,
    max_deleted: Position,
    bytes: usize,
    /// Names of entries that were published once; most streams have none.
    pub(super) keys: Keys,
    /// When all of it is gone, in Unix milliseconds.
    pub(super) expires_ms: Option<u64>,
}

/// Memory that an entry of these fields takes, in bytes.
pub(super) fn cost(fields: &[(Bytes, Bytes)]) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len() + size_of::<(Bytes, Bytes)>()).sum::<usize>()
        + ENTRY_OVERHEAD
}

impl Stream {
    /// Memory that the entries and their names take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.keys.bytes()
    }

    /// Appends under the id that Redis gives for `*` when its clock shows `now` (ms since the epoch).
    pub(super) fn append(&mut self, now: u64, fields: &[(Bytes, Bytes)]) -> Result<Position, BackplaneError> {
        if self.last == Position::MAX {
            return Err(refused("the stream has exhausted the last possible ID, unable to add more items"));
        }
        let position = if now > self.last.ms { Position::new(now, 0) } else { self.last.after() };
        self.append_at(position, fields)
    }

    /// Appends under the given id.
    pub(super) fn append_at(
        &mut self,
        position: Position,
        fields: &[(Bytes, Bytes)],
    ) -> Result<Position, BackplaneError> {
        if fields.is_empty() {
            return Err(refused("an entry needs at least one field"));
        }
        if position == Position::ZERO {
            return Err(refused("the ID of an entry must be greater than 0-0"));
        }
        if position <= self.last {
            return Err(refused(format!("the ID {position} is not greater than the stream's last one, {}", self.last)));
        }
        self.bytes += cost(fields);
        self.entries.push_back(Entry { position, fields: own(fields) });
        self.last = position;
        self.added += 1;
        Ok(position)
    }

    /// The oldest entries after `after`.
    pub(super) fn read(&self, after: Position, count: usize) -> Vec<Entry> {
        let start = self.entries.partition_point(|e| e.position <= after);
        self.entries.range(start..).take(count).cloned().collect()
    }

    pub(super) fn history(&self, span: &Span) -> Vec<Entry> {
        let start = self.entries.partition_point(|e| e.position < span.oldest);
        let end = self.entries.partition_point(|e| e.position <= span.newest).max(start);
        let count = span.count.min(end - start);
        let range = match span.toward {
            Toward::Newest => start..start + count,
            Toward::Oldest => end - count..end,
        };
        self.entries.range(range).cloned().collect()
    }

    /// Whether it holds an entry after `position`.
    pub(super) fn goes_on_after(&self, position: Position) -> bool {
        self.entries.back().is_some_and(|e| e.position > position)
    }

    pub(super) fn state(&self) -> StreamState {
        StreamState {
            length: self.entries.len() as u64,
            last: self.last,
            first: self.entries.front().map(|e| e.position),
            added: Some(self.added),
            max_deleted: Some(self.max_deleted),
            finished: self.entries.back().is_some_and(|e| e.position == self.last && closes(&e.fields)),
        }
    }

    /// `XTRIM MAXLEN`: keeps the newest `maxlen` entries. Returns how many were removed.
    pub(super) fn trim(&mut self, maxlen: u64) -> u64 {
        let surplus = (self.entries.len() as u64).saturating_sub(maxlen);
        for entry in self.entries.drain(..surplus as usize) {
            self.bytes -= cost(&entry.fields);
        }
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        surplus
    }

    /// Removes the older half of the entries, at least one, and of their names.
    pub(super) fn halve(&mut self) -> u64 {
        self.keys.halve();
        self.trim(self.entries.len() as u64 / 2)
    }

    /// `XDEL`. Returns whether the entry was there.
    #[cfg(feature = "testing")]
    pub(super) fn delete(&mut self, position: Position) -> bool {
        let Ok(at) = self.entries.binary_search_by_key(&position, |e| e.position) else { return false };
        let entry = self.entries.remove(at).expect("just found there");
        self.bytes -= cost(&entry.fields);
        self.max_deleted = self.max_deleted.max(position);
        true
    }

    /// `XSETID`: the id after which the stream goes on. Redis lets it fall below ids that were given or deleted.
    #[cfg(feature = "testing")]
    pub(super) fn set_last(&mut self, last: Position) -> Result<(), BackplaneError> {
        match self.entries.back() {
            Some(newest) if last < newest.position => {
                Err(refused(format!("the ID {last} is smaller than the stream's newest entry, {}", newest.position)))
            }
            _ => {
                self.last = last;
                Ok(())
            }
        }
    }
}

/// Copies all names and values into one buffer: slices of a request's body would keep all of it in memory.
fn own(fields: &[(Bytes, Bytes)]) -> Vec<(Bytes, Bytes)> {
    let mut buffer = BytesMut::with_capacity(fields.iter().map(|(n, v)| n.len() + v.len()).sum());
    let mut copy = |bytes: &Bytes| {
        buffer.put_slice(bytes);
        buffer.split().freeze()
    };
    fields.iter().map(|(name, value)| (copy(name), copy(value))).collect()
}

pub(super) fn refused(why: impl Into<String>) -> BackplaneError {
    BackplaneError::refused(why)
}
