//! Child processes that never outlive the run, cores, ports and the descriptor limit.

use anyhow::{Context as _, Result, bail, ensure};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A child process; killed and waited for when dropped.
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts a command, on one core if that is given.
    pub fn start(name: &str, command: &mut Command, core: Option<usize>) -> Result<Process> {
        let child = match core {
            Some(core) => on_core(core, || command.spawn())?,
            None => command.spawn(),
        };
        let child = child.with_context(|| format!("cannot start {name} ({:?})", command.get_program()))?;
        Ok(Process { name: name.to_owned(), child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard streams, once.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Fails with the exit status if it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended early: {status}", self.name),
            None => Ok(()),
        }
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Waits for its end; kills it when the time is over.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        bail!("{} had to be killed after {limit:?}: {status}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs something with this thread bound to one core; a process started by it inherits the binding.
fn on_core<T>(core: usize, work: impl FnOnce() -> T) -> Result<T> {
    let this = None;
    let before = sched_getaffinity(this)?;
    stay_on(core)?;
    let result = work();
    sched_setaffinity(this, &before)?;
    Ok(result)
}

/// Binds this thread to one core.
pub fn stay_on(core: usize) -> Result<()> {
    ensure!(core < CpuSet::MAX_CPU, "there is no core {core}");
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one).with_context(|| format!("cannot use core {core}"))
}

/// Cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Raises the soft descriptor limit to the hard one (children inherit it), and lets the kernel make its table of them as
/// large. In a process with threads it waits for a quiet state of all processors whenever that table grows, which
/// stopped clients for up to ten seconds where a hundred processes shared two cores.
pub fn raise_descriptor_limit() -> Result<()> {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard })?;
    let last = hard.unwrap_or(u64::MAX).clamp(1, 64 << 10) as i32 - 1;
    // Closed at once; the room stays.
    drop(fcntl_dupfd_cloexec(std::io::stderr(), last));
    Ok(())
}

/// Ports of servers that are started: above those that the kernel chooses from (`ip_local_port_range`, up to 60,999 by default), so no
/// connection takes one between the look and the server's start.
const SERVER_PORTS: std::ops::Range<u16> = 61_000..65_535;

/// A loopback address that nobody listens on, and that this process has not given out for long.
pub fn free_address() -> Result<SocketAddr> {
    static NEXT: LazyLock<AtomicUsize> = LazyLock::new(|| AtomicUsize::new(fastrand::usize(..SERVER_PORTS.len())));
    for _ in SERVER_PORTS {
        let place = (NEXT.fetch_add(1, Ordering::Relaxed) % SERVER_PORTS.len()) as u16;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, SERVER_PORTS.start + place)) {
            return Ok(listener.local_addr()?);
        }
    }
    bail!("no port from {} on is free", SERVER_PORTS.start)
}

/// Tries until it succeeds, the time is over, or the process ends.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    process: &mut Process,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > end => {
                return Err(error.context(format!("{what} not ready after {limit:?}")));
            }
            Err(_) => {
                process.check_alive()?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_out_once_a_round_unless_it_is_taken() {
        let taken = free_address().unwrap();
        let _listener = TcpListener::bind(taken).unwrap();
        let round: Vec<u16> = SERVER_PORTS.map(|_| free_address().unwrap().port()).collect();
        assert!(round.iter().all(|port| SERVER_PORTS.contains(port) && *port != taken.port()));
        let first = round[0];
        assert!(!round[1..SERVER_PORTS.len() / 2].contains(&first));
    }
}
