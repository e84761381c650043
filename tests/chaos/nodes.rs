//! Faults of nodes: killed, drained, frozen; and all clients that come back at once.

use crate::arena::{Arena, Case, SECOND, runtime, turn};
use crate::publisher::Servers;
use crate::support::redis::Redis;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::time::Instant;

fn cluster(case: Case, body: impl FnOnce(&mut Arena)) {
    let turn = turn();
    let redis = Redis::start();
    let port = redis.port();
    let mut arena = Arena::open(case, turn, runtime(), vec![redis.url(); 3], Servers::one(port));
    body(&mut arena);
    arena.close(|_| BTreeSet::new());
}

/// One node after another ends and is replaced.
fn replaced(arena: &mut Arena, signal: Signal) {
    for node in 0..arena.nodes() {
        arena.replace_node(node, signal);
        arena.healed(Instant::now());
    }
}

#[test]
fn killed() {
    cluster(Case::exact("SIGKILL of nodes"), |arena| replaced(arena, Signal::KILL));
}

#[test]
fn drained() {
    cluster(Case::exact("SIGTERM of nodes"), |arena| replaced(arena, Signal::TERM));
}

#[test]
fn frozen() {
    cluster(Case::exact("SIGSTOP of a node for 5 s"), |arena| {
        for node in 0..2 {
            arena.signal(node, Signal::STOP);
            std::thread::sleep(5 * SECOND);
            arena.signal(node, Signal::CONT);
            let healed = Instant::now();
            arena.healed(healed);
            arena.expect_up(healed);
        }
    });
}

#[test]
fn reconnect_storms() {
    cluster(Case::exact("reconnect storm of all clients"), |arena| {
        for _ in 0..10 {
            arena.storm();
            arena.healed(Instant::now());
        }
    });
}
