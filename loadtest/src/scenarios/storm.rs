//! All clients of a killed node resume on another.

use super::deliver::{IN_FLIGHT, thousands};
use crate::clients::protocol::Stats;
use crate::clock;
use crate::lab::{Lab, Load};
use crate::plan::Plan;
use crate::publisher::{Choice, Schedule};
use crate::redis::{READS, Usage};
use crate::rounds::rounds;
use crate::servers::Kind;
use anyhow::{Context as _, Result};
use std::time::Duration;

/// Events that are published while nobody is connected.
const MISSED: u64 = 12;
/// Shared channels of those who have one of their own besides.
const SHARED: u32 = 3;

pub fn run(lab: &mut Lab) -> Result<()> {
    let runs = lab.options.runs.unwrap_or(1);
    let subscribers = lab.options.subscribers.unwrap_or(15_000);
    let size = lab.options.size.unwrap_or(200);
    if !lab.options.users {
        let case = format!("shared: {} subscribers of one channel", thousands(subscribers));
        let load = Load { ids: true, ..Load::new("storm", case, Plan::One, subscribers) };
        let kinds = lab.kinds(false);
        rounds(lab, &kinds, runs, |lab, kind| once(lab, kind, &load, size))?;
    }
    let nodes: Vec<Kind> = lab.kinds(false).into_iter().filter(|kind| kind.is_node()).collect();
    if nodes.is_empty() {
        return Ok(());
    }
    let case = format!("own: {} subscribers, one own and 3 shared channels", thousands(subscribers));
    let load = Load { ids: true, ..Load::new("storm", case, Plan::Users { shared: SHARED }, subscribers) };
    rounds(lab, &nodes, runs, |lab, kind| once(lab, kind, &load, size))
}

fn once(lab: &mut Lab, kind: Kind, load: &Load, size: usize) -> Result<()> {
    lab.progress(&format!("storm / {} / {kind}", load.case));
    let mut stage = lab.stage(kind, load)?;
    let mut heir = lab.server(kind, load, lab.core(0), 15)?;
    let sinks = &mut stage.publisher.as_mut().context("a publisher at rest")?.sinks;
    match kind {
        kind if kind.is_node() => {}
        // Redis carries what is published at the heir to both.
        Kind::Nchan => *sinks = vec![heir.sink(None, 0)?],
        _ => sinks.push(heir.sink(None, 0)?),
    }
    stage.connect(0.0, IN_FLIGHT)?;
    let shared = if let Plan::Users { shared } = load.plan { shared } else { 1 };
    if shared > 1 {
        // Everybody's own channel gets an event, so that there is a history to resume in.
        let all = shared + load.clients;
        let schedule = Schedule { rate: 5_000.0, burst: 1, size, count: u64::from(all), choice: Choice::InTurn(all) };
        stage.publish(&schedule)?;
    }
    let before = Schedule { rate: 5.0, burst: 1, size, count: 3 * u64::from(shared), choice: Choice::InTurn(shared) };
    stage.publish(&before)?;
    stage.fleet.reset()?;
    stage.fleet.target(vec![heir.listen], true)?;
    stage.fleet.pace(0.0, 1_024)?;
    let usage = lab.usage(kind)?;
    let cpu = crate::measure::cpu_ns_of(&heir.pids)?;
    let schedule = Schedule { rate: 100.0, burst: 1, size, count: MISSED, choice: Choice::InTurn(shared) };
    if kind == Kind::HyperBody {
        // Its feed goes with it.
        stage.publisher.as_mut().context("a publisher at rest")?.sinks.remove(0);
    }
    let opened = stage.fleet.stats()?.opened;
    let killed = clock::now();
    stage.server.kill()?;
    let publication = stage.publisher.take().context("a publisher at rest")?.start(schedule);
    let all = u64::from(load.clients);
    let patience = Duration::from_secs(15);
    let resumed = |s: &Stats| s.opened >= opened + all && s.live == all;
    let live = stage.fleet.wait("resuming", patience, |s| stage.sampler.see(s), resumed)?;
    stage.publisher = Some(publication.join()?.0);
    let caught_up = stage.settle_exact()?;
    let clients = f64::from(load.clients);
    let run = &mut stage.run;
    run.figure("joins_per_s", clients / clock::seconds(live.first_connect, live.last_live));
    run.figure("all_live_s", clock::seconds(killed, live.last_live));
    run.figure("caught_up_s", clock::seconds(killed, caught_up.last_delivery.max(live.last_live)));
    run.figure("join_us", (crate::measure::cpu_ns_of(&heir.pids)? - cpu) as f64 / 1e3 / clients);
    if let Some((before, after)) = usage.zip(lab.usage(kind)?) {
        run.figure("redis_reads_per_client", after.calls_since(&before, READS) as f64 / clients);
        let calls = |usage: &Usage| usage.calls.iter().map(|(_, calls)| *calls).sum::<u64>() as f64;
        let joins = calls(&after) - calls(&before) - MISSED as f64;
        run.figure("redis_commands_per_join", joins / clients);
    }
    let measured = stage.fleet.collect()?;
    stage.run.figure("join_p99_ms", measured.join.percentile(0.99));
    heir.check_alive()?;
    lab.keep(stage.finish()?);
    Ok(())
}
