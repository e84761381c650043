//! More and more nodes on one Redis that all follow the same channels: what each further one costs Redis. Beside it, as
//! the floor, a bare `SPUBLISH` to as many connections, which nothing that pushes events to nodes can undercut.

use super::cluster;
use super::deliver::{self, IN_FLIGHT, thousands};
use crate::lab::{Lab, Load, Publishing};
use crate::measure::median;
use crate::plan::Plan;
use crate::publisher::pipeline::{Pipeline, Verb};
use crate::publisher::{Choice, Publisher, Schedule, Sink};
use crate::results::Run;
use crate::rounds::rounds;
use crate::servers::pubsub_floor::Subscribers;
use crate::servers::{Kind, Server};
use anyhow::{Context as _, Result};

/// Channels, events per second over all, and numbers of nodes. The fewest nodes are what the others are compared with.
/// Of forty nodes, 500 events a second would be more than one core does.
type Series = (u32, f64, &'static [u32]);
const WHOLE: &[Series] =
    &[(1, 500.0, &[1, 5, 10, 20]), (1, 100.0, &[1, 40]), (200, 500.0, &[1, 5, 10, 20]), (200, 100.0, &[1, 40])];
const BRIEF: &[Series] = &[(1, 500.0, &[1, 10]), (1, 100.0, &[1, 40]), (200, 500.0, &[1, 10])];

/// Seconds of events before the measured ones: a busy stream is known as one by then.
const WARM: f64 = 1.0;

/// One number of nodes under one load.
struct Case {
    name: String,
    nodes: u32,
    channels: u32,
    schedule: Schedule,
}

pub fn run(lab: &mut Lab) -> Result<()> {
    all(lab, WHOLE)
}

/// A selection of it.
pub fn brief(lab: &mut Lab) -> Result<()> {
    all(lab, BRIEF)
}

fn all(lab: &mut Lab, series: &[Series]) -> Result<()> {
    let options = lab.options.clone();
    let mut done: Vec<(u32, f64)> = Vec::new();
    for &(channels, rate, counts) in series {
        let (channels, rate) = (options.channels.unwrap_or(channels), options.rate.unwrap_or(rate));
        let counts = options.nodes.map_or(counts.to_vec(), |most| if most > 1 { vec![1, most] } else { vec![1] });
        // What options make the same is measured once.
        if done.contains(&(channels, rate)) && (options.nodes.is_some() || options.channels.is_some()) {
            continue;
        }
        done.push((channels, rate));
        let cases: Vec<Case> = counts.iter().map(|&nodes| case(lab, nodes, channels, rate)).collect();
        let (kinds, runs) = (lab.floor_and_node(), options.runs.unwrap_or(1));
        rounds(lab, &kinds, runs, |lab, kind| cases.iter().try_for_each(|case| once(lab, kind, case)))?;
        compare(&mut lab.runs, &cases);
    }
    Ok(())
}

fn case(lab: &Lab, nodes: u32, channels: u32, rate: f64) -> Case {
    let named = if channels == 1 { "one channel".to_owned() } else { format!("{} channels", thousands(channels)) };
    let size = lab.options.size.unwrap_or(140);
    let schedule = Schedule { rate, size, ..deliver::schedule(lab, rate, 1, 8.0, Choice::InTurn(channels)) };
    let plural = if nodes == 1 { "" } else { "s" };
    Case { name: format!("{named}, {rate}/s, {nodes} node{plural}"), nodes, channels, schedule }
}

fn once(lab: &mut Lab, kind: Kind, case: &Case) -> Result<()> {
    lab.progress(&format!("nodes / {} / {kind}", case.name));
    if kind == Kind::Floor {
        return floor(lab, case);
    }
    let plan = Plan::Spread { targets: case.nodes, channels: case.channels };
    let publishing = Publishing::Stream;
    let clients = case.nodes * case.channels;
    let load = Load { ids: true, publishing, ..Load::new("nodes", case.name.clone(), plan, clients) };
    let mut stage = lab.stage(kind, &load)?;
    stage.publisher.as_mut().context("a publisher at rest")?.core = lab.core(1);
    let mut others = cluster::more(lab, &mut stage, &load, case.nodes)?;
    stage.connect(0.0, IN_FLIGHT)?;
    stage.publish(&case.warm())?;
    let (before, replicas) = (lab.redis()?.usage()?, lab.redis()?.replicas_cpu()?);
    let delivery = stage.publish(&case.schedule)?;
    let (after, replicas) = (lab.redis()?.usage()?, lab.redis()?.replicas_cpu()? - replicas);
    if lab.options.replicas > 0 {
        stage.run.figure("replicas_us", replicas * 1e6 / delivery.published.events as f64);
    }
    deliver::costs(&mut stage, &delivery);
    deliver::redis_costs(&mut stage, &delivery, Some((before, after)));
    let latency = stage.fleet.collect()?.latency;
    deliver::latencies(&mut stage.run, latency);
    others.iter_mut().try_for_each(Server::check_alive)?;
    lab.keep(stage.finish()?);
    Ok(())
}

/// Connections that take the place of the nodes: they have the events pushed to them, and do nothing else.
fn floor(lab: &mut Lab, case: &Case) -> Result<()> {
    let mut run = Run::new("nodes", &case.name, Kind::Floor);
    let ticks = crate::measure::Ticks::now()?;
    let address = lab.redis()?.address;
    let mut subscribers = Subscribers::start(address, "floor.", (case.nodes, case.channels), lab.core(0))?;
    let mut publisher = Publisher::new(vec![Sink::Pipeline(Pipeline::open(address, Verb::Spublish)?)], "floor.");
    publisher.core = lab.core(1);
    let each = u64::from(case.nodes);
    let warm = case.warm();
    let (publisher, _) = publisher.start(warm).join()?;
    subscribers.wait(warm.count * each);
    subscribers.forget_times();
    let before = lab.redis()?.usage()?;
    let (publisher, published) = publisher.start(case.schedule).join()?;
    subscribers.wait((warm.count + case.schedule.count) * each);
    let after = lab.redis()?.usage()?;
    deliver::redis_figures(&mut run, published.events, Some((before, after)));
    run.figure("publisher_late_ms", published.late.percentile(0.99));
    let received = subscribers.stop(&publisher.last())?;
    run.tally = received.tally;
    deliver::latencies(&mut run, received.latency);
    run.figure("stolen_percent", crate::measure::Ticks::now()?.stolen_percent(&ticks));
    lab.keep(run);
    Ok(())
}

impl Case {
    fn warm(&self) -> Schedule {
        let count = (self.schedule.rate * WARM).ceil() as u64;
        Schedule { count: count.max(u64::from(self.channels)), ..self.schedule }
    }
}

/// Says what each further node costs beside the fewest, for every server alike.
fn compare(runs: &mut [Run], cases: &[Case]) {
    let Some((fewest, more)) = cases.split_first() else { return };
    let mut servers: Vec<String> = runs.iter().map(|run| run.server.clone()).collect();
    servers.sort_unstable();
    servers.dedup();
    for server in servers {
        let of = |run: &Run, case: &Case| run.scenario == "nodes" && run.case == case.name && run.server == server;
        let base = runs.iter().filter(|run| of(run, fewest) && !run.set_aside);
        let base: Vec<f64> = base.filter_map(|run| run.figures.get("redis_us").copied()).collect();
        let Some(base) = median(&base) else { continue };
        for case in more {
            for run in runs.iter_mut().filter(|run| of(run, case)) {
                let cost = run.figures.get("redis_us").copied().unwrap_or(f64::NAN);
                run.figure("redis_us_per_node", (cost - base) / f64::from(case.nodes - fewest.nodes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_node_costs_the_difference_to_the_fewest() {
        let case = |name: &str, nodes| Case {
            name: name.into(),
            nodes,
            channels: 1,
            schedule: Schedule { rate: 1.0, burst: 1, size: 1, count: 1, choice: Choice::InTurn(1) },
        };
        let run = |case: &str, kind, cost: f64| {
            let mut run = Run::new("nodes", case, kind);
            run.figure("redis_us", cost);
            run
        };
        let mut runs = [
            run("1", Kind::Node, 150.0),
            run("1", Kind::Node, 170.0),
            run("10", Kind::Node, 340.0),
            run("1", Kind::Floor, 20.0),
            run("10", Kind::Floor, 110.0),
            run("10", Kind::Before, 110.0),
        ];
        compare(&mut runs, &[case("1", 1), case("10", 10)]);
        let costs: Vec<_> = runs.iter().map(|run| run.figures.get("redis_us_per_node").copied()).collect();
        assert_eq!(costs, [None, None, Some(20.0), None, Some(10.0), None]);
    }
}
