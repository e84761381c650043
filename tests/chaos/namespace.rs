//! Faults of a real network: packets that the kernel drops, in a network namespace of the case's own.
//!
//! A case starts itself again in a new namespace, where its firewall is nobody else's. Servers are told apart by their
//! address in 127.0.0.0/8. Where namespaces are not allowed the proxies of `network` stand for them alone.

use crate::arena::{Arena, Case, SECOND, SEED, runtime, turn};
use crate::cluster::{self, on_replicated, owner};
use crate::publisher::{Servers, key};
use crate::sentinel::{self, on_sentinels};
use crate::support::node::eventually;
use crate::support::redis::Redis;
use crate::support::topology::{Cluster, Sentinels};
use crate::table::record_line;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

const INSIDE: &str = "FANTAIL_CHAOS_INSIDE";

/// Whether this is the process inside; runs it if not.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let allowed = Command::new("unshare").args(["--net", "iptables", "--list"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        println!("no network namespace, or no iptables: {test} is left to the proxies");
        return false;
    }
    let program = std::env::current_exe().expect("a path");
    let script = "ip link set lo up && exec \"$0\" \"$@\"";
    let mut inside = Command::new("unshare");
    inside.args(["--net", "sh", "-c", script]).arg(program).args([test, "--exact", "--nocapture"]);
    inside.env(INSIDE, "1").env("FANTAIL_TEST_SEED", SEED.to_string()).env_remove("FANTAIL_CHAOS_RESULTS");
    let turn = turn();
    let output = inside.output().expect("unshare");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter(|line| line.starts_with("| ")).for_each(|row| record_line(row.to_owned(), *SEED));
    drop(turn);
    false
}

/// Adds a rule for what arrives.
fn firewall(words: &str) {
    let output = Command::new("iptables").args(words.split(' ')).output().expect("iptables");
    assert!(output.status.success(), "iptables {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Nothing from or to these addresses arrives.
fn cut(addresses: &[&str]) {
    for address in addresses {
        firewall(&format!("-A INPUT -s {address} -j DROP"));
        firewall(&format!("-A INPUT -d {address} -j DROP"));
    }
}

fn mend() {
    firewall("-F INPUT");
}

/// Nodes reach Redis by an address of its own; the publisher does not.
const TO_REDIS: &str = "127.0.0.2";

fn between_nodes_and_redis(case: Case, body: impl FnOnce(&mut Arena)) {
    let turn = turn();
    let redis = Redis::start_with(&["--bind", "127.0.0.1", TO_REDIS, "--protected-mode", "no"]);
    let port = redis.port();
    let urls = vec![format!("redis://{TO_REDIS}:{port}"); 3];
    let mut arena = Arena::open(case, turn, runtime(), urls, Servers::one(port));
    body(&mut arena);
    arena.close(|_| BTreeSet::new());
}

#[test]
fn packets_between_nodes_and_redis_are_dropped() {
    if !is_inside("namespace::packets_between_nodes_and_redis_are_dropped") {
        return;
    }
    // The kernel repeats a lost SYN after a second: nodes begin other connections beside it.
    between_nodes_and_redis(Case::exact("packets between nodes and Redis dropped, 5 s"), |arena| {
        for _ in 0..2 {
            let fault = Instant::now();
            cut(&[TO_REDIS]);
            arena.expect_down(fault);
            arena.add_late_clients();
            std::thread::sleep((5 * SECOND).saturating_sub(fault.elapsed()));
            mend();
            let healed = Instant::now();
            arena.healed(healed);
            arena.expect_up(healed);
        }
    });
}

#[test]
fn packets_are_lost() {
    if !is_inside("namespace::packets_are_lost") {
        return;
    }
    let case = Case { bound: 2 * SECOND, ..Case::exact("packet loss of 2 % and 20 % between nodes and Redis") };
    between_nodes_and_redis(case, |arena| {
        for probability in ["0.02", "0.2"] {
            for side in ["-s", "-d"] {
                firewall(&format!(
                    "-A INPUT {side} {TO_REDIS} -m statistic --mode random --probability {probability} -j DROP"
                ));
            }
            std::thread::sleep(3 * SECOND);
            arena.storm();
            std::thread::sleep(SECOND);
            mend();
            let healed = Instant::now();
            arena.healed(healed);
            arena.expect_up(healed);
        }
    });
}

/// The old primary goes on taking writes until it is back among the others: what it took is lost.
#[test]
fn a_primary_is_cut_off_from_replicas_and_sentinels() {
    if !is_inside("namespace::a_primary_is_cut_off_from_replicas_and_sentinels") {
        return;
    }
    let case = sentinel::failover("Sentinel: partition of the primary from replicas and sentinels");
    on_sentinels(
        case,
        || Sentinels::start_on("127.0.0.7"),
        |arena, servers| {
            let old = servers.primary();
            // Those connect to the primary from that address; clients do not.
            firewall(&format!("-A INPUT -s 127.0.0.7 -p tcp --dport {old} -j DROP"));
            servers.promoted(old);
            let healed = Instant::now();
            arena.healed(healed);
            arena.expect_up(healed);
            arena.add_late_clients();
            mend();
            // Sentinel ends the connections of whom it demotes, this one's too.
            eventually("the old primary's demotion", || {
                let role = servers.server(old).try_pipeline(&[&["ROLE"]]);
                role.is_ok_and(|role| role[0].list()[0].text() == "slave")
            });
            arena.storm();
            arena.healed(Instant::now());
        },
    );
}

#[test]
fn a_primary_is_cut_off_from_its_cluster() {
    if !is_inside("namespace::a_primary_is_cut_off_from_its_cluster") {
        return;
    }
    let source = |index: usize| format!("127.0.1.{}", index + 1);
    let start = || {
        Cluster::start_from(3, 1, |index| {
            let own = ["--bind-source-addr", &source(index), "--cluster-announce-ip", "127.0.0.1"];
            [&own[..], &["--protected-mode", "no"]].concat().into_iter().map(str::to_owned).collect()
        })
    };
    on_replicated(
        cluster::failover("Cluster: partition of a primary from all other servers"),
        start,
        |arena, cluster| {
            let key = key(0);
            let old = cluster.owner(&key);
            let port = cluster.servers[old].port();
            cut(&[&source(old)]);
            firewall(&format!("-A INPUT -s 127.0.1.0/24 -p tcp --dport {} -j DROP", port + 10_000));
            firewall(&format!("-A INPUT -s 127.0.1.0/24 -p tcp --dport {port} -j DROP"));
            let promoted = || cluster.servers.iter().any(|server| server.port() != port && owns(server, &key));
            eventually("a promotion", promoted);
            let healed = Instant::now();
            arena.healed(healed);
            mend();
            eventually("one owner", || owner(cluster, &key).is_some_and(|owner| owner != port));
            arena.storm();
            let healed = Instant::now();
            arena.healed(healed);
            arena.expect_up(healed);
        },
    );
}

/// Whether a server takes a key for its own.
fn owns(server: &Redis, key: &str) -> bool {
    let replies = server.try_pipeline(&[&["EXISTS", key], &["ROLE"]]);
    replies.is_ok_and(|replies| !replies[0].is_error_of("MOVED") && replies[1].list()[0].text() == "master")
}

/// What `cut` and `mend` do is what they say.
#[test]
fn the_firewall_cuts_and_mends() {
    if !is_inside("namespace::the_firewall_cuts_and_mends") {
        return;
    }
    let listener = std::net::TcpListener::bind((TO_REDIS, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let reach = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok();
    assert!(reach());
    cut(&[TO_REDIS]);
    assert!(!reach());
    mend();
    assert!(reach());
}
