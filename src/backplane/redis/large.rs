//! What is known of streams whose entries are large: which of them are read apart from others, and which entries are too
//! large to be read at all. Bounded, and forgotten where it overflows: then it is found out again.

use crate::channel::Channel;
use crate::hash::HashMap;
use crate::position::Position;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// An entry that takes so much, in bytes, is not read together with other streams' entries.
pub const LARGE: usize = 256 << 10;
/// A stream is read apart for so long after its last large entry.
const APART: Duration = Duration::from_secs(600);
/// Streams of which anything is remembered.
const STREAMS: usize = 4_096;
/// Entries of one stream that are known to be too large, at most: the newest.
const ENTRIES: usize = 16;

/// What is known of one server's large entries.
#[derive(Default)]
pub struct Large(Mutex<HashMap<Channel, Known>>);

struct Known {
    seen: Instant,
    /// Ascending.
    too_large: Vec<Position>,
}

impl Large {
    /// Notes that a large entry was found; whether it is the stream's first for a while.
    pub fn found(&self, channel: &Channel) -> bool {
        let mut streams = self.0.lock();
        let before = known(&mut streams, channel);
        let first = before.seen.elapsed() >= APART;
        before.seen = Instant::now();
        first
    }

    /// Notes an entry that is too large to be read.
    pub fn found_too_large(&self, channel: &Channel, position: Position) {
        let mut streams = self.0.lock();
        let known = known(&mut streams, channel);
        known.seen = Instant::now();
        if let Err(at) = known.too_large.binary_search(&position) {
            known.too_large.insert(at, position);
            if known.too_large.len() > ENTRIES {
                known.too_large.remove(0);
            }
        }
    }

    /// Whether a stream is read apart from others.
    pub fn is_apart(&self, channel: &Channel) -> bool {
        self.0.lock().get(channel).is_some_and(|known| known.seen.elapsed() < APART)
    }

    /// The entries of a stream that are known to be too large, within inclusive bounds, ascending.
    pub fn too_large_within(&self, channel: &Channel, oldest: Position, newest: Position) -> Vec<Position> {
        let streams = self.0.lock();
        let all = streams.get(channel).map_or(&[][..], |known| &known.too_large);
        all.iter().copied().filter(|position| (oldest..=newest).contains(position)).collect()
    }
}

fn known<'a>(streams: &'a mut HashMap<Channel, Known>, channel: &Channel) -> &'a mut Known {
    if streams.len() >= STREAMS && !streams.contains_key(channel) {
        streams.retain(|_, known| known.seen.elapsed() < APART);
        if streams.len() >= STREAMS {
            streams.clear();
        }
    }
    let long_ago = Instant::now().checked_sub(APART).unwrap_or_else(Instant::now);
    streams.entry(channel.clone()).or_insert_with(|| Known { seen: long_ago, too_large: Vec::new() })
}
