//! More and more followed channels, each with one subscriber, at the same rate of events over all: what following costs
//! Redis. The first event of a stream that was empty costs more (its state is asked for too) and is measured apart.
//!
//! One stream alone is hot: it is waited for, which costs Redis less. What many cost is compared with one that is followed
//! as they are, by pushes.

use super::deliver::{self, IN_FLIGHT, thousands};
use crate::lab::{Lab, Load, Stage};
use crate::measure::median;
use crate::plan::Plan;
use crate::publisher::{Choice, Schedule};
use crate::results::Run;
use crate::rounds::rounds;
use crate::servers::Kind;
use anyhow::Result;

/// First events per second: a node of one core keeps up.
const FIRST_RATE: f64 = 4_000.0;

/// Streams from which a run takes half a minute before anything is measured: one is enough.
const MANY: u32 = 50_000;

pub fn run(lab: &mut Lab) -> Result<()> {
    let sizes = lab.options.channels.map_or(vec![1, 100, 1_000, 10_000, 100_000], |n| vec![n]);
    let alone = sizes.contains(&1);
    let (few, many): (Vec<u32>, Vec<u32>) = sizes.into_iter().partition(|&channels| channels < MANY);
    // In turn: what Redis takes for an event depends on how soundly its core sleeps just then.
    rounds(lab, &[Kind::Node], lab.options.runs.unwrap_or(1), |lab, _| {
        if alone {
            once(lab, 1, Some("one channel, pushed"))?;
        }
        few.iter().try_for_each(|&channels| once(lab, channels, None))
    })?;
    many.iter().try_for_each(|&channels| once(lab, channels, None))?;
    compare(&mut lab.runs);
    Ok(())
}

/// `pushed` names a case whose streams are never waited for.
fn once(lab: &mut Lab, channels: u32, pushed: Option<&str>) -> Result<()> {
    let each = channels.min(20);
    let schedule = deliver::schedule(lab, 1_000.0, 1, 8.0, Choice::InTurn(channels));
    let named = pushed.map_or_else(|| format!("{} channels", thousands(channels)), str::to_owned);
    let case = format!("{named}, {}/s", schedule.rate);
    let node_arguments: &[_] = if pushed.is_some() { &["--follow", "tracking"] } else { &[] };
    let plan = Plan::Apart { each };
    let load = Load { ids: true, node_arguments, ..Load::new("follow", case, plan, channels / each) };
    lab.progress(&format!("follow / {}", load.case));
    let mut stage = lab.stage(Kind::Node, &load)?;
    let empty = stage.memory()?;
    stage.connect(0.0, IN_FLIGHT)?;
    let first = Schedule { rate: FIRST_RATE, count: u64::from(channels), ..schedule };
    let first = publish(lab, &mut stage, &first)?;
    stage.run.figure("redis_first_us", first);
    publish(lab, &mut stage, &schedule)?;
    let memory = stage.memory()?.rss.saturating_sub(empty.rss) as f64;
    stage.run.figure("memory_per_channel_kib", memory / f64::from(channels));
    deliver::times(&mut stage)?;
    lab.keep(stage.finish()?);
    Ok(())
}

/// Publishes; the CPU of Redis per event in microseconds.
fn publish(lab: &mut Lab, stage: &mut Stage, schedule: &Schedule) -> Result<f64> {
    let before = lab.usage(Kind::Node)?;
    let delivery = stage.publish(schedule)?;
    let after = lab.usage(Kind::Node)?;
    deliver::costs(stage, &delivery);
    deliver::redis_costs(stage, &delivery, before.zip(after));
    Ok(stage.run.figures.get("redis_us").copied().unwrap_or(f64::NAN))
}

/// Says what more channels cost beside the fewest.
fn compare(runs: &mut [Run]) {
    let cost = |run: &Run| run.figures.get("redis_us").copied();
    let counts = |run: &&Run| run.scenario == "follow" && !run.set_aside;
    let Some(fewest) = runs.iter().find(counts).map(|run| run.case.clone()) else { return };
    let base: Vec<f64> = runs.iter().filter(counts).filter(|run| run.case == fewest).filter_map(cost).collect();
    let Some(base) = median(&base) else { return };
    for run in runs.iter_mut().filter(|run| run.scenario == "follow") {
        if let Some(cost) = cost(run) {
            run.figure("redis_us_ratio", cost / base);
        }
    }
}
