//! The one clock of a run: CLOCK_MONOTONIC, the same in every process of the machine.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Nanoseconds since the machine's boot.
pub fn now() -> u64 {
    reading(ClockId::Monotonic)
}

/// CPU time of the calling thread so far, in nanoseconds.
pub fn of_thread() -> u64 {
    reading(ClockId::ThreadCPUTime)
}

fn reading(clock: ClockId) -> u64 {
    let t = clock_gettime(clock);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Seconds from one reading to a later one; zero if they are the other way round.
pub fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}

/// Sleeps until a reading of [`now`]; returns at once if that is past.
pub fn sleep_until(at: u64) {
    let now = now();
    if at > now {
        std::thread::sleep(Duration::from_nanos(at - now));
    }
}
