//! A circuit breaker: an application that fails again and again is left alone for a while, then tried by one question.
//!
//! An application that does not answer fails, whoever asked. One that says that it fails (5xx) may do so because of what
//! one client asks, so that no client can have it left alone for all others: of one caller a few failures count.

use parking_lot::Mutex;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Failures in a row after which it is left alone.
const FAILURES: u32 = 5;
/// How many of them may be what it said to one caller: less than all, and others must have failed as often, about.
const OF_ONE_CALLER: u32 = 3;
/// Callers to whom it said so in a row that are told apart; it is left alone before there are more, or when it is tried.
const MAX_CALLERS: usize = 16;
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Leaves an application alone that fails.
#[derive(Default)]
pub struct Breaker(Mutex<State>);

/// How it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It did not answer.
    Silent,
    /// It answered that it fails.
    Said,
}

#[derive(Default)]
struct State {
    /// In a row.
    failures: u32,
    /// Of them, what it said to whom.
    callers: Vec<(IpAddr, u32)>,
    /// Until when nobody is let through, and how long that was.
    closed_until: Option<(Instant, Duration)>,
    /// One question tries whether it works again.
    trying: bool,
    /// When a caller whose failures count no more tried it.
    suspect_tried: Option<Instant>,
}

/// The right to ask once. Dropped without a word, it counts as nothing: the client went away.
#[must_use]
pub struct Turn<'a> {
    breaker: &'a Breaker,
    caller: IpAddr,
    try_out: bool,
}

impl Breaker {
    /// A turn for a caller, or how long there is none.
    pub fn turn(&self, caller: IpAddr, now: Instant) -> Result<Turn<'_>, Duration> {
        let mut state = self.0.lock();
        let turn = |try_out| Ok(Turn { breaker: self, caller, try_out });
        let Some((until, pause)) = state.closed_until else { return turn(false) };
        if now < until {
            return Err(until - now);
        }
        if state.trying {
            return Err(pause);
        }
        if state.is_suspect(caller) {
            // Its turn would tell little, so others come first.
            if let Some(left) = state.suspect_tried.and_then(|tried| (tried + pause).checked_duration_since(now))
                && !left.is_zero()
            {
                return Err(left);
            }
            state.suspect_tried = Some(now);
        }
        state.trying = true;
        turn(true)
    }
}

impl State {
    /// Whether what the application says to this caller counts no more.
    fn is_suspect(&self, caller: IpAddr) -> bool {
        self.callers.iter().any(|(known, count)| *known == caller && *count >= OF_ONE_CALLER)
    }

    /// Notes that it said to a caller that it fails; whether that counts.
    fn note(&mut self, caller: IpAddr) -> bool {
        let room = self.callers.len() < MAX_CALLERS;
        match self.callers.iter_mut().find(|(known, _)| *known == caller) {
            Some((_, count)) if *count >= OF_ONE_CALLER => return false,
            Some((_, count)) => *count += 1,
            None if room => self.callers.push((caller, 1)),
            None => {}
        }
        true
    }
}

impl Turn<'_> {
    /// It was answered.
    pub fn worked(self) {
        let mut state = self.breaker.0.lock();
        *state = State { trying: state.trying, ..State::default() };
    }

    /// It was not; how long nobody is let through now, if that has just begun.
    pub fn failed(self, fault: Fault, now: Instant) -> Option<Duration> {
        let mut state = self.breaker.0.lock();
        if fault == Fault::Said && !state.note(self.caller) {
            return None;
        }
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
mod tests;
