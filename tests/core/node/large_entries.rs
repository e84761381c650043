//! Entries that take long to read, or are too large to be read: their channel is told, and others do not wait for them.

use super::{add, add_at};
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::slow_way::SlowWay;
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

/// Adds an event of so many bytes under a chosen id.
fn add_bytes(redis: &Redis, channel: &str, id: &str, bytes: &str) {
    assert_eq!(redis.command(&["XADD", &format!("sse:{channel}"), id, "data", bytes]).text(), id);
}

fn too_large(resume_from: &str, continues_at: &str) -> Value {
    json!({
        "channel": "a", "reason": "too_large", "resume_from": resume_from, "continues_at": continues_at, "lost": 1
    })
}

#[test]
fn an_entry_that_takes_longer_than_the_timeout_comes_whole_and_others_before_it() {
    let redis = Redis::start();
    let way = SlowWay::to(redis.port(), 4 << 20);
    let node = Node::start(&["--redis", &way.url(), "--redis-timeout", "300ms"]);
    let (mut large, mut small) = (node.subscribe("/events/a").begun(), node.subscribe("/events/b").begun());
    for round in 1..=2 {
        let before = way.passed();
        add_bytes(&redis, "a", &format!("{round}-0"), &"x".repeat(4 * MIB));
        add(&redis, "b", [round]);
        assert_eq!(small.numbers(1), [round]);
        assert!(way.passed() < before + (4 << 20), "the other channel's event came while the large one was under way");
        let message = large.next();
        assert_eq!((message.id.as_str(), message.data.len()), (&*format!("{round}-0"), 4 * MIB));
    }
    assert_eq!(node.metric("fantail_backplane_reconnects_total"), 0.0);
    assert_eq!(node.metric("fantail_gaps_total{reason=\"too_large\"}"), 0.0);
}

#[test]
fn large_entries_of_many_channels_at_once_all_come() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let mut streams: Vec<_> = (0..24).map(|n| node.subscribe(&format!("/events/c{n}")).begun()).collect();
    let mut small = node.subscribe("/events/small").begun();
    let data = "x".repeat(MIB);
    let keys: Vec<String> = (0..24).map(|n| format!("sse:c{n}")).collect();
    for round in 1..=2 {
        let commands: Vec<[&str; 5]> = keys.iter().map(|key| ["XADD", key, "*", "data", &data]).collect();
        redis.pipeline(&commands.iter().map(|command| &command[..]).collect::<Vec<_>>());
        add(&redis, "small", [round]);
        assert_eq!(small.numbers(1), [round]);
        for stream in &mut streams {
            assert_eq!(stream.next().data.len(), MIB);
        }
    }
    assert_eq!(node.metric("fantail_backplane_reconnects_total"), 0.0);
}

#[test]
fn an_entry_that_is_too_large_is_a_gap_live_and_for_who_resumes() {
    let redis = Redis::start();
    let flags = ["--max-entry-bytes", "1MiB", "--max-event-bytes", "64KiB"];
    let (node, other) = (Node::on(&redis, &flags), Node::on(&redis, &flags));
    let mut live = node.subscribe("/events/a").begun();
    let mut several = node.subscribe("/events?channels=a,b").begun();
    // As it lies in Redis, and by what becomes of its line breaks.
    for (n, data) in [(1, "x".repeat(MIB)), (3, "\n".repeat(300 << 10))] {
        let [before, large, behind] = [10 * n, 10 * n + 1, 10 * n + 2].map(|ms| format!("{ms}-0"));
        add_at(&redis, "a", &before, 1);
        assert_eq!(live.numbers(1), [1]);
        assert_eq!(several.numbers(1), [1]);
        add_bytes(&redis, "a", &large, &data);
        assert_eq!(live.gap(), too_large(&before, &large));
        assert_eq!(several.gap(), too_large(&before, &large));
        add_at(&redis, "a", &behind, 2);
        assert_eq!(live.numbers(1), [2]);
        assert_eq!(several.numbers(1), [2]);
        for node in [&node, &other] {
            let mut resumed = node.resume("/events/a", &before);
            let told = resumed.gap();
            assert_eq!((&told["reason"], &told["lost"]), (&json!("too_large"), &json!(1)), "{told}");
            assert_eq!(told["resume_from"], json!(before));
            assert_eq!(resumed.numbers(1), [2]);
        }
    }
    node.metric_becomes("fantail_gaps_total{reason=\"too_large\"}", 2.0);
    node.logs(&["an entry is too large", "31-0"]);
    let mut all = other.subscribe("/events/a?since=earliest");
    assert_eq!(all.numbers(1), [1]);
    assert_eq!(all.gap(), too_large("10-0", "12-0"));
    assert_eq!(all.numbers(2), [2, 1]);
    // This one it has in memory, as it came live.
    assert_eq!(all.gap(), too_large("30-0", "31-0"));
    assert_eq!(all.numbers(1), [2]);
    let history = other.get("/history/a").json();
    let kinds: Vec<&str> = history["events"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message", "fantail.gap", "message", "message", "fantail.gap", "message"]);
}

#[test]
fn what_is_too_large_is_not_loaded_again() {
    let redis = Redis::start();
    let way = SlowWay::to(redis.port(), 1 << 30);
    let node = Node::start(&["--redis", &way.url(), "--max-entry-bytes", "1MiB"]);
    let mut live = node.subscribe("/events/a").begun();
    add_at(&redis, "a", "1-0", 1);
    assert_eq!(live.numbers(1), [1]);
    add_bytes(&redis, "a", "2-0", &"x".repeat(32 * MIB));
    assert_eq!(live.gap(), too_large("1-0", "2-0"));
    (3..=20).for_each(|n| add_at(&redis, "a", &format!("{n}-0"), n));
    assert_eq!(live.numbers(18), (3..=20).collect::<Vec<_>>());
    for _ in 0..5 {
        let mut resumed = node.resume("/events/a", "1-0");
        assert_eq!(resumed.gap()["reason"], "too_large");
        assert_eq!(resumed.numbers(18), (3..=20).collect::<Vec<_>>());
        let mut all = node.subscribe("/events/a?since=earliest");
        assert_eq!(all.numbers(1), [1]);
    }
    assert!(way.passed() < 40 << 20, "{} bytes", way.passed());
}

#[test]
fn without_redis_the_same() {
    let node = Node::start(&["--publish", "on", "--max-event-bytes", "1MiB", "--max-entry-bytes", "1MiB"]);
    let mut live = node.subscribe("/events/a").begun();
    let first = node.publish("/events/a", "1");
    assert_eq!(live.numbers(1), [1]);
    let large = node.publish("/events/a", &"\n".repeat(300 << 10));
    assert_eq!(live.gap(), too_large(&first, &large));
    node.publish("/events/a", "2");
    assert_eq!(live.numbers(1), [2]);
    let mut all = node.subscribe("/events/a?since=earliest");
    assert_eq!(all.numbers(1), [1]);
    assert_eq!(all.gap()["reason"], "too_large");
    assert_eq!(all.numbers(1), [2]);
}

#[test]
fn a_node_stays_small_while_a_producer_sends_what_is_too_large() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--max-entry-bytes", "2MiB"]);
    let mut live = node.subscribe("/events/a").begun();
    let before = node.resident();
    for n in 1..=3 {
        add_bytes(&redis, "a", &format!("{n}-0"), &"\n".repeat(60 * MIB));
        assert_eq!(live.gap()["reason"], "too_large");
        add_bytes(&redis, "b", &format!("{n}-0"), &"x".repeat(MIB));
    }
    eventually("the node is small", || node.resident() < before + (64 << 20));
}

#[test]
fn an_entry_that_redis_lets_nobody_read_is_a_gap_and_others_go_on() {
    let redis = Redis::start_with(&["--client-output-buffer-limit", "normal", "256kb", "128kb", "2"]);
    let (node, other) = (Node::on(&redis, &[]), Node::on(&redis, &[]));
    let (mut live, mut small) = (node.subscribe("/events/a").begun(), node.subscribe("/events/b").begun());
    add_at(&redis, "a", "10-0", 1);
    assert_eq!(live.numbers(1), [1]);
    for round in 1..=2 {
        let [large, behind] = [1, 2].map(|n| format!("{round}{n}-7"));
        add_bytes(&redis, "a", &large, &"x".repeat(400_000));
        let told = live.gap();
        assert_eq!((&told["reason"], &told["lost"]), (&json!("too_large"), &json!(1)), "{told}");
        assert_eq!(told["continues_at"], json!(large));
        add(&redis, "b", [round]);
        assert_eq!(small.numbers(1), [round]);
        add_at(&redis, "a", &behind, round + 1);
        assert_eq!(live.numbers(1), [round + 1]);
    }
    node.logs(&["an entry cannot be read", "11-7", "channel a", "normal 262144 131072 2"]);
    let trouble = node.status()["backplane"]["trouble"].to_string();
    assert!(trouble.contains("channel a") && trouble.contains("client-output-buffer-limit"), "{trouble}");
    assert_eq!(node.metric("fantail_backplane_reconnects_total"), 0.0);
    // Who comes to another node is told the same.
    let mut resumed = other.resume("/events/a", "10-0");
    assert_eq!(resumed.gap(), too_large("10-0", "12-7"));
    assert_eq!(resumed.numbers(1), [2]);
    assert_eq!(resumed.gap()["reason"], "too_large");
    assert_eq!(resumed.numbers(1), [3]);
    // And who comes while it is the newest.
    add_bytes(&redis, "c", "5-0", &"x".repeat(400_000));
    let mut late = other.subscribe("/events/c").begun();
    add_at(&redis, "c", "6-0", 1);
    assert_eq!(late.numbers(1), [1]);
}
