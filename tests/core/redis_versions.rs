//! Servers that can do less: what is reduced is told, and nothing is guessed from a version.

use crate::support::node::Node;
use crate::support::redis::{Redis, Reply};
use crate::support::relay::Relay;

/// Appends entries with these numbers, and keeps the newest few; the ids.
fn fill(server: &Redis, numbers: std::ops::RangeInclusive<u32>, keep: &str) -> Vec<String> {
    let add = |number: u32| {
        let reply = server.command(&["XADD", "sse:a", "MAXLEN", keep, "*", "data", &number.to_string()]);
        assert!(matches!(reply, Reply::Text(_)), "{reply:?}");
        reply.text().to_owned()
    };
    numbers.map(add).collect()
}

/// Whether this server counts entries: Redis 7.0 and later do.
pub fn counts(server: &Redis) -> bool {
    server.command(&["XADD", "counted", "*", "data", "x"]);
    let reply = server.command(&["XINFO", "STREAM", "counted"]);
    reply.list().contains(&Reply::Text("entries-added".into()))
}

/// What Redis 6.2 does not have loses its name on the way; the version stays that of a recent one.
#[test]
fn a_server_that_does_not_count_tells_gaps_without_a_number() {
    let server = Redis::start();
    let relay = Relay::start(server.port());
    relay.spoil(|_, reply| {
        let text = String::from_utf8_lossy(reply);
        let has = text.contains("entries-added") || text.contains("max-deleted-entry-id");
        has.then(|| text.replace("entries-added", "entries-xxxxx").replace("max-deleted", "max-xxxxxxx").into_bytes())
    });
    let node = Node::start(&["--redis", &relay.url(), "--follow", "tracking"]);
    let ids = fill(&server, 1..=10, "100");
    // From where something is, all is exact.
    let mut exact = node.resume("/events/a", &ids[4]);
    assert_eq!(exact.numbers(5), [6, 7, 8, 9, 10]);
    fill(&server, 11..=12, "100");
    assert_eq!(exact.numbers(2), [11, 12]);
    let rest = fill(&server, 13..=30, "100");
    assert_eq!(exact.numbers(18), (13..=30).collect::<Vec<u64>>());
    server.command(&["XTRIM", "sse:a", "MAXLEN", "5"]);
    // From where nothing is any more, the gap is told, and what was lost is not counted. Another node, which has no tail.
    let other = Node::start(&["--redis", &relay.url(), "--follow", "block"]);
    let mut late = other.resume("/events/a", &ids[4]);
    let gap = late.gap();
    assert_eq!((&gap["reason"], &gap["lost"]), (&"trimmed".into(), &serde_json::Value::Null), "{gap}");
    assert_eq!(late.numbers(5), [26, 27, 28, 29, 30]);
    assert_eq!(gap["continues_at"].as_str(), Some(rest[13].as_str()));
    // Ids that went back are a reset, with or without counts.
    server.command(&["DEL", "sse:a"]);
    server.command(&["XADD", "sse:a", "1-1", "data", "99"]);
    let mut back = other.resume("/events/a", &rest[17]);
    assert_eq!(back.gap()["reason"], "reset");
    assert!(relay.spoilt() > 0 || !counts(&server));
}

/// The same on a server that counts: the number is told.
#[test]
fn a_server_that_counts_tells_how_many_were_lost() {
    let server = Redis::start();
    fill(&server, 1..=1, "100");
    if !counts(&server) {
        println!("this server does not count: nothing to see");
        return;
    }
    let node = Node::on(&server, &[]);
    fill(&server, 2..=10, "3");
    let mut earliest = node.resume("/events/a", "0-0");
    let gap = earliest.gap();
    assert_eq!((&gap["reason"], &gap["lost"]), (&"trimmed".into(), &7.into()), "{gap}");
}
