//! The server that is played in simulations against real ones: the same commands are answered by the same bytes.

#[allow(dead_code, unused_imports, reason = "the simulation uses the rest")]
#[path = "../simulation/redis_model/mod.rs"]
pub mod played;

mod both;
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

/// Random histories go on for so long.
const FOR: Duration = Duration::from_secs(3);
/// Steps of one history.
const STEPS: usize = 80;

/// Random commands of several connections; `FANTAIL_SEED` names the only history to go through.
#[test]
fn random_commands_are_answered_alike() {
    let real = Redis::start();
    let given = std::env::var("FANTAIL_SEED").ok().and_then(|seed| seed.parse().ok());
    let (begun, mut histories) = (Instant::now(), 0);
    loop {
        let seed = given.unwrap_or_else(|| fastrand::u64(..));
        let mut both = Both::new(&real, &format!("FANTAIL_SEED={seed}"));
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..STEPS {
            steps::step(&mut both, &mut random);
        }
        both.end();
        histories += 1;
        if given.is_some() || begun.elapsed() > FOR {
            break;
        }
    }
    println!("{histories} histories of {STEPS} steps");
}
