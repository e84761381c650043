//! A draft: the blocks that a subscriber is to be sent next, each as a chunk of its own, put together for one write.
//!
//! What a full socket does not take is undone block by block, so that only the rest of the block in which it stopped is
//! left over. Large shared parts are written from where they are.

use super::leftover::{Ledger, SHARED_BYTES, Source};
use super::out::SIZE_LINE;
use super::subscriber::{Composed, Leg, Popped};
use super::terms::Framing;
use crate::frame::{END_OF_CHUNK, Frame, Part, Standing};
use crate::gzip::Gzip;
use crate::hub::offset::Offset;
use crate::probe::{self, Probe};
use std::io;
use std::sync::Arc;

/// From so many bytes on a shared part is not copied. It ends its draft.
const LARGE_BYTES: usize = 64 << 10;

/// Blocks that a subscriber is to be sent next. Kept by its courier, and used again and again.
#[derive(Default)]
pub struct Draft {
    bytes: Vec<u8>,
    blocks: Vec<Block>,
    /// What the last block goes on with.
    large: Option<Source>,
}

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
    /// Where it was in its feed's log.
    pub at: Offset,
    standing: Standing,
    finished: bool,
    skipped: bool,
    gzip: Option<Gzip>,
}

impl Before {
    /// How a subscriber stands, as far as a step on that leg may change it.
    pub fn of(composed: &Composed, leg: usize) -> Before {
        let Leg { at, finished, .. } = composed.legs[leg];
        let standing = composed.legs[leg].standing();
        Before { leg, at, standing, finished, skipped: composed.skipped, gzip: composed.gzip().copied() }
    }

    fn restore(self, composed: &mut Composed, page: Option<Popped>) {
        if let (Some(popped), Some(behind)) = (page, composed.behind(self.leg)) {
            behind.undo(popped);
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

/// A block of a draft that has not ended yet.
pub struct Begun {
    /// Where in the draft it begins.
    start: usize,
    framing: Framing,
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
    /// Empties the draft, which keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.blocks.clear();
        self.large = None;
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.large.is_none()
    }

    /// Whether nothing would be undone where the socket is full; what was passed over would be, though it is not written.
    pub fn is_clear(&self) -> bool {
        self.is_empty() && self.blocks.is_empty()
    }

    /// A frame of a page is passed over. It is put back where what was drafted before it is undone, for it counts.
    pub fn skip(&mut self, before: Before, page: Option<Popped>) {
        self.blocks.push(Block { start: self.bytes.len(), before, page, is_event: false, shared: None });
    }

    /// Whether it should be written before more is added.
    pub fn is_full(&self, most: usize) -> bool {
        self.bytes.len() >= most || self.large.is_some()
    }

    /// Begins a block, whose own part is written next.
    pub fn begin(&mut self, framing: Framing) -> Begun {
        let start = self.bytes.len();
        if framing == Framing::Chunked {
            self.bytes.resize(start + SIZE_LINE, 0);
        }
        Begun { start, framing }
    }

    /// For the own part of the block that was begun.
    pub fn own(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends a block with a part of a frame that others have, too.
    pub fn end(&mut self, begun: Begun, frame: &Arc<Frame>, part: Part, before: Before, page: Option<Popped>) {
        let Begun { start, framing } = begun;
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

    /// Ends a block that has no part which others have.
    pub fn end_own(&mut self, begun: Begun, frame: &Frame, before: Before, page: Option<Popped>) {
        let Begun { start, framing } = begun;
        if framing == Framing::Chunked {
            size_line(&mut self.bytes, start, 0);
            self.bytes.extend_from_slice(b"\r\n");
        }
        self.blocks.push(Block { start, before, page, is_event: frame.is_event(), shared: None });
    }

    /// Writes the draft by `write`, which says how many bytes the socket takes; what it does not is left over or undone.
    pub fn write(
        &mut self,
        write: impl FnMut(&[u8]) -> io::Result<usize>,
        composed: &mut Composed,
        ledger: &Arc<Ledger>,
    ) -> io::Result<Sent> {
        let all = self.bytes.len() + self.large.as_ref().map_or(0, |large| large.bytes().len());
        let bytes = self.put(write)?;
        let full = bytes < all;
        if full {
            probe::reached(Probe::DraftCut);
        }
        let kept = if full { self.cut(bytes, composed, ledger) } else { all };
        let events = self.blocks.iter().filter(|block| block.is_event).count() as u64;
        // No frame stays in memory for a draft that is written.
        self.clear();
        Ok(Sent { bytes, kept, events, full })
    }

    /// How many bytes the socket takes.
    fn put(&self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<usize> {
        let n = write(&self.bytes)?;
        match &self.large {
            Some(large) if n == self.bytes.len() => Ok(n + write(large.bytes())?),
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
