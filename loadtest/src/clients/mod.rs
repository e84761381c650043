//! The client side: worker processes with thousands of clients each, and the coordinator's view of them.

pub mod books;
mod connection;
mod dialing;
mod http2;
pub mod parser;
pub mod protocol;
mod sessions;
pub mod way;
pub mod worker;

use crate::clock;
use crate::measure::Distribution;
use crate::process::Process;
use anyhow::{Context as _, Result, bail, ensure};
use protocol::{Clients, Collected, Command, EventTimes, Report, Stats};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Channels below this number have the way of each event to all its subscribers recorded.
pub const TRACKED: u32 = 4;
/// Clients per worker: below 20,000 descriptors.
pub const PER_WORKER: u32 = 19_400;
/// Source addresses per worker.
const SOURCES: u8 = 8;
/// A worker that is busy with its clients answers within this, or the run fails.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// All clients of a run.
pub struct Fleet {
    workers: Vec<Worker>,
    pub clients: u32,
}

struct Worker {
    input: ChildStdin,
    reports: Receiver<Report>,
    process: Process,
}

/// All distributions of a fleet.
pub struct Measured {
    pub latency: Distribution,
    pub join: Distribution,
    pub events: Vec<EventTimes>,
}

impl Fleet {
    /// Starts workers for `setup.count` clients; `first` and `sources` of the setup are filled in.
    pub fn start(setup: &Clients, workers: u32, core: Option<usize>) -> Result<Fleet> {
        let workers = workers.max(setup.count.div_ceil(PER_WORKER));
        let mut fleet = Fleet { workers: Vec::new(), clients: setup.count };
        let mut first = 0;
        for number in 0..workers {
            let count = setup.count / workers + u32::from(number < setup.count % workers);
            let mut worker = Worker::start(number, core)?;
            let sources =
                (1..=SOURCES).map(|last| Ipv4Addr::new(127, 1 + (number / 250) as u8, (number % 250) as u8, last));
            let clients = Clients { first, count, sources: sources.collect(), ..setup.clone() };
            worker.command(&Command::Clients(clients))?;
            fleet.workers.push(worker);
            first += count;
        }
        Ok(fleet)
    }

    fn command(&mut self, command: &Command) -> Result<()> {
        self.workers.iter_mut().try_for_each(|worker| worker.command(command))
    }

    /// Connects everybody who is not; `rate` per second over all, 0 for as fast as `in_flight` at once allow.
    pub fn connect(&mut self, rate: f64, in_flight: usize) -> Result<()> {
        let share = self.workers.len();
        self.command(&Command::Connect { rate: rate / share as f64, in_flight: in_flight.div_ceil(share) })
    }

    /// As connect, but so many connections are opened before the first of them asks.
    pub fn gather(&mut self, at_once: usize) -> Result<()> {
        let share = self.workers.len();
        self.command(&Command::Gather { at_once: at_once.div_ceil(share) })
    }

    /// How fast those connect who do it by themselves.
    pub fn pace(&mut self, rate: f64, in_flight: usize) -> Result<()> {
        let share = self.workers.len();
        self.command(&Command::Pace { rate: rate / share as f64, in_flight: in_flight.div_ceil(share) })
    }

    pub fn target(&mut self, targets: Vec<SocketAddr>, again: bool) -> Result<()> {
        self.command(&Command::Target { targets, again })
    }

    pub fn churn(&mut self, rate: f64) -> Result<()> {
        let rate = rate / self.workers.len() as f64;
        self.command(&Command::Churn { rate })
    }

    /// Slow readers read all there is from now on.
    pub fn hurry(&mut self) -> Result<()> {
        self.command(&Command::Hurry)
    }

    pub fn close(&mut self) -> Result<()> {
        self.command(&Command::Close)
    }

    pub fn reset(&mut self) -> Result<()> {
        self.command(&Command::Reset)
    }

    pub fn stats(&mut self) -> Result<Stats> {
        self.sum(&Command::Stats)
    }

    /// Counts what is still missing as lost.
    pub fn finish(&mut self, published: &[(u32, u64)]) -> Result<Stats> {
        self.sum(&Command::Finish { published: published.to_vec() })
    }

    fn sum(&mut self, command: &Command) -> Result<Stats> {
        let mut sum = Stats::default();
        for report in self.ask(command)? {
            match report {
                Report::Stats(stats) | Report::Finished(stats) => sum.add(&stats),
                Report::Collected(_) => bail!("a worker answered another question"),
            }
        }
        Ok(sum)
    }

    pub fn collect(&mut self) -> Result<Measured> {
        let mut all = Collected::default();
        let mut events: BTreeMap<(u32, u64), EventTimes> = BTreeMap::new();
        for report in self.ask(&Command::Collect)? {
            let Report::Collected(part) = report else { bail!("a worker answered another question") };
            all.latency.extend(part.latency);
            all.join.extend(part.join);
            for times in part.events {
                let key = (times.channel, times.sequence);
                events.entry(key).and_modify(|e| e.merge(&times)).or_insert(times);
            }
        }
        Ok(Measured {
            latency: Distribution::of(&all.latency),
            join: Distribution::of(&all.join),
            events: events.into_values().collect(),
        })
    }

    fn ask(&mut self, command: &Command) -> Result<Vec<Report>> {
        self.command(command)?;
        self.workers.iter_mut().map(Worker::report).collect()
    }

    /// Waits until a condition on the stats holds; fails with them when nothing moves for `patience`.
    pub fn wait(
        &mut self,
        what: &str,
        patience: Duration,
        seen: impl FnMut(&Stats),
        done: impl Fn(&Stats) -> bool,
    ) -> Result<Stats> {
        let stats = self.settle(patience, seen, &done)?;
        ensure!(done(&stats), "{what}: nothing moves for {patience:?}; {stats:?}");
        Ok(stats)
    }

    /// Waits until a condition on the stats holds, or nothing moves for `patience`.
    pub fn settle(
        &mut self,
        patience: Duration,
        mut seen: impl FnMut(&Stats),
        done: impl Fn(&Stats) -> bool,
    ) -> Result<Stats> {
        let mut moved = clock::now();
        let mut before = (0, 0, 0, 0);
        loop {
            let asked = clock::now();
            let stats = self.stats()?;
            // With many workers on few cores, asking costs them time: at most a tenth of it.
            let pause = Duration::from_nanos((clock::now() - asked) * 10).max(Duration::from_millis(50));
            seen(&stats);
            let progress = (stats.live, stats.delivered, stats.delivered_slow, stats.opened);
            let now = clock::now();
            if progress != before {
                (before, moved) = (progress, now);
            }
            if done(&stats) || now - moved > patience.as_nanos() as u64 {
                return Ok(stats);
            }
            std::thread::sleep(pause.min(Duration::from_secs(1)));
        }
    }

    /// The worker processes.
    pub fn pids(&self) -> Vec<u32> {
        self.workers.iter().map(|worker| worker.process.pid()).collect()
    }
}

impl Worker {
    fn start(number: u32, core: Option<usize>) -> Result<Worker> {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.arg("clients").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(&format!("client worker {number}"), &mut command, core)?;
        let input = process.child().stdin.take().context("no standard input")?;
        let output = process.child().stdout.take().context("no standard output")?;
        let (send, reports) = sync_channel(4);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let Ok(report) = serde_json::from_str(&line) else { return };
                if send.send(report).is_err() {
                    return;
                }
            }
        });
        Ok(Worker { input, reports, process })
    }

    fn command(&mut self, command: &Command) -> Result<()> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        self.input.write_all(&line).context("a client worker is gone")
    }

    fn report(&mut self) -> Result<Report> {
        self.reports.recv_timeout(ANSWER_LIMIT).context("a client worker does not answer")
    }
}
