//! `RESULTS.md`: what long runs have shown, a section for each.

use std::path::PathBuf;

const HEAD: &str = "\
# Simulation: results

Each section is written by a command: `tests/run simulation --hours 1000 --results` and `tests/run simulation --plant all --results`.
";

/// Writes a section of the file, in the place of what it said before.
pub fn write(title: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/RESULTS.md");
    let before = std::fs::read_to_string(&path).unwrap_or_else(|_| HEAD.to_owned());
    std::fs::write(&path, with_section(&before, title, text)).expect("the results can be written");
    println!("{} says what was seen", path.display());
}

/// A page with a section under that title, which is put in its place, or at the end.
fn with_section(page: &str, title: &str, text: &str) -> String {
    let heading = format!("\n## {title}\n");
    let (before, behind) = match page.split_once(&heading) {
        Some((before, section)) => (before, section.find("\n## ").map_or("", |next| &section[next..])),
        None => (page, ""),
    };
    format!("{}\n{heading}\n{}\n{behind}", before.trim_end(), text.trim_end())
}
