//! An HTTP/1.1 answer whose body may be chunked, undone piece by piece (RFC 9112). It shares no code with the node.

use super::chunked::Chunk;
use std::collections::VecDeque;

/// What an answer's head says, over whatever protocol it comes.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub status: u16,
    /// Its body is compressed.
    pub gzip: bool,
    /// No cache may keep it.
    pub no_store: bool,
}

/// Undoes an answer, of which pieces of any size come.
#[derive(Default)]
pub struct Answer {
    raw: VecDeque<u8>,
    pub head: Option<Head>,
    chunked: bool,
    chunk: Chunk,
}

impl Answer {
    /// Takes the next bytes; the bytes of the body that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.raw.extend(bytes);
        let mut body = Vec::new();
        if self.head.is_none() && !self.take_head()? {
            return Ok(body);
        }
        if !self.chunked {
            return Ok(self.raw.drain(..).collect());
        }
        while self.chunk.undo(&mut self.raw, &mut body)? {}
        Ok(body)
    }

    /// Whether its body has come to the end that its head has announced.
    pub fn is_complete(&self) -> bool {
        self.head.is_some() && (!self.chunked || self.chunk == Chunk::Over)
    }

    /// Whether all that has come is whole chunks.
    pub fn is_between_chunks(&self) -> bool {
        match self.chunk {
            Chunk::Size => self.chunked && self.raw.is_empty(),
            Chunk::Break => true,
            Chunk::Data(_) | Chunk::Over => false,
        }
    }

    fn take_head(&mut self) -> Result<bool, String> {
        let raw = self.raw.make_contiguous();
        let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
        let head = String::from_utf8_lossy(&raw[..end]).to_ascii_lowercase();
        self.raw.drain(..end + 4);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| format!("no head of HTTP: {head}"))?;
        let has = |name: &str, value: &str| {
            let values = head.lines().filter_map(|line| line.split_once(": ")).filter(|(field, _)| *field == name);
            values.flat_map(|(_, values)| values.split(", ")).any(|one| one == value)
        };
        let (gzip, no_store) = (has("content-encoding", "gzip"), has("cache-control", "no-store"));
        self.head = Some(Head { status, gzip, no_store });
        self.chunked = has("transfer-encoding", "chunked");
        Ok(true)
    }
}
