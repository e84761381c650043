//! Connects and disconnects at a rate while events flow; leaks show as memory that grows from one half to the next.

use super::deliver::{self, IN_FLIGHT, thousands};
use crate::clock;
use crate::lab::{Lab, Load};
use crate::plan::Plan;
use crate::publisher::Choice;
use crate::servers::Kind;
use anyhow::{Context as _, Result};

/// Closes and connects per second.
const CHURN: f64 = 1_000.0;

pub fn run(lab: &mut Lab) -> Result<()> {
    let subscribers = lab.options.subscribers.unwrap_or(5_000);
    let case = format!("{} subscribers, {CHURN:.0} leave and come per second", thousands(subscribers));
    let load = Load { ids: true, ..Load::new("churn", case, Plan::One, subscribers) };
    let schedule = deliver::schedule(lab, 4.0, 1, 10.0, Choice::InTurn(1));
    let kinds: Vec<Kind> = lab.kinds(false).into_iter().filter(|&kind| kind == Kind::Node).collect();
    for kind in kinds {
        let mut stage = lab.stage(kind, &load)?;
        let empty = stage.memory()?.rss;
        stage.connect(0.0, IN_FLIGHT)?;
        stage.fleet.target(vec![stage.server.listen], true)?;
        stage.fleet.pace(0.0, IN_FLIGHT)?;
        let mut halves = Vec::new();
        for half in 1..=2 {
            lab.progress(&format!("churn / half {half} of 2"));
            let opened = stage.fleet.stats()?.opened;
            stage.fleet.churn(CHURN)?;
            let started = clock::now();
            let publication = stage.publisher.take().context("a publisher at rest")?.start(schedule);
            while !publication.is_finished() {
                let stats = stage.fleet.stats()?;
                stage.sampler.see(&stats);
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            stage.publisher = Some(publication.join()?.0);
            let opened = stage.fleet.stats()?.opened - opened;
            stage.run.figure("joins_per_s", opened as f64 / clock::seconds(started, clock::now()));
            stage.fleet.churn(0.0)?;
            stage.settle_exact()?;
            halves.push(stage.memory()?.rss as f64);
        }
        let clients = f64::from(load.clients);
        stage.run.figure("memory_kib", (halves[1] - empty as f64) / clients);
        let minutes = schedule.count as f64 / schedule.rate / 60.0;
        stage.run.figure("growth_kib_per_min", (halves[1] - halves[0]) / minutes);
        lab.keep(stage.finish()?);
    }
    Ok(())
}
