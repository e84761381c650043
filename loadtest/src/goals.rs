//! The figures to reach, and whether a row reaches them.

use crate::results::Row;

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
enum Rule {
    /// The figure itself.
    Most(f64),
    Least(f64),
    /// Its ratio to the floor's.
    MostRatio(f64),
    LeastRatio(f64),
}

/// Scenario, start of the case's name, figure, rule. The first that fits a figure counts.
const GOALS: &[(&str, &str, &str, Rule)] = &[
    ("fanout", "19,000", "cpu_us", Rule::MostRatio(1.10)),
    ("fanout", "", "cpu_us", Rule::MostRatio(1.08)),
    ("fanout", "", "last_ms", Rule::MostRatio(1.10)),
    ("fanout", "", "turn_p99_ms", Rule::Most(5.0)),
    ("channels", "users", "cpu_us", Rule::MostRatio(1.25)),
    ("channels", "users", "memory_kib", Rule::Most(1.0)),
    ("follow", "", "redis_us_ratio", Rule::Most(1.3)),
    ("burst", "", "events_per_cpu_s", Rule::LeastRatio(1.0)),
    ("hold", "", "memory_churned_kib", Rule::Most(0.25)),
    ("hold", "", "memory_storm_kib", Rule::Most(0.25)),
    ("hold", "", "beat_us", Rule::MostRatio(1.10)),
    ("lag", "", "p50_ms", Rule::Most(0.5)),
    ("lag", "", "p99_ms", Rule::Most(2.0)),
    ("storm", "own", "joins_per_s", Rule::Least(5_000.0)),
    ("storm", "", "joins_per_s", Rule::Least(15_000.0)),
    ("storm", "shared", "redis_reads_per_client", Rule::Most(0.01)),
    ("cluster", "1,000,000", "connect_s", Rule::MostRatio(1.3)),
    ("cluster", "", "livez_p99_ms", Rule::Most(100.0)),
];

/// The goals that apply to a row of the node's.
pub fn of(row: &Row) -> Vec<Goal> {
    let mut goals: Vec<Goal> = Vec::new();
    if row.server != "fantail" {
        return goals;
    }
    for (scenario, case, figure, rule) in GOALS {
        if row.scenario != *scenario || !row.case.starts_with(case) || goals.iter().any(|g| g.what == *figure) {
            continue;
        }
        let own = row.figures.get(figure).map(|figure| figure.1);
        let (value, limit, reached) = match *rule {
            Rule::Most(limit) => (own, format!("≤ {limit}"), own <= Some(limit)),
            Rule::Least(limit) => (own, format!("≥ {limit}"), own >= Some(limit)),
            Rule::MostRatio(limit) => {
                let ratio = row.ratios.get(figure).copied();
                (ratio, format!("≤ {limit} × floor"), ratio <= Some(limit))
            }
            Rule::LeastRatio(limit) => {
                let ratio = row.ratios.get(figure).copied();
                (ratio, format!("≥ {limit} × floor"), ratio >= Some(limit))
            }
        };
        if let Some(value) = value {
            goals.push(Goal { what: figure, value, limit, reached });
        }
    }
    goals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Run, rows};
    use crate::servers::Kind;

    #[test]
    fn the_most_special_goal_counts() {
        let run = |kind, cpu| {
            let mut run = Run::new("fanout", "19,000 subscribers", kind);
            run.figure("cpu_us", cpu);
            run
        };
        let rows = rows(&[run(Kind::Floor, 10.0), run(Kind::Node, 10.9)]);
        let goals = of(&rows[1]);
        assert_eq!(goals.len(), 1);
        assert!(goals[0].reached && goals[0].limit.contains("1.1"), "{goals:?}");
        assert!(of(&rows[0]).is_empty());
    }
}
