//! `loadtest`: load generator, exactness checker and benchmark of Fantail.
//!
//! Start at [`scenarios`]; [`lab`] is what they stand on, [`clients`] and [`servers`] are the two ends. Nothing here
//! comes from the node's own code, so that a mistake there is not repeated here.

mod centrifugo;
mod checker;
mod clients;
mod clock;
mod goals;
mod lab;
mod measure;
mod options;
mod payload;
mod plan;
mod process;
mod publisher;
mod redis;
mod report;
mod results;
mod rounds;
mod scenarios;
mod servers;

use anyhow::Result;
use clap::Parser as _;
use options::{Cli, What};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(Cli::parse().what) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("\nloadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything was exact and within the limits.
fn run(what: What) -> Result<bool> {
    process::raise_descriptor_limit()?;
    match what {
        What::Clients => clients::worker::run().map(|()| true),
        What::ServeFloor(floor) => servers::floor::run(&floor).map(|()| true),
        What::ServeHyperBody(server) => servers::hyper_body::run(&server).map(|()| true),
        scenario => {
            let mut lab = lab::Lab::new(scenario.options());
            let outcome = scenarios::run(&scenario, &mut lab);
            // What was measured before a failure is worth showing.
            let good = report::show(&lab.runs, &lab.options)?;
            outcome.map(|()| good)
        }
    }
}
