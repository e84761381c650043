//! Busy streams that one node reads for others (`--relay-from`): each subscriber has each event once, in order, whatever becomes of
//! the stream, of the relay, or of what is passed on; and each node reads for itself where that cannot be.

use crate::redis::rights::checked;
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use std::time::{Duration, Instant};

const TAKEN: &str = "fantail_relayed_events_total";
const UNCLEAR: &str = "fantail_relayed_reads_total";

/// Nodes with a subscriber each, and the number of the next event.
struct Fleet {
    redis: Redis,
    nodes: Vec<(Node, Stream)>,
    next: u64,
}

impl Fleet {
    fn start(nodes: usize, flags: &[&str]) -> Fleet {
        let redis = Redis::start();
        let flags = [&["--relay-from", "2"], flags].concat();
        let node = |_| {
            let node = Node::on(&redis, &flags);
            let stream = node.subscribe("/events/a").begun();
            (node, stream)
        };
        let nodes = (0..nodes).map(node).collect();
        Fleet { redis, nodes, next: 1 }
    }

    /// One event more, published; read by all.
    fn step(&mut self) {
        self.redis.command(&["XADD", "sse:a", "*", "data", &self.next.to_string()]);
        self.expect(1);
    }

    fn expect(&mut self, count: u64) {
        let expected: Vec<u64> = (self.next..self.next + count).collect();
        for (number, (_, stream)) in self.nodes.iter_mut().enumerate() {
            assert_eq!(stream.numbers(count as usize), expected, "node {number}");
        }
        self.next += count;
    }

    fn taken(&self) -> Vec<f64> {
        self.nodes.iter().map(|(node, _)| node.metric(TAKEN)).collect()
    }

    /// Publishes until all nodes but one have what is new passed on to them; that one, the relay.
    fn relayed(&mut self) -> usize {
        let mut relay = 0;
        eventually("a stream that is relayed", || {
            let before = self.taken();
            (0..20).for_each(|_| self.step());
            let after = self.taken();
            let alone: Vec<usize> = (0..before.len()).filter(|&n| after[n] < before[n] + 10.0).collect();
            relay = alone.first().copied().unwrap_or(0);
            alone.len() == 1
        });
        relay
    }

    /// Reads that Redis has answered so far.
    fn reads(&self) -> u64 {
        let stats = self.redis.command(&["INFO", "commandstats"]);
        let line = stats.text().lines().find_map(|line| line.strip_prefix("cmdstat_xread:calls=")).expect("reads");
        line.split(',').next().expect("a number").parse().expect("a number")
    }

    /// What each subscriber is told instead of an event.
    fn gaps(&mut self) -> Vec<serde_json::Value> {
        self.nodes.iter_mut().map(|(_, stream)| stream.gap()).collect()
    }
}

/// A message as a relay sends it: how many entries the stream had up to the first of these, ids and their `data`.
fn message(rank: u64, entries: &[(&str, &str)]) -> Vec<u8> {
    let mut message = b"fantail1".to_vec();
    message.extend(rank.to_be_bytes());
    message.extend((entries.len() as u32).to_be_bytes());
    for (id, data) in entries {
        let (ms, seq) = id.split_once('-').expect("an id");
        message.extend(ms.parse::<u64>().expect("a time").to_be_bytes());
        message.extend(seq.parse::<u64>().expect("a number").to_be_bytes());
        message.extend(1_u32.to_be_bytes());
        for string in ["data", data] {
            message.extend((string.len() as u32).to_be_bytes());
            message.extend(string.as_bytes());
        }
    }
    message
}

#[test]
fn what_many_follow_is_read_by_one_of_them() {
    let mut fleet = Fleet::start(5, &[]);
    fleet.relayed();
    let (before, begun) = (fleet.reads(), fleet.next);
    (0..500).for_each(|_| fleet.step());
    let (reads, events) = (fleet.reads() - before, fleet.next - begun);
    // Two for each event by the relay, and each other node's own now and then; without a relay it is ten.
    assert!(reads < 4 * events, "{reads} reads for {events} events");
    // A burst is passed on, too.
    let numbers: Vec<String> = (fleet.next..fleet.next + 300).map(|number| number.to_string()).collect();
    let burst: Vec<[&str; 5]> = numbers.iter().map(|number| ["XADD", "sse:a", "*", "data", number]).collect();
    fleet.redis.pipeline(&burst.iter().map(|command| &command[..]).collect::<Vec<_>>());
    fleet.expect(300);
    // Quiet again, it is followed as others are.
    for (node, _) in &fleet.nodes {
        node.metric_becomes("fantail_relayed_streams", 0.0);
    }
    let begun = Instant::now();
    fleet.step();
    assert!(begun.elapsed() < Duration::from_secs(5), "not by a push");
}

#[test]
fn a_relay_may_end_at_any_moment() {
    let mut fleet = Fleet::start(4, &[]);
    for _ in 0..2 {
        let relay = fleet.relayed();
        drop(fleet.nodes.remove(relay));
        (0..50).for_each(|_| fleet.step());
    }
}

#[test]
fn a_relay_that_hangs_holds_nobody_up() {
    let mut fleet = Fleet::start(3, &[]);
    let relay = fleet.relayed();
    let (hung, mut stream) = fleet.nodes.remove(relay);
    hung.signal(rustix::process::Signal::STOP);
    let begun = Instant::now();
    let first = fleet.next;
    (0..100).for_each(|_| fleet.step());
    assert!(begun.elapsed() < Duration::from_secs(20), "each event waits");
    hung.signal(rustix::process::Signal::CONT);
    assert_eq!(stream.numbers(100), (first..first + 100).collect::<Vec<_>>());
}

#[test]
fn what_becomes_of_a_relayed_stream_is_told_by_all() {
    let mut fleet = Fleet::start(3, &[]);
    fleet.relayed();
    // Another stream under its name, whose entry has the id, and the count, of one that was had.
    let newest = fleet.redis.command(&["XREVRANGE", "sse:a", "+", "-", "COUNT", "1"]);
    let id = newest.list()[0].list()[0].text().to_owned();
    let added = (fleet.next - 1).to_string();
    let next = fleet.next.to_string();
    fleet.redis.pipeline(&[
        &["DEL", "sse:a"],
        &["XADD", "sse:a", &id, "data", "another"],
        &["XSETID", "sse:a", &id, "ENTRIESADDED", &added, "MAXDELETEDID", "0-1"],
        &["XADD", "sse:a", "*", "data", &next],
    ]);
    for told in fleet.gaps() {
        assert_eq!(told["reason"], "reset", "{told}");
    }
    for (_, stream) in &mut fleet.nodes {
        assert_eq!(stream.next().data, "another");
    }
    fleet.expect(1);
    fleet.relayed();
    // What comes and goes at once.
    let script = "for n = 1, 5 do redis.call('XADD', KEYS[1], 'MAXLEN', 2, '*', 'data', ARGV[1] + n - 1) end";
    fleet.redis.command(&["EVAL", script, "1", "sse:a", &fleet.next.to_string()]);
    for told in fleet.gaps() {
        assert_eq!((told["reason"].as_str(), told["lost"].as_u64()), (Some("trimmed"), None));
    }
    fleet.next += 3;
    fleet.expect(2);
    fleet.relayed();
    fleet.redis.restart();
    for told in fleet.gaps() {
        assert_eq!(told["reason"], "missing", "{told}");
    }
}

#[test]
fn a_connection_that_hears_may_be_cut() {
    let mut fleet = Fleet::start(3, &[]);
    fleet.relayed();
    for _ in 0..3 {
        fleet.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        (0..20).for_each(|_| fleet.step());
    }
    fleet.relayed();
}

#[test]
fn what_nobody_has_read_is_found_out() {
    let mut fleet = Fleet::start(1, &[]);
    let publish =
        |fleet: &Fleet, message: &[u8]| fleet.redis.command_of_bytes(&[b"SPUBLISH", b"sse:a", message]).number();
    (0..3).for_each(|_| fleet.step());
    eventually("a node that hears", || {
        fleet.step();
        publish(&fleet, b"whatever this is") == 1
    });
    let newest = fleet.redis.command(&["XREVRANGE", "sse:a", "+", "-", "COUNT", "1"]);
    let id = newest.list()[0].list()[0].text().to_owned();
    let (rank, known) = (fleet.next - 1, (fleet.next - 1).to_string());
    let far = "99999999999999-1";
    // Of another count, behind another entry, and behind one that is not there.
    for (rank, known, id) in [(rank + 1, &*known, &*id), (rank, "other", &id), (rank, &known, "99999999999998-1")] {
        let before = fleet.nodes[0].0.metric(UNCLEAR);
        eventually("a look", || {
            publish(&fleet, &message(rank, &[(id, known), (far, "false")]));
            fleet.nodes[0].0.metric(UNCLEAR) > before
        });
    }
    let before = fleet.nodes[0].0.metric(TAKEN);
    publish(&fleet, &message(rank, &[(&id, &known), (far, "false")]));
    fleet.nodes[0].0.metric_becomes(TAKEN, before + 1.0);
    let (_, stream) = &mut fleet.nodes[0];
    assert_eq!(stream.next().data, "false", "the witness is right");
    assert_eq!(stream.gap()["reason"], "reset");
    (0..3).for_each(|_| fleet.step());
}

#[test]
fn who_may_not_hear_reads() {
    let mut fleet = Fleet::start(0, &[]);
    fleet.redis.command(&["ACL", "SETUSER", "u", "on", ">p", "~sse:*", "+@all"]);
    let url = format!("redis://u:p@127.0.0.1:{}", fleet.redis.port());
    for _ in 0..2 {
        let node = Node::start(&["--redis", &url, "--relay-from", "2"]);
        let stream = node.subscribe("/events/a").begun();
        fleet.nodes.push((node, stream));
    }
    (0..20).for_each(|_| fleet.step());
    eventually("refusals", || {
        fleet.step();
        fleet.nodes.iter().all(|(node, _)| node.log().contains("sharded pub/sub is refused"))
    });
    (0..20).for_each(|_| fleet.step());
    assert_eq!(fleet.taken(), [0.0, 0.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_the_rights_that_a_relay_lacks() {
    let server = Redis::start();
    let rights = "reset on >p ~sse:* +xread +xrange +xrevrange +xinfo|stream +xadd +hset +hdel +hgetall +hmget +pexpire +set +get +info \
                  +role +time +ping +hello +client|tracking +client|id +client|unblock";
    let relay = "&sse:* +ssubscribe +sunsubscribe +spublish +pubsub|shardnumsub +client|reply";
    let allow = |words: &str| {
        let user: Vec<&str> = ["ACL", "SETUSER", "u"].into_iter().chain(words.split_whitespace()).collect();
        server.command(&user);
    };
    let url = format!("redis://u:p@127.0.0.1:{}", server.port());
    allow(rights);
    let (said, code) = checked(&url, &["--relay-from", "2"]).await;
    assert_eq!(code, 0, "{said}");
    for command in ["SSUBSCRIBE", "SPUBLISH", "PUBSUB SHARDNUMSUB"] {
        let start = format!("warn  rights: {command}, for ");
        assert!(said.lines().any(|line| line.starts_with(&start) && line.contains("NOPERM")), "{start}\n{said}");
    }
    let (said, _) = checked(&url, &[]).await;
    assert!(said.contains("ok    rights: every command is allowed"), "nobody relays: {said}");
    allow(relay);
    let (said, _) = checked(&url, &["--relay-from", "2"]).await;
    assert!(said.contains("ok    rights: every command is allowed"), "{said}");
}
