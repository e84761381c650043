//! A circuit breaker: an application that fails again and again is left alone for a while, then tried by one question.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Failures in a row after which it is left alone.
const FAILURES: u32 = 5;
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Default)]
pub struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    /// In a row.
    failures: u32,
    /// Until when nobody is let through, and how long that was.
    closed_until: Option<(Instant, Duration)>,
    /// One question tries whether it works again.
    trying: bool,
}

/// The right to ask once. Dropped without a word, it counts as nothing: the client went away.
#[must_use]
pub struct Turn<'a> {
    breaker: &'a Breaker,
    try_out: bool,
}

impl Breaker {
    /// A turn, or how long there is none.
    pub fn turn(&self, now: Instant) -> Result<Turn<'_>, Duration> {
        let mut state = self.0.lock();
        match state.closed_until {
            None => Ok(Turn { breaker: self, try_out: false }),
            Some((until, _)) if now < until => Err(until - now),
            Some((_, pause)) if state.trying => Err(pause),
            Some(_) => {
                state.trying = true;
                Ok(Turn { breaker: self, try_out: true })
            }
        }
    }
}

impl Turn<'_> {
    /// It was answered.
    pub fn worked(self) {
        let mut state = self.breaker.0.lock();
        state.failures = 0;
        state.closed_until = None;
    }

    /// It was not; how long nobody is let through now, if that has just begun.
    pub fn failed(self, now: Instant) -> Option<Duration> {
        let mut state = self.breaker.0.lock();
        state.failures = state.failures.saturating_add(1);
        let pause = match state.closed_until {
            None if state.failures < FAILURES => return None,
            None => FIRST_PAUSE,
            Some((_, before)) if self.try_out => (before * 2).min(LONGEST_PAUSE),
            // It was on its way when the pause began.
            Some(_) => return None,
        };
        state.closed_until = Some((now + pause, pause));
        Some(pause)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.try_out {
            self.breaker.0.lock().trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_make_pauses_that_grow_until_it_works() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        for _ in 1..FAILURES {
            assert_eq!(breaker.turn(start).unwrap().failed(start), None);
        }
        breaker.turn(start).unwrap().worked();
        for _ in 1..FAILURES {
            assert_eq!(breaker.turn(start).unwrap().failed(start), None, "the count began anew");
        }
        let late = breaker.turn(start).unwrap();
        assert_eq!(breaker.turn(start).unwrap().failed(start), Some(FIRST_PAUSE));
        assert_eq!(late.failed(start), None);
        assert_eq!(breaker.turn(start).err(), Some(FIRST_PAUSE));
        let first = breaker.turn(at(1)).unwrap();
        assert!(breaker.turn(at(1)).is_err(), "one at a time tries");
        assert_eq!(first.failed(at(1)), Some(FIRST_PAUSE * 2));
        assert!(breaker.turn(at(2)).is_err());
        drop(breaker.turn(at(3)).unwrap());
        breaker.turn(at(3)).expect("who tried went away").worked();
        assert!(breaker.turn(at(3)).is_ok() && breaker.turn(at(3)).is_ok());
    }
}
