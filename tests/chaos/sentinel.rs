//! Faults of a primary with two replicas and three sentinels. An asynchronous failover may lose what was acknowledged;
//! then either nobody ever got it, or everybody is told.

use crate::arena::{Arena, Case, SECOND, runtime, turn};
use crate::publisher::{IMPATIENCE, Servers, key};
use crate::support::redis::{Redis, Reply};
use crate::support::topology::Sentinels;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long what sentinels said is taken for true.
const FRESH: Duration = Duration::from_millis(100);

pub fn failover(fault: &'static str) -> Case {
    let case = Case::lossy(fault, &["reset", "missing"]);
    Case { bound: 3 * SECOND, may_lose_acknowledged: true, ..case }
}

fn with_sentinels(case: Case, body: impl FnOnce(&mut Arena, &Sentinels)) {
    on_sentinels(case, Sentinels::start, body);
}

/// The same with servers that are started in another way.
pub fn on_sentinels(case: Case, start: impl FnOnce() -> Sentinels, body: impl FnOnce(&mut Arena, &Sentinels)) {
    let turn = turn();
    let servers = Arc::new(start());
    let (asked, known) = (servers.clone(), Mutex::new((Instant::now(), servers.primary())));
    let route = move |_| {
        let mut known = known.lock().unwrap();
        if known.0.elapsed() > FRESH {
            *known = (Instant::now(), asked.primary());
        }
        Some(known.1)
    };
    let publisher = Servers { route: Box::new(route), patience: IMPATIENCE };
    let mut arena = Arena::open(case, turn, runtime(), vec![servers.url(); 3], publisher);
    body(&mut arena, &servers);
    arena.close(|channel| numbers(servers.server(servers.primary()), channel));
}

/// The numbers that a server's stream holds.
pub fn numbers(server: &Redis, channel: usize) -> BTreeSet<u64> {
    let entries = server.command(&["XRANGE", &key(channel), "-", "+"]);
    let number = |entry: &Reply| entry.list()[1].list()[1].text().split(' ').nth(1)?.parse().ok();
    entries.list().iter().filter_map(number).collect()
}

#[test]
fn a_killed_primary() {
    with_sentinels(failover("Sentinel: SIGKILL of the primary"), |arena, servers| {
        let old = servers.primary();
        let fault = Instant::now();
        servers.server(old).stop();
        servers.promoted(old);
        let healed = Instant::now();
        arena.healed(healed);
        arena.expect_up(healed);
        println!("promoted after {:?}", healed - fault);
        // It comes back empty, as a replica.
        servers.server(old).run();
        arena.storm();
        arena.healed(Instant::now());
    });
}

#[test]
fn a_planned_failover() {
    with_sentinels(failover("Sentinel: SENTINEL FAILOVER"), |arena, servers| {
        let old = servers.primary();
        servers.sentinels[0].command(&["SENTINEL", "FAILOVER", "main"]);
        servers.promoted(old);
        let healed = Instant::now();
        arena.healed(healed);
        arena.expect_up(healed);
    });
}

#[test]
fn a_frozen_primary_that_comes_back() {
    with_sentinels(failover("Sentinel: SIGSTOP of the primary, SIGCONT after the promotion"), |arena, servers| {
        let old = servers.primary();
        servers.server(old).freeze();
        servers.promoted(old);
        let healed = Instant::now();
        arena.healed(healed);
        arena.add_late_clients();
        servers.server(old).thaw();
        arena.storm();
        let healed = Instant::now();
        arena.healed(healed);
        arena.expect_up(healed);
    });
}

#[test]
fn a_replica_that_is_behind_is_promoted() {
    with_sentinels(failover("Sentinel: promotion of a replica that is behind"), |arena, servers| {
        let old = servers.primary();
        // The replicas hang, without a connection, while nodes and publisher go on: what is lost was delivered.
        let replicas = || servers.servers.iter().filter(|server| server.port() != old);
        replicas().for_each(Redis::freeze);
        servers.server(old).command(&["CLIENT", "KILL", "TYPE", "replica"]);
        arena.healed(Instant::now());
        servers.server(old).stop();
        replicas().for_each(Redis::thaw);
        servers.promoted(old);
        let healed = Instant::now();
        arena.healed(healed);
        arena.expect_up(healed);
    });
}
