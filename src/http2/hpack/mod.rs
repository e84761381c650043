//! HPACK (RFC 7541): heads as bytes.
//!
//! Written here, since the crates that have it without a connection around it make the tables of its Huffman code anew for
//! each string (`hpack` and its forks, `fluke-hpack` and `loona-hpack`), or have had no release for years (`httlib-hpack`):
//! a head of short strings would cost its reader a thousand times what it costs its sender. [`Decoder`] holds what a client
//! may have it hold and no more; what a node sends needs no table, so [`encode`] has none.

pub mod encode;
mod huffman;
mod integer;
mod tables;

use super::error_code::ErrorCode;
use integer::Cursor;
use std::collections::VecDeque;
use tables::STATIC;

/// Bytes of a client's table at most, as the protocol counts them, and where nobody says otherwise.
const TABLE_BYTES: usize = 4096;
/// What a line counts beside its name and value.
const LINE_BYTES: usize = 32;

/// What a client's heads refer to.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The newest first.
    lines: VecDeque<Line>,
    bytes: usize,
    /// What the client has made of [`TABLE_BYTES`].
    most: Most,
}

#[derive(Clone, Copy, Debug)]
struct Most(usize);

impl Default for Most {
    fn default() -> Most {
        Most(TABLE_BYTES)
    }
}

#[derive(Debug)]
struct Line {
    text: Box<[u8]>,
    /// Where the value begins.
    value: u32,
}

impl Line {
    fn parts(&self) -> (&[u8], &[u8]) {
        self.text.split_at(self.value as usize)
    }

    fn counts(&self) -> usize {
        self.text.len() + LINE_BYTES
    }
}

/// How the value of a line that refers to no other line is to be treated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Literal {
    Kept,
    Passing,
}

impl Decoder {
    /// Decodes a whole head, line by line: names, values. `line` is asked whether it wants more.
    pub fn decode(&mut self, block: &[u8], mut line: impl FnMut(&[u8], &[u8])) -> Result<(), ErrorCode> {
        let mut cursor = Cursor::new(block);
        let (mut name, mut value) = (Vec::new(), Vec::new());
        let mut begun = false;
        while let Some(first) = cursor.first() {
            let literal = match first {
                0x80.. => {
                    let (name, value) = self.line(cursor.integer(7)?)?;
                    line(name, value);
                    begun = true;
                    continue;
                }
                0x40.. => Literal::Kept,
                // How large the table is may be said before the first line alone.
                0x20.. if begun => return Err(ErrorCode::Compression),
                0x20.. => {
                    self.resize(cursor.integer(5)?)?;
                    continue;
                }
                _ => Literal::Passing,
            };
            begun = true;
            let index = cursor.integer(if literal == Literal::Kept { 6 } else { 4 })?;
            name.clear();
            match index {
                0 => cursor.string(&mut name)?,
                index => name.extend_from_slice(self.line(index)?.0),
            }
            value.clear();
            cursor.string(&mut value)?;
            line(&name, &value);
            if literal == Literal::Kept {
                self.keep(&name, &value);
            }
        }
        Ok(())
    }

    /// Bytes that the table has, as the protocol counts them.
    pub fn table_bytes(&self) -> usize {
        self.bytes
    }

    fn line(&self, index: usize) -> Result<(&[u8], &[u8]), ErrorCode> {
        let at = index.checked_sub(1).ok_or(ErrorCode::Compression)?;
        match STATIC.get(at) {
            Some((name, value)) => Ok((name.as_bytes(), value.as_bytes())),
            None => self.lines.get(at - STATIC.len()).map(Line::parts).ok_or(ErrorCode::Compression),
        }
    }

    fn resize(&mut self, bytes: usize) -> Result<(), ErrorCode> {
        if bytes > TABLE_BYTES {
            return Err(ErrorCode::Compression);
        }
        self.most = Most(bytes);
        self.evict(0);
        Ok(())
    }

    fn keep(&mut self, name: &[u8], value: &[u8]) {
        let line = Line { text: [name, value].concat().into(), value: name.len() as u32 };
        let counts = line.counts();
        self.evict(counts);
        if counts <= self.most.0 {
            self.bytes += counts;
            self.lines.push_front(line);
        }
    }

    /// Lets the oldest lines go until there is room for so many bytes, or nothing is left.
    fn evict(&mut self, room: usize) {
        while self.bytes + room > self.most.0
            && let Some(line) = self.lines.pop_back()
        {
            self.bytes -= line.counts();
        }
        if self.lines.is_empty() {
            self.lines = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests;
