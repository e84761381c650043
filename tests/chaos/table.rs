//! The table of results: one row a fault.

use crate::checker::Counts;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

/// What a case came to.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub fault: &'static str,
    pub runs: usize,
    pub counts: Counts,
    /// For each client and channel: from the healing to the first event that was published after it.
    pub outages: Vec<Duration>,
    /// For each node: from the fault to `fantail_backplane_up 0`, from the healing to `1`.
    pub down: Vec<Duration>,
    pub up: Vec<Duration>,
}

/// How many rows a whole run has.
const CASES: usize = 45;

const HEAD: &str = "| fault | runs | events | lost | repeated | reordered | gaps | untrue | outage p50 | outage max | down after | up after |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|---|\n";

static ROWS: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Row {
    fn line(&self) -> String {
        let Counts { events, lost, repeated, reordered, gaps, untrue } = self.counts;
        let mut outages = self.outages.clone();
        outages.sort();
        let (p50, max) = (outages.get(outages.len() / 2).copied(), outages.last().copied());
        let (down, up) = (self.down.iter().max().copied(), self.up.iter().max().copied());
        let [p50, max, down, up] = [p50, max, down, up].map(text);
        let Row { fault, runs, .. } = self;
        format!(
            "| {fault} | {runs} | {events} | {lost} | {repeated} | {reordered} | {gaps} | {untrue} | {p50} | {max} | {down} | {up} |"
        )
    }
}

fn text(duration: Option<Duration>) -> String {
    duration.map_or("–".into(), |duration| format!("{:.2} s", duration.as_secs_f64()))
}

/// Adds a row and prints it, with the last one the whole table; `FANTAIL_CHAOS_RESULTS=1` writes it as far as it is.
pub fn record(row: Row, seed: u64) {
    record_line(row.line(), seed);
}

/// The same for the row of a case that ran in another process.
pub fn record_line(row: String, seed: u64) {
    let mut rows = ROWS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    println!("\n{row}");
    rows.push(row);
    if rows.len() == CASES {
        println!("\n{}", page(&rows, seed));
    }
    if std::env::var("FANTAIL_CHAOS_RESULTS").is_ok_and(|value| value == "1") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chaos/RESULTS.md");
        std::fs::write(path, page(&rows, seed)).expect("RESULTS.md is written");
    }
}

fn page(rows: &[String], seed: u64) -> String {
    let mut page = String::from(
        "# Chaos: results\n\n\
         Written by `FANTAIL_CHAOS_RESULTS=1 tests/run chaos`. `outage` is the time from the end of the fault to the first \
         event published after it, over all clients and channels. `down after` and `up after` are those of the slowest \
         node: from the fault until its `fantail_backplane_up` is 0, and from the end of the fault until it is 1. \
         `untrue` counts wrong gaps and ids.\n\n",
    );
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    writeln!(page, "Seed {seed}, {cores} cores, {profile} build, 3 nodes, 24 clients.\n").expect("memory");
    page.push_str(HEAD);
    rows.iter().for_each(|row| writeln!(page, "{row}").expect("memory"));
    page
}
