//! Slow readers: some who fall off the tail and are caught up from history, some who never read and are evicted. What
//! the others notice of them is what their latency is beside that of the same load with nobody slow.

use super::deliver::{self, IN_FLIGHT, thousands};
use crate::lab::{Lab, Load, Stage};
use crate::plan::Plan;
use crate::publisher::{Choice, Schedule};
use crate::servers::{Kind, counter};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Events before the measured ones, so that every socket has been written to.
const WARM: u64 = 4;
/// A tail that slow readers fall off after a few seconds; a channel may have a quarter of it.
const SMALL_TAIL: &str = "--tail-bytes=1MiB";
/// Soon enough to be seen here, late enough for prompt readers of a busy machine.
const SOON_STALLED: &str = "--stall-timeout=5s";
/// How long evictions may take beyond that: a round of the sweep, and a socket that has to fill up first.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who is slow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    /// 2 % read a little per second.
    Slow,
    /// 1 % never read.
    Stalled,
}

impl Who {
    const ALL: [(Who, &str); 3] = [
        (Who::Nobody, "nobody slow"),
        (Who::Slow, "2 % slow, caught up from history"),
        (Who::Stalled, "1 % never read, evicted"),
    ];
}

/// The same load with each kind of slow readers.
pub fn run(lab: &mut Lab) -> Result<()> {
    let subscribers = lab.options.subscribers.unwrap_or(2_000);
    let mut schedule = deliver::schedule(lab, 20.0, 4, 10.0, Choice::InTurn(1));
    // Forty times what a slow reader reads: more than kernel and tail hold is published within the time.
    schedule.size = lab.options.size.unwrap_or(4_000);
    for (who, name) in Who::ALL {
        let case = format!("{} subscribers, {name}", thousands(subscribers));
        let mut load = Load { ids: true, ..Load::new("slow", case, Plan::One, subscribers) };
        match who {
            Who::Nobody => {}
            Who::Slow => (load.slow, load.node_arguments) = (20, &[SMALL_TAIL]),
            Who::Stalled => (load.stalled, load.node_arguments) = (10, &[SOON_STALLED]),
        }
        for number in 0..lab.options.runs.unwrap_or(2) {
            for kind in lab.kinds(false) {
                lab.progress(&format!("slow / {} / {kind}, run {}", load.case, number + 1));
                once(lab, kind, &load, &schedule, who)?;
            }
        }
    }
    Ok(())
}

fn once(lab: &mut Lab, kind: Kind, load: &Load, schedule: &Schedule, who: Who) -> Result<()> {
    let mut stage = lab.stage(kind, load)?;
    stage.connect(0.0, IN_FLIGHT)?;
    stage.fleet.target(vec![stage.server.listen], true)?;
    stage.fleet.pace(0.0, IN_FLIGHT)?;
    stage.publish(&Schedule { count: WARM, ..*schedule })?;
    let delivery = stage.publish(schedule)?;
    deliver::costs(&mut stage, &delivery);
    deliver::times(&mut stage)?;
    if who == Who::Stalled {
        evictions(&mut stage)?;
    }
    // The slow must not have lost anything either, once they read.
    stage.fleet.hurry()?;
    let stats = stage.settle_exact()?;
    stage.run.figure("dropped_slow", stats.dropped_slow as f64);
    if who == Who::Slow && stage.slow > 0 {
        catch_ups(&mut stage)?;
    }
    lab.keep(stage.finish()?);
    Ok(())
}

/// Waits until everybody who never reads has been evicted.
fn evictions(stage: &mut Stage) -> Result<()> {
    let Some(admin) = stage.server.admin else { return Ok(()) };
    let begun = Instant::now();
    loop {
        let evicted = counter(admin, "fantail_connections_closed_total{reason=\"stalled\"}")?;
        if evicted >= stage.stalled as f64 {
            stage.run.figure("evicted", evicted);
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let fault = format!("{evicted} of {} readers that never read were evicted", stage.stalled);
            stage.run.faults.push(fault);
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The case is none if nobody fell off the tail.
fn catch_ups(stage: &mut Stage) -> Result<()> {
    let Some(admin) = stage.server.admin else { return Ok(()) };
    let pages = counter(admin, "fantail_catch_ups_total")?;
    stage.run.figure("catch_ups", pages);
    if pages == 0.0 {
        stage.run.faults.push("nobody fell off the tail".into());
    }
    Ok(())
}
