//! Plots as SVG text: lines over a linear or logarithmic axis, and bars. No scripts, no files besides.

use super::table::short;
use std::fmt::Write as _;

/// One line of a plot.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 260.0;
/// Room for labels: left, right, top, bottom.
const ROOM: (f64, f64, f64, f64) = (58.0, 12.0, 34.0, 44.0);
const COLOURS: [&str; 8] = ["#555555", "#d1495b", "#00798c", "#edae49", "#30638e", "#5d2e8c", "#3a7d44", "#a65e2e"];

/// The colour of a server, the same in every plot.
fn colour(name: &str, place: usize) -> &'static str {
    let known = ["floor", "fantail", "nchan", "hyper-body"].iter().position(|server| name.starts_with(server));
    COLOURS[known.unwrap_or(4 + place % 4)]
}

/// An axis from 0 (or, logarithmic, from its least value) to its greatest.
struct Axis {
    least: f64,
    most: f64,
    logarithmic: bool,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64> + Clone, logarithmic: bool) -> Axis {
        let most = values.clone().fold(f64::MIN_POSITIVE, f64::max);
        let least = if logarithmic { values.filter(|v| *v > 0.0).fold(most, f64::min) } else { 0.0 };
        Axis { least, most: if most > least { most } else { least + 1.0 }, logarithmic }
    }

    /// Where a value lies, 0 to 1.
    fn share(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value.max(self.least) / self.least).ln() / (self.most / self.least).ln()
        } else {
            (value - self.least) / (self.most - self.least)
        }
    }

    fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            return (0..=4).map(|i| self.most * f64::from(i) / 4.0).collect();
        }
        let from = self.least.log10().floor() as i32;
        let to = self.most.log10().ceil() as i32;
        let ticks = (from..=to).map(|exponent| 10f64.powi(exponent));
        ticks.filter(|tick| (self.least..=self.most).contains(tick)).collect()
    }
}

/// Lines over a common pair of axes.
pub fn lines(title: &str, across: &str, up: &str, logarithmic: bool, lines: &[Line]) -> String {
    let points = lines.iter().flat_map(|line| &line.points);
    let x = Axis::of(points.clone().map(|p| p.0), logarithmic);
    let y = Axis::of(points.map(|p| p.1), false);
    let (left, right, top, bottom) = ROOM;
    let place = |px: f64, py: f64| {
        (left + x.share(px) * (WIDTH - left - right), HEIGHT - bottom - y.share(py) * (HEIGHT - top - bottom))
    };
    let mut svg = open(title, across, up);
    for tick in x.ticks() {
        let (at, _) = place(tick, 0.0);
        grid(&mut svg, (at, top), (at, HEIGHT - bottom));
        text(&mut svg, at, HEIGHT - bottom + 14.0, "middle", &short(tick));
    }
    for tick in y.ticks() {
        let (_, at) = place(x.least, tick);
        grid(&mut svg, (left, at), (WIDTH - right, at));
        text(&mut svg, left - 4.0, at + 4.0, "end", &short(tick));
    }
    for (number, line) in lines.iter().enumerate() {
        let colour = colour(&line.name, number);
        svg.push_str("<polyline fill=\"none\" stroke-width=\"1.6\" points=\"");
        for &(px, py) in &line.points {
            let (px, py) = place(px, py);
            let _ = write!(svg, "{px:.1},{py:.1} ");
        }
        let _ = write!(svg, "\" stroke=\"{colour}\"/>");
        legend(&mut svg, number, colour, &line.name);
    }
    svg + "</svg>"
}

/// One bar per name, the value behind it.
pub fn bars(title: &str, unit: &str, values: &[(String, f64)]) -> String {
    let (left, right, top, _) = (190.0, 70.0, 34.0, 0.0);
    let most = values.iter().map(|v| v.1).fold(f64::MIN_POSITIVE, f64::max);
    let height = top + 24.0 * values.len() as f64 + 8.0;
    let mut svg = begun(height);
    text(&mut svg, 8.0, 16.0, "start", &format!("{title} ({unit})"));
    for (number, (name, value)) in values.iter().enumerate() {
        let y = top + 24.0 * number as f64;
        let width = value / most * (WIDTH - left - right);
        let server = name.rsplit(' ').next().unwrap_or(name);
        let colour = colour(server, number);
        let _ = write!(svg, "<rect x=\"{left}\" y=\"{y}\" width=\"{width:.1}\" height=\"17\" fill=\"{colour}\"/>");
        text(&mut svg, left - 6.0, y + 13.0, "end", name);
        text(&mut svg, left + width + 5.0, y + 13.0, "start", &short(*value));
    }
    svg + "</svg>"
}

const FONT: &str = "font-family=\"system-ui,sans-serif\" font-size=\"11\" fill=\"#333\"";

/// A picture's beginning, which says its size: a browser shows nothing of one that does not, within a link.
fn begun(height: f64) -> String {
    let size = format!("width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\"");
    format!("<svg xmlns=\"http://www.w3.org/2000/svg\" {size} {FONT}>")
}

fn open(title: &str, across: &str, up: &str) -> String {
    let mut svg = begun(HEIGHT);
    text(&mut svg, 8.0, 13.0, "start", &format!("{title}: {up}"));
    text(&mut svg, WIDTH / 2.0, HEIGHT - 12.0, "middle", across);
    svg
}

fn grid(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let (x1, y1, x2, y2) = (from.0, from.1, to.0, to.1);
    let _ = write!(svg, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#ddd\"/>");
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escape(words));
}

fn legend(svg: &mut String, number: usize, colour: &str, name: &str) {
    let x = ROOM.0 + 120.0 * (number % 4) as f64;
    let y = 26.0 + 11.0 * (number / 4) as f64;
    let _ = write!(svg, "<rect x=\"{x}\" y=\"{:.1}\" width=\"9\" height=\"9\" fill=\"{colour}\"/>", y - 8.0);
    text(svg, x + 13.0, y, "start", name);
}

/// For text in HTML and SVG.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes() {
        let axis = Axis::of([0.1, 10.0].into_iter(), true);
        assert_eq!((axis.share(0.1), axis.share(1.0), axis.share(10.0)), (0.0, 0.5, 1.0));
        assert_eq!(axis.ticks(), [0.1, 1.0, 10.0]);
        assert_eq!(Axis::of([0.0, 8.0].into_iter(), false).ticks(), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert!(Axis::of([].into_iter(), true).share(1.0).is_finite());
    }

    #[test]
    fn plots_escape_names_and_hold_their_values() {
        let plot = bars("CPU", "µs", &[("a<b floor".into(), 9.5)]);
        assert!(plot.contains("a&lt;b floor") && plot.contains("9.50") && plot.ends_with("</svg>"), "{plot}");
        let line = Line { name: "x".into(), points: vec![(1.0, 2.0), (2.0, 3.0)] };
        assert!(lines("t", "ms", "share", true, &[line]).contains("polyline"));
    }
}
