//! Replicas of a server that stands alone, which nodes read from: what is on its way to each, and what is the matter with it.

use super::place::{Away, Place};
use crate::chance::{Draw, source};
use crate::played::Copying;
use crate::redis_model::front::Host;
use crate::redis_model::{Role, Server, Tie, Version, Written};
use fastrand::Rng;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The name of all servers, and the ports of the primary and of its first replica.
const NAME: &str = "127.0.0.1";
const PORT: u16 = 7_000;
const FIRST: u16 = 7_100;
/// A replica that lags by more is none that does its work quietly.
const CALM: Duration = Duration::from_millis(20);
/// How long after its primary was replaced a replica hears of that, and takes over the other one's data.
const HEARS: std::ops::Range<u64> = 50..2_500;

/// The primary, as nodes name it.
pub fn primary() -> String {
    format!("{NAME}:{PORT}")
}

/// A replica, as nodes name it.
pub fn replica(at: usize) -> String {
    format!("{NAME}:{}", FIRST + at as u16)
}

/// See the module.
pub struct Copies {
    pub places: Vec<Place>,
    state: Mutex<State>,
    tasks: Vec<AbortHandle>,
}

struct State {
    rng: Rng,
    copies: Vec<Copy>,
    /// How many processes have been started anew.
    lives: u64,
}

/// What is on its way to a replica, and how.
struct Copy {
    /// Each with when it comes, and how far the replica is then.
    way: VecDeque<(Instant, Vec<Written>, u64)>,
    /// How much later at most something comes.
    lag: Duration,
    tie: Tie,
    /// When it will have taken over all data anew.
    whole_at: Option<Instant>,
    troubled: Instant,
}

impl Copy {
    /// It takes over all data of its primary anew, and has them at that moment.
    fn takes_over(&mut self, at: Instant, tie: Tie) {
        self.way.clear();
        (self.tie, self.whole_at) = (tie, Some(at));
    }
}

impl Copies {
    /// Replicas without data, so many of them; `now_ms` tells their time.
    pub fn new(
        seed: u64,
        (version, count): (Version, usize),
        now_ms: impl Fn() -> u64 + Clone + Send + Sync + 'static,
    ) -> Copies {
        let place = |at: usize| {
            let mut server = Server::new(version);
            server.set_chance(seed + at as u64);
            let (run_id, history) = (format!("{:040x}", 0x2000 + at), "a".repeat(40));
            server.set_ids(&run_id, &history);
            server.set_role(Role::Replica { host: NAME.to_owned(), port: PORT });
            Place::new(Host::new(server, now_ms.clone()))
        };
        let places: Vec<Place> = (0..count).map(place).collect();
        let hosts: Vec<Host> = places.iter().map(|place| place.host.clone()).collect();
        let keeps = hosts.into_iter().map(|host| tokio::spawn(async move { host.keep_time().await }).abort_handle());
        let copy = || Copy {
            way: VecDeque::new(),
            lag: Duration::from_millis(2),
            tie: Tie::Up,
            whole_at: None,
            troubled: Instant::now(),
        };
        let copies = std::iter::repeat_with(copy).take(count).collect();
        let state = Mutex::new(State { rng: source(seed, "copies"), copies, lives: 0 });
        Copies { places, state, tasks: keeps.collect() }
    }

    /// Ends what goes on by itself.
    pub fn end(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }

    /// Sends on what the primary has written, and has come what is due.
    pub fn carry(&self, primary: &Host) {
        if self.places.is_empty() {
            return;
        }
        let State { rng, copies, .. } = &mut *self.state.lock();
        if primary.look(Server::has_written) {
            let (written, end) = primary.with(|server| (server.take_log(), server.offset()));
            for copy in copies.iter_mut() {
                let soonest = copy.way.back().map_or(Instant::now(), |(due, ..)| *due);
                let due = soonest.max(Instant::now() + rng.delay(copy.lag));
                copy.way.push_back((due, written.clone(), end));
            }
        }
        let now = Instant::now();
        for (place, copy) in self.places.iter().zip(copies).filter(|(place, _)| !place.is_away()) {
            if copy.whole_at.is_some_and(|at| at <= now) {
                primary.look(|primary| place.host.with(|server| server.replace_data(primary)));
                copy.way.clear();
                (copy.tie, copy.whole_at, copy.troubled) = (Tie::Up, None, now);
            }
            while copy.tie == Tie::Up
                && copy.way.front().is_some_and(|(due, ..)| *due <= now)
                && let Some((_, written, end)) = copy.way.pop_front()
            {
                place.host.with(|server| {
                    written.iter().for_each(|written| server.apply(written));
                    server.set_offset(end);
                });
            }
            if place.host.look(Server::tie) != copy.tie {
                place.host.with(|server| server.set_tie(copy.tie));
            }
        }
    }

    /// Something happens to one of them.
    pub fn suffer(&self, at: usize, what: Copying) {
        let Some(place) = self.places.get(at) else { return };
        let State { rng, copies, lives } = &mut *self.state.lock();
        let (copy, now) = (&mut copies[at], Instant::now());
        copy.troubled = now;
        match what {
            Copying::Lag { ms } => copy.lag = Duration::from_millis(ms),
            Copying::Parted if copy.whole_at.is_none() => copy.tie = Tie::Down,
            Copying::Joined if copy.whole_at.is_none() => copy.tie = Tie::Up,
            Copying::Parted | Copying::Joined => {}
            Copying::Synchronized { ms } => copy.takes_over(now + Duration::from_millis(ms), Tie::Synchronizing),
            Copying::Gone { silent } => place.set_away(Some(if silent { Away::Silent } else { Away::Ended })),
            Copying::Back => {
                let ended = place.is_away() && place.age().is_none();
                if ended {
                    *lives += 1;
                    place.host.with(|server| server.start_anew(&format!("{:040x}", 0x3000 + *lives)));
                    copy.takes_over(now + Duration::from_millis(rng.u64(1..300)), Tie::Synchronizing);
                }
                place.set_away(None);
            }
        }
    }

    /// The same happens to all of them.
    pub fn suffer_all(&self, what: Copying) {
        (0..self.places.len()).for_each(|at| self.suffer(at, what));
    }

    /// Another process took the primary's place, which may have less than they have: they hear of it after a while.
    pub fn lose_primary(&self) {
        let State { rng, copies, .. } = &mut *self.state.lock();
        for copy in copies {
            let heard = Instant::now() + Duration::from_millis(rng.u64(HEARS));
            copy.takes_over(heard, Tie::Down);
            copy.troubled = heard;
        }
    }

    /// Nothing is the matter with any of them any more.
    pub fn heal(&self) {
        self.suffer_all(Copying::Back);
        for copy in &mut self.state.lock().copies {
            copy.lag = Duration::from_millis(2);
            copy.takes_over(Instant::now(), Tie::Synchronizing);
        }
    }

    /// Since when all have been well; `None`: one is not.
    pub fn calm_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        let calm = |copy: &Copy| copy.lag <= CALM && copy.tie == Tie::Up && copy.whole_at.is_none();
        let all = state.copies.iter().all(calm) && !self.places.iter().any(Place::is_away);
        all.then(|| state.copies.iter().map(|copy| copy.troubled).max().unwrap_or_else(Instant::now))
    }
}
