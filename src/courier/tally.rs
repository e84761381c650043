//! A courier's counters: plain numbers on its own thread, given to the metrics once per tick.

use super::metrics::CourierMetrics;
use prometheus::Counter;
use std::sync::Arc;
use std::time::Duration;

/// What one courier has counted since it last [published](Tally::publish) it.
pub struct Tally {
    metrics: Arc<CourierMetrics>,
    /// Events written, one per subscriber that got it.
    pub delivered: u64,
    /// Bytes that sockets took.
    pub bytes: u64,
    /// Bytes before and after compression.
    pub compressed: (u64, u64),
    /// Subscribers that were looked at and have all there is.
    pub abreast: u64,
    /// Time not spent waiting.
    pub busy: Duration,
    busy_seconds: Counter,
}

impl Tally {
    /// Counts of one courier, for `metrics`.
    pub fn new(metrics: &Arc<CourierMetrics>, courier: usize) -> Tally {
        let busy_seconds = metrics.busy_courier(courier);
        let metrics = metrics.clone();
        Tally { metrics, delivered: 0, bytes: 0, compressed: (0, 0), abreast: 0, busy: Duration::ZERO, busy_seconds }
    }

    /// Adds what was counted to the metrics.
    pub fn publish(&mut self) {
        self.metrics.events_delivered.inc_by(std::mem::take(&mut self.delivered));
        self.busy_seconds.inc_by(std::mem::take(&mut self.busy).as_secs_f64());
        self.metrics.delivered_bytes.inc_by(std::mem::take(&mut self.bytes));
        self.metrics.subscriber_lag.observe(0.0, std::mem::take(&mut self.abreast));
        let (plain, packed) = std::mem::take(&mut self.compressed);
        self.metrics.compressed_plain_bytes.inc_by(plain);
        self.metrics.compressed_bytes.inc_by(packed);
    }
}
