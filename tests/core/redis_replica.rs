//! Reading from a replica: what it has is believed, what it lacks is asked of the primary, and nothing that was told goes
//! back, however far it lags.

use crate::redis::rights::checked;
use crate::redis::{NOTICED, PATIENCE, add, ask, channel, linked, node, read, told, told_of};
use crate::support::node::{Node, eventually, within};
use crate::support::redis::Redis as Server;
use crate::support::replication_link::ReplicationLink;
use crate::support::topology::{Cluster, Sentinels};
use fantail::backplane::redis::Redis;
use fantail::backplane::{Backplane, BackplaneError, Link, Publication, Span, Toward};
use fantail::config::Follow;
use fantail::position::Position;
use std::sync::Arc;

/// A primary, and replicas of which each has a link that can be held.
struct Servers {
    primary: Server,
    replicas: Vec<(ReplicationLink, Server)>,
}

impl Servers {
    fn start(replicas: usize) -> Servers {
        // A small backlog: what is cut off for long must be synchronized anew.
        let primary = Server::start_with(&["--repl-diskless-sync-delay", "0", "--repl-backlog-size", "16kb"]);
        let replica = |_| {
            let link = ReplicationLink::start(primary.port());
            let replica = Server::start_with(&["--replicaof", "127.0.0.1", &link.port().to_string()]);
            (link, replica)
        };
        let servers = Servers { replicas: (0..replicas).map(replica).collect(), primary };
        eventually("replicas in step", || servers.replicas.iter().all(|(_, replica)| is_linked(replica)));
        servers
    }

    fn url(&self, more: &str) -> String {
        let replicas = self.replicas.iter().map(|(_, replica)| format!("&replica=127.0.0.1:{}", replica.port()));
        format!("{}?read=replica{}{more}", self.primary.url(), replicas.collect::<String>())
    }

    /// A node that reads a replica, if not at once on a busy machine, then soon.
    async fn node(&self, more: &str) -> Arc<Redis> {
        let node = node(&self.url(more), Follow::Auto);
        let reads = || *node.link().borrow() == Link::Up && replica_of(&node).is_some();
        assert!(within(2 * PATIENCE, reads), "{:?}", node.facts());
        told(&node, |pending| pending.doubt).await;
        node
    }

    /// How often the primary ran a command.
    fn ran(&self, command: &str) -> u64 {
        calls(&self.primary, command)
    }
}

fn is_linked(replica: &Server) -> bool {
    replica.command(&["INFO", "replication"]).text().contains("master_link_status:up")
}

fn calls(server: &Server, command: &str) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]);
    let line = stats.text().lines().find(|line| line.starts_with(&format!("cmdstat_{command}:"))).unwrap_or_default();
    line.split("calls=").nth(1).and_then(|rest| rest.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
}

fn replica_of(node: &Redis) -> Option<String> {
    node.facts().reads.first().and_then(|read| read.replica.clone())
}

fn replicated(servers: &Servers, of: usize, name: &str, length: i64) {
    let (_, replica) = &servers.replicas[of];
    eventually("the replica has it", || replica.command(&["XLEN", &format!("sse:{name}")]).number() == length);
}

async fn examined(node: &Redis, name: &str, after: Position) -> Vec<Position> {
    let found = node.examine(vec![ask(name, after)]).await.unwrap().remove(0).unwrap();
    found.entries.iter().map(|entry| entry.position).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_followed_costs_the_primary_nothing() {
    let servers = Servers::start(1);
    let node = servers.node("").await;
    let mut after = Position::ZERO;
    assert_eq!(read(&node, "a", &mut after).await, Vec::<String>::new());
    let publication =
        Publication { channel: channel("a"), fields: vec![("data".into(), "0".into())], keeping: Default::default() };
    node.append(vec![publication]).await.unwrap().remove(0).unwrap();
    told_of(&node, "a").await;
    assert_eq!(read(&node, "a", &mut after).await, ["0"]);
    for number in 1..20 {
        add(&servers.primary, "a", &number.to_string());
        told_of(&node, "a").await;
        assert_eq!(read(&node, "a", &mut after).await, [number.to_string()]);
    }
    assert_eq!((servers.ran("xread"), servers.ran("xadd"), servers.ran("get")), (0, 20, 0));
    let reads = node.facts().reads.remove(0);
    assert_eq!(reads.primary, format!("127.0.0.1:{}", servers.primary.port()));
    eventually("its lag is known", || node.facts().reads[0].lag_ms.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_primary_said_stands_until_the_replica_has_it() {
    let servers = Servers::start(1);
    let node = servers.node("&replica_lag=1m").await;
    let link = &servers.replicas[0].0;
    add(&servers.primary, "a", "1");
    replicated(&servers, 0, "a", 1);
    let mut after = Position::ZERO;
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
    let first = after;
    link.hold();
    add(&servers.primary, "a", "2");
    // Whoever brings a position that the replica has not yet: the primary knows it.
    let known = examined(&node, "a", first.before()).await;
    assert_eq!(known.len(), 2);
    // The follower has read as far by that; a read from there on must not say that its entry is gone.
    let asked = servers.ran("xread");
    for _ in 0..20 {
        let again = node.read(vec![ask("a", known[1].before())]).await.unwrap().remove(0).unwrap();
        assert_eq!(again.iter().map(|entry| entry.position).collect::<Vec<_>>(), [known[1]]);
    }
    assert_eq!(servers.ran("xread"), asked, "it is not asked again and again");
    let state = node.inspect(vec![channel("a")]).await.unwrap().remove(0).unwrap().unwrap();
    assert_eq!((state.last, state.length), (known[1], 2));
    let span =
        Span { channel: channel("a"), oldest: Position::ZERO, newest: Position::MAX, count: 9, toward: Toward::Newest };
    let history = node.history(vec![span]).await.unwrap().remove(0).unwrap();
    assert_eq!(history.len(), 2, "a page that ends before what is known would be a loss");
    node.changes().take();
    add(&servers.primary, "a", "3");
    link.release();
    told_of(&node, "a").await;
    replicated(&servers, 0, "a", 3);
    after = first;
    assert_eq!(read(&node, "a", &mut after).await, ["2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_only_the_primary_has_is_there() {
    let servers = Servers::start(1);
    let node = servers.node("&replica_lag=1m").await;
    servers.replicas[0].0.hold();
    add(&servers.primary, "new", "1");
    add(&servers.primary, "newer", "1");
    let state = node.inspect(vec![channel("new"), channel("absent")]).await.unwrap();
    assert!(matches!(&state[..], [Ok(Some(state)), Ok(None)] if state.length == 1), "{state:?}");
    let span = Span {
        channel: channel("newer"),
        oldest: Position::ZERO,
        newest: Position::MAX,
        count: 9,
        toward: Toward::Oldest,
    };
    assert_eq!(node.history(vec![span]).await.unwrap().remove(0).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_is_left_for_another_one_and_for_the_primary() {
    let servers = Servers::start(2);
    let node = servers.node("&replica_lag=300ms").await;
    let port = |server: &Server| format!("127.0.0.1:{}", server.port());
    let of = |name: &str| servers.replicas.iter().position(|(_, server)| port(server) == name).expect("one of them");
    let first = replica_of(&node).expect("a replica");
    servers.replicas[of(&first)].0.hold();
    assert!(within(PATIENCE, || replica_of(&node).is_some_and(|now| now != first)), "{:?}", node.facts());
    linked(&node, Link::Up, PATIENCE).await;
    told(&node, |pending| pending.doubt).await;
    let second = replica_of(&node).expect("the other one");
    servers.replicas[of(&second)].0.hold();
    assert!(within(PATIENCE, || replica_of(&node).is_none() && node.facts().reads[0].why.is_some()));
    linked(&node, Link::Up, PATIENCE).await;
    let mut after = Position::ZERO;
    add(&servers.primary, "a", "1");
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
    let why = node.facts().reads.remove(0).why.expect("why");
    assert!(why.contains("left alone for now"), "{why}");
    servers.replicas.iter().for_each(|(link, _)| link.release());
    assert!(within(2 * PATIENCE, || replica_of(&node).is_some()), "{:?}", node.facts());
    linked(&node, Link::Up, PATIENCE).await;
    add(&servers.primary, "a", "2");
    told(&node, |pending| pending.doubt).await;
    eventually("it is there", || calls(&servers.primary, "xadd") == 2);
    replicated(&servers, of(&replica_of(&node).unwrap()), "a", 2);
    assert_eq!(read(&node, "a", &mut after).await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_read_on_while_its_primary_is_away() {
    let servers = Servers::start(1);
    let node = servers.node("").await;
    add(&servers.primary, "a", "1");
    replicated(&servers, 0, "a", 1);
    let mut after = Position::ZERO;
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
    servers.primary.freeze();
    eventually("a word about it", || node.facts().trouble.is_some_and(|why| why.contains("primary is away")));
    let again = node.read(vec![ask("a", after.before())]).await.unwrap().remove(0).unwrap();
    assert_eq!(again.len(), 1);
    let unknown = node.examine(vec![ask("a", Position::ZERO)]).await.unwrap().remove(0);
    assert!(matches!(unknown, Err(BackplaneError::Down { .. })), "what is not there waits: {unknown:?}");
    assert_eq!(*node.link().borrow(), Link::Up);
    servers.primary.thaw();
    eventually("it is back", || node.facts().trouble.is_none());
    assert_eq!(examined(&node, "a", Position::ZERO).await.len(), 1);
    assert_eq!(node.facts().reconnects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_synchronized_anew_is_verified() {
    let servers = Servers::start(1);
    let node = servers.node("&replica_lag=1m").await;
    let (link, replica) = &servers.replicas[0];
    add(&servers.primary, "a", "1");
    replicated(&servers, 0, "a", 1);
    let mut after = Position::ZERO;
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
    node.changes().take();
    link.cut();
    eventually("it is cut off", || !is_linked(replica));
    let filling = "x".repeat(8 << 10);
    (0..8).for_each(|_| add(&servers.primary, "b", &filling));
    add(&servers.primary, "a", "2");
    link.release();
    eventually("it is in step again", || is_linked(replica));
    told(&node, |pending| pending.doubt).await;
    linked(&node, Link::Up, PATIENCE).await;
    assert_eq!(read(&node, "a", &mut after).await, ["2"]);
    // The entry before it is still armed, or armed anew.
    add(&servers.primary, "a", "3");
    told_of(&node, "a").await;
    replicated(&servers, 0, "a", 3);
    assert_eq!(read(&node, "a", &mut after).await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_behind_a_plain_address_that_is_promoted_is_left() {
    let servers = Servers::start(1);
    let node = servers.node("").await;
    servers.replicas[0].1.command(&["REPLICAOF", "NO", "ONE"]);
    assert!(within(NOTICED, || replica_of(&node).is_none()), "{:?}", node.facts());
    linked(&node, Link::Up, PATIENCE).await;
    let why = node.facts().reads.remove(0).why.expect("why");
    assert!(why.contains("it is no replica"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_followed_from_replica_to_replica() {
    let servers = Sentinels::start();
    let node = node(&format!("{}?read=replica", servers.url()), Follow::Auto);
    linked(&node, Link::Up, PATIENCE).await;
    let old = servers.primary();
    assert!(replica_of(&node).is_some_and(|replica| !replica.ends_with(&format!(":{old}"))));
    let mut after = Position::ZERO;
    add(servers.server(old), "a", "1");
    eventually("they have it", || servers.servers.iter().all(|s| s.command(&["XLEN", "sse:a"]).number() == 1));
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
    node.changes().take();
    servers.server(old).stop();
    let new = servers.promoted(old);
    let led_by = |port: u16| node.facts().reads.first().is_some_and(|r| r.primary.ends_with(&format!(":{port}")));
    assert!(within(PATIENCE, || led_by(new.port()) && *node.link().borrow() == Link::Up), "{:?}", node.facts());
    told(&node, |pending| pending.doubt).await;
    add(new, "a", "2");
    let other = servers.servers.iter().find(|server| ![old, new.port()].contains(&server.port())).expect("a third one");
    eventually("the other one follows the new primary", || is_linked(other));
    eventually("it has all", || other.command(&["XLEN", "sse:a"]).number() == 2);
    assert!(within(PATIENCE, || replica_of(&node).is_some()), "{:?}", node.facts());
    linked(&node, Link::Up, PATIENCE).await;
    assert_eq!(read(&node, "a", &mut after).await, ["2"]);
}

fn numbered(servers: &Servers, name: &str, numbers: std::ops::RangeInclusive<u64>) -> Vec<String> {
    let id = |number: u64| {
        let data = number.to_string();
        servers.primary.command(&["XADD", &format!("sse:{name}"), "*", "data", &data]).text().to_owned()
    };
    numbers.map(id).collect()
}

/// What a replica does not have yet is no loss: who comes from a node that is further is sent what follows, and no gap.
#[test]
fn who_comes_from_a_node_that_is_further_loses_and_gets_nothing_twice() {
    let servers = Servers::start(1);
    let (link, replica) = &servers.replicas[0];
    let near = Node::start(&["--redis", &servers.url("&replica_lag=1m")]);
    let far = Node::start(&["--redis", &servers.primary.url()]);
    near.metric_becomes("fantail_redis_read_from{role=\"replica\"}", 1.0);
    numbered(&servers, "a", 1..=3);
    eventually("the replica has it", || replica.command(&["XLEN", "sse:a"]).number() == 3);
    let mut there = near.subscribe("/events/a?since=earliest");
    assert_eq!(there.numbers(3), [1, 2, 3]);
    link.hold();
    let mut ahead = far.subscribe("/events/a?since=earliest");
    numbered(&servers, "a", 4..=6);
    assert_eq!(ahead.numbers(6), [1, 2, 3, 4, 5, 6]);
    let mut moved = near.resume("/events/a", &ahead.last_event_id());
    // Behind what it brought, though in the stream before it: what those who were there have not had yet.
    assert_eq!(there.numbers(3), [4, 5, 6]);
    let ids = numbered(&servers, "a", 7..=9);
    link.release();
    assert_eq!((moved.numbers(3), there.numbers(3)), (vec![7, 8, 9], vec![7, 8, 9]));
    link.hold();
    numbered(&servers, "a", 10..=12);
    // A stream that ends before what is known of it would be a page cut short.
    let mut behind = near.resume("/events/a", &ids[0]);
    assert_eq!(behind.numbers(2), [8, 9]);
    link.release();
    assert_eq!((behind.numbers(3), moved.numbers(3)), (vec![10, 11, 12], vec![10, 11, 12]));
    assert_eq!(near.metric("fantail_gaps_total{reason=\"reset\"}"), 0.0);
}

/// What is gone is told at a replica as at its primary, as soon as it is gone there.
#[test]
fn a_loss_is_told_once_the_replica_has_it() {
    let servers = Servers::start(1);
    let (link, replica) = &servers.replicas[0];
    let node = Node::start(&["--redis", &servers.url("&replica_lag=1m")]);
    numbered(&servers, "a", 1..=3);
    eventually("the replica has it", || replica.command(&["XLEN", "sse:a"]).number() == 3);
    let mut stream = node.subscribe("/events/a?since=earliest");
    assert_eq!(stream.numbers(3), [1, 2, 3]);
    link.hold();
    servers.primary.command(&["DEL", "sse:a"]);
    servers.primary.command(&["XADD", "sse:a", "1-1", "data", "4"]);
    link.release();
    let gap = stream.gap();
    assert!(["reset", "missing"].contains(&gap["reason"].as_str().unwrap()), "{gap}");
    assert_eq!(stream.numbers(1), [4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_which_replica_would_be_read_and_what_is_wrong_with_others() {
    let servers = Servers::start(2);
    servers.replicas[1].1.command(&["REPLICAOF", "NO", "ONE"]);
    let port = |of: usize| servers.replicas[of].1.port();
    let url = servers.url("");
    let (said, code) = checked(&url, &[]).await;
    assert_eq!(code, 0, "{said}");
    let replica = |of: usize, what: &str| format!("{what} replica: 127.0.0.1:{}: ", port(of));
    assert!(said.contains(&format!("{}it would be read, ", replica(0, "ok   "))), "{said}");
    assert!(said.contains(&format!("{}it is no replica", replica(1, "warn "))), "{said}");
    assert!(said.contains("ok    rights: every command is allowed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_cluster_a_replica_of_each_primary_is_read() {
    let cluster = Cluster::start_with(3, 1);
    let knows = |server: &Server| server.command(&["CLUSTER", "NODES"]).text().matches("slave").count() == 3;
    eventually("all know the replicas", || cluster.servers.iter().all(knows));
    eventually("replicas in step", || cluster.servers.iter().filter(|server| is_linked(server)).count() == 3);
    let node = node(&format!("{}?read=replica", cluster.url()), Follow::Auto);
    linked(&node, Link::Up, PATIENCE).await;
    let reads = || node.facts().reads;
    assert!(
        within(PATIENCE, || reads().len() == 3 && reads().iter().all(|read| read.replica.is_some())),
        "{:?}",
        reads()
    );
    eventually("all are there", || node.facts().shards.iter().all(|shard| shard.up));
    node.changes().take();
    let before: u64 = cluster.servers[..3].iter().map(|server| calls(server, "xread")).sum();
    for index in 0..12 {
        let (name, mut after) = (format!("c{index}"), Position::ZERO);
        assert_eq!(read(&node, &name, &mut after).await, Vec::<String>::new());
        add(cluster.of(&format!("sse:{name}")), &name, "1");
        told_of(&node, &name).await;
        assert_eq!(read(&node, &name, &mut after).await, ["1"], "{name}");
    }
    let after: u64 = cluster.servers[..3].iter().map(|server| calls(server, "xread")).sum();
    assert_eq!(after, before, "the primaries read nothing");
}
