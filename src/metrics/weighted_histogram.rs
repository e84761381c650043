//! A histogram that takes many equal observations at once: a broadcast is timed once per slice, not per write.

use prometheus::core::{Collector, Desc};
use prometheus::proto;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A histogram of weighted observations. Cheap to clone; clones share their counts.
#[derive(Clone)]
pub struct WeightedHistogram(Arc<Inner>);

struct Inner {
    desc: Desc,
    bounds: &'static [f64],
    /// One more than bounds: the last holds what exceeds them all.
    counts: Box<[AtomicU64]>,
    /// In millionths of the unit.
    sum: AtomicU64,
}

impl WeightedHistogram {
    /// `bounds` are upper bounds, inclusive and growing.
    pub fn new(name: &str, help: &str, bounds: &'static [f64]) -> WeightedHistogram {
        let desc = Desc::new(name.into(), help.into(), vec![], HashMap::new()).expect("a valid name");
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        WeightedHistogram(Arc::new(Inner { desc, bounds, counts, sum: AtomicU64::new(0) }))
    }

    /// How many were observed up to each bound and above the one before it, and above all.
    pub fn counts(&self) -> Vec<u64> {
        self.0.counts.iter().map(|count| count.load(Relaxed)).collect()
    }

    pub fn bounds(&self) -> &'static [f64] {
        self.0.bounds
    }

    /// Observes `value` `times` times.
    pub fn observe(&self, value: f64, times: u64) {
        if times == 0 {
            return;
        }
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(times, Relaxed);
        self.0.sum.fetch_add((value.max(0.0) * 1e6) as u64 * times, Relaxed);
    }
}

impl Collector for WeightedHistogram {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut total = 0;
        let mut buckets = Vec::with_capacity(self.0.bounds.len());
        for (bound, count) in self.0.bounds.iter().zip(&self.0.counts) {
            total += count.load(Relaxed);
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(total);
            buckets.push(bucket);
        }
        total += self.0.counts[self.0.bounds.len()].load(Relaxed);
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(total);
        histogram.set_sample_sum(self.0.sum.load(Relaxed) as f64 / 1e6);
        let mut metric = proto::Metric::default();
        metric.set_histogram(histogram);
        let mut family = proto::MetricFamily::default();
        family.set_name(self.0.desc.fq_name.clone());
        family.set_help(self.0.desc.help.clone());
        family.set_field_type(proto::MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_weighted() {
        let histogram = WeightedHistogram::new("x", "y", &[1.0, 2.0]);
        histogram.observe(0.5, 3);
        histogram.observe(2.0, 1);
        histogram.observe(9.0, 2);
        histogram.observe(1.0, 0);
        let family = &histogram.collect()[0];
        let histogram = family.get_metric()[0].get_histogram();
        let counts: Vec<u64> = histogram.get_bucket().iter().map(|b| b.cumulative_count()).collect();
        assert_eq!((counts, histogram.get_sample_count()), (vec![3, 4], 6));
        assert_eq!(histogram.get_sample_sum(), 21.5);
    }
}
