//! Ids of entries, and how commands write them.

use std::fmt;

/// The id of an entry: milliseconds, and a number within them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Milliseconds since 1970, mostly.
    pub ms: u64,
    /// Which one within the millisecond.
    pub seq: u64,
}

/// An argument that is no id.
const INVALID: &str = "ERR Invalid stream ID specified as stream command argument";

impl Id {
    /// `0-0`, which no entry has.
    pub const MIN: Id = Id { ms: 0, seq: 0 };
    /// The last id that there is.
    pub const MAX: Id = Id { ms: u64::MAX, seq: u64::MAX };

    /// The id of these two numbers.
    pub const fn new(ms: u64, seq: u64) -> Id {
        Id { ms, seq }
    }

    /// The next id; `None` behind the last one.
    pub(super) fn after(self) -> Option<Id> {
        match (self.ms, self.seq) {
            (u64::MAX, u64::MAX) => None,
            (ms, u64::MAX) => Some(Id::new(ms + 1, 0)),
            (ms, seq) => Some(Id::new(ms, seq + 1)),
        }
    }

    /// The id before it; `None` before the first one.
    pub(super) fn before(self) -> Option<Id> {
        match (self.ms, self.seq) {
            (0, 0) => None,
            (ms, 0) => Some(Id::new(ms - 1, u64::MAX)),
            (ms, seq) => Some(Id::new(ms, seq - 1)),
        }
    }

    /// Reads an id; `seq`: the second number where only the first is written.
    pub(super) fn parse(word: &[u8], seq: u64) -> Result<Id, String> {
        let (ms, rest) = split(word)?;
        Ok(Id::new(ms, rest.map_or(Ok(seq), number)?))
    }

    /// Reads the id of a new entry; whether its second number is left to the server (`5-*`).
    pub(super) fn parse_new(word: &[u8]) -> Result<(Id, bool), String> {
        match split(word)? {
            (ms, Some(b"*")) => Ok((Id::new(ms, 0), true)),
            _ => Id::parse(word, 0).map(|id| (id, false)),
        }
    }

    /// Reads the begin of a range: `-`, `+`, an id, or one that is itself left out (`(5-1`).
    pub(super) fn parse_begin(word: &[u8]) -> Result<Id, String> {
        match word {
            b"-" => Ok(Id::MIN),
            b"+" => Ok(Id::MAX),
            [b'(', word @ ..] => {
                Id::parse(word, 0)?.after().ok_or_else(|| "ERR invalid start ID for the interval".to_owned())
            }
            word => Id::parse(word, 0),
        }
    }

    /// Reads the end of a range, as [`Id::parse_begin`] does its begin.
    pub(super) fn parse_end(word: &[u8]) -> Result<Id, String> {
        match word {
            b"-" => Ok(Id::MIN),
            b"+" => Ok(Id::MAX),
            [b'(', word @ ..] => {
                Id::parse(word, u64::MAX)?.before().ok_or_else(|| "ERR invalid end ID for the interval".to_owned())
            }
            word => Id::parse(word, u64::MAX),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

fn split(word: &[u8]) -> Result<(u64, Option<&[u8]>), String> {
    match word.iter().position(|byte| *byte == b'-') {
        _ if word.len() > 127 => Err(INVALID.to_owned()),
        Some(at) => Ok((number(&word[..at])?, Some(&word[at + 1..]))),
        None => Ok((number(word)?, None)),
    }
}

fn number(word: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(word).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| INVALID.to_owned())
}
