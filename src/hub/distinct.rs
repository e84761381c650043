//! How many different events nodes have read, in a form that can be put together.
//!
//! Nodes that follow one channel read the same events, so the sum of what each has read counts an event once per node.
//! A sketch (HyperLogLog) of events can be merged: an event that many have read counts once. Time is cut into slots by
//! the events' own ids, so that all nodes put an event into the same slot.

use crate::channel::Channel;
use crate::cursor::name_hash;
use crate::position::Position;
use cardinality_estimator::CardinalityEstimator;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wyhash::WyHash;

/// Length of a slot in milliseconds.
const SLOT_MS: u64 = 2_000;
/// A slot is complete so many milliseconds after its end: what comes later is not counted.
const LATE_MS: u64 = 1_000;
/// Complete slots that a node tells of: records of nodes are up to one slot apart.
const TOLD: usize = 2;
/// Slots in memory: those that are told, the one between, and the one of now.
const KEPT: usize = TOLD + 2;
/// An id whose time is further from the clock is not the time when its event was published.
const FAR_MS: u64 = 5_000;
/// Two to this power are a sketch's registers: 768 bytes, a standard error of 3.25 % above 128 events.
const PRECISION: usize = 10;
/// Bits of a register.
const WIDTH: usize = 6;

/// Events by slot.
pub type Slots = BTreeMap<u64, Sketch>;

/// A set of events of which only the number can be had. Of up to 128 events the number is exact, but for collisions of
/// 32-bit hashes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sketch(CardinalityEstimator<(u32, u64, u64), WyHash, PRECISION, WIDTH>);

/// The events that this node has read in the last slots.
#[derive(Default)]
pub struct Distinct(Mutex<Slots>);

impl Distinct {
    /// Counts entries of a channel, read at `now_ms`, Unix milliseconds by the backplane's clock.
    pub fn add(&self, channel: &Channel, entries: impl IntoIterator<Item = Position>, now_ms: u64) {
        let hash = name_hash(channel);
        let mut slots = self.0.lock();
        for Position { ms, seq } in entries {
            let slot = if ms.abs_diff(now_ms) <= FAR_MS { ms } else { now_ms } / SLOT_MS;
            slots.entry(slot).or_default().0.insert(&(hash, ms, seq));
            while slots.len() > KEPT {
                slots.pop_first();
            }
        }
    }

    /// The newest complete slots at `now_ms`. A slot without events is left out.
    pub fn told(&self, now_ms: u64) -> Slots {
        let newest = complete(now_ms);
        let oldest = (newest + 1).saturating_sub(TOLD as u64);
        let mut slots = self.0.lock();
        slots.retain(|slot, _| *slot >= oldest);
        slots.range(..=newest).map(|(slot, sketch)| (*slot, sketch.clone())).collect()
    }
}

/// The newest slot that is complete.
fn complete(now_ms: u64) -> u64 {
    (now_ms.saturating_sub(LATE_MS) / SLOT_MS).saturating_sub(1)
}

/// Different events a second in the newest slot that all have told of. `told`: when each told, and what. Who told
/// before that slot was complete is left out.
pub fn rate<'a>(told: impl Iterator<Item = (u64, &'a Slots)> + Clone) -> f64 {
    let Some(newest) = told.clone().map(|(at_ms, _)| complete(at_ms)).max() else { return 0.0 };
    let heard = told.filter(|(at_ms, _)| complete(*at_ms) + TOLD as u64 > newest);
    let slot = heard.clone().map(|(at_ms, _)| complete(at_ms)).min().unwrap_or(newest);
    let mut all = Sketch::default();
    heard.filter_map(|(_, slots)| slots.get(&slot)).for_each(|sketch| all.0.merge(&sketch.0));
    all.0.estimate() as f64 / (SLOT_MS as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn read(events: impl Iterator<Item = (&'static str, u64)>) -> Distinct {
        let distinct = Distinct::default();
        events.for_each(|(name, ms)| {
            distinct.add(&Channel::new(name).unwrap(), [Position::new(NOW + ms, 0)], NOW + ms + 3);
        });
        distinct
    }

    fn rate_of(nodes: &[(u64, &Distinct)]) -> f64 {
        let told: Vec<(u64, Slots)> = nodes.iter().map(|(ms, node)| (NOW + ms, node.told(NOW + ms))).collect();
        let text = serde_json::to_string(&told).unwrap();
        let told: Vec<(u64, Slots)> = serde_json::from_str(&text).unwrap();
        rate(told.iter().map(|(at_ms, slots)| (*at_ms, slots)))
    }

    #[test]
    fn an_event_that_all_nodes_read_counts_once() {
        let every = |step: usize, name| (0..8_000u64).step_by(step).map(move |ms| (name, ms));
        let a = read(every(100, "all").chain(every(200, "mine")));
        let b = read(every(100, "all").chain(every(400, "other")));
        for later in [0, 500, 1_000, 1_900] {
            assert_eq!(rate_of(&[(5_100, &a), (5_100 + later, &b)]), 10.0 + 5.0 + 2.5, "{later} ms later");
        }
        assert_eq!(rate_of(&[(5_100, &a)]), 15.0);
        assert_eq!(rate_of(&[(5_100, &a), (9_900, &b)]), 12.5, "who has not been heard for long is left out");
        assert_eq!(rate_of(&[]), 0.0);
    }

    #[test]
    fn many_events_are_estimated_in_little_room() {
        let nodes = [0, 1].map(|_| read((0..8_000).flat_map(|ms| ["a", "b", "c"].map(|name| (name, ms)))));
        let rate = rate_of(&[(5_100, &nodes[0]), (5_900, &nodes[1])]);
        assert!((2_700.0..3_300.0).contains(&rate), "{rate}, not about 3000");
        let text = serde_json::to_string(&nodes[0].told(NOW + 5_100)).unwrap();
        assert!(text.len() < 5_000, "{} bytes", text.len());
    }

    #[test]
    fn ids_that_are_no_time_count_when_they_are_read() {
        let distinct = Distinct::default();
        let a = Channel::new("a").unwrap();
        distinct.add(&a, [(7, 0), (7, 1), (NOW + 3_600_000, 0)].map(|(ms, seq)| Position::new(ms, seq)), NOW + 100);
        assert_eq!(rate_of(&[(3_100, &distinct)]), 1.5);
        assert_eq!(rate_of(&[(7_100, &distinct)]), 0.0);
    }
}
