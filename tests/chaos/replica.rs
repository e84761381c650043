//! Faults of replicas that are read: one that lags, one that lags too far, one that is synchronized anew. Two nodes read a
//! replica each and the third the primary, so clients that move between them bring positions that are ahead.

use crate::arena::{Arena, Case, SECOND, runtime, turn};
use crate::publisher::{IMPATIENCE, Servers};
use crate::sentinel::numbers;
use crate::support::node::eventually;
use crate::support::redis::Redis;
use crate::support::replication_link::ReplicationLink;
use std::time::{Duration, Instant};

/// A primary with two replicas, and what lies between.
struct Replicated {
    primary: Redis,
    replicas: Vec<(ReplicationLink, Redis)>,
}

fn is_linked(replica: &Redis) -> bool {
    replica.command(&["INFO", "replication"]).text().contains("master_link_status:up")
}

/// `lag`: by how much a replica may lag.
fn with_replicas(case: Case, lag: &str, body: impl FnOnce(&mut Arena, &Replicated)) {
    let turn = turn();
    let primary = Redis::start_with(&["--repl-diskless-sync-delay", "0", "--repl-backlog-size", "16kb"]);
    let replica = |_| {
        let link = ReplicationLink::start(primary.port());
        let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &link.port().to_string()]);
        (link, replica)
    };
    let servers = Replicated { replicas: (0..2).map(replica).collect(), primary };
    eventually("replicas in step", || servers.replicas.iter().all(|(_, replica)| is_linked(replica)));
    let at = |of: usize| {
        let port = servers.replicas[of].1.port();
        format!("{}?read=replica&replica=127.0.0.1:{port}&replica_lag={lag}", servers.primary.url())
    };
    let (urls, port) = (vec![at(0), at(1), servers.primary.url()], servers.primary.port());
    let publisher = Servers { route: Box::new(move |_| Some(port)), patience: IMPATIENCE };
    let mut arena = Arena::open(case, turn, runtime(), urls, publisher);
    body(&mut arena, &servers);
    arena.close(|channel| numbers(&servers.primary, channel));
}

fn lag(arena: &mut Arena, servers: &Replicated, by: Duration) {
    servers.replicas[0].0.delay(by);
    std::thread::sleep(2 * by);
    arena.storm();
    arena.add_late_clients();
    std::thread::sleep(2 * by);
    servers.replicas[1].0.delay(by / 2);
    arena.storm();
    std::thread::sleep(by);
    servers.replicas.iter().for_each(|(link, _)| link.delay(Duration::ZERO));
    arena.healed(Instant::now());
    arena.storm();
    arena.healed(Instant::now());
}

#[test]
fn one_that_lags() {
    with_replicas(Case::exact("Replicas: one lags by 2 s, and then another, too"), "20s", |arena, servers| {
        lag(arena, servers, 2 * SECOND);
    });
}

#[test]
fn one_that_lags_too_far() {
    with_replicas(Case::exact("Replicas: one lags by 2 s, which is too far"), "500ms", |arena, servers| {
        lag(arena, servers, 2 * SECOND);
    });
}

#[test]
fn one_that_is_synchronized_anew() {
    with_replicas(Case::exact("Replicas: each is cut off, and synchronized anew"), "20s", |arena, servers| {
        for (link, replica) in &servers.replicas {
            link.cut();
            eventually("it is cut off", || !is_linked(replica));
            let filling = "x".repeat(8 << 10);
            (0..8).for_each(|_| drop(servers.primary.command(&["XADD", "filling", "MAXLEN", "1", "*", "a", &filling])));
            arena.storm();
            arena.add_late_clients();
            link.release();
            eventually("it is in step again", || is_linked(replica));
            arena.healed(Instant::now());
        }
        arena.storm();
        arena.healed(Instant::now());
    });
}

#[test]
fn one_that_ends_and_comes_back_empty() {
    with_replicas(Case::exact("Replicas: SIGKILL of one, which comes back empty"), "2s", |arena, servers| {
        let replica = &servers.replicas[0].1;
        replica.stop();
        arena.healed(Instant::now());
        arena.storm();
        replica.run();
        eventually("it is in step again", || is_linked(replica));
        arena.healed(Instant::now());
        arena.storm();
        arena.healed(Instant::now());
    });
}
