//! Replies that are read piece by piece (RESP2 and RESP3), so that what one of them takes in memory has a limit, and
//! that bytes on their way are told from silence.
//!
//! fred decodes whole replies, however large they are. Here the lengths that precede each string are looked at before it
//! is read: what is too large is never taken in, and what was read of the reply up to there still counts.

use crate::backplane::BackplaneError;
use crate::backplane::redis::fault;
use crate::position::Position;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use fred::types::Value;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Bytes of one read, at most.
const READ: usize = 64 << 10;
/// Where there is room for fewer bytes, a read has memory of its own: what came before may be kept by others.
const ROOM: usize = 16 << 10;
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

/// A line of a reply, by its kind, which is its first byte.
enum Line {
    /// `$`, `*`, `%`, `~`, `>` and `:`: a length, or a number.
    Number(u8, i64),
    /// Any other, and what follows its kind.
    Text(u8, Bytes),
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
            self.make_room();
            within(self.patience + more, self.from.read_buf(&mut self.buffer)).await?;
        }
        Ok(())
    }

    fn make_room(&mut self) {
        if self.buffer.capacity() - self.buffer.len() < ROOM {
            self.buffer.reserve(READ);
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.make_room();
        within(self.patience, self.from.read_buf(&mut self.buffer)).await
    }

    /// Reads a line.
    async fn line(&mut self) -> io::Result<Line> {
        let mut searched = 0;
        let end = loop {
            if let Some(found) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                break searched + found;
            }
            searched = self.buffer.len();
            if searched > READ {
                return odd("a line without an end");
            }
            self.fill().await?;
        };
        let kind = match &self.buffer[..end] {
            [b'\r'] => return odd("an empty line"),
            [kind, .., b'\r'] => *kind,
            _ => return odd("a line that does not end with CR LF"),
        };
        let line = match kind {
            b'$' | b'*' | b'%' | b'~' | b'>' | b':' => {
                let number = number(&self.buffer[1..end - 1])?;
                self.buffer.advance(end - 1);
                Line::Number(kind, number)
            }
            b'+' | b'-' | b',' | b'#' | b'(' | b'_' => {
                Line::Text(kind, self.buffer.split_to(end - 1).freeze().slice(1..))
            }
            _ => return odd("no reply of this protocol"),
        };
        self.buffer.advance(2);
        Ok(line)
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
        string.extend_from_slice(&self.buffer[..here]);
        self.buffer.advance(here);
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
            self.buffer.advance(here);
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
        if !self.buffer.starts_with(b"\r\n") {
            return odd("a string that is longer than it says");
        }
        self.buffer.advance(2);
        Ok(())
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
            string = None;
            match self.line().await? {
                Line::Number(b'$', length) => string = usize::try_from(length).ok(),
                Line::Number(b':', _) | Line::Text(..) => {}
                Line::Number(kind, number) => {
                    // What nobody asked for is no value that is waited for.
                    let more = items(kind, number).unwrap_or(0).saturating_add(usize::from(kind == b'>'));
                    values = values.saturating_add(more);
                }
            }
        }
    }

    /// Reads the next reply.
    pub async fn reply(&mut self, taken: Taken) -> io::Result<Reply> {
        let mut open: Vec<Open> = Vec::new();
        let (mut total, mut entries, mut pushed) = (0, 0, false);
        loop {
            let value = match self.line().await? {
                Line::Text(b'-', why) if open.is_empty() => {
                    return Ok(Reply::Error(fault::reply(String::from_utf8_lossy(&why).into_owned())));
                }
                Line::Text(b'_', _) => Value::Null,
                Line::Text(_, text) => Value::Bytes(text),
                Line::Number(b':', number) => Value::Integer(number),
                Line::Number(b'$', length) => match usize::try_from(length) {
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
                Line::Number(kind, number) => match items(kind, number) {
                    None => Value::Null,
                    Some(0) => Value::Array(Vec::new()),
                    Some(_) if open.len() == DEPTH => return odd("a reply that is nested too deep"),
                    Some(left) => {
                        pushed |= open.is_empty() && kind == b'>';
                        let is_witness = is_witness(&open, taken);
                        open.push(Open { items: Vec::with_capacity(left.min(64)), left, cost: 0, is_witness });
                        continue;
                    }
                },
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
fn items(kind: u8, number: i64) -> Option<usize> {
    let each = if kind == b'%' { 2 } else { 1 };
    usize::try_from(number).ok().map(|items| items.saturating_mul(each))
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
