//! The cluster as a node's console tells of it.

use crate::roster::Record;
use serde::Deserialize;

/// A node of which nothing was heard for so long is shown with that time.
const SILENT_SECONDS: u64 = 6;

/// What a node's console tells.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Cluster {
    #[serde(default)]
    pub own: String,
    /// Different events that all nodes read in a second; `None` where the node is of a release that does not tell.
    #[serde(default)]
    pub events_in: Option<f64>,
    pub nodes: Vec<Record>,
    #[serde(default)]
    pub channels: Vec<Row>,
}

impl Cluster {
    /// Whether the node that was asked cannot hear of others.
    pub fn is_cut_off(&self) -> bool {
        self.nodes.iter().any(|node| node.id == self.own && node.is_cut_off())
    }

    /// How long nothing has been heard of a node that says something every two seconds; `None`: just now.
    pub fn silent_seconds(&self, node: &Record) -> Option<u64> {
        let own = self.nodes.iter().find(|node| node.id == self.own)?;
        Some(own.at_ms.saturating_sub(node.at_ms) / 1000).filter(|seconds| *seconds >= SILENT_SECONDS)
    }
}

/// A channel on all nodes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Row {
    pub channel: String,
    pub subscribers: u64,
    pub nodes: u64,
    pub rate: f64,
}
