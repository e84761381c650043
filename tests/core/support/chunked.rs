//! The chunked coding, undone piece by piece (RFC 9112, section 7.1). It shares no code with the node.

use std::collections::VecDeque;

/// Where the coding stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Chunk {
    /// A size comes next.
    #[default]
    Size,
    /// So many bytes of data are to come.
    Data(usize),
    /// The line break behind a chunk's data.
    Break,
    /// The last chunk was read, without the line break behind it: the body is complete.
    Over,
}

impl Chunk {
    /// One step: takes what it undoes from `raw`, and appends data to `body`; false where more bytes are needed, or none come.
    pub fn undo(&mut self, raw: &mut VecDeque<u8>, body: &mut Vec<u8>) -> Result<bool, String> {
        match *self {
            Chunk::Size => {
                let Some(end) = raw.iter().position(|byte| *byte == b'\n') else { return Ok(false) };
                let line: Vec<u8> = raw.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).into_owned();
                let size = line.strip_suffix("\r\n").and_then(|hex| usize::from_str_radix(hex, 16).ok());
                let size = size.ok_or_else(|| format!("no chunk size: {line:?}"))?;
                *self = if size == 0 { Chunk::Over } else { Chunk::Data(size) };
                Ok(size > 0)
            }
            Chunk::Data(size) => {
                let n = size.min(raw.len());
                let (front, back) = raw.as_slices();
                let split = n.min(front.len());
                body.extend_from_slice(&front[..split]);
                body.extend_from_slice(&back[..n - split]);
                raw.drain(..n);
                *self = if n == size { Chunk::Break } else { Chunk::Data(size - n) };
                Ok(n == size)
            }
            Chunk::Break if raw.len() >= 2 => {
                let two: Vec<u8> = raw.drain(..2).collect();
                *self = Chunk::Size;
                if two == b"\r\n" { Ok(true) } else { Err(format!("no line break behind a chunk: {two:?}")) }
            }
            Chunk::Break | Chunk::Over => Ok(false),
        }
    }
}
