//! Replies that are read piece by piece (RESP2 and RESP3), so that what one of them takes in memory has a limit, and
//! that bytes on their way are told from silence.
//!
//! fred decodes whole replies, however large they are. Here the lengths that precede each string are looked at before it
//! is read: what is too large is never taken in, and what was read of the reply up to there still counts.

use crate::backplane::BackplaneError;
use crate::backplane::redis::fault;
use crate::position::Position;
use bytes::{BufMut, Bytes, BytesMut};
use fred::types::Value;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Bytes of one read.
const READ: usize = 64 << 10;
/// Strings up to this length stay in the buffer of that read; others have memory of their own, which is exactly theirs.
const SMALL: usize = 4 << 10;
/// What a string takes beside its bytes: its value, and the handle of its memory.
pub const OVERHEAD: usize = 64;
/// No reply of the commands that are read here is nested so deep.
const DEPTH: usize = 8;
/// Longer strings of what is skimmed are left out, in bytes.
const SKIMMED: usize = crate::backplane::DIGESTED;
/// Behind longer strings of what is skimmed it is not read on, in bytes.
const SKIPPED: usize = 1 << 20;

/// What of a reply is taken in.
#[derive(Clone, Copy, Debug)]
pub enum Taken {
    /// Entries, with limits.
    Entries {
        /// What the fields of one entry take at most, in bytes; [`OVERHEAD`] is added for each string.
        most: usize,
        /// After so many bytes the reply is not read on, unless there is but one entry yet.
        total: usize,
        /// Of this entry only its being there is wanted: its long strings are left out.
        witness: Option<Position>,
    },
    /// Everything but the long strings.
    Skimmed,
}

/// A reply, or as much of it as was read.
#[derive(Debug)]
pub enum Reply {
    Whole(Value),
    /// What precedes the place where it was not read on; before the next reply, the rest must be passed over.
    Cut(Value, Cut, Rest),
    /// The server's error.
    Error(BackplaneError),
}

/// Why a reply was not read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The last entry's fields take more than is allowed: at least so many bytes. A number stands in their place.
    Large(usize),
    /// There is enough for now.
    Full,
}

/// What is still to come of a reply that was not read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The length of the string that comes next.
    string: Option<usize>,
    /// Values after it, as far as is known.
    values: usize,
}

/// The bytes of a connection; each wait for some has a limit.
pub struct Input<R> {
    from: R,
    buffer: BytesMut,
    patience: Duration,
}

impl<R: AsyncRead + Unpin> Input<R> {
    /// `patience`: how long it may bring nothing while something is waited for.
    pub fn new(from: R, patience: Duration) -> Input<R> {
        Input { from, buffer: BytesMut::new(), patience }
    }

    /// Sets how long it may bring nothing while something is waited for.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The stream below, for writing.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.from
    }

    /// Waits for the first byte, longer by `more` this once: the server was asked to wait itself.
    pub async fn wait(&mut self, more: Duration) -> io::Result<()> {
        if self.buffer.is_empty() {
            self.buffer.reserve(READ);
            within(self.patience + more, self.from.read_buf(&mut self.buffer)).await?;
        }
        Ok(())
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.reserve(READ);
        within(self.patience, self.from.read_buf(&mut self.buffer)).await
    }

    /// Reads a line, without its end.
    async fn line(&mut self) -> io::Result<Bytes> {
        let mut searched = 0;
        loop {
            if let Some(found) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let mut line = self.buffer.split_to(searched + found + 1);
                line.truncate(line.len() - 1);
                return match line.split_last() {
                    Some((b'\r', _)) => Ok(line.split_to(line.len() - 1).freeze()),
                    _ => odd("a line that does not end with CR LF"),
                };
            }
            searched = self.buffer.len();
            if searched > READ {
                return odd("a line without an end");
            }
            self.fill().await?;
        }
    }

    /// Reads a string of a known length, and the line break behind it.
    async fn string(&mut self, length: usize) -> io::Result<Bytes> {
        if length <= SMALL {
            while self.buffer.len() < length + 2 {
                self.fill().await?;
            }
            let string = self.buffer.split_to(length).freeze();
            self.end().await?;
            return Ok(string);
        }
        let mut string = Vec::with_capacity(length);
        let here = self.buffer.len().min(length);
        string.extend_from_slice(&self.buffer.split_to(here));
        while string.len() < length {
            let left = length - string.len();
            let mut rest = (&mut string).limit(left);
            within(self.patience, self.from.read_buf(&mut rest)).await?;
        }
        self.end().await?;
        Ok(string.into())
    }

    async fn skip(&mut self, length: usize) -> io::Result<()> {
        let mut left = length;
        loop {
            let here = self.buffer.len().min(left);
            drop(self.buffer.split_to(here));
            left -= here;
            if left == 0 {
                return self.end().await;
            }
            self.fill().await?;
        }
    }

    async fn end(&mut self) -> io::Result<()> {
        while self.buffer.len() < 2 {
            self.fill().await?;
        }
        match self.buffer.split_to(2).as_ref() {
            b"\r\n" => Ok(()),
            _ => odd("a string that is longer than it says"),
        }
    }

    /// Passes over the rest of a reply and `more` whole ones; whether that took no more than `most` bytes of strings.
    pub async fn pass(&mut self, rest: Rest, more: usize, most: usize) -> io::Result<bool> {
        let mut left = most;
        let (mut string, mut values) = (rest.string, rest.values.saturating_add(more));
        loop {
            if let Some(length) = string {
                let Some(less) = left.checked_sub(length) else { return Ok(false) };
                left = less;
                self.skip(length).await?;
            }
            if values == 0 {
                return Ok(true);
            }
            values -= 1;
            let line = self.line().await?;
            let Some((kind, rest)) = line.split_first() else { return odd("an empty line") };
            string = None;
            match kind {
                b'$' => string = usize::try_from(number(rest)?).ok(),
                b'*' | b'%' | b'~' | b'>' => {
                    // What nobody asked for is no value that is waited for.
                    let more = items(*kind, rest)?.unwrap_or(0).saturating_add(usize::from(*kind == b'>'));
                    values = values.saturating_add(more);
                }
                b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {}
                _ => return odd("no reply of this protocol"),
            }
        }
    }

    /// Reads the next reply.
    pub async fn reply(&mut self, taken: Taken) -> io::Result<Reply> {
        let mut open: Vec<Open> = Vec::new();
        let (mut total, mut entries, mut pushed) = (0, 0, false);
        loop {
            let line = self.line().await?;
            let Some((kind, rest)) = line.split_first() else { return odd("an empty line") };
            let value = match kind {
                b'-' if open.is_empty() => {
                    return Ok(Reply::Error(fault::reply(String::from_utf8_lossy(rest).into_owned())));
                }
                b'+' | b'-' | b',' | b'#' | b'(' => Value::Bytes(line.slice(1..)),
                b'_' => Value::Null,
                b':' => Value::Integer(number(rest)?),
                b'$' => match usize::try_from(number(rest)?) {
                    Err(_) => Value::Null,
                    Ok(length) => {
                        let cost = open.last_mut().map_or(0, |array| array.cost(length));
                        let is_witness = open.last().is_some_and(|array| array.is_witness);
                        match taken {
                            Taken::Entries { most, .. } if cost > most && !is_witness => {
                                return Ok(Reply::cut(open, Cut::Large(cost), Some(length)));
                            }
                            Taken::Skimmed if length > SKIPPED => {
                                return Ok(Reply::cut(open, Cut::Large(cost), Some(length)));
                            }
                            _ if length > SKIMMED && (is_witness || matches!(taken, Taken::Skimmed)) => {
                                self.skip(length).await?;
                                Value::Bytes(Bytes::new())
                            }
                            _ => {
                                total += length + OVERHEAD;
                                Value::Bytes(self.string(length).await?)
                            }
                        }
                    }
                },
                // A map is the list of its names and values.
                b'*' | b'%' | b'~' | b'>' => match items(*kind, rest)? {
                    None => Value::Null,
                    Some(0) => Value::Array(Vec::new()),
                    Some(_) if open.len() == DEPTH => return odd("a reply that is nested too deep"),
                    Some(left) => {
                        pushed |= open.is_empty() && *kind == b'>';
                        let is_witness = is_witness(&open, taken);
                        open.push(Open { items: Vec::with_capacity(left.min(64)), left, cost: 0, is_witness });
                        continue;
                    }
                },
                _ => return odd("no reply of this protocol"),
            };
            let (mut value, mut closed) = (value, false);
            loop {
                let Some(array) = open.last_mut() else {
                    // What nobody asked for is no reply.
                    if std::mem::take(&mut pushed) {
                        break;
                    }
                    return Ok(Reply::Whole(value));
                };
                array.items.push(value);
                array.left -= 1;
                if array.left > 0 {
                    break;
                }
                closed = true;
                let Some(array) = open.pop() else { break };
                // Only an entry's fields are strings.
                entries += usize::from(array.cost > 0);
                value = Value::Array(array.items);
            }
            if closed && entries > 1 && matches!(taken, Taken::Entries { total: most, .. } if total > most) {
                return Ok(Reply::cut(open, Cut::Full, None));
            }
        }
    }
}

impl Reply {
    fn cut(open: Vec<Open>, cut: Cut, string: Option<usize>) -> Reply {
        // The heads of all open arrays but the outermost have come, though their parents still count them.
        let counted = open.iter().map(|array| array.left).fold(0, usize::saturating_add);
        let come = open.len().saturating_sub(1) + usize::from(string.is_some());
        let instead = match cut {
            Cut::Large(cost) => Some(cost),
            Cut::Full => None,
        };
        Reply::Cut(close(open, instead), cut, Rest { string, values: counted.saturating_sub(come) })
    }
}

/// An array that is not complete yet.
struct Open {
    items: Vec<Value>,
    left: usize,
    cost: usize,
    is_witness: bool,
}

/// Whether the array that begins is that of the witness's fields: its id precedes it.
fn is_witness(open: &[Open], taken: Taken) -> bool {
    let Taken::Entries { witness: Some(witness), .. } = taken else { return false };
    let id = open.last().and_then(|entry| entry.items.first()).and_then(Value::as_bytes);
    id.and_then(|id| std::str::from_utf8(id).ok()).and_then(|id| id.parse().ok()) == Some(witness)
}

impl Open {
    /// What the array's strings take in memory with one more, in bytes.
    fn cost(&mut self, length: usize) -> usize {
        self.cost = self.cost.saturating_add(length).saturating_add(OVERHEAD);
        self.cost
    }
}

/// All open arrays as one value, with what they have; `instead`: a number in the place of the innermost one.
fn close(mut open: Vec<Open>, instead: Option<usize>) -> Value {
    let innermost = open.pop().map_or(Value::Null, |array| match instead {
        Some(cost) => Value::Integer(i64::try_from(cost).unwrap_or(i64::MAX)),
        None => Value::Array(array.items),
    });
    open.into_iter().rev().fold(innermost, |value, mut array| {
        array.items.push(value);
        Value::Array(array.items)
    })
}

/// How many values follow the head of an array or a map; `None` for nothing.
fn items(kind: u8, text: &[u8]) -> io::Result<Option<usize>> {
    let each = if kind == b'%' { 2 } else { 1 };
    Ok(usize::try_from(number(text)?).ok().map(|items| items.saturating_mul(each)))
}

fn number(text: &[u8]) -> io::Result<i64> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.map_or_else(|| odd("a length that is no number"), Ok)
}

async fn within(patience: Duration, read: impl Future<Output = io::Result<usize>>) -> io::Result<()> {
    match timeout(patience, read).await {
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the server's answer timed out")),
        Ok(Ok(0)) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
        Ok(read) => read.map(drop),
    }
}

fn odd<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("the server sends {what}")))
}

#[cfg(test)]
mod tests;
