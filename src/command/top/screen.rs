//! The screen of `fantail top`: looks again and again, draws what was seen, and obeys keys.
//!
//! The only part that knows ratatui; a build without the feature `top` goes without it.

use super::cluster::Cluster;
use super::lines::{CHANNEL_COLUMNS, NODE_COLUMNS, channel_cells, node_cells, summary};
use crate::command::printable::printable;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table, TableState, Wrap};
use ratatui::{DefaultTerminal, Frame};
use std::collections::VecDeque;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// How soon a key is answered.
const KEYS_EVERY: Duration = Duration::from_millis(100);
/// Looks that the sparkline of deliveries shows.
const SPARKS: usize = 300;
/// Columns of nodes that a narrow screen goes without, the first one first: a number is shown whole or not at all.
const GIVE_WAY: [usize; 7] = [9, 7, 6, 5, 8, 3, 4];
/// A node's name is cut to no less than this.
const SHORTEST_NAME: usize = 12;

/// Why the screen cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    #[error(transparent)]
    Terminal(#[from] std::io::Error),
    /// The thread that waits for keys is gone.
    #[error(transparent)]
    Keys(#[from] tokio::task::JoinError),
}

/// Shows what `look` brings, every so often, until a key ends it; `url` is named when a look fails.
pub async fn watch<E: Display>(
    url: &str,
    every: Duration,
    look: impl AsyncFn() -> Result<Cluster, E>,
) -> Result<(), ScreenError> {
    let mut terminal = ratatui::init();
    let shown = show(&mut terminal, View::new(url), every, look).await;
    ratatui::restore();
    shown
}

/// A look that fails is told on the screen; the next one follows all the same.
async fn show<E: Display>(
    terminal: &mut DefaultTerminal,
    mut view: View,
    every: Duration,
    look: impl AsyncFn() -> Result<Cluster, E>,
) -> Result<(), ScreenError> {
    let mut due = Instant::now();
    loop {
        if Instant::now() >= due {
            due = Instant::now() + every;
            view.take(look().await.map_err(|why| why.to_string()));
        }
        terminal.draw(|frame| view.draw(frame))?;
        let wait = due.saturating_duration_since(Instant::now()).min(KEYS_EVERY);
        let pressed = tokio::task::spawn_blocking(move || -> std::io::Result<Option<Event>> {
            event::poll(wait)?.then(event::read).transpose()
        });
        let pressed = pressed.await??;
        if let Some(Event::Key(key)) = pressed
            && key.kind != KeyEventKind::Release
            && view.obey(key)
        {
            return Ok(());
        }
    }
}

/// The screen's state between looks.
struct View {
    url: String,
    cluster: Cluster,
    trouble: Option<String>,
    deliveries: VecDeque<u64>,
    channels: TableState,
}

impl View {
    /// Nothing seen yet.
    fn new(url: &str) -> View {
        View {
            url: url.to_owned(),
            cluster: Cluster::default(),
            trouble: None,
            deliveries: VecDeque::new(),
            channels: TableState::default(),
        }
    }

    /// Takes the outcome of a look; the last good one stays on the screen.
    fn take(&mut self, look: Result<Cluster, String>) {
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

    /// Does what a key asks for; true where it ends the command.
    fn obey(&mut self, key: KeyEvent) -> bool {
        let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            _ if interrupt => return true,
            KeyCode::Down | KeyCode::Char('j') => self.scroll(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(-1),
            KeyCode::PageDown => self.scroll(10),
            KeyCode::PageUp => self.scroll(-10),
            _ => {}
        }
        false
    }

    fn scroll(&mut self, rows: i32) {
        let last = self.cluster.channels.len().saturating_sub(1);
        let at = self.channels.selected().unwrap_or(0).saturating_add_signed(rows as isize);
        self.channels.select(Some(at.min(last)));
    }

    /// Puts everything on the screen.
    fn draw(&mut self, frame: &mut Frame) {
        let nodes = (self.cluster.nodes.len() as u16 + 1).min(frame.area().height / 2);
        let summary = match &self.trouble {
            Some(why) => format!("{}: {}", self.url, printable(why)),
            None => summary(&self.cluster),
        };
        let width = usize::from(frame.area().width).max(1);
        let [head, spark, upper, _, lower] = Layout::vertical([
            Constraint::Length(summary.chars().count().div_ceil(width).clamp(1, 3) as u16),
            Constraint::Length(4),
            Constraint::Length(nodes),
            Constraint::Length(1),
            Constraint::Min(3),
        ])
        .areas(frame.area());
        let color = if self.trouble.is_some() { Color::Red } else { Color::Reset };
        let summary = Paragraph::new(summary).wrap(Wrap { trim: true }).style(Style::new().fg(color));
        frame.render_widget(summary, head);
        let style = Style::new().fg(Color::Cyan);
        let shown = self.deliveries.iter().take(width).max().copied().unwrap_or_default();
        let label = Block::new().title(format!("deliveries/s, newest left, full height is {shown}"));
        let line = Sparkline::default().data(self.deliveries.iter().copied()).style(style).block(label);
        frame.render_widget(line, spark);
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

#[cfg(test)]
mod tests {
    use super::super::lines::tests::cluster;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn the_screen_shows_nodes_channels_and_trouble() {
        let mut terminal = Terminal::new(TestBackend::new(130, 20)).unwrap();
        let mut view = View::new("http://n");
        view.take(Ok(cluster()));
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let shown = terminal.backend().to_string();
        let scale = format!("deliveries/s, newest left, full height is {}", view.deliveries[0]);
        for part in ["2 nodes  10 of 20 connections", "one:1", "orders", "1.5", &scale] {
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
}
