//! Faults one after another and on top of each other, in an order that the seed decides.

use crate::arena::{Arena, Case, SECOND, runtime, turn};
use crate::proxy::{Network, Proxy};
use crate::publisher::{CHANNELS, Servers, key};
use crate::support::redis::Redis;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const NODES: usize = 3;
const STEPS: usize = 12;

/// Everything that can happen, until all is well again.
fn strike(arena: &mut Arena, redis: &Redis, proxies: &[Proxy], lossy: bool) {
    let (node, any) = (arena.rng.usize(0..NODES), key(arena.rng.usize(0..CHANNELS)));
    let kinds = if lossy { 13 } else { 9 };
    let pause = Duration::from_millis(arena.rng.u64(10..1_500));
    match arena.rng.u8(0..kinds) {
        0 => redis.restart(),
        1 => {
            redis.freeze();
            std::thread::sleep(pause);
            redis.thaw();
        }
        2 => drop(redis.command(&["CLIENT", "KILL", "TYPE", "normal"])),
        3 => drop(redis.command(&["CLIENT", "PAUSE", &pause.as_millis().to_string()])),
        4 | 5 => {
            proxies[node].set(if pause.as_millis().is_multiple_of(2) { Network::Silent } else { Network::Cut });
            std::thread::sleep(pause);
            proxies[node].set(Network::Sound);
        }
        6 => arena.replace_node(node, Signal::KILL),
        7 => arena.replace_node(node, Signal::TERM),
        8 => {
            arena.signal(node, Signal::STOP);
            std::thread::sleep(pause);
            arena.signal(node, Signal::CONT);
        }
        9 => drop(redis.command(&["FLUSHALL"])),
        10 => drop(redis.command(&["DEL", &any])),
        11 => drop(redis.command(&["XTRIM", &any, "MAXLEN", "2"])),
        _ => drop(redis.command(&["CONFIG", "SET", "tracking-table-max-keys", "1"])),
    }
}

fn mixed(case: Case, lossy: bool) {
    let turn = turn();
    let (redis, runtime) = (Redis::start_persistent(), runtime());
    let port = redis.port();
    let to = ([127, 0, 0, 1], port).into();
    let proxies: Vec<Proxy> = (0..NODES).map(|_| Proxy::start(runtime.handle(), to)).collect();
    let urls = proxies.iter().map(|proxy| format!("redis://{}", proxy.address)).collect();
    let mut arena = Arena::open(case, turn, runtime, urls, Servers::one(port));
    for step in 0..STEPS {
        strike(&mut arena, &redis, &proxies, lossy);
        if arena.rng.bool() {
            arena.storm();
        }
        if step % 4 == 3 {
            arena.add_late_clients();
            // A pause may still last.
            std::thread::sleep(SECOND);
            let healed = Instant::now();
            arena.healed(healed);
            arena.expect_up(healed);
        }
    }
    arena.close(|_| BTreeSet::new());
}

#[test]
fn faults_that_lose_nothing() {
    mixed(Case { bound: 2 * SECOND, ..Case::exact("mixed, nothing lost") }, false);
}

#[test]
fn faults_that_take_history_too() {
    let case = Case::lossy("mixed, history lost too", &["trimmed", "missing", "reset"]);
    mixed(Case { bound: 2 * SECOND, ..case }, true);
}
