//! Many nodes on one machine and one Redis, up to a million connections, beside as many floors; and one node with more
//! than it can do.

use super::deliver::{IN_FLIGHT, thousands};
use crate::clock;
use crate::lab::{Lab, Load, Stage};
use crate::measure::{self, Distribution, median};
use crate::plan::Plan;
use crate::publisher::{Choice, Schedule};
use crate::rounds::rounds;
use crate::servers::{Kind, Server, get};
use anyhow::{Context as _, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Connections per node, when the number of nodes is not given: room below 20,000 descriptors.
const PER_NODE: u32 = 18_200;
/// Heartbeats per second of all nodes together, at most.
const HEARTBEATS: u32 = 5_000;
/// Broadcasts to everybody, one after the other.
const BROADCASTS: u32 = 3;

pub fn run(lab: &mut Lab) -> Result<()> {
    let subscribers = lab.options.subscribers.unwrap_or(36_000);
    let nodes = lab.options.nodes.unwrap_or_else(|| subscribers.div_ceil(PER_NODE).max(2));
    lab.options.no_pin = true;
    let case = format!("{} subscribers on {nodes} nodes", thousands(subscribers));
    // Heartbeats at 15 s to a million would be 67,000 sends a second: more than these cores do besides.
    let heartbeat = Some(u64::from(subscribers / HEARTBEATS).clamp(15, 300));
    let load = Load { heartbeat, ..Load::new("cluster", case, Plan::One, subscribers) };
    let kinds = lab.floor_and_node();
    let runs = lab.options.runs.unwrap_or(1);
    rounds(lab, &kinds, runs, |lab, kind| once(lab, kind, &Load { ids: kind.is_node(), ..load.clone() }, nodes))
}

/// As many floors as nodes stand for what this machine can do at best.
fn once(lab: &mut Lab, kind: Kind, load: &Load, nodes: u32) -> Result<()> {
    let machine = measure::machine_used_kib()?;
    let mut stage = lab.stage(kind, load)?;
    let mut others = more(lab, &mut stage, load, nodes)?;
    let empty = stage.memory()?.rss;
    lab.progress(&format!("cluster / {kind}: connecting"));
    let workers = stage.fleet.pids().len();
    let joined = stage.connect(0.0, 64 * workers)?;
    let clients = f64::from(load.clients);
    let seconds = clock::seconds(joined.first_connect, joined.last_live);
    stage.run.figure("connect_s", seconds);
    stage.run.figure("joins_per_s", clients / seconds);
    stage.run.figure("memory_kib", stage.memory()?.rss.saturating_sub(empty) as f64 / clients);
    broadcasts(lab, kind, &mut stage)?;
    stage.run.figure("machine_kib", measure::machine_used_kib()?.saturating_sub(machine) as f64 / clients);
    others.iter_mut().try_for_each(Server::check_alive)?;
    lab.keep(stage.finish()?);
    Ok(())
}

/// Starts further servers of a stage's kind, up to so many over all. Clients connect to each in turn; the stage's figures
/// are of all.
pub fn more(lab: &mut Lab, stage: &mut Stage, load: &Load, nodes: u32) -> Result<Vec<Server>> {
    let kind = stage.server.kind;
    let mut others = Vec::new();
    for number in 2..=nodes {
        lab.progress(&format!("{} / {kind}: starting {number} of {nodes}", load.scenario));
        others.push(lab.server(kind, load, lab.core(0), 15)?);
    }
    if kind == Kind::Floor {
        let sinks = &mut stage.publisher.as_mut().context("a publisher at rest")?.sinks;
        for floor in &others {
            sinks.push(floor.sink(None, 0)?);
        }
    }
    let targets: Vec<SocketAddr> = [stage.server.listen].into_iter().chain(others.iter().map(|s| s.listen)).collect();
    let pids: Vec<u32> = stage.server.pids.iter().chain(others.iter().flat_map(|s| &s.pids)).copied().collect();
    stage.server.pids.clone_from(&pids);
    stage.sampler.pids = pids;
    stage.fleet.target(targets, false)?;
    Ok(others)
}

fn broadcasts(lab: &mut Lab, kind: Kind, stage: &mut Stage) -> Result<()> {
    let size = lab.options.size.unwrap_or(200);
    let (mut last, mut first, mut cpu, mut redis) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 1..=BROADCASTS {
        lab.progress(&format!("cluster / {kind}: broadcast {number} of {BROADCASTS}"));
        let before = lab.usage(kind)?;
        let one = Schedule { rate: 10.0, burst: 1, size, count: 1, choice: Choice::InTurn(1) };
        let delivery = stage.publish(&one)?;
        if let (Some(before), Some(after)) = (before, lab.usage(kind)?) {
            redis.push((after.cpu - before.cpu) * 1e6);
        }
        cpu.push(delivery.cpu as f64 / 1e3 / delivery.delivered as f64);
        for event in stage.fleet.collect()?.events {
            first.push(event.first.saturating_sub(event.intended) as f64 / 1e6);
            last.push(event.last.saturating_sub(event.intended) as f64 / 1e6);
        }
    }
    for (name, values) in [("cpu_us", cpu), ("first_ms", first), ("last_ms", last), ("redis_us", redis)] {
        stage.run.figure(name, median(&values).unwrap_or(f64::NAN));
    }
    Ok(())
}

/// A full node with about twice the load that it can deliver: it must answer probes, and nothing may be lost silently.
pub fn overload(lab: &mut Lab) -> Result<()> {
    let subscribers = lab.options.subscribers.unwrap_or(19_000);
    let rate = lab.options.rate.unwrap_or(200_000.0 / f64::from(subscribers));
    let case = format!("overload: {} subscribers, {rate:.1}/s", thousands(subscribers));
    let load = Load { ids: true, ..Load::new("cluster", case, Plan::One, subscribers) };
    let mut stage = lab.stage(Kind::Node, &load)?;
    stage.connect(0.0, IN_FLIGHT)?;
    stage.fleet.target(vec![stage.server.listen], true)?;
    stage.fleet.pace(0.0, IN_FLIGHT)?;
    let probes = stage.server.admin.map(Probes::start);
    let count = (lab.options.seconds.unwrap_or(10.0) * rate) as u64;
    let size = lab.options.size.unwrap_or(200);
    let delivery = stage.publish(&Schedule { rate, burst: 1, size, count, choice: Choice::InTurn(1) })?;
    super::deliver::costs(&mut stage, &delivery);
    super::deliver::times(&mut stage)?;
    if let Some(probes) = probes {
        let (answers, failed) = probes.stop()?;
        stage.run.figure("livez_p99_ms", answers.percentile(0.99));
        if failed > 0 {
            stage.run.faults.push(format!("{failed} probes failed"));
        }
    }
    stage.settle_exact()?;
    lab.keep(stage.finish()?);
    Ok(())
}

/// Asks `/livez` and `/metrics` in turn, every 25 ms.
struct Probes {
    thread: std::thread::JoinHandle<(Vec<(u64, u64)>, u32)>,
    stop: Arc<AtomicBool>,
}

impl Probes {
    fn start(admin: SocketAddr) -> Probes {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut times, mut failed) = (Vec::new(), 0);
            while !flag.load(Ordering::Relaxed) {
                for path in ["/livez", "/metrics"] {
                    let started = clock::now();
                    failed += u32::from(get(admin, path).is_err());
                    times.push(((clock::now() - started) / 1_000, 1));
                    std::thread::sleep(Duration::from_millis(25));
                }
            }
            (times, failed)
        });
        Probes { thread, stop }
    }

    fn stop(self) -> Result<(Distribution, u32)> {
        self.stop.store(true, Ordering::Relaxed);
        let (times, failed) = self.thread.join().ok().context("the prober panicked")?;
        Ok((Distribution::of(&times), failed))
    }
}
