//! A node's record: what it says of itself to the others. Pure.
//!
//! Others may be of another release, so every member has a default and unknown ones are passed over.

use crate::health::STARTING;
use crate::hub::distinct::{Slots, rate};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// What one node tells of itself. Rates are per second, over the time since the record before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Of this process; a restart has a new one.
    pub id: String,
    /// For people: host and port.
    pub name: String,
    /// Where clients connect, a URL: `--public-url`, else the address that it listens on.
    pub address: String,
    /// What clients need: `none`, `jwt` or `forward`.
    pub auth: String,
    pub version: String,
    /// When it was made, in Unix milliseconds by the backplane's clock.
    pub at_ms: u64,
    pub uptime_seconds: u64,
    /// `starting`, `ok`, `degraded` or `draining`.
    pub state: String,
    pub connections: u64,
    pub connection_limit: u64,
    pub subscriptions: u64,
    pub channels: u64,
    pub tail_bytes: u64,
    pub tail_bytes_limit: u64,
    pub memory_bytes: u64,
    /// Events read from the backplane. Nodes that follow one channel read the same ones; see [`events_in`].
    pub events_in: f64,
    /// Those of the last complete slots of time; `None` where the node is of a release that does not tell.
    #[serde(deserialize_with = "slots_or_none", skip_serializing_if = "Option::is_none")]
    pub read: Option<Slots>,
    /// Events written to sockets.
    pub deliveries: f64,
    pub bytes_out: f64,
    /// Share of a core, 0 to the number of cores.
    pub cpu: f64,
    pub lag: Option<Lag>,
    /// Since the start, by reason; what never happened is left out.
    pub refused: BTreeMap<String, u64>,
    pub closed: BTreeMap<String, u64>,
    pub resumes: BTreeMap<String, u64>,
    pub gaps: BTreeMap<String, u64>,
    pub backplane: Link,
    /// The last five minutes: a number for every ten seconds.
    pub past: Past,
    /// The last hour: a number for every two minutes.
    pub hour: Past,
    /// The channels with most subscribers here, and those with most events.
    pub top: Vec<Busy>,
}

impl Record {
    /// Whether the node has lost its backplane, or has looked for it in vain for too long; one that is starting has not.
    pub fn is_cut_off(&self) -> bool {
        !self.backplane.up && self.state != STARTING
    }
}

/// What cannot be understood, as another release may write it, is as good as nothing.
fn slots_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Slots>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(|value| serde_json::from_value(value).ok())
}

/// Different events that all nodes read in a second. An event that several nodes read counts once; above some sixty a
/// second it is an estimate with a standard error of 3.25 %. Of one node its own rate, which is exact.
pub fn events_in(nodes: &[Record]) -> f64 {
    if let [node] = nodes {
        return node.events_in;
    }
    let told = nodes.iter().filter_map(|node| Some((node.at_ms, node.read.as_ref()?)));
    let untold = nodes.iter().filter(|node| node.read.is_none()).map(|node| node.events_in);
    (rate(told) + untold.sum::<f64>()).round()
}

/// From an entry's time to the write on the socket, in seconds: upper bounds of histogram buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lag {
    pub p50: f64,
    pub p99: f64,
}

/// A time that is over, oldest first: each array has at most thirty numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    pub connections: Vec<u64>,
    pub subscriptions: Vec<u64>,
    /// Means of the rates.
    pub events_in: Vec<u64>,
    pub deliveries: Vec<u64>,
    pub bytes_out: Vec<u64>,
    /// The worst 99th percentile of two seconds, in seconds; 0 where nothing was delivered.
    pub lag: Vec<f64>,
    /// The worst of the backplane's mean times of a command, in seconds.
    pub command: Vec<f64>,
}

/// How the node finds its backplane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    pub up: bool,
    pub name: String,
    pub version: Option<String>,
    pub follow: Option<String>,
    pub trouble: Option<String>,
    pub reconnects: u64,
    /// Mean time of a command, in seconds.
    pub command_seconds: Option<f64>,
    pub shards_down: u64,
}

/// One channel on one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Busy {
    pub channel: String,
    pub subscribers: u64,
    /// Events per second.
    pub rate: f64,
    pub position: String,
    pub history_entries: Option<u64>,
    pub history_seconds: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_tell_what_it_read_is_added() {
        let node = |text: &str| serde_json::from_str::<Record>(text).unwrap();
        let other = node(r#"{"id":"b","events_in":7,"read":{"850000000":{"registers":"x"}}}"#);
        assert_eq!((&*other.id, &other.read), ("b", &None), "of another form");
        let older = node(r#"{"events_in":3}"#);
        assert_eq!(events_in(std::slice::from_ref(&older)), 3.0);
        assert_eq!(events_in(&[older, other, node(r#"{"events_in":5,"read":{}}"#)]), 10.0);
    }

    #[test]
    fn records_of_other_releases_are_understood() {
        let record: Record = serde_json::from_str(r#"{"id":"a","connections":3,"new_member":[1]}"#).unwrap();
        assert_eq!((&*record.id, record.connections, record.lag), ("a", 3, None));
        assert_eq!((&record.past, &record.hour), (&Past::default(), &Past::default()));
        let text = serde_json::to_string(&Record { lag: Some(Lag { p50: 0.1, p99: 1.0 }), ..record.clone() }).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap().lag.unwrap().p99, 1.0);
    }
}
