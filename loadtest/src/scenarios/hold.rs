//! Idle connections: what each costs in memory, whatever happened before, and what heartbeats cost.

use super::deliver::{IN_FLIGHT, thousands};
use crate::clock;
use crate::lab::{Lab, Load, Stage};
use crate::measure;
use crate::plan::Plan;
use crate::rounds::rounds;
use crate::servers::Kind;
use anyhow::Result;
use std::time::Duration;

/// How often everybody leaves and comes again before memory is looked at anew.
const ROUNDS: u32 = 3;
/// Seconds between heartbeats.
const HEARTBEAT: u64 = 15;
/// Heartbeats that everybody gets while their cost is measured, and how many seconds that may take.
const BEATS: u64 = 2;
const LONGEST: f64 = 40.0;

pub fn run(lab: &mut Lab) -> Result<()> {
    let subscribers = lab.options.subscribers.unwrap_or(15_000);
    let case = format!("{} idle subscribers", thousands(subscribers));
    let load = Load { heartbeat: Some(HEARTBEAT), ..Load::new("hold", case, Plan::One, subscribers) };
    let (kinds, runs) = (lab.kinds(true), lab.options.runs.unwrap_or(1));
    rounds(lab, &kinds, runs, |lab, kind| once(lab, kind, &load))
}

fn once(lab: &mut Lab, kind: Kind, load: &Load) -> Result<()> {
    lab.progress(&format!("hold / {kind}: connecting"));
    let mut stage = lab.stage(kind, load)?;
    let clients = f64::from(load.clients);
    let (empty, machine) = (stage.memory()?.rss, measure::machine_used_kib()?);
    let cpu = stage.cpu()?;
    let joined = stage.connect(0.0, IN_FLIGHT)?;
    stage.run.figure("joins_per_s", clients / clock::seconds(joined.first_connect, joined.last_live));
    stage.run.figure("join_us", (stage.cpu()? - cpu) as f64 / 1e3 / clients);
    let each = |stage: &Stage| Ok::<_, anyhow::Error>(stage.memory()?.rss.saturating_sub(empty) as f64 / clients);
    let memory = each(&stage)?;
    stage.run.figure("memory_kib", memory);
    stage.run.figure("machine_kib", measure::machine_used_kib()?.saturating_sub(machine) as f64 / clients);
    for round in 1..=ROUNDS {
        lab.progress(&format!("hold / {kind}: everybody leaves and comes again, {round} of {ROUNDS}"));
        stage.leave()?;
        stage.connect(0.0, IN_FLIGHT)?;
    }
    let memory = each(&stage)?;
    stage.run.figure("memory_churned_kib", memory);
    lab.progress(&format!("hold / {kind}: all at once"));
    stage.leave()?;
    stage.fleet.reset()?;
    stage.connect_gathered()?;
    let memory = each(&stage)?;
    stage.run.figure("memory_storm_kib", memory);
    let join = stage.fleet.collect()?.join;
    stage.run.figure("join_p99_ms", join.percentile(0.99));
    heartbeats(lab, &mut stage)?;
    lab.keep(stage.finish()?);
    Ok(())
}

/// CPU while nothing but heartbeats happens: over whole rounds of them, since a server may send those of clients that came
/// together together, and works besides.
fn heartbeats(lab: &Lab, stage: &mut Stage) -> Result<()> {
    let before = (stage.fleet.stats()?, stage.cpu()?, clock::now());
    let limit = before.2 + (lab.options.seconds.unwrap_or(LONGEST) * 1e9) as u64;
    let due = u64::from(stage.fleet.clients) * BEATS;
    let (stats, now) = loop {
        lab.progress(&format!("hold / {}: heartbeats", stage.run.server));
        std::thread::sleep(Duration::from_millis(250));
        let (stats, now) = (stage.fleet.stats()?, clock::now());
        stage.sampler.see(&stats);
        if stats.comments - before.0.comments >= due || now > limit {
            break (stats, now);
        }
    };
    let (beats, used) = ((stats.comments - before.0.comments) as f64, (stage.cpu()? - before.1) as f64 / 1e3);
    let clients = f64::from(stage.fleet.clients);
    stage.run.figure("beat_us", used / beats);
    stage.run.figure("beat_s", clock::seconds(before.2, now) * clients / beats);
    stage.run.figure("idle_us", used / clients / clock::seconds(before.2, now));
    if stats.dropped > before.0.dropped {
        stage.run.faults.push(format!("{} idle subscribers were dropped", stats.dropped - before.0.dropped));
    }
    Ok(())
}
