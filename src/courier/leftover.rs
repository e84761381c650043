//! Leftovers: what a full socket did not take of a write. A large part stays shared with all who have it; a small one is
//! copied. What that takes is counted for the whole node, each shared part once.

use crate::frame::{Frame, Part};
use crate::hash::HashMap;
use crate::planted::{self, Fault};
use parking_lot::Mutex;
use prometheus::IntGauge;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// From so many bytes on a part is shared. Smaller ones are copied, which keeps no frame in memory for their sake.
pub const SHARED_BYTES: usize = 4 << 10;

/// Bytes that others have, too.
#[derive(Clone)]
pub enum Source {
    /// A part of a frame, of which that many last bytes do not count.
    Frame(Arc<Frame>, Part, usize),
    /// Several frames that were put together for all.
    Glued(Arc<Vec<u8>>),
}

impl Source {
    /// The bytes that count.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Source::Frame(frame, part, less) => {
                let part = frame.made(*part);
                &part[..part.len() - less]
            }
            Source::Glued(bytes) => bytes,
        }
    }

    /// What is kept in memory for it: a name, and how many bytes.
    fn memory(&self) -> (usize, usize) {
        match self {
            Source::Frame(frame, part, _) if part.is_of_chunk() => {
                (frame.chunk().as_ptr() as usize, frame.chunk().len())
            }
            Source::Frame(frame, part, _) => {
                let made = frame.made(*part);
                (made.as_ptr() as usize, made.len() + frame.chunk().len())
            }
            Source::Glued(bytes) => (bytes.as_ptr() as usize, bytes.len()),
        }
    }
}

/// What all leftovers of the node take.
pub struct Ledger {
    limit: usize,
    used: AtomicUsize,
    gauge: IntGauge,
    /// Shared memory by its name: how many have it, and how large it is.
    shared: Mutex<HashMap<usize, (usize, usize)>>,
}

impl Ledger {
    /// A ledger of at most `limit` bytes; `gauge` shows how many there are.
    pub fn new(limit: usize, gauge: IntGauge) -> Arc<Ledger> {
        Arc::new(Ledger { limit, used: AtomicUsize::new(0), gauge, shared: Mutex::default() })
    }

    /// Whether leftovers take more than they may. One shared part may be as large as it is, for it is one event's.
    pub fn is_over(&self) -> bool {
        let used = self.used.load(Ordering::Relaxed);
        if used <= self.limit {
            return false;
        }
        let largest = self.shared.lock().values().map(|(_, bytes)| *bytes).max().unwrap_or(0);
        used.saturating_sub(largest) > self.limit
    }

    fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.gauge.add(bytes as i64);
    }

    fn remove(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.gauge.sub(bytes as i64);
    }
}

/// What one holder has of bytes that its full socket left, however many they are.
pub struct Held {
    bytes: usize,
    ledger: Arc<Ledger>,
}

impl Held {
    /// Nothing yet.
    pub fn new(ledger: Arc<Ledger>) -> Held {
        Held { bytes: 0, ledger }
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// There are so many bytes now.
    pub fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(0) => {}
            Some(more) => self.ledger.add(more),
            None => self.ledger.remove(self.bytes - bytes),
        }
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// A piece of a leftover; what it takes is counted until it goes.
struct Piece {
    content: Content,
    at: usize,
    ledger: Arc<Ledger>,
}

enum Content {
    Own(Vec<u8>),
    Shared(Source),
}

impl Piece {
    fn new(content: Content, at: usize, ledger: &Arc<Ledger>) -> Piece {
        match &content {
            Content::Own(bytes) => ledger.add(bytes.capacity()),
            Content::Shared(source) => {
                let (name, bytes) = source.memory();
                let mut shared = ledger.shared.lock();
                let (holders, _) = shared.entry(name).or_insert((0, bytes));
                *holders += 1;
                if *holders == 1 {
                    ledger.add(bytes);
                }
            }
        }
        Piece { content, at, ledger: ledger.clone() }
    }

    fn rest(&self) -> &[u8] {
        let bytes = match &self.content {
            Content::Own(bytes) => bytes,
            Content::Shared(source) => source.bytes(),
        };
        &bytes[self.at..]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        match &self.content {
            Content::Own(bytes) => self.ledger.remove(bytes.capacity()),
            Content::Shared(source) => {
                let name = source.memory().0;
                let mut shared = self.ledger.shared.lock();
                let Some((holders, bytes)) = shared.get_mut(&name) else { return };
                *holders -= 1;
                if *holders == 0 {
                    self.ledger.remove(*bytes);
                    shared.remove(&name);
                }
            }
        }
    }
}

/// What a full socket did not take of a write, in pieces.
#[derive(Default)]
pub struct Leftover(Vec<Piece>);

impl Leftover {
    /// Whether nothing is left over.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|piece| piece.rest().len()).sum()
    }

    /// Bytes that nobody else has go behind the rest.
    pub fn push(&mut self, bytes: &[u8], ledger: &Arc<Ledger>) {
        if !bytes.is_empty() {
            self.0.push(Piece::new(Content::Own(bytes.to_vec()), 0, ledger));
        }
    }

    /// Bytes that others have go behind the rest, from an offset on.
    pub fn share(&mut self, source: Source, at: usize, ledger: &Arc<Ledger>) {
        if planted::is(Fault::LeftoverDropped) {
            return;
        }
        let rest = &source.bytes()[at..];
        if planted::is(Fault::LeftoverCut) {
            return self.push(&rest[..rest.len() - 1], ledger);
        }
        match rest.len() {
            ..SHARED_BYTES => self.push(rest, ledger),
            _ => self.0.push(Piece::new(Content::Shared(source), at, ledger)),
        }
    }

    /// Writes piece by piece as much as `write` takes.
    pub fn write(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        while let Some(piece) = self.0.first_mut() {
            piece.at += write(piece.rest())?;
            if !piece.rest().is_empty() {
                return Ok(());
            }
            self.0.remove(0);
        }
        self.0 = Vec::new();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Entry;
    use crate::event::Event;
    use crate::position::Position;

    fn frame(bytes: usize) -> Arc<Frame> {
        let fields = vec![("data".into(), vec![b'x'; bytes].into())];
        let entry = Entry { position: Position::new(1, 0), fields };
        Arc::new(Frame::new(entry.position, Event::from_entry(&entry)))
    }

    #[test]
    fn what_many_share_is_counted_once_and_given_back_with_the_last() {
        let gauge = IntGauge::new("g", "g").expect("a name");
        let ledger = Ledger::new(50_000, gauge.clone());
        let large = frame(100_000);
        let of = |part, at| {
            let mut leftover = Leftover::default();
            leftover.push(b"id: 1-0\n", &ledger);
            leftover.share(Source::Frame(large.clone(), part, 2), at, &ledger);
            leftover
        };
        let mut all = vec![of(Part::Block, 0), of(Part::Rest, 7), of(Part::Chunk, 50_000)];
        assert_eq!(gauge.get() as usize, large.chunk().len() + 3 * 8);
        assert!(!ledger.is_over(), "one event may be as large as it is");
        // What is left of it is little: that is copied, and the frame may go.
        all.push(of(Part::Rest, 99_000));
        assert_eq!(Arc::strong_count(&large), 4);
        let other = frame(60_000);
        all.push(Leftover::default());
        all[4].share(Source::Frame(other.clone(), Part::Rest, 2), 0, &ledger);
        assert!(ledger.is_over());
        all.clear();
        assert_eq!((gauge.get(), ledger.is_over()), (0, false));
    }

    #[test]
    fn what_is_held_counts_as_it_changes() {
        let gauge = IntGauge::new("g", "g").expect("a name");
        let ledger = Ledger::new(100, gauge.clone());
        let (mut one, mut other) = (Held::new(ledger.clone()), Held::new(ledger.clone()));
        for (bytes, sum) in [(70, 70), (20, 20), (60, 60)] {
            one.set(bytes);
            assert_eq!((one.bytes(), gauge.get()), (bytes, sum));
        }
        other.set(60);
        assert!(ledger.is_over());
        drop(one);
        assert_eq!((gauge.get(), ledger.is_over()), (60, false));
    }
}
