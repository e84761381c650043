//! The figures to reach, and whether a row reaches them.

use crate::results::Row;
use crate::servers::{
    BEFORE, CENTRIFUGO, FLOOR, FLOOR_REDIS, FLOOR_TLS, FRONT_TLS, FRONT_TLS_HTTP2, NCHAN, NODE, NODE_HTTP2,
};
use crate::servers::{NODE_HTTP2_STREAMS, NODE_TLS, NODE_TLS_HTTP2, NODE_TLS_HTTP2_STREAMS, NODE_WHERE};

/// One goal and what was measured.
#[derive(Clone, Debug)]
pub struct Goal {
    pub what: &'static str,
    pub value: f64,
    /// In words, with `≤` or `≥`.
    pub limit: String,
    pub reached: bool,
}

/// How a figure is held against its limit.
#[derive(Clone, Copy)]
enum Rule {
    /// The figure itself.
    Most(f64),
    Least(f64),
    /// The same, where another server of the case has at most so much.
    MostWhere(f64, &'static str, f64),
    /// Its ratio to that of another server of the case.
    MostOf(&'static str, f64),
    LeastOf(&'static str, f64),
}

impl Rule {
    /// The server whose figure is divided by.
    fn of(self) -> Option<&'static str> {
        match self {
            Rule::MostOf(server, _) | Rule::LeastOf(server, _) => Some(server),
            Rule::Most(_) | Rule::Least(_) | Rule::MostWhere(..) => None,
        }
    }

    /// What a row has reached of it; `None` where it was not measured, or the rule does not apply.
    fn judge(self, row: &Row, what: &'static str) -> Option<Goal> {
        let own = || row.figures.get(what).map(|figure| figure.1);
        let (value, limit, reached) = match self {
            Rule::Most(limit) => (own()?, format!("≤ {limit}"), own()? <= limit),
            Rule::Least(limit) => (own()?, format!("≥ {limit}"), own()? >= limit),
            Rule::MostWhere(limit, server, bound) => {
                let applies = row.beside.get(server)?.get(what)? <= &bound;
                applies.then_some((own()?, format!("≤ {limit} where {server} has ≤ {bound}"), own()? <= limit))?
            }
            Rule::MostOf(server, limit) => {
                let ratio = row.ratio_to(server, what)?;
                (ratio, format!("≤ {limit} × {server}"), ratio <= limit)
            }
            Rule::LeastOf(server, limit) => {
                let ratio = row.ratio_to(server, what)?;
                (ratio, format!("≥ {limit} × {server}"), ratio >= limit)
            }
        };
        Some(Goal { what, value, limit, reached })
    }
}

/// Scenario, start of the case's name, figure, rule. The first that fits a figure, and the server it is divided by, counts.
type GoalOf = (&'static str, &'static str, &'static str, Rule);

const GOALS: &[GoalOf] = &[
    ("fanout", "19,000", "cpu_us", Rule::MostOf(FLOOR, 1.10)),
    ("fanout", "", "cpu_us", Rule::MostOf(FLOOR, 1.08)),
    ("fanout", "", "cpu_us", Rule::MostOf(BEFORE, 1.02)),
    ("fanout", "", "last_ms", Rule::MostOf(FLOOR, 1.10)),
    ("fanout", "", "turn_p99_ms", Rule::Most(5.0)),
    ("channels", "users", "cpu_us", Rule::MostOf(FLOOR, 1.25)),
    ("channels", "users", "memory_kib", Rule::Most(1.0)),
    ("unicast", "XADD, 1,000/s", "cpu_us", Rule::MostOf(BEFORE, 0.5)),
    ("unicast", "XADD, 4,000/s", "cpu_us", Rule::MostOf(BEFORE, 0.4)),
    ("unicast", "POST with Redis, 4,000/s", "cpu_us", Rule::MostOf(NCHAN, 0.7)),
    ("unicast", "POST with Redis, 4,000/s", "cpu_us", Rule::MostOf(CENTRIFUGO, 0.4)),
    ("unicast", "POST in memory", "cpu_us", Rule::MostOf(NCHAN, 0.8)),
    ("unicast", "", "redis_us", Rule::MostOf(BEFORE, 0.7)),
    ("unicast", "XADD, 4,000/s", "p99_ms", Rule::MostWhere(5.0, FLOOR_REDIS, 3.0)),
    ("unicast", "", "most_per_s", Rule::LeastOf(BEFORE, 2.5)),
    ("nodes", "one channel", "redis_us_per_node", Rule::MostOf(FLOOR, 1.1)),
    ("follow", "", "redis_us_ratio", Rule::Most(1.3)),
    ("burst", "", "events_per_cpu_s", Rule::LeastOf(FLOOR, 1.0)),
    ("hold", "", "memory_kib", Rule::MostOf(BEFORE, 1.02)),
    ("hold", "", "memory_churned_kib", Rule::Most(0.25)),
    ("hold", "", "memory_storm_kib", Rule::Most(0.25)),
    ("hold", "", "join_us", Rule::MostOf(BEFORE, 1.02)),
    ("hold", "", "beat_us", Rule::MostOf(FLOOR, 1.10)),
    ("lag", "", "p50_ms", Rule::Most(0.5)),
    ("lag", "", "p99_ms", Rule::Most(2.0)),
    ("storm", "own", "joins_per_s", Rule::Least(5_000.0)),
    ("storm", "", "joins_per_s", Rule::Least(15_000.0)),
    ("storm", "shared", "redis_reads_per_client", Rule::Most(0.01)),
    ("cluster", "1,000,000", "connect_s", Rule::MostOf(FLOOR, 1.3)),
    ("cluster", "", "livez_p99_ms", Rule::Most(100.0)),
];

/// The same of nodes that are asked in another way, each with its name.
const GOALS_OF_OTHERS: &[(&str, &[GoalOf])] = &[
    (NODE_WHERE, &[("fanout", "", "cpu_us", Rule::MostOf(NODE, 1.10))]),
    (
        NODE_TLS,
        &[
            ("ways", "", "cpu_us", Rule::MostOf(NODE, 1.15)),
            ("ways", "", "cpu_us", Rule::MostOf(FRONT_TLS, 1.0)),
            ("ways", "10,000", "memory_kib", Rule::Most(0.8)),
            ("ways", "", "memory_kib", Rule::MostOf(FRONT_TLS, 1.0)),
            ("handshakes", "", "joins_per_s", Rule::LeastOf(FLOOR_TLS, 0.8)),
            ("handshakes", "", "joins_resumed_per_s", Rule::LeastOf(FLOOR_TLS, 0.65)),
            ("handshakes", "", "storm_s", Rule::MostOf(FLOOR_TLS, 1.3)),
            ("handshakes", "", "join_us", Rule::MostOf(FRONT_TLS, 1.0)),
            ("handshakes", "", "join_resumed_us", Rule::MostOf(FRONT_TLS, 1.0)),
        ],
    ),
    (NODE_HTTP2, &[("ways", "", "cpu_us", Rule::MostOf(NODE, 1.2))]),
    (
        NODE_TLS_HTTP2,
        &[
            ("ways", "", "cpu_us", Rule::MostOf(NODE, 1.4)),
            ("ways", "", "cpu_us", Rule::MostOf(FRONT_TLS_HTTP2, 1.0)),
            ("ways", "10,000", "memory_kib", Rule::Most(3.0)),
            ("ways", "", "memory_kib", Rule::MostOf(FRONT_TLS_HTTP2, 1.0)),
            ("handshakes", "", "join_us", Rule::MostOf(FRONT_TLS_HTTP2, 1.0)),
            ("handshakes", "", "join_resumed_us", Rule::MostOf(FRONT_TLS_HTTP2, 1.0)),
        ],
    ),
    (NODE_HTTP2_STREAMS, &[("streams", "", "cpu_us", Rule::MostOf(NODE_HTTP2, 0.6))]),
    (NODE_TLS_HTTP2_STREAMS, &[("streams", "", "cpu_us", Rule::MostOf(NODE_TLS_HTTP2, 0.6))]),
];

/// The goals that apply to a row of the node's.
pub fn of(row: &Row) -> Vec<Goal> {
    let mut goals: Vec<Goal> = Vec::new();
    let others = GOALS_OF_OTHERS.iter().find(|(server, _)| *server == row.server);
    let all = if row.server == NODE { GOALS } else { others.map_or(&[][..], |(_, goals)| goals) };
    let mut found: Vec<(&str, Option<&str>)> = Vec::new();
    for &(scenario, case, figure, rule) in all {
        let key = (figure, rule.of());
        if row.scenario != scenario || !row.case.starts_with(case) || found.contains(&key) {
            continue;
        }
        if let Some(goal) = rule.judge(row, figure) {
            found.push(key);
            goals.push(goal);
        }
    }
    goals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Run, rows};
    use crate::servers::Kind;

    fn run(scenario: &'static str, case: &str, kind: Kind, figures: &[(&'static str, f64)]) -> Run {
        let mut run = Run::new(scenario, case, kind);
        figures.iter().for_each(|&(name, value)| run.figure(name, value));
        run
    }

    fn texts(row: &Row) -> Vec<String> {
        of(row).iter().map(|goal| format!("{} {:.2} {} {}", goal.what, goal.value, goal.limit, goal.reached)).collect()
    }

    #[test]
    fn the_most_special_goal_counts() {
        let run = |kind, cpu| run("fanout", "19,000 subscribers", kind, &[("cpu_us", cpu)]);
        let rows = rows(&[run(Kind::Floor, 10.0), run(Kind::Node, 10.9), run(Kind::Before, 10.9)]);
        assert_eq!(texts(&rows[1]), ["cpu_us 1.09 ≤ 1.1 × floor true", "cpu_us 1.00 ≤ 1.02 × fantail before true"]);
        assert!(of(&rows[0]).is_empty() && of(&rows[2]).is_empty());
    }

    #[test]
    fn a_filter_that_all_share_is_held_against_none() {
        let run = |kind, cpu| run("fanout", "10,000 subscribers", kind, &[("cpu_us", cpu)]);
        let rows = rows(&[run(Kind::Node, 10.0), run(Kind::NodeWhere, 11.5)]);
        assert_eq!(texts(&rows[1]), ["cpu_us 1.15 ≤ 1.1 × fantail false"]);
    }

    #[test]
    fn ways_are_held_against_the_plain_one_and_against_a_front() {
        let run = |kind, cpu| run("ways", "2,000 subscribers", kind, &[("cpu_us", cpu)]);
        let rows = rows(&[run(Kind::Node, 10.0), run(Kind::NodeTls, 11.6), run(Kind::FrontTls, 30.0)]);
        assert_eq!(
            texts(&rows[1]),
            ["cpu_us 1.16 ≤ 1.15 × fantail false", "cpu_us 0.39 ≤ 1 × nginx TLS, fantail true"]
        );
        assert!(of(&rows[2]).is_empty());
    }

    #[test]
    fn a_goal_beside_another_server_needs_that_server() {
        let case = "XADD, 4,000/s, 50 subscribers";
        let node = run("unicast", case, Kind::Node, &[("cpu_us", 30.0), ("redis_us", 30.0), ("p99_ms", 6.0)]);
        assert_eq!(texts(&rows(std::slice::from_ref(&node))[0]), Vec::<String>::new());
        let before = run("unicast", case, Kind::Before, &[("cpu_us", 80.0), ("redis_us", 40.0)]);
        let floor = |p99| run("unicast", case, Kind::FloorRedis, &[("p99_ms", p99)]);
        let beside = ["cpu_us 0.38 ≤ 0.4 × fantail before true", "redis_us 0.75 ≤ 0.7 × fantail before false"];
        assert_eq!(texts(&rows(&[node.clone(), before.clone(), floor(3.1)])[0]), beside);
        let quick = rows(&[node, before, floor(2.9)]);
        assert_eq!(texts(&quick[0])[2], "p99_ms 6.00 ≤ 5 where floor behind Redis has ≤ 3 false");
    }
}
