//! Making this node's record: reads counters, and turns what they grew by into rates.

use super::past::Ring;
use super::record::{Busy, Lag, Link, Record};
use crate::backplane::metrics::BackplaneMetrics;
use crate::channel::Channel;
use crate::courier::metrics::CourierMetrics;
use crate::hash::HashSet;
use crate::health::Health;
use crate::hub::{Hub, Row};
use crate::limits::Limits;
use crate::metrics::WeightedHistogram;
use prometheus::IntCounterVec;
use prometheus::core::Collector as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// Channels that a record names for their subscribers, and for their rate.
pub const TOP: usize = 50;
const FASTEST: usize = 25;

/// What a record is made of.
pub struct Sources {
    pub hub: Arc<Hub>,
    pub limits: Arc<Limits>,
    pub couriers: Arc<CourierMetrics>,
    pub backplane: Arc<BackplaneMetrics>,
    /// Connections and subscriptions refused, by reason.
    pub refused: IntCounterVec,
    pub health: Arc<Health>,
    pub tail_bytes_limit: usize,
    pub started: Instant,
}

impl Sources {
    /// Brings what a record says of the node's state up to date: a record may be two seconds old.
    pub fn refresh(&self, record: &mut Record) {
        record.state = self.health.state().into();
        record.backplane = Link { command_seconds: record.backplane.command_seconds, ..self.link() };
    }

    /// The backplane as it is now, without what takes a while to tell.
    fn link(&self) -> Link {
        let facts = self.hub.backplane.facts();
        Link {
            up: self.health.is_up(),
            name: facts.name,
            version: facts.version,
            follow: facts.follow.map(str::to_owned),
            trouble: facts.trouble,
            reconnects: facts.reconnects,
            command_seconds: None,
            shards_down: facts.shards.iter().filter(|shard| !shard.up).count() as u64,
        }
    }
}

/// Remembers the sample before.
pub struct Sampler {
    at: Instant,
    events_in: u64,
    deliveries: u64,
    bytes_out: u64,
    cpu_seconds: f64,
    lags: Vec<u64>,
    commands: (u64, f64),
    past: Ring,
    hour: Ring,
}

impl Sampler {
    pub fn new(sources: &Sources) -> Sampler {
        let mut sampler = Sampler {
            at: Instant::now(),
            events_in: 0,
            deliveries: 0,
            bytes_out: 0,
            cpu_seconds: 0.0,
            lags: Vec::new(),
            commands: (0, 0.0),
            past: Ring::minutes(),
            hour: Ring::hour(),
        };
        sampler.sample(sources);
        sampler
    }

    /// The record of now; its id, name and time are the caller's to add.
    pub fn sample(&mut self, sources: &Sources) -> Record {
        let (hub, couriers) = (&sources.hub.metrics, &sources.couriers);
        let now = Instant::now();
        let seconds = now.duration_since(std::mem::replace(&mut self.at, now)).as_secs_f64().max(1e-3);
        let rate = |counter: u64, last: &mut u64| {
            (counter.saturating_sub(std::mem::replace(last, counter)) as f64 / seconds).round()
        };
        let (cpu_seconds, memory_bytes) = process();
        let cpu = (cpu_seconds - std::mem::replace(&mut self.cpu_seconds, cpu_seconds)) / seconds;
        let mut record = Record {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: sources.started.elapsed().as_secs(),
            state: sources.health.state().into(),
            connections: couriers.connections.get().max(0) as u64,
            connection_limit: sources.limits.max() as u64,
            subscriptions: couriers.subscriptions.get().max(0) as u64,
            channels: hub.channels.get().max(0) as u64,
            tail_bytes: hub.tail_bytes.get().max(0) as u64,
            tail_bytes_limit: sources.tail_bytes_limit as u64,
            memory_bytes,
            events_in: rate(hub.events_received.get(), &mut self.events_in),
            deliveries: rate(couriers.events_delivered.get(), &mut self.deliveries),
            bytes_out: rate(couriers.delivered_bytes.get(), &mut self.bytes_out),
            cpu: (cpu * 1000.0).round() / 1000.0,
            lag: self.lag(&couriers.delivery_lag),
            refused: totals(&sources.refused),
            closed: totals(couriers.connections_closed.family()),
            resumes: totals(hub.resumes.family()),
            gaps: totals(hub.gaps.family()),
            backplane: self.link(sources),
            top: top(&sources.hub, seconds),
            ..Record::default()
        };
        record.past = self.past.take(&record);
        record.hour = self.hour.take(&record);
        record
    }

    fn link(&mut self, sources: &Sources) -> Link {
        let (mut count, mut sum) = (0, 0.0);
        for family in sources.backplane.backplane_commands.collect() {
            for metric in family.get_metric() {
                count += metric.get_histogram().get_sample_count();
                sum += metric.get_histogram().get_sample_sum();
            }
        }
        let (before, before_sum) = std::mem::replace(&mut self.commands, (count, sum));
        let commands = count.saturating_sub(before);
        let command_seconds = (commands > 0).then(|| (sum - before_sum) / commands as f64);
        Link { command_seconds, ..sources.link() }
    }

    fn lag(&mut self, histogram: &WeightedHistogram) -> Option<Lag> {
        let counts = histogram.counts();
        let before = std::mem::replace(&mut self.lags, counts.clone());
        let grown: Vec<u64> =
            counts.iter().zip(before.iter().chain(std::iter::repeat(&0))).map(|(a, b)| a - b).collect();
        Some(Lag { p50: quantile(&grown, histogram.bounds(), 0.5)?, p99: quantile(&grown, histogram.bounds(), 0.99)? })
    }
}

/// The most subscribed channels, and behind them the fastest that are not among them.
fn top(hub: &Hub, seconds: f64) -> Vec<Busy> {
    let fastest = hub.fastest(FASTEST, seconds);
    let mut rows = hub.overview(TOP);
    let known: HashSet<Channel> = rows.iter().map(|row| row.channel.clone()).collect();
    rows.extend(fastest.into_iter().filter(|row| !known.contains(&row.channel)));
    rows.into_iter().map(busy).collect()
}

fn busy(row: Row) -> Busy {
    Busy {
        rate: tenths(row.rate),
        channel: row.channel.to_string(),
        subscribers: u64::from(row.legs),
        position: row.position.to_string(),
        history_entries: row.reach.map(|reach| reach.entries),
        history_seconds: row.reach.map(|reach| reach.seconds),
    }
}

/// A rate as records and answers have it.
pub fn tenths(rate: f32) -> f64 {
    (f64::from(rate) * 10.0).round() / 10.0
}

/// The upper bound of the bucket that holds a quantile; of the last bucket the greatest bound.
fn quantile(counts: &[u64], bounds: &[f64], share: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    let wanted = (total as f64 * share).ceil() as u64;
    let mut seen = 0;
    let at = counts.iter().position(|count| {
        seen += count;
        total > 0 && seen >= wanted
    })?;
    bounds.get(at).or(bounds.last()).copied()
}

/// What a family counts, by its label; zeros are left out.
fn totals(family: &IntCounterVec) -> BTreeMap<String, u64> {
    let mut totals = BTreeMap::new();
    for family in family.collect() {
        for metric in family.get_metric() {
            let count = metric.get_counter().get_value() as u64;
            if let (Some(label), 1..) = (metric.get_label().first(), count) {
                totals.insert(label.value().to_owned(), count);
            }
        }
    }
    totals
}

/// Processor seconds and resident bytes of this process.
fn process() -> (f64, u64) {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    (used.tv_sec as f64 + used.tv_nsec as f64 / 1e9, resident * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_bounds_of_buckets() {
        let bounds = [0.1, 0.2, 0.5];
        assert_eq!(quantile(&[0, 0, 0, 0], &bounds, 0.5), None);
        assert_eq!(quantile(&[1, 0, 0, 0], &bounds, 0.99), Some(0.1));
        assert_eq!(quantile(&[50, 49, 1, 0], &bounds, 0.5), Some(0.1));
        assert_eq!(quantile(&[50, 48, 2, 0], &bounds, 0.99), Some(0.5));
        assert_eq!(quantile(&[0, 0, 0, 1], &bounds, 0.5), Some(0.5));
    }
}
