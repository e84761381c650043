//! Faults of the network between nodes and Redis: a proxy of its own before each node's.

use crate::arena::{Arena, Case, SECOND, runtime, turn};
use crate::proxy::{Network, Proxy};
use crate::publisher::{IMPATIENCE, Servers};
use crate::support::node::eventually;
use crate::support::redis::Redis;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

const NODES: usize = 3;

fn through_proxies(case: Case, body: impl FnOnce(&mut Arena, &[Proxy])) {
    let turn = turn();
    let (redis, runtime) = (Redis::start(), runtime());
    let port = redis.port();
    let to = ([127, 0, 0, 1], port).into();
    let proxies: Vec<Proxy> = (0..NODES).map(|_| Proxy::start(runtime.handle(), to)).collect();
    let urls = proxies.iter().map(|proxy| format!("redis://{}", proxy.address)).collect();
    let mut arena = Arena::open(case, turn, runtime, urls, Servers::one(port));
    body(&mut arena, &proxies);
    arena.close(|_| BTreeSet::new());
}

/// Breaks the network of all nodes, and mends it.
fn outage(arena: &mut Arena, proxies: &[Proxy], how: Network) {
    let fault = Instant::now();
    proxies.iter().for_each(|proxy| proxy.set(how));
    arena.expect_down(fault);
    arena.add_late_clients();
    std::thread::sleep((5 * SECOND).saturating_sub(fault.elapsed()));
    proxies.iter().for_each(|proxy| proxy.set(Network::Sound));
    let healed = Instant::now();
    arena.healed(healed);
    arena.expect_up(healed);
}

#[test]
fn silence_between_nodes_and_redis() {
    through_proxies(Case::exact("partition of all nodes from Redis, silent"), |arena, proxies| {
        outage(arena, proxies, Network::Silent);
    });
}

#[test]
fn connections_cut_and_refused() {
    through_proxies(Case::exact("partition of all nodes from Redis, refused"), |arena, proxies| {
        outage(arena, proxies, Network::Cut);
    });
}

#[test]
fn one_node_cut_off() {
    through_proxies(Case::exact("partition of one node from Redis, 4 s"), |arena, proxies| {
        for proxy in &proxies[..2] {
            proxy.set(Network::Silent);
            std::thread::sleep(2 * SECOND);
            arena.storm();
            std::thread::sleep(2 * SECOND);
            proxy.set(Network::Sound);
            let healed = Instant::now();
            arena.healed(healed);
            arena.expect_up(healed);
        }
    });
}

/// A service, or an address that moves, leads new connections to the new primary. Those that there are stay with the old
/// one, which goes on answering reads.
#[test]
fn a_failover_behind_one_address() {
    let turn = turn();
    let (old, new, runtime) = (Redis::start(), Redis::start(), runtime());
    let address = |redis: &Redis| SocketAddr::from(([127, 0, 0, 1], redis.port()));
    let port = new.port().to_string();
    new.command(&["REPLICAOF", "127.0.0.1", &old.port().to_string()]);
    eventually("a replica in step", || old.command(&["INFO", "replication"]).text().contains("state=online"));
    let proxies: Vec<Proxy> = (0..NODES).map(|_| Proxy::start(runtime.handle(), address(&old))).collect();
    let urls = proxies.iter().map(|proxy| format!("redis://{}", proxy.address)).collect();
    let primary = Arc::new(AtomicU16::new(old.port()));
    let written = primary.clone();
    let publisher = Servers { route: Box::new(move |_| Some(written.load(Ordering::Relaxed))), patience: IMPATIENCE };
    // The old primary's role is asked for once a second.
    let case = Case { bound: 3 * SECOND, ..Case::exact("FAILOVER behind one address") };
    let mut arena = Arena::open(case, turn, runtime, urls, publisher);
    old.command(&["FAILOVER", "TO", "127.0.0.1", &port]);
    eventually("the promotion", || new.command(&["ROLE"]).list()[0].text() == "master");
    let healed = Instant::now();
    primary.store(new.port(), Ordering::Relaxed);
    proxies.iter().for_each(|proxy| proxy.lead_to(address(&new)));
    arena.healed(healed);
    arena.expect_up(healed);
    // As a replica it goes on telling of every event, so that only its list of clients shows who is still there.
    eventually("that nobody stays with the replica", || {
        let clients = old.command(&["CLIENT", "LIST"]);
        clients.text().lines().all(|client| client.contains("cmd=client") || client.contains("flags=M"))
    });
    arena.storm();
    arena.healed(Instant::now());
    arena.close(|_| BTreeSet::new());
}

#[test]
fn connections_cut_often() {
    through_proxies(Case::exact("connections cut, 20 times"), |arena, proxies| {
        for round in 0..20 {
            let proxy = &proxies[round % NODES];
            proxy.set(Network::Cut);
            std::thread::sleep(Duration::from_millis(arena.rng.u64(1..200)));
            proxy.set(Network::Sound);
            if round % 5 == 4 {
                let healed = Instant::now();
                arena.healed(healed);
                arena.expect_up(healed);
            }
        }
    });
}

#[test]
fn a_slow_network() {
    // Clients that all come back at 300 ms there and back wait for about ten ways, connections that are opened among them.
    let case = Case { bound: 2 * SECOND, ..Case::exact("latency of 40 ms and 150 ms each way") };
    through_proxies(case, |arena, proxies| {
        for latency in [40, 150] {
            proxies.iter().for_each(|proxy| proxy.set(Network::Slow(Duration::from_millis(latency))));
            std::thread::sleep(2 * SECOND);
            arena.healed(Instant::now());
            arena.storm();
            arena.healed(Instant::now());
        }
        proxies.iter().for_each(|proxy| proxy.set(Network::Sound));
        let healed = Instant::now();
        arena.healed(healed);
        arena.expect_up(healed);
    });
}
