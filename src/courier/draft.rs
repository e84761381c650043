//! A draft: the blocks that a subscriber is to be sent next, each as a chunk of its own, put together for one write.
//!
//! What a full socket does not take is undone block by block, so that only the rest of the block in which it stopped is
//! left over. Large shared parts are written from where they are.

use super::leftover::{Ledger, SHARED_BYTES, Source};
use super::post::Framing;
use super::socket::Socket;
use super::subscriber::{Composed, Leg};
use crate::frame::{END_OF_CHUNK, Frame, Part, Standing};
use crate::gzip::Gzip;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

/// From so many bytes on a shared part is not copied. It ends its draft.
const LARGE_BYTES: usize = 64 << 10;
/// A chunk size line at most: eight hex digits, CR, LF.
pub const SIZE_LINE: usize = 10;

/// See the module. Kept by its courier, and used again and again.
#[derive(Default)]
pub struct Draft {
    bytes: Vec<u8>,
    blocks: Vec<Block>,
    /// What the last block goes on with.
    large: Option<Source>,
}

/// A frame that was taken off a page of history, and whether nothing was owed before it.
pub type Popped = (Arc<Frame>, bool);

/// A block in a draft.
struct Block {
    /// Where it begins.
    start: usize,
    before: Before,
    page: Option<Popped>,
    is_event: bool,
    /// Where its shared part begins, and that part, if it is worth sharing.
    shared: Option<(usize, Source)>,
}

/// How a subscriber stood before a step on one of its legs.
#[derive(Clone, Copy)]
pub struct Before {
    pub leg: usize,
    at: u64,
    standing: Standing,
    finished: bool,
    skipped: bool,
    gzip: Option<Gzip>,
}

impl Before {
    pub fn of(composed: &Composed, leg: usize) -> Before {
        let Leg { at, finished, .. } = composed.legs[leg];
        let standing = composed.legs[leg].standing();
        Before { leg, at, standing, finished, skipped: composed.skipped, gzip: composed.gzip().copied() }
    }

    fn restore(self, composed: &mut Composed, page: Option<Popped>) {
        if let (Some((frame, fresh)), Some(behind)) = (page, composed.behind(self.leg)) {
            behind.page.push_front(frame);
            behind.fresh = fresh;
        }
        let leg = &mut composed.legs[self.leg];
        (leg.at, leg.finished) = (self.at, self.finished);
        leg.stand(self.standing);
        composed.skipped = self.skipped;
        if let Some(gzip) = self.gzip {
            composed.rest().gzip = Some(gzip);
        }
    }
}

/// What became of a draft.
pub struct Sent {
    /// What the socket took.
    pub bytes: usize,
    /// What of the draft was sent or begun.
    pub kept: usize,
    /// How many events that was.
    pub events: u64,
    /// The socket is full. The rest of the block that it stopped in is in the subscriber's leftover, and what was to
    /// follow is undone.
    pub full: bool,
}

impl Draft {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.blocks.clear();
        self.large = None;
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether it should be written before more is added.
    pub fn is_full(&self, most: usize) -> bool {
        self.bytes.len() >= most || self.large.is_some()
    }

    /// Begins a block; where that is. Its own part is written next.
    pub fn begin(&mut self, framing: Framing) -> usize {
        let start = self.bytes.len();
        if framing == Framing::Chunked {
            self.bytes.resize(start + SIZE_LINE, 0);
        }
        start
    }

    /// For the own part of the block that was begun.
    pub fn own(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends a block with a part of a frame that others have, too.
    pub fn end(
        &mut self,
        (start, framing): (usize, Framing),
        (frame, part): (&Arc<Frame>, Part),
        before: Before,
        page: Option<Popped>,
    ) {
        let less = if framing == Framing::Bare { END_OF_CHUNK } else { 0 };
        let bytes = frame.made(part);
        let shared = &bytes[..bytes.len() - less];
        if framing == Framing::Chunked {
            size_line(&mut self.bytes, start, shared.len() - END_OF_CHUNK);
        }
        let at = self.bytes.len();
        let source = (shared.len() >= SHARED_BYTES).then(|| Source::Frame(frame.clone(), part, less));
        let mut block = Block { start, before, page, is_event: frame.is_event(), shared: None };
        if shared.len() >= LARGE_BYTES {
            self.large = source;
        } else {
            self.bytes.extend_from_slice(shared);
            block.shared = source.map(|source| (at, source));
        }
        self.blocks.push(block);
    }

    /// Writes it; what the socket does not take is left over or undone.
    pub fn write(&mut self, socket: &mut Socket, composed: &mut Composed, ledger: &Arc<Ledger>) -> io::Result<Sent> {
        let all = self.bytes.len() + self.large.as_ref().map_or(0, |large| large.bytes().len());
        let bytes = self.put(socket)?;
        let full = bytes < all;
        let kept = if full { self.cut(bytes, composed, ledger) } else { all };
        let events = self.blocks.iter().filter(|block| block.is_event).count() as u64;
        // No frame stays in memory for a draft that is written.
        self.clear();
        Ok(Sent { bytes, kept, events, full })
    }

    /// Bytes that the socket takes.
    fn put(&self, socket: &mut Socket) -> io::Result<usize> {
        let would_block = |error: &io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
        let mut put = |bytes: &[u8]| match socket.write(bytes) {
            Err(error) if would_block(&error) => Ok(0),
            result => result,
        };
        let n = put(&self.bytes)?;
        match &self.large {
            Some(large) if n == self.bytes.len() => Ok(n + put(large.bytes())?),
            _ => Ok(n),
        }
    }

    /// The socket is full behind so many bytes. Returns how many are not undone.
    fn cut(&mut self, at: usize, composed: &mut Composed, ledger: &Arc<Ledger>) -> usize {
        let begun = self.blocks.partition_point(|block| block.start < at);
        let end = self.blocks.get(begun).map_or(self.bytes.len(), |block| block.start);
        let large = self.large.take().filter(|_| begun == self.blocks.len());
        for Block { before, page, .. } in self.blocks.drain(begun..).rev() {
            before.restore(composed, page);
        }
        let kept = end + large.as_ref().map_or(0, |large| large.bytes().len());
        let Some(block) = self.blocks.last_mut().filter(|_| at < kept) else { return kept };
        let leftover = &mut composed.rest().leftover;
        match block.shared.take() {
            Some((from, source)) => {
                leftover.push(&self.bytes[at.min(from)..from], ledger);
                leftover.share(source, at.saturating_sub(from), ledger);
            }
            None => leftover.push(&self.bytes[at.min(end)..end], ledger),
        }
        if let Some(large) = large {
            leftover.share(large, at.saturating_sub(end), ledger);
        }
        kept
    }
}

/// Writes a block's size line before its own part, which moves up to it; `more` bytes of the block follow.
fn size_line(bytes: &mut Vec<u8>, start: usize, more: usize) {
    let own = start + SIZE_LINE..bytes.len();
    let size = own.len() + more;
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4) as usize;
    let mut at = start;
    for place in (0..digits).rev() {
        bytes[at] = b"0123456789abcdef"[size >> (4 * place) & 0xf];
        at += 1;
    }
    bytes[at..at + 2].copy_from_slice(b"\r\n");
    let length = own.len();
    bytes.copy_within(own, at + 2);
    bytes.truncate(at + 2 + length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_line_is_as_long_as_it_must_be() {
        for (own, more, line) in [("", 5, "5\r\n"), ("id: 1\n", 9, "f\r\nid: 1\n"), ("x", 0x1ffff, "20000\r\nx")] {
            let mut bytes = b"before".to_vec();
            bytes.extend_from_slice(&[0; SIZE_LINE]);
            bytes.extend_from_slice(own.as_bytes());
            size_line(&mut bytes, 6, more);
            assert_eq!(String::from_utf8(bytes).unwrap(), format!("before{line}"));
        }
    }
}
