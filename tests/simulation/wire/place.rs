//! A server of a run, and what is the matter with it.

use crate::redis_model::Refusal;
use crate::redis_model::front::Host;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long what was said to a server waits that does not answer, unless its connections end.
const SILENCE: Duration = Duration::from_secs(3_600);

/// See the module.
#[derive(Clone)]
pub struct Place {
    pub host: Host,
    pub weather: Arc<Mutex<Weather>>,
    /// Rung when all connections to it end.
    bell: Arc<Notify>,
}

/// How a server is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// Its process has ended: so have its connections, and there can be none.
    Ended,
    /// Nothing comes from it, whatever is sent there.
    Silent,
}

/// What is the matter with a server as a whole.
pub struct Weather {
    until: Instant,
    refusals: BTreeSet<Refusal>,
    away: Option<Away>,
    /// Another number after each end of all connections.
    age: u64,
    troubled: Instant,
}

impl Place {
    pub fn new(host: Host) -> Place {
        let now = Instant::now();
        let weather = Weather { until: now, refusals: BTreeSet::new(), away: None, age: 0, troubled: now };
        Place { host, weather: Arc::new(Mutex::new(weather)), bell: Arc::default() }
    }

    /// It goes away, or is back; its connections end where nobody could tell them from new ones.
    pub fn set_away(&self, away: Option<Away>) {
        let mut weather = self.weather.lock();
        let before = std::mem::replace(&mut weather.away, away);
        if before == away {
            return;
        }
        weather.troubled = Instant::now();
        if away != Some(Away::Silent) {
            weather.age += 1;
            drop(weather);
            self.bell.notify_waiters();
        }
    }

    pub fn is_away(&self) -> bool {
        self.weather.lock().away.is_some()
    }

    /// The number of this time without an end of all connections; `None`: there can be none.
    pub fn age(&self) -> Option<u64> {
        let weather = self.weather.lock();
        (weather.away != Some(Away::Ended)).then_some(weather.age)
    }

    /// Waits until all connections of that time have ended.
    pub async fn ended(&self, age: u64) {
        loop {
            let rung = self.bell.notified();
            if self.age() != Some(age) {
                return;
            }
            rung.await;
        }
    }

    pub fn refuse(&self, refusal: Refusal, on: bool) {
        self.host.with(|server| server.set_refusal(refusal, on));
        let mut weather = self.weather.lock();
        match on {
            true => weather.refusals.insert(refusal),
            false => weather.refusals.remove(&refusal),
        };
        weather.troubled = weather.troubled.max(Instant::now());
    }

    /// Nothing is the matter any more.
    pub fn clear(&self) {
        self.set_away(None);
        let mut weather = self.weather.lock();
        for refusal in std::mem::take(&mut weather.refusals) {
            self.host.with(|server| server.set_refusal(refusal, false));
        }
        weather.until = Instant::now();
        weather.troubled = Instant::now();
    }
}

impl Weather {
    /// How long it still stands still, if it does.
    pub fn stopped(&self) -> Option<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        let left = if self.away == Some(Away::Silent) { SILENCE } else { left };
        Some(left).filter(|left| !left.is_zero())
    }

    pub fn stop(&mut self, time: Duration) {
        self.until = self.until.max(Instant::now() + time);
        self.troubled = self.until;
    }

    /// Something has changed of which readers can know a little later only.
    pub fn trouble(&mut self) {
        self.troubled = self.troubled.max(Instant::now());
    }

    /// Since when it has been well. One that is away harms nobody but readers of what it has.
    pub fn calm_since(&self) -> Option<Instant> {
        let calm = self.refusals.is_empty() && self.until <= Instant::now();
        calm.then_some(self.troubled)
    }
}
