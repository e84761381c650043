//! What a worker writes down: counters, latencies, each event's first and last arrival, the checker's verdicts.

use super::protocol::{Collected, EventTimes, Stats};
use crate::centrifugo::published;
use crate::checker::{Checker, Leg, ids_advance};
use crate::clients::TRACKED;
use crate::clients::parser::Block;
use crate::payload::Payload;
use hdrhistogram::Histogram;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Most events whose times are kept between two resets.
const MOST_EVENTS: usize = 200_000;

/// Up to an hour in microseconds, three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("valid bounds")
}

/// The books of one class of readers, and of all.
pub struct Books {
    pub stats: Stats,
    pub normal: Checker,
    pub slow: Checker,
    latency: Histogram<u64>,
    join: Histogram<u64>,
    events: BTreeMap<(u32, u64), EventTimes>,
    /// Before a channel's number in its name.
    pub prefix: String,
    pub compare_ids: bool,
    /// Events come within a push of Centrifugo's.
    pub within_pushes: bool,
}

impl Books {
    pub fn new() -> Books {
        Books {
            stats: Stats::default(),
            normal: Checker::default(),
            slow: Checker::default(),
            latency: histogram(),
            join: histogram(),
            events: BTreeMap::new(),
            prefix: String::new(),
            compare_ids: false,
            within_pushes: false,
        }
    }

    /// A block arrived at a client with these legs. Its id, if it has one, is stored.
    pub fn block(&mut self, reader: &mut Reader<'_>, block: &Block<'_>, now: u64) {
        self.stats.comments += u64::from(block.comment);
        match (&block.data, block.kind) {
            (Some(data), Some(b"fantail.gap")) => self.gap(reader, data),
            (Some(_), Some(kind)) if kind.starts_with(b"fantail.") => {}
            (Some(push), _) if self.within_pushes => {
                if let Some(data) = published(push) {
                    self.event(reader, data, block.id, now);
                }
            }
            (Some(data), _) => self.event(reader, data, block.id, now),
            (None, _) => {}
        }
        if let (Some(id), true) = (block.id, self.compare_ids) {
            reader.id.clear();
            reader.id.extend_from_slice(id);
        }
    }

    fn event(&mut self, reader: &mut Reader<'_>, data: &[u8], id: Option<&[u8]>, now: u64) {
        let checker = if reader.is_slow { &mut self.slow } else { &mut self.normal };
        let payload = Payload::read(data);
        let leg = payload.and_then(|p| reader.legs.iter_mut().find(|(channel, _)| *channel == p.channel));
        let (Some(payload), Some((channel, leg))) = (payload, leg) else {
            checker.tally.foreign += 1;
            return;
        };
        let due = checker.arrived(reader.client, *channel, leg, payload.sequence);
        if self.compare_ids && due && !ids_advance(reader.id, id.unwrap_or_default()) {
            checker.tally.id_disorder += 1;
        }
        if reader.is_slow {
            self.stats.delivered_slow += u64::from(due);
            return;
        }
        self.stats.delivered += u64::from(due);
        self.stats.last_delivery = now;
        self.latency.saturating_record((now.saturating_sub(payload.intended) / 1_000).max(1));
        if payload.channel < TRACKED {
            self.arrival(&payload, now);
        }
    }

    fn arrival(&mut self, payload: &Payload, now: u64) {
        let one = EventTimes {
            channel: payload.channel,
            sequence: payload.sequence,
            intended: payload.intended,
            first: now,
            last: now,
            count: 1,
        };
        let key = (payload.channel, payload.sequence);
        if let Some(times) = self.events.get_mut(&key) {
            times.merge(&one);
        } else if self.events.len() < MOST_EVENTS {
            self.events.insert(key, one);
        }
    }

    fn gap(&mut self, reader: &mut Reader<'_>, data: &[u8]) {
        #[derive(Deserialize)]
        struct Gap {
            channel: String,
        }
        let checker = if reader.is_slow { &mut self.slow } else { &mut self.normal };
        let number = serde_json::from_slice::<Gap>(data)
            .ok()
            .and_then(|gap| gap.channel.strip_prefix(&self.prefix)?.parse::<u32>().ok());
        match reader.legs.iter_mut().find(|(channel, _)| Some(*channel) == number) {
            Some((channel, leg)) => checker.gap(reader.client, *channel, leg),
            None => checker.tally.foreign += 1,
        }
    }

    pub fn joined(&mut self, started: u64, now: u64) {
        self.join.saturating_record(((now - started) / 1_000).max(1));
        self.stats.last_live = now;
    }

    pub fn reset(&mut self) {
        self.latency.reset();
        self.join.reset();
        self.events.clear();
        self.stats.first_connect = 0;
        self.stats.last_live = 0;
        self.stats.last_delivery = 0;
    }

    pub fn snapshot(&self, live: u64, pending: u64) -> Stats {
        Stats { live, pending, tally: self.normal.tally, tally_slow: self.slow.tally, ..self.stats.clone() }
    }

    pub fn collect(&self) -> Collected {
        let pairs =
            |h: &Histogram<u64>| h.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect();
        Collected {
            latency: pairs(&self.latency),
            join: pairs(&self.join),
            events: self.events.values().copied().collect(),
        }
    }
}

/// A client, as far as the books need it.
pub struct Reader<'a> {
    pub client: u32,
    pub is_slow: bool,
    pub legs: &'a mut [(u32, Leg)],
    /// The last event id.
    pub id: &'a mut Vec<u8>,
}
