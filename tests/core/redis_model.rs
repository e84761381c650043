//! The server that is played in simulations against real ones: the same commands are answered by the same bytes.

#[allow(dead_code, unused_imports, reason = "the simulation uses the rest")]
#[path = "../simulation/redis_model/mod.rs"]
pub mod played;

mod both;
mod cluster;
mod followed;
mod frames;
mod front;
mod line;
mod particular;
mod steps;
mod stream_steps;

use crate::support::redis::Redis;
use both::Both;
use std::time::{Duration, Instant};

/// Random histories of each run, always the same ones.
const HISTORIES: u64 = 150;
/// Fresh ones go on for so long.
const FOR: Duration = Duration::from_secs(60);
/// Steps of one history.
const STEPS: usize = 80;

/// Random commands of several connections. `FANTAIL_SEED` names the only history to go through; `FANTAIL_SEED=fresh` has others
/// than each run has, for a minute.
#[test]
fn random_commands_are_answered_alike() {
    let real = Redis::start();
    let given = std::env::var("FANTAIL_SEED").ok();
    let begun = Instant::now();
    let seeds: Box<dyn Iterator<Item = u64>> = match given.as_deref() {
        None => Box::new(0..HISTORIES),
        Some("fresh") => {
            Box::new(std::iter::repeat_with(|| fastrand::u64(..)).take_while(move |_| begun.elapsed() < FOR))
        }
        Some(seed) => Box::new(std::iter::once(seed.parse().expect("a number, or `fresh`"))),
    };
    let mut histories = 0;
    for seed in seeds {
        let mut both = Both::new(&real, &format!("FANTAIL_SEED={seed}"));
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..STEPS {
            steps::step(&mut both, &mut random);
        }
        both.end();
        histories += 1;
    }
    println!("{histories} histories of {STEPS} steps");
}
