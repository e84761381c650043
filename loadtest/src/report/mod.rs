//! What is shown at the end: a table, and files where they are asked for.

mod html;
mod machine;
mod markdown;
mod plot;
mod table;

use crate::options::Options;
use crate::results::{self, Run};
use anyhow::{Context as _, Result};

/// Prints the table, writes the files, and says whether everything was exact and within the limits.
pub fn show(runs: &[Run], options: &Options) -> Result<bool> {
    let rows = results::rows(runs);
    println!("{}", table::text(&rows));
    let broken = results::broken(runs, &rows, &options.limits);
    for rule in &broken {
        println!("BROKEN: {rule}");
    }
    let machine = machine::Machine::here();
    if let Some(path) = &options.json {
        let all = serde_json::json!({ "machine": machine, "rows": rows, "runs": runs, "broken": broken });
        std::fs::write(path, all.to_string()).with_context(|| path.display().to_string())?;
    }
    if let Some(directory) = &options.report {
        std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let page = html::page(&rows, runs, &broken, &machine);
        std::fs::write(directory.join("report.html"), page).with_context(|| directory.display().to_string())?;
    }
    if let Some(path) = &options.results {
        markdown::write(path, &rows, &broken, &machine)?;
    }
    Ok(broken.is_empty())
}
