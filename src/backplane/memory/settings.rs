//! What the in-process backplane may hold.

use crate::backplane::MAX_ENTRY_BYTES;

/// Bounds of the in-process backplane.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Entries that a stream keeps, exactly; 0: all.
    pub maxlen: u64,
    /// Memory for all streams, in bytes. At the bound the streams that hold most lose their older halves; an entry
    /// that could not fit at all is refused.
    pub max_bytes: usize,
    /// Channels that have a stream or are followed. At the bound new ones are refused.
    pub max_streams: usize,
    /// A larger entry is announced, not delivered, in bytes.
    pub max_entry_bytes: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { maxlen: 10_000, max_bytes: 256 << 20, max_streams: 1_000_000, max_entry_bytes: MAX_ENTRY_BYTES }
    }
}
