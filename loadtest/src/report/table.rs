//! Tables of rows: one block per case, servers as columns, figures as lines.

use crate::goals;
use crate::results::{MEANINGS, Row};
use std::fmt::Write as _;

/// Rows of one scenario and case, in order.
pub fn cases(rows: &[Row]) -> Vec<Vec<&Row>> {
    let mut cases: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match cases.iter_mut().find(|case| case[0].scenario == row.scenario && case[0].case == row.case) {
            Some(case) => case.push(row),
            None => cases.push(vec![row]),
        }
    }
    cases
}

/// For a terminal, in columns that hold the longest cell.
pub fn text(rows: &[Row]) -> String {
    let mut out = String::new();
    for case in cases(rows) {
        let _ =
            write!(out, "\n{} / {} [{} runs, min/median]\n  {:24}", case[0].scenario, case[0].case, case[0].runs, "");
        let lines = lines(&case);
        let names = case.iter().map(|row| &row.server);
        let longest = lines.iter().flat_map(|(_, cells)| cells).chain(names).map(|cell| cell.chars().count()).max();
        let width = longest.unwrap_or_default().max(24) + 2;
        for row in &case {
            let _ = write!(out, "{:>width$}", row.server);
        }
        out.push('\n');
        for (name, cells) in lines {
            let _ = write!(out, "  {name:24}");
            for cell in cells {
                let _ = write!(out, "{cell:>width$}");
            }
            for goal in case.iter().flat_map(|row| goals::of(row)).filter(|goal| goal.what == name) {
                let _ = write!(out, "   goal {}: {}", goal.limit, if goal.reached { "reached" } else { "MISSED" });
            }
            out.push('\n');
        }
    }
    out
}

/// For a page.
pub fn html(case: &[&Row]) -> String {
    let mut out = String::from("<table><tr><th>");
    case.iter().for_each(|row| out.push_str(&format!("<th>{}", row.server)));
    out.push_str("<th>goal");
    for (name, cells) in lines(case) {
        let _ = write!(out, "<tr><td>{name}");
        cells.iter().for_each(|cell| out.push_str(&format!("<td>{cell}")));
        for goal in case.iter().flat_map(|row| goals::of(row)).filter(|goal| goal.what == name) {
            let (class, word) = if goal.reached { ("good", "reached") } else { ("bad", "missed") };
            let _ = write!(out, "<td class=\"{class}\">{}: {word}", goal.limit);
        }
    }
    out + "</table>"
}

/// For RESULTS.md.
pub fn markdown(case: &[&Row]) -> String {
    let mut out = String::from("| |");
    case.iter().for_each(|row| out.push_str(&format!(" {} |", row.server)));
    out.push_str(&format!("\n|---|{}\n", "---|".repeat(case.len())));
    for (name, cells) in lines(case) {
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    }
    let set_aside: usize = case.iter().map(|row| row.set_aside).sum();
    if set_aside > 0 {
        let _ =
            writeln!(out, "\n{set_aside} runs were set aside and measured again: the machine's host took time away.");
    }
    out
}

/// The figures that any server of a case has, each with a cell per server.
pub fn lines(case: &[&Row]) -> Vec<(&'static str, Vec<String>)> {
    let mut lines = Vec::new();
    for (name, _) in MEANINGS {
        if case.iter().any(|row| row.figures.contains_key(name)) {
            lines.push((*name, case.iter().map(|row| cell(row, name)).collect()));
        }
    }
    let tally = |row: &&Row| {
        let t = &row.tally;
        let mut text = format!("{}/{}/{}", t.lost, t.repeated, t.reordered);
        if t.id_disorder + t.foreign > 0 {
            let _ = write!(text, " ids {} foreign {}", t.id_disorder, t.foreign);
        }
        if t.announced > 0 {
            let _ = write!(text, " gaps {}", t.announced);
        }
        text
    };
    lines.push(("lost/repeated/reordered", case.iter().map(tally).collect()));
    lines
}

fn cell(row: &Row, name: &str) -> String {
    let Some(&(least, median)) = row.figures.get(name) else { return "-".into() };
    let numbers = if row.runs == 1 { short(median) } else { format!("{}/{}", short(least), short(median)) };
    let floor = row.ratios.get(name).map(|ratio| format!("{ratio:.2}×"));
    let before = row.ratios_before.get(name).map(|ratio| format!("{ratio:.2}× before"));
    let ratios: Vec<String> = floor.into_iter().chain(before).collect();
    if ratios.is_empty() { numbers } else { format!("{numbers} ({})", ratios.join(", ")) }
}

/// Three digits or so.
pub fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
