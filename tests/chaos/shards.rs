//! Faults of parts of a Cluster: many slots on the move at once, and a shard that is down.

use crate::arena::{Arena, Case, SECOND, runtime, turn};
use crate::cluster::{is_primary, on_replicated};
use crate::publisher::{CHANNELS, IMPATIENCE, Servers, key};
use crate::support::node::eventually;
use crate::support::redis::{Redis, Reply};
use crate::support::topology::Cluster;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Slots that are moved at once, beyond those of the channels.
const SLOTS: usize = 300;

/// Moves slots from one primary to another, all of them open at the same time for a while.
fn reshard(cluster: &Cluster, from: usize, to: usize, slots: &BTreeSet<u16>) {
    let (giver, taker) = (&cluster.servers[from], &cluster.servers[to]);
    let (source, target) = (cluster.id(from), cluster.id(to));
    let set = |server: &Redis, what: &str, id: &str| {
        let commands: Vec<[String; 5]> =
            slots.iter().map(|s| ["CLUSTER", "SETSLOT", &s.to_string(), what, id].map(str::to_owned)).collect();
        send(server, commands.iter().map(|words| &words[..]));
    };
    set(taker, "IMPORTING", &source);
    set(giver, "MIGRATING", &target);
    for channel in 0..CHANNELS {
        let key = key(channel);
        if slots.contains(&slot(giver, &key)) {
            let moved = giver.command(&["MIGRATE", "127.0.0.1", &taker.port().to_string(), &key, "0", "5000"]);
            assert_eq!(moved.text(), "OK");
        }
    }
    set(taker, "NODE", &target);
    set(giver, "NODE", &target);
    // Redis says to tell all other primaries too, so that two never take a slot for theirs.
    let others = (0..cluster.servers.len()).filter(|s| ![from, to].contains(s) && is_primary(cluster, *s));
    others.for_each(|server| set(&cluster.servers[server], "NODE", &target));
    let agreed = |slot: &u16| cluster.servers.iter().all(|server| owner_by(server, *slot).as_ref() == Some(&target));
    eventually("one owner of each slot", || [slots.first(), slots.last()].into_iter().flatten().all(agreed));
}

/// The id of the primary that owns a slot, as a server believes.
fn owner_by(server: &Redis, slot: u16) -> Option<String> {
    let reply = server.command(&["CLUSTER", "SLOTS"]);
    let covers = |range: &&Reply| (range.list()[0].number()..=range.list()[1].number()).contains(&i64::from(slot));
    let range = reply.list().iter().find(covers)?;
    Some(range.list()[2].list()[2].text().to_owned())
}

fn send<'a>(server: &Redis, commands: impl Iterator<Item = &'a [String]>) {
    let words: Vec<Vec<&str>> = commands.map(|words| words.iter().map(String::as_str).collect()).collect();
    let replies = server.pipeline(&words.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert!(replies.iter().all(|reply| matches!(reply, Reply::Text(_))), "{replies:?}");
}

fn slot(server: &Redis, key: &str) -> u16 {
    server.command(&["CLUSTER", "KEYSLOT", key]).number() as u16
}

/// Some slots of a primary, with those of its channels among them.
fn some_slots(cluster: &Cluster, primary: usize) -> BTreeSet<u16> {
    let reply = cluster.servers[primary].command(&["CLUSTER", "SLOTS"]);
    let port = i64::from(cluster.servers[primary].port());
    let own = reply.list().iter().map(Reply::list).filter(|range| range[2].list()[1].number() == port);
    let own: Vec<u16> = own.flat_map(|range| range[0].number() as u16..=range[1].number() as u16).collect();
    let of_channels = (0..CHANNELS).map(|channel| slot(&cluster.servers[primary], &key(channel)));
    of_channels.filter(|slot| own.contains(slot)).chain(own.iter().copied().take(SLOTS)).collect()
}

#[test]
fn hundreds_of_slots_move() {
    let case = Case { bound: 3 * SECOND, ..Case::exact("Cluster: 900 slots move under load, 300 at once") };
    on_replicated(
        case,
        || Cluster::start_with(3, 1),
        |arena, cluster| {
            let primaries: Vec<usize> = (0..6).filter(|server| is_primary(cluster, *server)).collect();
            for turn in 0..3 {
                let (from, to) = (primaries[turn], primaries[(turn + 1) % 3]);
                reshard(cluster, from, to, &some_slots(cluster, from));
                let healed = Instant::now();
                arena.healed(healed);
                arena.expect_up(healed);
                arena.storm();
            }
            arena.healed(Instant::now());
        },
    );
}

#[test]
fn a_shard_that_is_down() {
    let turn = turn();
    let durable = |_| ["--appendonly", "yes", "--appendfsync", "always"].map(str::to_owned).to_vec();
    let cluster = Cluster::start_from(3, 0, durable);
    let ports: BTreeMap<usize, u16> = (0..CHANNELS).map(|c| (c, cluster.of(&key(c)).port())).collect();
    let (lost, of_channel) = (ports[&0], ports.clone());
    let servers = Servers { route: Box::new(move |channel| of_channel.get(&channel).copied()), patience: IMPATIENCE };
    let case = Case::exact("Cluster: a shard without replica is down for 4 s");
    let mut arena = Arena::open(case, turn, runtime(), vec![cluster.url(); 3], servers);
    arena.expect_metric("fantail_backplane_shards_down", 0.0, 5 * SECOND);
    for _ in 0..2 {
        let (down, fault) = (cluster.of(&key(0)), Instant::now());
        down.stop();
        let sound: Vec<usize> = (0..CHANNELS).filter(|channel| ports[channel] != lost).collect();
        assert!(!sound.is_empty() && sound.len() < CHANNELS, "channels on both sides");
        // Says so of this part, and is up as a whole.
        arena.expect_metric("fantail_backplane_shards_down", 1.0, 3 * SECOND);
        arena.expect_metric("fantail_backplane_up", 1.0, SECOND);
        arena.goes_on_in(&sound);
        arena.storm();
        arena.add_late_clients();
        arena.goes_on_in(&sound);
        std::thread::sleep((4 * SECOND).saturating_sub(fault.elapsed()));
        down.run();
        // A primary that starts answers nothing for two seconds, lest it had been replaced.
        eventually("the shard serves again", || !down.command(&["EXISTS", &key(0)]).is_error_of("CLUSTERDOWN"));
        let healed = Instant::now();
        arena.healed(healed);
        arena.expect_metric("fantail_backplane_shards_down", 0.0, 2 * SECOND);
    }
    arena.close(|_| BTreeSet::new());
}
