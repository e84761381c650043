//! What `fantail top` shows, as text. Pure: from what a node told to cells and lines.

use super::cluster::{Cluster, Row};
use crate::command::printable::printable;
use crate::roster::Record;

/// Heads of the table of nodes.
pub const NODE_COLUMNS: [&str; 10] =
    ["NODE", "STATE", "CONNECTIONS", "IN/S", "OUT/S", "LAG P99", "CPU", "MEMORY", "REDIS", "UPTIME"];
/// Heads of the table of channels.
pub const CHANNEL_COLUMNS: [&str; 4] = ["CHANNEL", "SUBSCRIBERS", "NODES", "EVENTS/S"];

/// The cluster as lines, columns separated by two spaces.
pub fn text(cluster: &Cluster) -> String {
    let nodes = cluster.nodes.iter().map(|node| node_cells(node, cluster).to_vec());
    let channels = cluster.channels.iter().map(|row| channel_cells(row).to_vec());
    let mut out = summary(cluster) + "\n\n";
    out += &table(&NODE_COLUMNS, nodes.collect());
    out.push('\n');
    out += &table(&CHANNEL_COLUMNS, channels.collect());
    out
}

fn table(head: &[&str], mut rows: Vec<Vec<String>>) -> String {
    rows.insert(0, head.iter().map(|name| (*name).to_owned()).collect());
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}

/// The whole cluster in one line.
pub fn summary(cluster: &Cluster) -> String {
    let sum = |of: fn(&Record) -> f64| cluster.nodes.iter().map(of).sum::<f64>();
    let away = if cluster.is_cut_off() { "Redis is away, others as last heard  " } else { "" };
    format!(
        "{away}{} {}  {} of {} connections  {} events in/s  {} deliveries/s",
        cluster.nodes.len(),
        if cluster.nodes.len() == 1 { "node" } else { "nodes" },
        sum(|node| node.connections as f64),
        sum(|node| node.connection_limit as f64),
        cluster.events_in.unwrap_or_else(|| sum(|node| node.events_in)),
        sum(|node| node.deliveries),
    )
}

/// Names and states come from other nodes: nothing of them may steer the terminal.
fn plain(text: &str) -> String {
    printable(text).replace('\n', " ")
}

/// A node's cells, one for each of [`NODE_COLUMNS`].
pub fn node_cells(node: &Record, cluster: &Cluster) -> [String; 10] {
    let link = match () {
        () if node.backplane.up => "up",
        () if node.is_cut_off() => "DOWN",
        () => "connecting",
    };
    let follow = node.backplane.follow.as_deref().unwrap_or("–");
    [
        format!("{}{}", plain(&node.name), if node.id == cluster.own { " *" } else { "" }),
        match cluster.silent_seconds(node) {
            Some(seconds) => format!("{}, {seconds}s ago", plain(&node.state)),
            None => plain(&node.state),
        },
        format!("{}/{}", node.connections, node.connection_limit),
        format!("{:.0}", node.events_in),
        format!("{:.0}", node.deliveries),
        node.lag.map_or("–".into(), |lag| format!("{} ms", lag.p99 * 1000.0)),
        format!("{:.0} %", node.cpu * 100.0),
        format!("{:.1} MiB", node.memory_bytes as f64 / 1_048_576.0),
        format!("{link} {}", plain(follow)),
        uptime(node.uptime_seconds),
    ]
}

/// Whole minutes from the first one on.
fn uptime(seconds: u64) -> String {
    let shown = if seconds < 60 { seconds } else { seconds / 60 * 60 };
    humantime::format_duration(std::time::Duration::from_secs(shown)).to_string()
}

/// A channel's cells, one for each of [`CHANNEL_COLUMNS`].
pub fn channel_cells(row: &Row) -> [String; 4] {
    [plain(&row.channel), row.subscribers.to_string(), row.nodes.to_string(), format!("{:.1}", row.rate)]
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Two nodes and a channel; a name that would steer a terminal.
    pub fn cluster() -> Cluster {
        let node = |id: &str, name: &str| Record {
            id: id.into(),
            name: name.into(),
            state: "ok".into(),
            connections: 5,
            connection_limit: 10,
            ..Record::default()
        };
        let channels = vec![Row { channel: "orders".into(), subscribers: 7, nodes: 2, rate: 1.5 }];
        Cluster {
            own: "b".into(),
            events_in: None,
            nodes: vec![node("a", "one:1"), node("b", "evil\u{1b}[2J:2")],
            channels,
        }
    }

    #[test]
    fn an_outage_of_the_backplane_is_told_and_others_are_as_they_were() {
        let mut away = cluster();
        (away.nodes[0].at_ms, away.nodes[1].at_ms) = (65_000, 100_000);
        away.nodes[1].backplane.up = true;
        assert!(!text(&away).contains("Redis is away"), "another one's link says nothing of this one's");
        away.nodes[1].backplane.up = false;
        let told = text(&away);
        assert!(told.starts_with("Redis is away") && told.contains("ok, 35s ago"), "{told}");
    }

    #[test]
    fn a_node_that_is_starting_is_not_cut_off() {
        let mut young = cluster();
        young.nodes[1].state = "starting".into();
        let told = text(&young);
        assert!(!told.contains("Redis is away") && told.contains("connecting –"), "{told}");
        young.nodes[1].state = "degraded".into();
        assert!(text(&young).contains("DOWN –"), "{}", text(&young));
    }

    #[test]
    fn a_young_node_has_an_age() {
        assert_eq!([0, 59, 60, 7_259].map(uptime), ["0s", "59s", "1m", "2h"]);
    }

    #[test]
    fn nothing_that_a_node_says_steers_the_terminal() {
        let text = text(&cluster());
        assert!(!text.contains('\u{1b}') && text.contains("orders"), "{text}");
    }
}
