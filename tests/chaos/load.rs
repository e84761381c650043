//! How busy the machine is with others' work, so that what is promised is asked of a machine that could keep it.

use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

const SAMPLE: Duration = Duration::from_millis(50);
/// Samples that are kept: about ten minutes.
const KEPT: usize = 12_000;

/// When, and how many tasks wanted to run.
static SAMPLES: LazyLock<Mutex<Vec<(Instant, u32)>>> = LazyLock::new(|| {
    std::thread::spawn(|| {
        loop {
            if let Some(running) = running() {
                let mut samples = SAMPLES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                samples.push((Instant::now(), running));
                let surplus = samples.len().saturating_sub(KEPT);
                samples.drain(..surplus);
            }
            std::thread::sleep(SAMPLE);
        }
    });
    Mutex::default()
});

/// `procs_running` of `/proc/stat`; proc(5).
fn running() -> Option<u32> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("procs_running "))?.trim().parse().ok()
}

/// How many times as long as on a machine of its own something may have taken since a moment: at least 1. The cases
/// themselves keep about two tasks per core running.
pub fn since(moment: Instant) -> u32 {
    let samples = SAMPLES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let of: Vec<u32> = samples.iter().filter(|(at, _)| *at >= moment).map(|(_, running)| *running).collect();
    let mean = of.iter().sum::<u32>().checked_div(of.len() as u32).unwrap_or(0);
    let own = 2 * std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    mean.div_ceil(own).max(1)
}
