//! What does not depend on the machine: system calls per delivery and per join, Redis commands per event and per join,
//! wakes of an idle node; the same of events that one subscriber each reads. Each has a hard limit here.

use super::deliver::{IN_FLIGHT, thousands};
use crate::lab::{Lab, Load, Stage};
use crate::plan::Plan;
use crate::process::{Process, wait_until};
use crate::publisher::{Choice, Schedule};
use crate::redis::Usage;
use crate::servers::Kind;
use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Sends per delivery at one event per wake: one, and no second try.
const MOST_SENDS: f64 = 1.0;
/// Sends per subscriber and burst of 100 events: one, unless Redis was asked while the burst was on its way there.
const MOST_SENDS_PER_BURST: f64 = 1.5;
/// Those of them that copy events into the socket: the short pieces, for a burst lies in pages that the sockets share.
const MOST_COPIES_PER_BURST: f64 = 0.5;
/// All system calls per delivery, with 1,000 subscribers who share each event's fixed part.
const MOST_SYSCALLS: f64 = 1.1;
/// All system calls per join of many at once: accept, look, read, answer, watch, and three more for a request that comes
/// later than its connection; wakes are shared.
const MOST_JOIN_SYSCALLS: f64 = 9.0;
/// Redis commands per event of a busy stream: the `XADD`, the read that waits and the one that proves, and the probe's
/// three a second. One less where the stream is not waited for, and then a push, which is no command.
const MOST_PER_EVENT: f64 = 3.2;
/// Redis commands per join at the tail of a channel that the node knows.
const MOST_PER_JOIN: f64 = 0.05;
/// Times a second that threads of a node without subscribers wake: the couriers' ticks are ten, the acceptor's two.
const MOST_IDLE_WAKES: f64 = 30.0;
/// Events that come at once, each for the one subscriber of another channel, and limits for each of them: Redis commands
/// (the `XADD`, reads, and `XINFO STREAM` as their witness), bytes that Redis sends, system calls of the node. What was
/// seen is 3.0, 1,110 and 12, and with twenty at once 1.3, 700 and 1.8. Where other processes want the processors, twenty
/// are not always one batch: 3.1 system calls were seen then.
const UNICAST: [(u32, [f64; 3]); 2] = [(1, [3.4, 1_300.0, 15.0]), (20, [1.6, 850.0, 4.0])];
/// Redis commands per event where events come one by one, but many of them: reads and their witnesses are shared.
const MOST_PER_BUSY_EVENT: f64 = 2.2;
const IDLE: Duration = Duration::from_secs(6);

pub fn run(lab: &mut Lab) -> Result<()> {
    shared(lab)?;
    shaped(lab)?;
    UNICAST.iter().try_for_each(|&(batch, limits)| unicast(lab, batch, limits))?;
    busy(lab)
}

/// So many events, each for the one subscriber of another channel, that a node reads several at once though they come one by one.
fn busy(lab: &mut Lab) -> Result<()> {
    let channels = 200;
    let case = format!("{channels} subscribers on own channels, 2,000 events/s");
    let load = Load::new("counts", case, Plan::Apart { each: 1 }, channels);
    lab.progress(&format!("counts / {}", load.case));
    let mut stage = lab.stage(Kind::Node, &load)?;
    stage.connect(0.0, IN_FLIGHT)?;
    let schedule = Schedule { rate: 2_000.0, burst: 1, size: 140, count: 6_000, choice: Choice::InTurn(channels) };
    let before = lab.redis()?.usage()?;
    stage.publish(&schedule)?;
    let commands = calls(&before, &lab.redis()?.usage()?) / schedule.count as f64;
    limit(&mut stage, "redis_commands", commands, MOST_PER_BUSY_EVENT);
    lab.keep(stage.finish()?);
    Ok(())
}

/// Events that one subscriber each reads, so many at once.
fn unicast(lab: &mut Lab, batch: u32, [commands, bytes, syscalls]: [f64; 3]) -> Result<()> {
    let channels = 200;
    let events = if batch == 1 { "one event at a time".to_owned() } else { format!("{batch} events at once") };
    let case = format!("{channels} subscribers on own channels, {events}");
    let load = Load::new("counts", case, Plan::Apart { each: 1 }, channels);
    lab.progress(&format!("counts / {}", load.case));
    let mut stage = lab.stage(Kind::Node, &load)?;
    stage.connect(0.0, IN_FLIGHT)?;
    // Slow enough that a traced node is done with a batch before the next, and no stream is busy.
    let rate = f64::from(10 * batch).max(100.0);
    let schedule = |count: u32| Schedule {
        rate,
        burst: batch,
        size: 140,
        count: u64::from(count),
        choice: Choice::InTurn(channels),
    };
    stage.publish(&Schedule { rate: 1_000.0, ..schedule(channels) })?;
    let before = lab.redis()?.usage()?;
    let measured = schedule(50 * batch.max(10));
    stage.publish(&measured)?;
    let after = lab.redis()?.usage()?;
    let events = measured.count as f64;
    limit(&mut stage, "redis_commands", calls(&before, &after) / events, commands);
    limit(&mut stage, "redis_bytes", (after.sent - before.sent) as f64 / events, bytes);
    let (delivery, calls) = traced(&mut stage, |stage| stage.publish(&measured))?;
    limit(&mut stage, "syscalls", calls.all as f64 / delivery.delivered as f64, syscalls);
    lab.keep(stage.finish()?);
    Ok(())
}

/// One channel that all share.
fn shared(lab: &mut Lab) -> Result<()> {
    let subscribers = lab.options.subscribers.unwrap_or(1_000);
    let load = Load::new("counts", format!("{} subscribers", thousands(subscribers)), Plan::One, subscribers);
    let mut stage = lab.stage(Kind::Node, &load)?;
    lab.progress("counts: joins");
    // The first subscriber makes the channel known; the others find it.
    stage.connect(0.0, IN_FLIGHT)?;
    let one = Schedule { rate: 20.0, burst: 1, size: 200, count: 5, choice: Choice::InTurn(1) };
    stage.publish(&one)?;
    stage.leave()?;
    lab.progress("counts: nobody there");
    let before = wakes(&stage)?;
    std::thread::sleep(IDLE);
    let idle_wakes = (wakes(&stage)? - before) as f64 / IDLE.as_secs_f64();
    limit(&mut stage, "idle_wakes", idle_wakes, MOST_IDLE_WAKES);
    let before = lab.redis()?.usage()?;
    stage.connect(0.0, IN_FLIGHT)?;
    let per_join = calls(&before, &lab.redis()?.usage()?) / f64::from(subscribers);
    limit(&mut stage, "redis_commands_per_join", per_join, MOST_PER_JOIN);
    lab.progress("counts: deliveries");
    // Fast enough that what Redis does each second anyway is little of it.
    let brisk = Schedule { rate: 100.0, burst: 1, size: 200, count: 300, choice: Choice::InTurn(1) };
    let before = lab.redis()?.usage()?;
    stage.publish(&brisk)?;
    let per_event = calls(&before, &lab.redis()?.usage()?) / brisk.count as f64;
    limit(&mut stage, "redis_commands", per_event, MOST_PER_EVENT);
    deliveries(&mut stage)?;
    lab.progress("counts: bursts");
    let bursts = Schedule { rate: 200.0, burst: 100, size: 200, count: 1000, choice: Choice::InTurn(1) };
    let (delivery, calls) = traced(&mut stage, |stage| stage.publish(&bursts))?;
    let reached = delivery.delivered as f64 / f64::from(bursts.burst);
    limit(&mut stage, "sends_per_burst", calls.sends() as f64 / reached, MOST_SENDS_PER_BURST);
    limit(&mut stage, "copies_per_burst", calls.copies as f64 / reached, MOST_COPIES_PER_BURST);
    stage.leave()?;
    lab.progress("counts: joins under trace");
    let (_, calls) = traced(&mut stage, |stage| stage.connect(0.0, IN_FLIGHT))?;
    limit(&mut stage, "join_syscalls", calls.all as f64 / f64::from(subscribers), MOST_JOIN_SYSCALLS);
    lab.keep(stage.finish()?);
    Ok(())
}

/// The same channel, each event in a form that is not the usual one. What of it is allocated and kept, `tests/counts` counts.
fn shaped(lab: &mut Lab) -> Result<()> {
    let subscribers = lab.options.subscribers.unwrap_or(1_000);
    let case = format!("{} subscribers with where, type=channel, heartbeat=4s", thousands(subscribers));
    let load = Load::new("counts", case, Plan::One, subscribers);
    lab.progress(&format!("counts / {}", load.case));
    let mut stage = lab.stage(Kind::NodeShaped, &load)?;
    stage.connect(0.0, IN_FLIGHT)?;
    stage.publish(&Schedule { rate: 20.0, burst: 1, size: 200, count: 5, choice: Choice::InTurn(1) })?;
    deliveries(&mut stage)?;
    lab.keep(stage.finish()?);
    Ok(())
}

/// System calls of events that come one by one.
fn deliveries(stage: &mut Stage) -> Result<()> {
    // Slow enough that a traced node is done with an event before the next.
    let schedule = Schedule { rate: 5.0, burst: 1, size: 200, count: 50, choice: Choice::InTurn(1) };
    let (delivery, calls) = traced(stage, |stage| stage.publish(&schedule))?;
    let delivered = delivery.delivered as f64;
    limit(stage, "syscalls", calls.all as f64 / delivered, MOST_SYSCALLS);
    limit(stage, "sends", calls.sends() as f64 / delivered, MOST_SENDS * 1.02);
    Ok(())
}

fn limit(stage: &mut Stage, name: &'static str, value: f64, limit: f64) {
    stage.run.figure(name, value);
    if value > limit {
        stage.run.faults.push(format!("{name} is {value:.3}; {limit} allowed"));
    }
}

/// Commands between two readings, without this crate's own INFO.
fn calls(before: &Usage, after: &Usage) -> f64 {
    let sum = |usage: &Usage| usage.calls.iter().filter(|(name, _)| name != "info").map(|(_, n)| n).sum::<u64>();
    sum(after).saturating_sub(sum(before)) as f64
}

/// How often the server's threads have waited for something.
fn wakes(stage: &Stage) -> Result<u64> {
    let pid = *stage.server.pids.first().context("a server's process")?;
    let mut wakes = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        wakes += line.context("a thread's switches")?.trim().parse::<u64>()?;
    }
    Ok(wakes)
}

/// System calls.
#[derive(Debug, Default, PartialEq, Eq)]
struct Calls {
    all: u64,
    /// Those that send what they are given.
    copies: u64,
    /// Those that send pages of a file.
    pages: u64,
}

impl Calls {
    fn sends(&self) -> u64 {
        self.copies + self.pages
    }
}

/// Does something, and counts the system calls of the server's threads meanwhile.
fn traced<T>(stage: &mut Stage, work: impl FnOnce(&mut Stage) -> Result<T>) -> Result<(T, Calls)> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("strace");
    let mut tracer = trace(stage, &file)?;
    let done = work(stage)?;
    tracer.signal(Signal::INT)?;
    // strace ends by the same signal, so its status says nothing.
    let _ = tracer.wait(Duration::from_secs(10));
    let calls = totals(&std::fs::read_to_string(&file)?).context("strace wrote no table")?;
    Ok((done, calls))
}

/// Counts the system calls of all threads of the server, from when this returns.
fn trace(stage: &Stage, file: &std::path::Path) -> Result<Process> {
    let pid = *stage.server.pids.first().context("a server's process")?;
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(file).arg("-p").arg(pid.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut tracer = Process::start("strace", &mut command, None)?;
    wait_until("strace", Duration::from_secs(10), &mut tracer, || {
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let status = std::fs::read_to_string(task?.path().join("status"))?;
            ensure!(!status.contains("TracerPid:\t0"), "not every thread is traced yet");
        }
        Ok(())
    })?;
    Ok(tracer)
}

/// Of a table with the columns calls and name.
fn totals(table: &str) -> Option<Calls> {
    let mut counted = Calls::default();
    let mut all = None;
    for line in table.lines() {
        let mut words = line.split_whitespace();
        let (Some(calls), Some(name)) = (words.next().and_then(|w| w.parse::<u64>().ok()), words.next()) else {
            continue;
        };
        match name {
            "total" => all = Some(calls),
            "sendto" | "sendmsg" | "write" | "writev" => counted.copies += calls,
            "sendfile" => counted.pages += calls,
            _ => {}
        }
    }
    Some(Calls { all: all?, ..counted })
}

#[cfg(test)]
mod tests {
    use super::{Calls, totals};

    #[test]
    fn reads_the_table() {
        let table = "    calls syscall\n--------- -------\n     1000 sendto\n       20 sendfile\n        7 epoll_wait\n--------- -----\n     1027 total\n";
        assert_eq!(totals(table), Some(Calls { all: 1027, copies: 1000, pages: 20 }));
        assert_eq!(totals(""), None);
    }
}
