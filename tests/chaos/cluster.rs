//! Faults of a Redis Cluster: three primaries with a replica each.

use crate::arena::{Arena, Case, SECOND, runtime, turn};
use crate::publisher::{CHANNELS, IMPATIENCE, Servers, key};
use crate::sentinel::numbers;
use crate::support::node::eventually;
use crate::support::redis::{Redis, Reply};
use crate::support::topology::Cluster;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long an owner is taken to be one.
const FRESH: Duration = Duration::from_millis(100);

pub fn failover(fault: &'static str) -> Case {
    let case = Case::lossy(fault, &["reset", "missing"]);
    Case { bound: 3 * SECOND, may_lose_acknowledged: true, ..case }
}

pub fn owner(cluster: &Cluster, key: &str) -> Option<u16> {
    let owns = |reply: &Reply| matches!(reply, Reply::Number(_));
    let ask: &[&str] = &["EXISTS", key];
    let found = cluster.servers.iter().find(|s| s.try_pipeline(&[ask]).is_ok_and(|replies| owns(&replies[0])));
    found.map(|server| server.port())
}

fn on_cluster(case: Case, body: impl FnOnce(&mut Arena, &Cluster)) {
    on_replicated(case, || Cluster::start_with(3, 1), body);
}

/// The same with servers that are started in another way.
pub fn on_replicated(case: Case, start: impl FnOnce() -> Cluster, body: impl FnOnce(&mut Arena, &Cluster)) {
    let turn = turn();
    let cluster = Arc::new(start());
    // Redis would wait some seconds for further replicas.
    cluster.servers.iter().for_each(|s| drop(s.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"])));
    let in_step = |server: &Redis| server.command(&["INFO", "replication"]).text().contains("master_link_status:up");
    eventually("replicas in step", || cluster.servers.iter().filter(|server| in_step(server)).count() == 3);
    let knows = |server: &Redis| server.command(&["CLUSTER", "NODES"]).text().matches("slave").count() == 3;
    eventually("all know the replicas", || cluster.servers.iter().all(knows));
    let (asked, known) = (cluster.clone(), Mutex::new(HashMap::<usize, (Instant, Option<u16>)>::new()));
    let route = move |channel| {
        let mut known = known.lock().unwrap();
        match known.get(&channel) {
            Some((at, port)) if at.elapsed() < FRESH => *port,
            _ => {
                let port = owner(&asked, &key(channel));
                known.insert(channel, (Instant::now(), port));
                port
            }
        }
    };
    let publisher = Servers { route: Box::new(route), patience: IMPATIENCE };
    let mut arena = Arena::open(case, turn, runtime(), vec![cluster.url(); 3], publisher);
    body(&mut arena, &cluster);
    arena.close(|channel| numbers(cluster.of(&key(channel)), channel));
}

#[test]
fn a_killed_primary() {
    on_cluster(failover("Cluster: SIGKILL of a primary"), |arena, cluster| {
        let key = key(0);
        let old = cluster.of(&key);
        old.stop();
        eventually("a promotion", || owner(cluster, &key).is_some_and(|port| port != old.port()));
        let healed = Instant::now();
        arena.healed(healed);
        arena.expect_up(healed);
        old.run();
        arena.storm();
        arena.healed(Instant::now());
    });
}

#[test]
fn a_planned_failover() {
    on_cluster(failover("Cluster: CLUSTER FAILOVER"), |arena, cluster| {
        for channel in 0..2 {
            let key = key(channel);
            let old = cluster.owner(&key);
            let id = cluster.id(old);
            let nodes = cluster.servers[old].command(&["CLUSTER", "NODES"]);
            let line = nodes.text().lines().find(|line| line.contains("slave") && line.contains(&id));
            let replica: u16 =
                line.and_then(|line| line.split([':', '@']).nth(1)?.parse().ok()).expect("a primary has a replica");
            let server = cluster.servers.iter().find(|server| server.port() == replica).expect("of this cluster");
            server.command(&["CLUSTER", "FAILOVER"]);
            eventually("a promotion", || owner(cluster, &key) == Some(replica));
            let healed = Instant::now();
            arena.healed(healed);
            arena.expect_up(healed);
            arena.storm();
        }
    });
}

/// Moves the slot of a key as `redis-cli --cluster reshard` does.
fn migrate(cluster: &Cluster, key: &str, to: usize) {
    let from = cluster.owner(key);
    let (giver, taker) = (&cluster.servers[from], &cluster.servers[to]);
    let slot = giver.command(&["CLUSTER", "KEYSLOT", key]).number().to_string();
    let (source, target) = (cluster.id(from), cluster.id(to));
    taker.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]);
    giver.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]);
    let moved = giver.command(&["MIGRATE", "127.0.0.1", &taker.port().to_string(), key, "0", "5000"]);
    assert_eq!(moved.text(), "OK");
    // The slot stays open for a while, as it does where there are many keys.
    std::thread::sleep(Duration::from_millis(200));
    for server in [taker, giver] {
        assert_eq!(server.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]).text(), "OK");
    }
}

#[test]
fn slots_move() {
    let case = Case { bound: 3 * SECOND, ..Case::exact("Cluster: slots move under load") };
    on_cluster(case, |arena, cluster| {
        for round in 0..2 * CHANNELS {
            let key = key(round % CHANNELS);
            let from = cluster.owner(&key);
            let to = (0..6).cycle().skip(from + 1).find(|to| is_primary(cluster, *to)).expect("three primaries");
            migrate(cluster, &key, to);
            if round % 4 == 3 {
                arena.storm();
                let healed = Instant::now();
                arena.healed(healed);
                arena.expect_up(healed);
            }
        }
    });
}

pub fn is_primary(cluster: &Cluster, server: usize) -> bool {
    cluster.servers[server].command(&["ROLE"]).list()[0].text() == "master"
}
