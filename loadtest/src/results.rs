//! What was measured: runs, their figures, medians over runs, and the limits they are judged by.

use crate::checker::Tally;
use crate::measure::{Distribution, median};
use crate::options::Limits;
use crate::servers::{BEFORE, FLOOR, Kind, NODE};
use serde::Serialize;
use std::collections::BTreeMap;

/// One moment of a run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Seconds since the run began.
    pub at: f64,
    pub live: u64,
    pub delivered: u64,
    /// CPU seconds so far.
    pub cpu: f64,
    pub rss_kib: u64,
}

/// One server under one load, once.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub scenario: &'static str,
    /// The load, in words.
    pub case: String,
    pub server: String,
    /// Ours, so it must be exact.
    pub is_judged: bool,
    pub figures: BTreeMap<&'static str, f64>,
    pub tally: Tally,
    pub latency: Distribution,
    pub samples: Vec<Sample>,
    /// What went wrong besides the tally.
    pub faults: Vec<String>,
    /// Its figures do not count: the host took time away, and it was measured again.
    pub set_aside: bool,
}

impl Run {
    pub fn new(scenario: &'static str, case: &str, kind: Kind) -> Run {
        Run {
            scenario,
            case: case.to_owned(),
            server: kind.to_string(),
            is_judged: kind.is_judged(),
            figures: BTreeMap::new(),
            tally: Tally::default(),
            latency: Distribution::default(),
            samples: Vec::new(),
            faults: Vec::new(),
            set_aside: false,
        }
    }

    pub fn figure(&mut self, name: &'static str, value: f64) {
        if value.is_finite() {
            self.figures.insert(name, value);
        }
    }
}

/// All runs of a server under a load: a row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub scenario: &'static str,
    pub case: String,
    pub server: String,
    pub runs: usize,
    /// Runs whose figures do not count.
    pub set_aside: usize,
    /// Minimum and median.
    pub figures: BTreeMap<&'static str, (f64, f64)>,
    /// Median over the floor's median in the same case.
    pub ratios: BTreeMap<&'static str, f64>,
    /// Of a node: median over that of the node of `--before` in the same case.
    pub ratios_before: BTreeMap<&'static str, f64>,
    /// Medians of the other servers in the same case, by server.
    #[serde(skip)]
    pub beside: BTreeMap<String, BTreeMap<&'static str, f64>>,
    pub tally: Tally,
}

impl Row {
    /// The median of a figure over another server's in the same case.
    pub fn ratio_to(&self, server: &str, figure: &str) -> Option<f64> {
        let ratio = self.figures.get(figure)?.1 / self.beside.get(server)?.get(figure)?;
        ratio.is_finite().then_some(ratio)
    }
}

/// Figures of which the ratio to the floor says something.
pub const COMPARED: &[&str] = &["cpu_us", "last_ms", "beat_us", "events_per_cpu_s", "connect_s", "redis_us_per_node"];

/// Figures of which the ratio to another build says something, besides those.
const COMPARED_BEFORE: &[&str] = &["redis_us", "p99_ms", "most_per_s", "memory_kib", "joins_per_s", "join_us"];

/// The unit and meaning of every figure.
pub const MEANINGS: &[(&str, &str)] = &[
    ("cpu_us", "CPU of the server per delivery, µs"),
    ("first_ms", "intended send time to the first socket, ms (median over events)"),
    ("last_ms", "intended send time to the last socket, ms (median over events)"),
    ("p50_ms", "intended send time to read, ms, median"),
    ("p99_ms", "the same, 99th percentile"),
    ("p999_ms", "the same, 99.9th percentile"),
    ("wire_bytes", "bytes read by the clients per delivery, framing included"),
    ("memory_kib", "user memory of the server per connection, KiB (RSS now minus RSS before the first)"),
    ("memory_churned_kib", "the same after closing and connecting all three times"),
    ("memory_storm_kib", "the same after a storm of simultaneous connects"),
    ("machine_kib", "memory of the whole machine per connection, both ends and processes, KiB"),
    ("joins_per_s", "connects per second until all were live"),
    ("join_us", "CPU of the server per join, µs"),
    ("joins_resumed_per_s", "the same, with the ticket of an earlier TLS session"),
    ("join_resumed_us", "CPU of the server per such join, µs"),
    ("storm_s", "from the first connect until all are live, who come at once with tickets, s"),
    ("join_p99_ms", "connect to live, ms, 99th percentile"),
    ("all_live_s", "from the kill until all are live again, s"),
    ("caught_up_s", "from the kill until nobody misses anything, s"),
    ("redis_reads_per_client", "reads of Redis history per client that resumed"),
    ("redis_us", "CPU of Redis per event, µs"),
    ("redis_us_per_node", "what each further node adds to `redis_us`: the difference to one node per other node, µs"),
    ("replicas_us", "CPU of all replicas together per event, µs, where nodes read from replicas"),
    ("redis_first_us", "the same for the first event of a stream"),
    (
        "memory_per_channel_kib",
        "user memory of the server per followed channel and its leg, its first events included, KiB",
    ),
    ("redis_us_ratio", "CPU of Redis per event, as a multiple of that with the fewest channels"),
    ("redis_commands", "commands of Redis per event"),
    ("redis_bytes", "bytes that Redis sends per event, to all receivers"),
    ("events_per_cpu_s", "deliveries per second of the server's CPU, millions"),
    ("beat_us", "CPU of the server per heartbeat, µs"),
    ("idle_us", "CPU of the server per connection and second, heartbeats included, µs"),
    ("dropped_slow", "connections of slow and stalled readers that the server ended"),
    ("evicted", "readers that never read, evicted"),
    ("catch_ups", "pages of history read for readers that fell off the tail"),
    ("growth_kib_per_min", "growth of the server's memory in the second half, KiB per minute"),
    ("publisher_late_ms", "how late events went out, ms, 99th percentile"),
    ("client_us", "CPU of the clients per delivery, µs"),
    ("publisher_us", "CPU of the publisher per event, µs"),
    ("stolen_percent", "share of the machine's time that its host gave to other machines, %"),
    (
        "most_per_s",
        "events per second that were kept up with: all arrived, 99 % of them within 100 ms of the intended send time",
    ),
    ("cpu_share", "share of its core that the server used while events flowed"),
    ("load_share", "share of the other core that clients, publisher and Redis used meanwhile"),
    (
        "turn_p99_ms",
        "how long a delivery thread is away from joins and hang-ups, ms, 99th percentile (a bucket's bound)",
    ),
    ("idle_wakes", "wakes per second of a server's threads while nobody is there"),
    ("syscalls", "system calls of the node per delivery"),
    ("sends", "sends of the node per delivery"),
    ("join_syscalls", "system calls of the node per join"),
    ("redis_commands_per_join", "commands of Redis per join"),
    ("connect_s", "time to connect all, s"),
    ("livez_p99_ms", "answer of /livez under load, ms, 99th percentile"),
];

/// Rows in the order in which they were first measured.
pub fn rows(runs: &[Run]) -> Vec<Row> {
    let mut keys: Vec<(&'static str, &str, &str)> = Vec::new();
    for run in runs {
        let key = (run.scenario, run.case.as_str(), run.server.as_str());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let mut rows: Vec<Row> = keys.iter().map(|key| row(*key, runs)).collect();
    let all = rows.clone();
    rows.iter_mut().for_each(|row| compare(row, &all));
    rows
}

/// Holds a row against the others of its case.
fn compare(row: &mut Row, all: &[Row]) {
    let of_case = all.iter().filter(|other| other.scenario == row.scenario && other.case == row.case);
    let medians = |other: &Row| other.figures.iter().map(|(&name, figure)| (name, figure.1)).collect();
    let others = of_case.filter(|other| other.server != row.server);
    row.beside = others.map(|other| (other.server.clone(), medians(other))).collect();
    let ratios = |server, names: &[&'static str]| -> Vec<_> {
        names.iter().filter_map(|&name| Some((name, row.ratio_to(server, name)?))).collect()
    };
    let to_floor = ratios(FLOOR, COMPARED);
    let to_before = if row.server == NODE { ratios(BEFORE, &[COMPARED, COMPARED_BEFORE].concat()) } else { Vec::new() };
    row.ratios.extend(to_floor);
    row.ratios_before.extend(to_before);
}

fn row((scenario, case, server): (&'static str, &str, &str), runs: &[Run]) -> Row {
    let runs: Vec<&Run> =
        runs.iter().filter(|r| r.scenario == scenario && r.case == case && r.server == server).collect();
    let mut values: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let mut tally = Tally::default();
    for run in &runs {
        tally.add(&run.tally);
        if run.set_aside {
            continue;
        }
        run.figures.iter().for_each(|(name, value)| values.entry(name).or_default().push(*value));
    }
    let figures = values.into_iter().filter_map(|(name, values)| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        Some((name, (least, median(&values)?)))
    });
    let figures = figures.collect();
    let set_aside = runs.iter().filter(|run| run.set_aside).count();
    Row {
        scenario,
        case: case.into(),
        server: server.into(),
        runs: runs.len() - set_aside,
        set_aside,
        figures,
        ratios: BTreeMap::new(),
        ratios_before: BTreeMap::new(),
        beside: BTreeMap::new(),
        tally,
    }
}

/// Every broken exactness rule and limit, in words. Other servers than ours are not judged.
pub fn broken(runs: &[Run], rows: &[Row], limits: &Limits) -> Vec<String> {
    let mut broken = Vec::new();
    let mut lost = 0;
    for run in runs.iter().filter(|run| run.is_judged) {
        let place = format!("{} / {} / {}", run.scenario, run.case, run.server);
        broken.extend(run.faults.iter().map(|fault| format!("{place}: {fault}")));
        lost += run.tally.lost;
        let t = Tally { lost: 0, ..run.tally };
        if !t.is_exact() {
            broken.push(format!("{place}: not exact: {t:?}"));
        }
    }
    if lost > limits.max_lost {
        broken.push(format!("{lost} events lost silently; {} allowed", limits.max_lost));
    }
    for row in rows.iter().filter(|row| row.server == NODE) {
        judge(row, limits, &mut broken);
    }
    for row in rows.iter().filter(|_| limits.goals) {
        for goal in crate::goals::of(row).iter().filter(|goal| !goal.reached) {
            let Row { scenario, case, server, .. } = row;
            broken.push(format!(
                "{scenario} / {case} / {server}: {} is {:.3}, goal {}",
                goal.what, goal.value, goal.limit
            ));
        }
    }
    broken
}

fn judge(row: &Row, limits: &Limits, broken: &mut Vec<String>) {
    let value = |name| row.figures.get(name).map(|figure: &(f64, f64)| figure.1);
    let ratio = |name| row.ratios.get(name).copied();
    let place = format!("{} / {}", row.scenario, row.case);
    let mut most = |what: &str, value: Option<f64>, limit: Option<f64>| {
        if let (Some(value), Some(limit)) = (value, limit)
            && value > limit
        {
            broken.push(format!("{place}: {what} {value:.3} above {limit}"));
        }
    };
    most("CPU per delivery over the floor's", ratio("cpu_us"), limits.max_ratio);
    most("time to the last socket over the floor's", ratio("last_ms"), limits.max_last_ratio);
    most("p50 (ms)", value("p50_ms"), limits.max_p50);
    most("p99 (ms)", value("p99_ms"), limits.max_p99);
    most("memory per connection (KiB)", value("memory_kib"), limits.max_memory);
    most("Redis reads per client", value("redis_reads_per_client"), limits.max_reads);
    if let (Some(joins), Some(limit)) = (value("joins_per_s"), limits.min_joins)
        && joins < limit
    {
        broken.push(format!("{place}: {joins:.0} joins/s below {limit}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(kind: Kind, cpu: f64, lost: u64) -> Run {
        let mut run = Run::new("fanout", "x", kind);
        run.figure("cpu_us", cpu);
        run.tally.lost = lost;
        run
    }

    #[test]
    fn rows_hold_medians_and_ratios() {
        let runs =
            [run(Kind::Floor, 9.0, 0), run(Kind::Node, 9.0, 0), run(Kind::Floor, 11.0, 0), run(Kind::Node, 12.0, 0)];
        let rows = rows(&runs);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].figures["cpu_us"], (9.0, 10.5));
        assert_eq!(rows[1].ratios["cpu_us"], 1.05);
        let limits = |max| Limits { max_ratio: Some(max), ..Limits::default() };
        assert_eq!(broken(&runs, &rows, &limits(1.08)), Vec::<String>::new());
        assert_eq!(broken(&runs, &rows, &limits(1.04)).len(), 1);
    }

    #[test]
    fn a_node_is_held_against_every_server_of_its_case() {
        let mut elsewhere = run(Kind::Before, 100.0, 0);
        elsewhere.case = "y".into();
        let rows = rows(&[run(Kind::Node, 6.0, 0), run(Kind::Before, 12.0, 0), run(Kind::Nchan, 8.0, 0), elsewhere]);
        assert_eq!((rows[0].ratio_to(BEFORE, "cpu_us"), rows[0].ratio_to("nchan", "cpu_us")), (Some(0.5), Some(0.75)));
        assert_eq!((rows[0].ratio_to(FLOOR, "cpu_us"), rows[0].ratio_to(BEFORE, "p99_ms")), (None, None));
        assert_eq!((rows[0].ratios.len(), rows[0].ratios_before["cpu_us"]), (0, 0.5));
        assert!(rows[1].ratios_before.is_empty() && rows[2].ratios_before.is_empty());
    }

    #[test]
    fn runs_set_aside_count_for_exactness_alone() {
        let mut disturbed = run(Kind::Node, 99.0, 1);
        disturbed.set_aside = true;
        let runs = [disturbed, run(Kind::Node, 9.0, 0)];
        let rows = rows(&runs);
        assert_eq!((rows[0].figures["cpu_us"], rows[0].runs, rows[0].set_aside), ((9.0, 9.0), 1, 1));
        assert_eq!(broken(&runs, &rows, &Limits::default()).len(), 1);
    }

    #[test]
    fn a_lost_event_breaks_and_other_servers_are_not_judged() {
        let ours = [run(Kind::Node, 1.0, 1)];
        assert_eq!(broken(&ours, &rows(&ours), &Limits::default()).len(), 1);
        assert!(broken(&ours, &rows(&ours), &Limits { max_lost: 1, ..Limits::default() }).is_empty());
        let encrypted = [run(Kind::NodeTlsHttp2, 1.0, 1)];
        assert_eq!(broken(&encrypted, &rows(&encrypted), &Limits::default()).len(), 1);
        let other = [run(Kind::Nchan, 1.0, 1)];
        assert!(broken(&other, &rows(&other), &Limits::default()).is_empty());
    }
}
