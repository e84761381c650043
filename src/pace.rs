//! When what is done every so often is done: all of it at the same moments, so that an idle node wakes once for many.

use crate::clock::Clock;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

/// Ticks at the multiples of a period since the clock was made. A tick that comes too late does not shift those behind it.
pub fn in_step(clock: &Clock, period: Duration) -> Interval {
    let begin = clock.made();
    let passed = begin.elapsed().as_nanos() / period.as_nanos();
    let mut ticks = interval_at(begin + period * (passed as u32 + 1), period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ticks_of_different_tasks_fall_together() {
        let second = Duration::from_secs(1);
        let clock = Clock::default();
        let first = in_step(&clock, second).tick().await;
        tokio::time::advance(Duration::from_millis(300)).await;
        let later = in_step(&clock, second * 2).tick().await;
        assert_eq!((later - first).as_nanos() % second.as_nanos(), 0);
    }
}
