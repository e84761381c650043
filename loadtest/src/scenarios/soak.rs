//! Everything mixed for a long time: many channels, churn, slow readers, nodes that die. Memory must stay flat.

use super::deliver::{IN_FLIGHT, thousands};
use crate::clock;
use crate::lab::{Lab, Load, Stage};
use crate::plan::Plan;
use crate::publisher::{Choice, Schedule};
use crate::results::Sample;
use crate::servers::{Kind, Server};
use anyhow::{Context as _, Result};
use std::time::Duration;

/// Seconds between deaths of a node.
const DEATHS: f64 = 60.0;
/// A tail that is full before the half that is judged begins; what is kept of history is no leak.
const SMALL_TAIL: &str = "--tail-bytes=1MiB";
/// Growth in the second half that counts as flat, in KiB a minute: what the allocator does by itself is less.
const FLAT: f64 = 256.0;
/// Too short to tell growth from noise.
const SHORT: f64 = 120.0;

pub fn run(lab: &mut Lab) -> Result<()> {
    let seconds = lab.options.seconds.unwrap_or(600.0);
    let subscribers = lab.options.subscribers.unwrap_or(3_000);
    let channels = lab.options.channels.unwrap_or(500);
    let rate = lab.options.rate.unwrap_or(30.0);
    let case = format!("{} subscribers, {channels} channels, 2 nodes, {seconds:.0} s", thousands(subscribers));
    let plan = Plan::Zipf { channels, most: 20 };
    let load = Load {
        ids: true,
        stalled: 3,
        slow: 7,
        node_arguments: &[SMALL_TAIL],
        ..Load::new("soak", case, plan, subscribers)
    };
    let mut stage = lab.stage(Kind::Node, &load)?;
    let mut mortal = lab.server(Kind::Node, &load, lab.core(0), 15)?;
    retarget(&mut stage, &mortal)?;
    stage.connect(0.0, IN_FLIGHT)?;
    stage.fleet.churn(f64::from(subscribers) / 100.0)?;
    let size = lab.options.size.unwrap_or(200);
    let schedule = Schedule { rate, burst: 1, size, count: (seconds * rate) as u64, choice: Choice::Zipf(channels) };
    let publication = stage.publisher.take().context("a publisher at rest")?.start(schedule);
    let mut death = clock::now();
    while !publication.is_finished() {
        let stats = stage.fleet.stats()?;
        stage.sampler.see(&stats);
        lab.progress(&format!("soak: {} live, {} delivered, {:?}", stats.live, stats.delivered, stats.tally));
        if clock::seconds(death, clock::now()) > DEATHS {
            mortal = lab.server(Kind::Node, &load, lab.core(0), 15)?;
            retarget(&mut stage, &mortal)?;
            death = clock::now();
        }
        stage.server.check_alive()?;
        std::thread::sleep(Duration::from_millis(500));
    }
    stage.publisher = Some(publication.join()?.0);
    stage.fleet.churn(0.0)?;
    stage.fleet.hurry()?;
    let stats = stage.settle_exact()?;
    stage.run.figure("dropped_slow", stats.dropped_slow as f64);
    super::deliver::times(&mut stage)?;
    let growth = growth(&stage.sampler.samples);
    stage.run.figure("growth_kib_per_min", growth);
    let most = lab.options.limits.max_growth.unwrap_or(FLAT);
    if growth > most && seconds >= SHORT {
        stage.run.faults.push(format!("memory grows by {growth:.0} KiB per minute; {most:.0} allowed"));
    }
    mortal.check_alive()?;
    lab.keep(stage.finish()?);
    Ok(())
}

/// Whoever loses the connection finds the surviving node and the mortal one of the day.
fn retarget(stage: &mut Stage, mortal: &Server) -> Result<()> {
    stage.fleet.target(vec![stage.server.listen, mortal.listen], true)?;
    stage.fleet.pace(0.0, IN_FLIGHT)
}

/// Growth of memory in the second half, KiB per minute, by least squares.
fn growth(samples: &[Sample]) -> f64 {
    let half = &samples[samples.len() / 2..];
    let n = half.len() as f64;
    let (x, y) = half.iter().fold((0.0, 0.0), |(x, y), s| (x + s.at / n, y + s.rss_kib as f64 / n));
    let (above, below) = half.iter().fold((0.0, 0.0), |(above, below), s| {
        (above + (s.at - x) * (s.rss_kib as f64 - y), below + (s.at - x) * (s.at - x))
    });
    above / below * 60.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_a_slope() {
        let at = |at: f64, rss_kib| Sample { at, live: 0, delivered: 0, cpu: 0.0, rss_kib };
        let samples: Vec<Sample> = (0..40u32).map(|i| at(f64::from(i), 1_000 + u64::from(i) * 2)).collect();
        assert!((growth(&samples) - 120.0).abs() < 1e-6);
        let flat: Vec<Sample> = (0..40u32).map(|i| at(f64::from(i), 1_000)).collect();
        assert!(growth(&flat).abs() < 1e-6);
    }
}
