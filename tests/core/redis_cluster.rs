//! The Redis backplane on a Cluster: routing, migration, a shard that is down, a failover.

use crate::redis::{NOTICED, PATIENCE, ask, channel, linked, node, read, told, told_of};
use crate::support::node::{Node, eventually, within};
use crate::support::redis::Reply;
use crate::support::stream::Stream;
use crate::support::topology::Cluster;
use fantail::backplane::redis::{Redis, Settings, survey};
use fantail::backplane::{Backplane, BackplaneError, Link, Publication, Span, Toward};
use fantail::config::Follow;
use fantail::cursor::Cursor;
use fantail::position::Position;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

const CHANNELS: usize = 60;

async fn connected(cluster: &Cluster) -> Arc<Redis> {
    let node = node(&cluster.url(), Follow::Auto);
    linked(&node, Link::Up, PATIENCE).await;
    whole(&node, 3);
    node
}

fn whole(node: &Redis, shards: usize) {
    eventually("a connection to every shard", || {
        let facts = node.facts();
        facts.shards.len() == shards && facts.shards.iter().all(|shard| shard.up)
    });
}

fn names() -> Vec<String> {
    (0..CHANNELS).map(|i| format!("c{i}")).collect()
}

fn publication(name: &str, data: &str) -> Publication {
    Publication::new(channel(name), vec![("data".into(), data.to_owned().into())])
}

async fn append(node: &Redis, name: &str, data: &str) -> Result<Position, BackplaneError> {
    node.append(vec![publication(name, data)]).await.unwrap().remove(0)
}

/// The first channel whose key a server owns.
fn channel_of(cluster: &Cluster, server: usize) -> String {
    names().into_iter().find(|name| cluster.owner(&format!("sse:{name}")) == server).expect("one of so many")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_goes_to_all_primaries_and_all_push() {
    let cluster = Cluster::start();
    let node = connected(&cluster).await;
    assert_eq!(node.facts().follow, Some("tracking"));
    let ids = node.append(names().iter().map(|name| publication(name, name)).collect()).await.unwrap();
    let asks = || names().iter().map(|name| ask(name, Position::ZERO)).collect::<Vec<_>>();
    let (read, examined) = (node.read(asks()).await.unwrap(), node.examine(asks()).await.unwrap());
    let states = node.inspect(names().iter().map(|name| channel(name)).collect()).await.unwrap();
    let span = |name: &String| Span {
        channel: channel(name),
        oldest: Position::ZERO,
        newest: Position::MAX,
        count: 9,
        toward: Toward::Oldest,
    };
    let history = node.history(names().iter().map(span).collect()).await.unwrap();
    for (i, name) in names().iter().enumerate() {
        let id = *ids[i].as_ref().unwrap();
        assert_eq!(read[i].as_ref().unwrap()[0].position, id);
        assert_eq!(read[i].as_ref().unwrap()[0].fields[0].1, name.as_bytes());
        assert_eq!(examined[i].as_ref().unwrap().entries, *read[i].as_ref().unwrap());
        assert_eq!(states[i].as_ref().unwrap().as_ref().unwrap().last, id);
        assert_eq!(history[i].as_ref().unwrap()[0].position, id);
    }
    for server in 0..3 {
        let name = channel_of(&cluster, server);
        cluster.servers[server].command(&["XADD", &format!("sse:{name}"), "*", "data", "2"]);
        told_of(&node, &name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_with_a_hash_tag_are_read_together() {
    let cluster = Cluster::start();
    let settings = Settings { key_prefix: "sse:{a}:".into(), ..Settings::new(&cluster.url()) };
    let node = Redis::start(settings, &Handle::current()).unwrap();
    linked(&node, Link::Up, PATIENCE).await;
    whole(&node, 3);
    node.append(names().iter().map(|name| publication(name, name)).collect()).await.unwrap();
    cluster.of("sse:{a}:bad").command(&["SET", "sse:{a}:bad", "no stream"]);
    let mut asks: Vec<_> = names().iter().map(|name| ask(name, Position::ZERO)).collect();
    asks.push(ask("bad", Position::ZERO));
    let answers = node.read(asks).await.unwrap();
    for (name, answer) in names().iter().zip(&answers) {
        assert_eq!(answer.as_ref().unwrap()[0].fields[0].1, name.as_bytes());
    }
    assert!(
        matches!(&answers[CHANNELS], Err(BackplaneError::Refused { text: why, .. }) if why.starts_with("WRONGTYPE"))
    );
    assert_eq!(node.facts().reconnects, 0);
}

/// Moves one slot as `redis-cli --cluster reshard` does; `between` runs when its keys have gone and its owner has not.
fn migrate(cluster: &Cluster, key: &str, to: usize, between: impl FnOnce()) {
    let from = cluster.owner(key);
    assert_ne!(from, to);
    let slot = cluster.servers[from].command(&["CLUSTER", "KEYSLOT", key]).number().to_string();
    let (source, target) = (cluster.id(from), cluster.id(to));
    let (giver, taker) = (&cluster.servers[from], &cluster.servers[to]);
    assert_eq!(taker.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]).text(), "OK");
    assert_eq!(giver.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]).text(), "OK");
    let port = taker.port().to_string();
    let keys = giver.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
    for key in keys.list() {
        let moved = giver.command(&["MIGRATE", "127.0.0.1", &port, key.text(), "0", "5000"]);
        assert_eq!(moved.text(), "OK");
    }
    between();
    for server in [taker, giver] {
        assert_eq!(server.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]).text(), "OK");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_takes_its_channels_along() {
    let cluster = Cluster::start();
    let node = connected(&cluster).await;
    let name = channel_of(&cluster, 0);
    let key = format!("sse:{name}");
    let mut after = Position::ZERO;
    append(&node, &name, "1").await.unwrap();
    assert_eq!(read(&node, &name, &mut after).await, ["1"]);
    let handle = Handle::current();
    tokio::task::block_in_place(|| {
        migrate(&cluster, &key, 1, || {
            // Asked of the giver, answered by the taker; a push of the taker follows.
            handle.block_on(async {
                append(&node, &name, "2").await.unwrap();
                assert_eq!(read(&node, &name, &mut after).await, ["2"]);
                let examined = node.examine(vec![ask(&name, Position::ZERO)]).await.unwrap().remove(0).unwrap();
                assert_eq!((examined.entries.len(), examined.state.unwrap().length), (2, 2));
                node.changes().take();
                let asking = cluster.servers[1].pipeline(&[&["ASKING"], &["XADD", &key, "*", "data", "3"]]);
                assert!(matches!(asking[1], Reply::Text(_)), "{asking:?}");
                told_of(&node, &name).await;
                assert_eq!(read(&node, &name, &mut after).await, ["3"]);
            });
        });
    });
    node.changes().take();
    assert!(read(&node, &name, &mut after).await.is_empty());
    told(&node, |pending| pending.doubt).await;
    cluster.servers[1].command(&["XADD", &key, "*", "data", "4"]);
    told_of(&node, &name).await;
    assert_eq!(read(&node, &name, &mut after).await, ["4"]);
    assert_eq!(node.facts().reconnects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_down_harms_only_its_own_channels() {
    let cluster = Cluster::start();
    let node = connected(&cluster).await;
    let (lost, kept) = (channel_of(&cluster, 0), channel_of(&cluster, 1));
    cluster.servers[0].stop();
    let down = |node: &Redis| node.facts().shards.iter().filter(|shard| !shard.up).count();
    assert!(within(NOTICED, || down(&node) == 1), "{:?}", node.facts());
    assert_eq!(*node.link().borrow(), Link::Up);
    let name = format!("127.0.0.1:{}", cluster.servers[0].port());
    assert!(node.facts().trouble.is_some_and(|why| why.contains(&name)));
    append(&node, &kept, "1").await.unwrap();
    let answers = node.read(vec![ask(&lost, Position::ZERO), ask(&kept, Position::ZERO)]).await.unwrap();
    assert!(matches!(&answers[0], Err(BackplaneError::Down { .. })), "{answers:?}");
    assert_eq!(answers[1].as_ref().unwrap().len(), 1);
    assert!(matches!(append(&node, &lost, "1").await, Err(BackplaneError::Down { unsent: true, .. })));
    node.changes().take();
    cluster.servers[0].run();
    whole(&node, 3);
    told(&node, |pending| pending.doubt).await;
    append(&node, &lost, "2").await.unwrap();
    assert_eq!(read(&node, &lost, &mut Position::ZERO.clone()).await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_promoted_takes_over() {
    let cluster = Cluster::start_with(3, 1);
    let node = connected(&cluster).await;
    let name = channel_of(&cluster, 0);
    let key = format!("sse:{name}");
    let mut after = Position::ZERO;
    append(&node, &name, "1").await.unwrap();
    assert_eq!(read(&node, &name, &mut after).await, ["1"]);
    cluster.servers[0].command(&["WAIT", "1", "5000"]);
    cluster.servers[0].stop();
    // Redis' own, which takes a dozen seconds at rest.
    let promoted = || cluster.servers[3..].iter().any(|s| !s.command(&["EXISTS", &key]).is_error_of("MOVED"));
    assert!(within(Duration::from_secs(90), promoted), "no promotion");
    assert!(
        within(Duration::from_secs(6), || {
            let facts = node.facts();
            let old = format!("127.0.0.1:{}", cluster.servers[0].port());
            facts.shards.len() == 3 && facts.shards.iter().all(|shard| shard.up && shard.name != old)
        }),
        "{:?}",
        node.facts()
    );
    append(&node, &name, "2").await.unwrap();
    assert_eq!(read(&node, &name, &mut after).await, ["2"]);
}

#[test]
fn subscribers_of_a_lost_shard_wait_and_others_do_not() {
    let cluster = Cluster::start();
    let node = Node::start(&["--redis", &cluster.url(), "--publish", "on"]);
    node.metric_becomes("fantail_backplane_up", 1.0);
    node.metric_becomes("fantail_backplane_shards_down", 0.0);
    let (lost, kept) = (channel_of(&cluster, 0), channel_of(&cluster, 1));
    let of_first = |name: &String| *name != lost && cluster.owner(&format!("sse:{name}")) == 0;
    let other = names().into_iter().find(of_first).expect("one of so many");
    eventually("all shards", || node.ask("POST", &format!("/events/{lost}"), &[], "1").head.status == 201);
    let mut of_lost = node.subscribe(&format!("/events/{lost}?since=earliest"));
    assert_eq!(of_lost.numbers(1), [1]);
    cluster.servers[0].stop();
    node.metric_becomes("fantail_backplane_shards_down", 1.0);
    assert_eq!(node.metric("fantail_backplane_up"), 1.0);
    let mut of_kept = node.subscribe(&format!("/events/{kept}")).begun();
    // Held: it has its head, is told so, and is joined later.
    let mut held = node.subscribe(&format!("/events/{other}?since=earliest"));
    assert_eq!(announced(&mut held, "fantail.held"), [other.as_str()]);
    node.publish(&format!("/events/{kept}"), "kept");
    assert_eq!(of_kept.next().data, "kept");
    assert_eq!(node.ask("POST", &format!("/events/{lost}"), &[], "x").head.status, 503);
    cluster.servers[0].run();
    node.metric_becomes("fantail_backplane_shards_down", 0.0);
    // It came back empty: that is told, and what is new arrives.
    assert_eq!(of_lost.next().event, "fantail.gap");
    node.publish(&format!("/events/{lost}"), "2");
    node.publish(&format!("/events/{other}"), "3");
    assert_eq!(of_lost.next().data, "2");
    assert_eq!(announced(&mut held, "fantail.joined"), [other.as_str()]);
    assert_eq!(held.next().data, "3");
}

/// The channels of the next message, which must be an announcement of this kind.
fn announced(stream: &mut Stream, kind: &str) -> Vec<String> {
    let message = stream.next();
    assert_eq!(message.event, kind, "{message:?}");
    let told: serde_json::Value = serde_json::from_str(&message.data).expect("JSON");
    serde_json::from_value(told["channels"].clone()).expect("names")
}

/// Numbered events of a channel; their ids.
fn add(cluster: &Cluster, name: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    let key = format!("sse:{name}");
    let add = |n: u64| cluster.of(&key).command(&["XADD", &key, "*", "data", &n.to_string()]).text().to_owned();
    numbers.into_iter().map(add).collect()
}

/// Where a cursor of several channels says that one of them is.
fn position(cursor: &str, name: &str) -> Option<String> {
    let cursor = Cursor::parse(cursor).expect("a cursor");
    cursor.position_of(&channel(name), false).map(|position| position.to_string())
}

#[test]
fn a_subscription_begins_with_what_can_be_joined_and_the_rest_follows_exactly() {
    let durable = |_| ["--appendonly", "yes", "--appendfsync", "always"].map(str::to_owned).to_vec();
    let cluster = Cluster::start_from(3, 0, durable);
    let of_first = names().into_iter().filter(|name| cluster.owner(&format!("sse:{name}")) == 0);
    let lost: Vec<String> = of_first.take(5).collect();
    let (kept, [resumed, fresh, latest, ..]) = (&channel_of(&cluster, 1), &lost[..]) else { panic!("{lost:?}") };
    let ids = add(&cluster, resumed, 1..=3);
    add(&cluster, fresh, 11..=12);
    add(&cluster, latest, 21..=22);
    let mut newest = add(&cluster, kept, [31]).remove(0);
    // The cursor's plain form, and with two channels more its compact one; a node each, which has none of it in memory.
    let more = format!(",{},{}", lost[3], lost[4]);
    let nodes = ["", &more].map(|more| (Node::start(&["--redis", &cluster.url()]), format!("{resumed},{fresh}{more}")));
    nodes.iter().for_each(|(node, _)| node.metric_becomes("fantail_backplane_shards_down", 0.0));
    // What is up is in memory, so that no busy machine makes it late.
    let _live = nodes.each_ref().map(|(node, _)| node.subscribe(&format!("/events/{kept}")).begun());
    cluster.servers[0].stop();
    nodes.iter().for_each(|(node, _)| node.metric_becomes("fantail_backplane_shards_down", 1.0));
    let mut held: Vec<Stream> = nodes
        .iter()
        .map(|(node, waits)| {
            let target = format!("/events?channels={kept},{waits}&since=earliest");
            let mut first = node.resume(&target, &format!("{kept}={newest},{resumed}={}", ids[0])).begun();
            assert_eq!(announced(&mut first, "fantail.held").join(","), *waits);
            newest = add(&cluster, kept, [32]).remove(0);
            let message = first.take(1).remove(0);
            assert_eq!(message.data, "32", "what is up is not kept waiting");
            let told = [kept, resumed, fresh].map(|name| position(&message.id, name));
            assert_eq!(
                told,
                [Some(newest.clone()), Some(ids[0].clone()), None],
                "nothing is forgotten, nothing invented"
            );
            // Who goes and comes back meanwhile is where it was.
            drop(first);
            let mut second = node.resume(&target, &message.id).begun();
            assert_eq!(announced(&mut second, "fantail.held").join(","), *waits);
            second
        })
        .collect();
    let node = &nodes[0].0;
    let mut from_now = node.subscribe(&format!("/events?channels={kept},{latest}")).begun();
    let mut alone = node.resume(&format!("/events/{resumed}"), &ids[1]);
    assert_eq!(announced(&mut from_now, "fantail.held"), [latest.as_str()]);
    assert_eq!(announced(&mut alone, "fantail.held"), [resumed.as_str()]);
    let mut foreign = node.resume(&format!("/events?channels={kept},{resumed}"), "nonsense").begun();
    // Of both at once, for its id is replaced now.
    let resets = [foreign.gap(), foreign.gap()].map(|gap| gap["channel"].as_str().map(str::to_owned));
    assert_eq!(resets, [Some(kept.clone()), Some(resumed.clone())]);

    cluster.servers[0].run();
    for (stream, (_, waits)) in held.iter_mut().zip(&nodes) {
        // Beside those for the other node.
        let mut seen: Vec<u64> = (0..).map(|_| stream.numbers(1)[0]).filter(|n| *n != 32).take(4).collect();
        seen.sort_unstable();
        assert_eq!(seen, [2, 3, 11, 12]);
        let all = |id: &str| waits.split(',').chain([kept.as_str()]).all(|name| position(id, name).is_some());
        stream.read_until("all are joined", |stream| all(stream.parser.last_event_id()));
    }
    assert_eq!(announced(&mut alone, "fantail.joined"), [resumed.as_str()]);
    assert_eq!(alone.numbers(1), [3]);
    assert_eq!(announced(&mut from_now, "fantail.joined"), [latest.as_str()]);
    foreign.read_until("it is joined", |stream| position(stream.parser.last_event_id(), resumed).is_some());
    // What is new comes to all, and nothing of what was.
    add(&cluster, resumed, [4]);
    add(&cluster, latest, [23]);
    held.iter_mut().chain([&mut alone, &mut foreign]).for_each(|stream| assert_eq!(stream.numbers(1), [4]));
    assert_eq!(from_now.numbers(1), [23]);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_is_wrong_with_a_cluster() {
    let cluster = Cluster::start();
    let found = survey(Settings::new(&cluster.url()), true).await.unwrap().unwrap();
    assert_eq!(found.shards.len(), 3);
    assert!(found.shards.iter().all(|(_, trouble)| trouble.is_none()), "{found:?}");
    assert!(found.rights.iter().all(|right| right.refused.is_none()), "{found:?}");
    let single = crate::support::redis::Redis::start();
    let url = single.url().replace("redis://", "redis-cluster://");
    let error = survey(Settings::new(&url), true).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("not a cluster: use redis://"), "{error}");
}
