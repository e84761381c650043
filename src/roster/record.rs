//! A node's record: what it says of itself to the others. Pure.
//!
//! Others may be of another release, so every member has a default and unknown ones are passed over.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See the module. Rates are per second, over the time since the record before it.
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
    /// `ok`, `degraded` or `draining`.
    pub state: String,
    pub connections: u64,
    pub connection_limit: u64,
    pub subscriptions: u64,
    pub channels: u64,
    pub tail_bytes: u64,
    pub tail_bytes_limit: u64,
    pub memory_bytes: u64,
    /// Events read from the backplane.
    pub events_in: f64,
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
    /// The last minutes.
    pub past: Past,
    /// The channels with most subscribers here, and those with most events.
    pub top: Vec<Busy>,
}

/// From an entry's time to the write on the socket, in seconds: upper bounds of histogram buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lag {
    pub p50: f64,
    pub p99: f64,
}

/// The last minutes, oldest first: each array has one number for every ten seconds, and at most thirty.
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
    fn records_of_other_releases_are_understood() {
        let record: Record = serde_json::from_str(r#"{"id":"a","connections":3,"new_member":[1]}"#).unwrap();
        assert_eq!((&*record.id, record.connections, record.lag), ("a", 3, None));
        assert_eq!(record.past, Past::default());
        let text = serde_json::to_string(&Record { lag: Some(Lag { p50: 0.1, p99: 1.0 }), ..record.clone() }).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap().lag.unwrap().p99, 1.0);
    }
}
