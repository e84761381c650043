//! Orders that change the channels of open streams, where there is no room, a revocation comes between, or events came before.

use super::changes::{gets, has_read, order, publish, resume, told};
use super::node_on;
use super::revocations::{control, ends_revoked, open, token};
use crate::support::jwt::{Folder, now};
use crate::support::node::eventually;
use crate::support::redis::Redis;

const TOO_MANY: &str = "fantail_set_changes_total{outcome=\"too_many\"}";

#[test]
fn a_channel_that_is_full_takes_no_place_and_stands_in_no_id() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = node_on(&redis, &folder, &["--max-channel-subscribers", "1", "--max-channels-per-subject", "2"]);
    let mut alice = open(&node, "/events/a", &token("alice", "1"));
    let _bob = open(&node, "/events/c", &token("bob", "2"));
    order(&redis, "join", "c");
    node.metric_becomes(TOO_MANY, 1.0);
    order(&redis, "join", "d");
    let id = told(&mut alice, "fantail.joined", &["d"]);
    assert!(!id.contains("c="), "{id}");
}

#[test]
fn a_stream_that_waits_for_a_channel_is_revoked_with_it() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = node_on(&redis, &folder, &[]);
    redis.command(&["SET", "sse:w", "x"]);
    let mut stream = open(&node, "/events/a", &token("alice", "1"));
    order(&redis, "join", "w");
    order(&redis, "join", "b");
    told(&mut stream, "fantail.joined", &["b"]);
    control(&redis, &["disconnect", "channel", "name", "w"]);
    has_read(&node, "channel", 1);
    redis.command(&["DEL", "sse:w"]);
    publish(&redis, "w", "1");
    ends_revoked(&mut stream);
}

#[test]
fn what_had_come_before_a_channel_was_left_does_not_come_again() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let nodes = [node_on(&redis, &folder, &[]), node_on(&redis, &folder, &[])];
    let alice = token("alice", "1");
    // As if a node had not read the order yet.
    let later = (now() + 60) * 1_000;
    let add = |number: u64| {
        redis.command(&["XADD", "sse:a", &format!("{later}-{number}"), "data", &number.to_string()]);
    };
    let mut stream = open(&nodes[0], "/events?channels=a,b", &alice);
    add(1);
    gets(&mut stream, "1");
    order(&redis, "leave", "a");
    told(&mut stream, "fantail.left", &["a"]);
    order(&redis, "join", "a");
    told(&mut stream, "fantail.joined", &["a"]);
    add(2);
    let id = gets(&mut stream, "2");
    drop(stream);
    order(&redis, "leave", "a");
    order(&redis, "join", "a");
    has_read(&nodes[1], "join", 2);
    let mut again = resume(&nodes[1], "/events?channels=a,b", &alice, &id);
    add(3);
    gets(&mut again, "3");
}

#[test]
fn an_order_that_changes_nothing_counts_as_well() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = node_on(&redis, &folder, &[]);
    let mut stream = open(&node, "/events/a", &token("alice", "1"));
    order(&redis, "join", "c");
    told(&mut stream, "fantail.joined", &["c"]);
    let last = redis.command(&["XADD", "sse:~control", "*", "leave", "x", "subject", "alice"]).text().to_owned();
    eventually("it counts", || {
        publish(&redis, "a", "1");
        gets(&mut stream, "1").ends_with(&format!(",~control={last}"))
    });
}
