//! One HTML page that holds everything: tables and plots, readable without a network.

use super::machine::Machine;
use super::plot::{Line, escape, lines};
use super::table;
use crate::measure::Distribution;
use crate::results::{MEANINGS, Row, Run, Sample};
use std::fmt::Write as _;

const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:2em auto;max-width:1200px;padding:0 1em;color:#222}\
    table{border-collapse:collapse;margin:.5em 0}td,th{padding:.15em .8em;border-bottom:1px solid #ddd;\
    text-align:right}td:first-child,th:first-child{text-align:left}.plots{display:flex;flex-wrap:wrap}\
    .plots svg{width:570px}.bad{color:#b00}.good{color:#080}";

/// The whole page.
pub fn page(rows: &[Row], runs: &[Run], broken: &[String], machine: &Machine) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Fantail loadtest</title><style>{STYLE}</style>\
         <h1>Fantail loadtest</h1><p>{}</p>",
        escape(&machine.to_string())
    );
    match broken {
        [] => page.push_str("<p class=\"good\">Everything exact, no limit broken.</p>"),
        rules => {
            for rule in rules {
                let _ = write!(page, "<p class=\"bad\">BROKEN: {}</p>", escape(rule));
            }
        }
    }
    for case in table::cases(rows) {
        let _ = write!(page, "<h2>{}: {}</h2>", case[0].scenario, escape(&case[0].case));
        page.push_str(&table::html(&case));
        let of_case: Vec<&Run> =
            runs.iter().filter(|r| r.scenario == case[0].scenario && r.case == case[0].case).collect();
        let _ = write!(page, "<div class=\"plots\">{}</div>", plots(&of_case));
    }
    page.push_str("<h2>What the figures mean</h2><dl>");
    for (name, meaning) in MEANINGS {
        let _ = write!(page, "<dt><code>{name}</code><dd>{}", escape(meaning));
    }
    page + "</dl></html>"
}

/// The last run of each server, over each other.
fn plots(runs: &[&Run]) -> String {
    let mut last: Vec<&Run> = Vec::new();
    for run in runs {
        last.retain(|other| other.server != run.server);
        last.push(run);
    }
    let line = |points: &dyn Fn(&Run) -> Vec<(f64, f64)>| -> Vec<Line> {
        let lines = last.iter().map(|run| Line { name: run.server.clone(), points: points(run) });
        lines.filter(|line| line.points.len() > 1).collect()
    };
    let mut out = String::new();
    let mut add = |title: &str, across: &str, up: &str, logarithmic: bool, of: Vec<Line>| {
        if !of.is_empty() {
            out.push_str(&lines(title, across, up, logarithmic, &of));
        }
    };
    add("Latency", "ms, intended send time to read", "share of deliveries", true, line(&|r| shares(&r.latency)));
    let over = "seconds";
    add("Deliveries", over, "events per second", false, line(&|r| rate(&r.samples, |s| s.delivered as f64)));
    add("Connections", over, "live", false, line(&|r| r.samples.iter().map(|s| (s.at, s.live as f64)).collect()));
    add("CPU of the server", over, "cores", false, line(&|r| rate(&r.samples, |s| s.cpu)));
    add(
        "Memory of the server",
        over,
        "MiB",
        false,
        line(&|r| r.samples.iter().map(|s| (s.at, s.rss_kib as f64 / 1024.0)).collect()),
    );
    out
}

/// Milliseconds and the share of deliveries up to there.
fn shares(latency: &Distribution) -> Vec<(f64, f64)> {
    let all = latency.count() as f64;
    let mut seen = 0;
    let points = latency.pairs.iter().map(|&(value, count)| {
        seen += count;
        (value as f64 / 1_000.0, seen as f64 / all)
    });
    thin(points.collect())
}

/// The growth per second between samples.
fn rate(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> Vec<(f64, f64)> {
    let pairs = samples.windows(2).filter(|pair| pair[1].at > pair[0].at);
    thin(pairs.map(|p| (p[1].at, ((value(&p[1]) - value(&p[0])) / (p[1].at - p[0].at)).max(0.0))).collect())
}

/// At most some 400 points.
fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(400).max(1);
    let last = points.len().saturating_sub(1);
    points.into_iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last).map(|(_, point)| point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::rows;
    use crate::servers::Kind;

    #[test]
    fn the_page_needs_no_network_and_names_what_is_broken() {
        let mut run = Run::new("fanout", "x <y>", Kind::Floor);
        run.figure("cpu_us", 9.5);
        run.latency = Distribution::of(&[(1_000, 5), (2_000, 5)]);
        let runs = [run];
        let machine = Machine::for_tests();
        let page = page(&rows(&runs), &runs, &["a & b".into()], &machine);
        assert!(page.contains("BROKEN: a &amp; b") && page.contains("x &lt;y&gt;") && page.contains("9.50"));
        assert!(page.contains("polyline"), "the latency plot");
        let outside = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains("http") && !outside.contains("<script"), "{outside}");
    }

    #[test]
    fn shares_end_at_all() {
        let points = shares(&Distribution::of(&[(1_000, 1), (2_000, 3)]));
        assert_eq!(points, [(1.0, 0.25), (2.0, 1.0)]);
    }
}
