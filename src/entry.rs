//! Entries: the records of a stream, as every backplane gives them. Pure.

use crate::channel::Channel;
use crate::position::Position;
use bytes::Bytes;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Entries that weigh so much, in bytes, may be fewer than were asked for though there are more.
const HEAVY: usize = 1 << 20;
/// The longest string that is part of a digest, in bytes.
pub const DIGESTED: usize = 64 << 10;

/// Seeded per process, so that nobody can make two entries that look the same.
static DIGESTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// One stream record: its id and its fields, in the producer's order, repeated names included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub position: Position,
    /// Empty where they are larger than a node takes in: Redis has no entry without fields.
    pub fields: Vec<(Bytes, Bytes)>,
}

impl Entry {
    /// Whether it is announced instead of delivered.
    pub fn is_too_large(&self) -> bool {
        self.fields.is_empty()
    }

    /// Tells the entry's content from any other; 0 where that is not known. Long strings are left out, as not every way of
    /// reading brings them.
    pub fn digest(&self) -> u64 {
        let mut hasher = DIGESTS.build_hasher();
        for text in self.fields.iter().flat_map(|(name, value)| [name, value]) {
            hasher.write(if text.len() > DIGESTED { b"" } else { text });
            hasher.write_u8(u8::MAX);
        }
        if self.is_too_large() { 0 } else { hasher.finish().max(1) }
    }

    /// The value of a field; of a repeated one the first.
    pub fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| &value[..])
    }

    /// Bytes of its fields.
    pub fn size(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// Whether a stream may hold more than these in the span for which at most `count` were asked.
pub fn may_hold_more(entries: &[Entry], count: usize) -> bool {
    entries.len() >= count
        || entries.iter().any(Entry::is_too_large)
        || entries.iter().map(Entry::size).sum::<usize>() >= HEAVY
}

/// How long a key is remembered that an entry was published once with, unless [`KEYS_MOST`] others of its channel have come.
pub const KEYS_KEPT: Duration = Duration::from_secs(600);
/// Keys of one producer that a stream remembers.
pub const KEYS_MOST: usize = 10_000;

/// What a producer sends: the fields of one entry to append, and how it is to be kept.
#[derive(Clone, Debug)]
pub struct Publication {
    pub channel: Channel,
    pub fields: Vec<(Bytes, Bytes)>,
    pub keeping: Keeping,
}

/// How an entry and its stream are kept, where the producer says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keeping {
    /// The entry is not appended where one with this name has been.
    pub once: Option<Once>,
    /// Entries that the stream keeps (about); `None`: as the node's settings say.
    pub maxlen: Option<u64>,
    /// The stream is gone after this time, unless another entry says so anew; `None`: nothing is changed.
    pub ttl: Option<Duration>,
}

/// What names an entry beside its id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Once {
    /// Whose name it is: those of different producers have nothing to do with each other.
    pub producer: Arc<str>,
    pub key: Arc<str>,
}

impl Publication {
    /// An entry that is kept as the node's settings say.
    pub fn new(channel: Channel, fields: Vec<(Bytes, Bytes)>) -> Publication {
        Publication { channel, fields, keeping: Keeping::default() }
    }

    /// Says whose the key is by which it is published once, where it has one.
    pub fn belongs_to(&mut self, producer: &Arc<str>) {
        if let Some(once) = &mut self.keeping.once {
            once.producer = producer.clone();
        }
    }
}
