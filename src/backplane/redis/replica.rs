//! Reading from a replica (`read=replica`): which one is read, which ones are left alone for now, and how far it lags.
//!
//! A replica's data is what its primary's was a moment ago, so what one replica says of a stream never goes back by itself.
//! It would where the primary was asked meanwhile, or another replica. Of the first `floors` takes care; of the second the
//! session, which begins at a replica only when that one has all that its primary had a moment before.

pub mod choice;
pub mod floors;
pub mod pulse;
pub mod role;

use super::address::{Host, ReplicaRead};
use crate::hash::HashMap;
use crate::random::Random;
use floors::Floors;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// For how long a replica is left alone that did not do, at first; twice as long each further time.
const LEFT: Duration = Duration::from_secs(5);
/// For how long at most.
const LEFT_LONG: Duration = Duration::from_secs(300);
/// A replica that was read for so long without a fault is one as any other again.
const FORGIVEN: Duration = Duration::from_secs(600);
/// Between looks for a replica while the primary is read, less or more by a third.
const LOOK: Duration = Duration::from_secs(6);

/// The replicas of one server, as this node reads them.
pub struct Replicas {
    wanted: Option<ReplicaRead>,
    /// What answers about streams are of before what others said of them.
    pub floors: Floors,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where they are, as the settings or the cluster say.
    known: Vec<Host>,
    /// Those that did not do.
    left: HashMap<Host, Left>,
    /// The one that is read, since when, and how far it lags.
    read: Option<(Host, Instant)>,
    lag: Option<Duration>,
    /// The primary of the one that is read does not answer.
    away: bool,
    /// Why none is read.
    trouble: Option<String>,
}

/// A replica that did not do.
#[derive(Clone, Copy)]
struct Left {
    until: Instant,
    times: u32,
}

impl Replicas {
    /// Replicas as the settings want them, of which none is read yet.
    pub fn new(wanted: Option<ReplicaRead>) -> Replicas {
        let known = wanted.as_ref().map(|wanted| wanted.hosts.clone()).unwrap_or_default();
        Replicas { wanted, floors: Floors::default(), state: Mutex::new(State { known, ..State::default() }) }
    }

    /// By how much one may lag, where replicas are to be read.
    pub fn bound(&self) -> Option<Duration> {
        self.wanted.as_ref().map(|wanted| wanted.lag)
    }

    /// Takes in where they are.
    pub fn set_known(&self, hosts: Vec<Host>) {
        self.state.lock().known = hosts;
    }

    /// Where they are, as the settings or the cluster say.
    pub fn known(&self) -> Vec<Host> {
        self.state.lock().known.clone()
    }

    /// Whether one is left alone for now.
    pub fn is_left(&self, host: &Host) -> bool {
        self.state.lock().left.get(host).is_some_and(|left| left.until > Instant::now())
    }

    /// Leaves one alone for a while, since it did not do; longer each time.
    pub fn leave(&self, host: &Host, random: &Random) {
        let mut state = self.state.lock();
        let now = Instant::now();
        let good = state.read.as_ref().is_some_and(|(read, since)| read == host && now - *since > FORGIVEN);
        let times = state.left.get(host).filter(|_| !good).map_or(0, |left| left.times);
        let least = (LEFT * 2u32.pow(times.min(6))).min(LEFT_LONG).as_millis() as u64;
        let until = now + Duration::from_millis(random.within(least..=least * 4 / 3));
        // Those of a large network come and go.
        state.left.retain(|_, left| now.saturating_duration_since(left.until) < FORGIVEN);
        state.left.insert(host.clone(), Left { until, times: times + 1 });
    }

    /// Notes which one is read from now on; `None`: the primary. `why`: none was found.
    pub fn set_read(&self, host: Option<Host>, why: Option<String>) {
        let mut state = self.state.lock();
        (state.lag, state.away, state.trouble) = (None, false, why);
        state.read = host.map(|host| (host, Instant::now()));
    }

    /// The one that is read; `None`: the primary is.
    pub fn read(&self) -> Option<Host> {
        self.state.lock().read.as_ref().map(|(host, _)| host.clone())
    }

    /// Whether one is read.
    pub fn is_read(&self) -> bool {
        self.wanted.is_some() && self.state.lock().read.is_some()
    }

    /// Notes how far the one that is read lags, at most.
    pub fn set_lag(&self, lag: Duration) {
        self.state.lock().lag = Some(lag);
    }

    /// How far the one that is read lags, at most.
    pub fn lag(&self) -> Option<Duration> {
        self.state.lock().lag
    }

    /// Notes whether the primary of the one that is read does not answer.
    pub fn set_primary_away(&self, away: bool) {
        self.state.lock().away = away;
    }

    /// Whether the primary of the one that is read does not answer.
    pub fn is_primary_away(&self) -> bool {
        self.state.lock().away
    }

    /// Why the primary is read though replicas are to be.
    pub fn trouble(&self) -> Option<String> {
        self.state.lock().trouble.clone()
    }

    /// How long to wait until the next look for one.
    pub fn pace(&self, random: &Random) -> Duration {
        let third = LOOK.as_millis() as u64 / 3;
        Duration::from_millis(random.within(2 * third..=4 * third))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_did_not_do_is_left_alone_longer_each_time() {
        let wanted = ReplicaRead { hosts: Vec::new(), lag: Duration::from_secs(1) };
        let (replicas, random) = (Replicas::new(Some(wanted)), Random::given(|| 0));
        let host = Host { name: "r".into(), port: 1 };
        let mut waits = Vec::new();
        for _ in 0..8 {
            replicas.leave(&host, &random);
            let begun = Instant::now();
            while replicas.is_left(&host) {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            waits.push(begun.elapsed().as_secs());
        }
        for (waited, least) in waits.into_iter().zip([5, 10, 20, 40, 80, 160, 300, 300]) {
            assert!((least..=least * 4 / 3 + 1).contains(&waited), "{waited} and {least}");
        }
        replicas.set_read(Some(host.clone()), None);
        tokio::time::advance(FORGIVEN + Duration::from_secs(1)).await;
        replicas.leave(&host, &random);
        tokio::time::advance(2 * LEFT).await;
        assert!(!replicas.is_left(&host), "it was good for long");
    }
}
