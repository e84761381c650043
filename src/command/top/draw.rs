//! What `fantail top` shows. Pure: from what a node told to cells of a terminal, or lines of text.

use super::cluster::{self, Cluster};
use crate::command::printable::printable;
use crate::roster::Record;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::{Cell, Paragraph, Row, Sparkline, Table, TableState, Wrap};
use std::collections::VecDeque;

/// Looks that the sparkline of deliveries shows.
const SPARKS: usize = 300;
const NODE_COLUMNS: [&str; 10] =
    ["NODE", "STATE", "CONNECTIONS", "IN/S", "OUT/S", "LAG P99", "CPU", "MEMORY", "REDIS", "UPTIME"];
/// Columns of nodes that a narrow screen goes without, the first one first: a number is shown whole or not at all.
const GIVE_WAY: [usize; 7] = [9, 7, 6, 5, 8, 3, 4];
/// A node's name is cut to no less than this.
const SHORTEST_NAME: usize = 12;
const CHANNEL_COLUMNS: [&str; 4] = ["CHANNEL", "SUBSCRIBERS", "NODES", "EVENTS/S"];

/// The screen's state between looks.
pub struct View {
    url: String,
    cluster: Cluster,
    trouble: Option<String>,
    deliveries: VecDeque<u64>,
    channels: TableState,
}

impl View {
    pub fn new(url: &str) -> View {
        View {
            url: url.to_owned(),
            cluster: Cluster::default(),
            trouble: None,
            deliveries: VecDeque::new(),
            channels: TableState::default(),
        }
    }

    /// Takes the outcome of a look; the last good one stays on the screen.
    pub fn take(&mut self, look: Result<Cluster, String>) {
        match look {
            Ok(cluster) => {
                let deliveries: f64 = cluster.nodes.iter().map(|node| node.deliveries).sum();
                self.deliveries.push_front(deliveries as u64);
                self.deliveries.truncate(SPARKS);
                self.cluster = cluster;
                self.trouble = None;
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    pub fn scroll(&mut self, rows: i32) {
        let last = self.cluster.channels.len().saturating_sub(1);
        let at = self.channels.selected().unwrap_or(0).saturating_add_signed(rows as isize);
        self.channels.select(Some(at.min(last)));
    }

    pub fn draw(&mut self, frame: &mut Frame) {
        let nodes = (self.cluster.nodes.len() as u16 + 1).min(frame.area().height / 2);
        let summary = match &self.trouble {
            Some(why) => format!("{}: {}", self.url, printable(why)),
            None => summary(&self.cluster),
        };
        let width = usize::from(frame.area().width).max(1);
        let [head, spark, upper, _, lower] = Layout::vertical([
            Constraint::Length(summary.chars().count().div_ceil(width).clamp(1, 3) as u16),
            Constraint::Length(3),
            Constraint::Length(nodes),
            Constraint::Length(1),
            Constraint::Min(3),
        ])
        .areas(frame.area());
        let color = if self.trouble.is_some() { Color::Red } else { Color::Reset };
        let summary = Paragraph::new(summary).wrap(Wrap { trim: true }).style(Style::new().fg(color));
        frame.render_widget(summary, head);
        let style = Style::new().fg(Color::Cyan);
        frame.render_widget(Sparkline::default().data(self.deliveries.iter().copied()).style(style), spark);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let cells: Vec<_> = self.cluster.nodes.iter().map(|node| node_cells(node, &self.cluster)).collect();
        let columns = fitting(&cells, width);
        let pick = |cells: &[String; 10]| columns.iter().map(|(at, _)| Cell::new(cells[*at].clone())).collect::<Row>();
        let rows = self.cluster.nodes.iter().zip(&cells).map(|(node, cells)| {
            let color = if node.state == "ok" { Color::Reset } else { Color::Yellow };
            pick(cells).style(Style::new().fg(color))
        });
        let widths = columns.iter().map(|(_, width)| Constraint::Length(*width as u16));
        let header = pick(&NODE_COLUMNS.map(str::to_owned)).style(bold);
        frame.render_widget(Table::new(rows, widths).header(header), upper);
        let rows = self.cluster.channels.iter().map(|row| Row::new(channel_cells(row).map(Cell::new)));
        let widths = [Constraint::Min(20), Constraint::Length(12), Constraint::Length(6), Constraint::Length(10)];
        let table = Table::new(rows, widths).header(Row::new(CHANNEL_COLUMNS).style(bold));
        let table = table.row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        frame.render_stateful_widget(table, lower, &mut self.channels);
    }
}

/// Columns of nodes that fit side by side, with their widths. Where not all do, the least important are left out; only
/// names may be cut.
fn fitting(cells: &[[String; 10]], width: usize) -> Vec<(usize, usize)> {
    let widest = |at: usize| {
        let cells = cells.iter().map(|row| row[at].chars().count());
        cells.chain([NODE_COLUMNS[at].len()]).max().unwrap_or(0)
    };
    let mut columns: Vec<(usize, usize)> = (0..NODE_COLUMNS.len()).map(|at| (at, widest(at))).collect();
    let taken = |columns: &[(usize, usize)]| columns.iter().map(|(_, width)| width + 1).sum::<usize>() - 1;
    for at in GIVE_WAY {
        // A long name gives way before a number does.
        let spare = columns[0].1.saturating_sub(2 * SHORTEST_NAME);
        if taken(&columns) <= width + spare {
            break;
        }
        columns.retain(|(column, _)| *column != at);
    }
    let over = taken(&columns).saturating_sub(width);
    columns[0].1 = columns[0].1.saturating_sub(over).max(SHORTEST_NAME.min(columns[0].1));
    columns
}

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

fn summary(cluster: &Cluster) -> String {
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

fn node_cells(node: &Record, cluster: &Cluster) -> [String; 10] {
    let link = &node.backplane;
    let follow = link.follow.as_deref().unwrap_or("–");
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
        format!("{} {}", if link.up { "up" } else { "DOWN" }, plain(follow)),
        uptime(node.uptime_seconds),
    ]
}

/// Whole minutes from the first one on.
fn uptime(seconds: u64) -> String {
    let shown = if seconds < 60 { seconds } else { seconds / 60 * 60 };
    humantime::format_duration(std::time::Duration::from_secs(shown)).to_string()
}

fn channel_cells(row: &cluster::Row) -> [String; 4] {
    [plain(&row.channel), row.subscribers.to_string(), row.nodes.to_string(), format!("{:.1}", row.rate)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn cluster() -> Cluster {
        let node = |id: &str, name: &str| Record {
            id: id.into(),
            name: name.into(),
            state: "ok".into(),
            connections: 5,
            connection_limit: 10,
            ..Record::default()
        };
        let channels = vec![cluster::Row { channel: "orders".into(), subscribers: 7, nodes: 2, rate: 1.5 }];
        Cluster {
            own: "b".into(),
            events_in: None,
            nodes: vec![node("a", "one:1"), node("b", "evil\u{1b}[2J:2")],
            channels,
        }
    }

    #[test]
    fn the_screen_shows_nodes_channels_and_trouble() {
        let mut terminal = Terminal::new(TestBackend::new(130, 20)).unwrap();
        let mut view = View::new("http://n");
        view.take(Ok(cluster()));
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let shown = terminal.backend().to_string();
        for part in ["2 nodes  10 of 20 connections", "one:1", "orders", "1.5"] {
            assert!(shown.contains(part), "{part} in\n{shown}");
        }
        view.take(Err("connection refused".into()));
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let shown = terminal.backend().to_string();
        assert!(shown.contains("http://n: connection refused") && shown.contains("orders"), "{shown}");
    }

    #[test]
    fn a_narrow_screen_cuts_no_number() {
        let mut large = cluster();
        for node in &mut large.nodes {
            (node.connections, node.connection_limit) = (999_999, 1_000_000);
            (node.events_in, node.deliveries, node.cpu) = (123_456.0, 98_765_432.0, 12.34);
            (node.memory_bytes, node.uptime_seconds) = (9_876_543_210, 86_400 * 300 + 3_600 * 23);
            node.name = "fantail-5d9c7b8f6d-x2x4q.production:8080".into();
            node.backplane.follow = Some("tracking".into());
        }
        for (width, least) in [(80, 6), (100, 8), (130, 9), (200, 10)] {
            let mut terminal = Terminal::new(TestBackend::new(width, 20)).unwrap();
            let mut view = View::new("http://n");
            view.take(Ok(large.clone()));
            terminal.draw(|frame| view.draw(frame)).unwrap();
            let shown = terminal.backend().to_string();
            let cells: Vec<_> = large.nodes.iter().map(|node| node_cells(node, &large)).collect();
            let columns = fitting(&cells, width.into());
            assert!(columns.len() >= least, "{columns:?} of {width}");
            for (at, _) in &columns[1..] {
                assert!(shown.contains(&cells[0][*at]), "{} at {width} in\n{shown}", cells[0][*at]);
            }
            let words = shown.replace('"', "").split_whitespace().collect::<Vec<_>>().join(" ");
            for number in ["2 nodes", "1999998 of 2000000", "246912 events in/s", "197530864 deliveries/s"] {
                assert!(words.contains(number), "{number} at {width} in\n{shown}");
            }
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
    fn a_young_node_has_an_age() {
        assert_eq!([0, 59, 60, 7_259].map(uptime), ["0s", "59s", "1m", "2h"]);
    }

    #[test]
    fn nothing_that_a_node_says_steers_the_terminal() {
        let text = text(&cluster());
        assert!(!text.contains('\u{1b}') && text.contains("orders"), "{text}");
    }
}
