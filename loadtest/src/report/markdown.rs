//! The results as Markdown, with one plot as an SVG file beside it.

use super::machine::Machine;
use super::plot::bars;
use super::table;
use crate::goals;
use crate::results::{MEANINGS, Row};
use anyhow::{Context as _, Result};
use std::fmt::Write as _;
use std::path::Path;

/// Writes both files.
pub fn write(path: &Path, rows: &[Row], broken: &[String], machine: &Machine) -> Result<()> {
    let plot = path.with_extension("svg");
    let name = plot.file_name().context("--results needs a file name")?.to_string_lossy();
    std::fs::write(path, text(rows, broken, machine, &name)).with_context(|| path.display().to_string())?;
    std::fs::write(&plot, plot_of(rows)).with_context(|| plot.display().to_string())
}

fn text(rows: &[Row], broken: &[String], machine: &Machine, plot: &str) -> String {
    let mut out = format!(
        "# Results\n\nWritten by `loadtest`; do not edit. {machine}.\n\nCells are min/median over runs, in brackets the \
         ratio of medians to the bare send loop (`floor`) of the same case, and to the node of \
         `--before`. The server under test has core 0, clients and Redis share core 1. Latency counts from the intended send time.\n\n![CPU per delivery]({plot})\n\n"
    );
    match broken {
        [] => out.push_str("Every subscriber of Fantail received exactly what it had to; no limit was broken.\n\n"),
        rules => rules.iter().for_each(|rule| out.push_str(&format!("- **broken**: {rule}\n"))),
    }
    goals_table(&mut out, rows);
    for case in table::cases(rows) {
        let _ = write!(out, "\n## {}: {}\n\n{}", case[0].scenario, case[0].case, table::markdown(&case));
    }
    out.push_str("\n## What the figures mean\n\n");
    for (name, meaning) in MEANINGS {
        let _ = writeln!(out, "- `{name}`: {meaning}");
    }
    out
}

fn goals_table(out: &mut String, rows: &[Row]) {
    out.push_str("\n## Goals\n\n| scenario | figure | measured | goal | reached |\n|---|---|---|---|---|\n");
    for row in rows {
        for goal in goals::of(row) {
            let reached = if goal.reached { "yes" } else { "**no**" };
            let (scenario, case) = (row.scenario, &row.case);
            let measured = table::short(goal.value);
            let _ = writeln!(out, "| {scenario}: {case} | `{}` | {measured} | {} | {reached} |", goal.what, goal.limit);
        }
    }
}

/// CPU per delivery of every server in every fanout.
fn plot_of(rows: &[Row]) -> String {
    let measured = rows.iter().filter(|row| row.scenario == "fanout").filter_map(|row| {
        let subscribers = row.case.split(' ').next().unwrap_or_default();
        Some((format!("{subscribers} subscribers {}", row.server), row.figures.get("cpu_us")?.1))
    });
    bars("CPU of the server per delivery", "µs", &measured.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Run, rows};
    use crate::servers::Kind;

    #[test]
    fn results_hold_goals_tables_and_the_plot() {
        let run = |kind, cpu| {
            let mut run = Run::new("fanout", "10,000 subscribers, 200 B", kind);
            run.figure("cpu_us", cpu);
            run
        };
        let rows = rows(&[run(Kind::Floor, 10.0), run(Kind::Node, 12.0)]);
        let text = text(&rows, &[], &Machine::for_tests(), "x.svg");
        assert!(text.contains("| `cpu_us` | 1.20 | ≤ 1.08 × floor | **no** |"), "{text}");
        assert!(text.contains("12.0 (1.20×)") && text.contains("](x.svg)"), "{text}");
        assert!(plot_of(&rows).contains("10,000 subscribers fantail"));
    }
}
