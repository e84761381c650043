//! A courier's counters: plain numbers on its own thread, given to the metrics once per tick.

use crate::metrics::Metrics;
use std::sync::Arc;

pub struct Tally {
    metrics: Arc<Metrics>,
    /// Events written, one per subscriber that got it.
    pub delivered: u64,
    /// Bytes that sockets took.
    pub bytes: u64,
    /// Bytes before and after compression.
    pub compressed: (u64, u64),
}

impl Tally {
    pub fn new(metrics: &Arc<Metrics>) -> Tally {
        Tally { metrics: metrics.clone(), delivered: 0, bytes: 0, compressed: (0, 0) }
    }

    pub fn publish(&mut self) {
        self.metrics.events_delivered.inc_by(std::mem::take(&mut self.delivered));
        self.metrics.delivered_bytes.inc_by(std::mem::take(&mut self.bytes));
        let (plain, packed) = std::mem::take(&mut self.compressed);
        self.metrics.compressed_plain_bytes.inc_by(plain);
        self.metrics.compressed_bytes.inc_by(packed);
    }
}
