//! The control stream in all its lives: an order is carried out whatever its id is, and however the stream came about.

use super::revocations::{control, ends_revoked, open, status, token};
use super::{bearer, node_on};
use crate::support::jwt::{Folder, now};
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::stream::Stream;

const FOLLOWS: [&[&str]; 2] = [&["--follow", "tracking"], &["--follow", "block"]];

/// Adds an order under an id of its own.
fn order(redis: &Redis, id: &str, fields: &[&str]) {
    redis.command(&[&["XADD", "sse:~control", id], fields].concat());
}

/// Commands that nobody sees the middle of.
fn at_once(redis: &Redis, commands: &[&[&str]]) {
    redis.pipeline(&[&[&["MULTI"][..]], commands, &[&["EXEC"][..]]].concat());
}

/// A node that has read what there was, so that all that comes is an order.
fn knowing_node(redis: &Redis, folder: &Folder, flags: &[&str]) -> Node {
    let node = node_on(redis, folder, flags);
    eventually("it has read the control stream", || node.page("/readyz").text() == "ready\n");
    node
}

fn carried_out(node: &Node, target: &str, count: f64) {
    node.metric_becomes(&format!("fantail_revocations_total{{target=\"{target}\"}}"), count);
}

#[test]
fn orders_are_carried_out_after_the_streams_ids_went_back() {
    for follow in FOLLOWS {
        let (redis, folder) = (Redis::start(), Folder::new());
        let node = knowing_node(&redis, &folder, follow);
        let mut alice = open(&node, "/events/a", &token("alice", "1"));
        order(&redis, "9999999999999-0", &["disconnect", "subject", "name", "nobody"]);
        carried_out(&node, "subject", 1.0);
        at_once(
            &redis,
            &[&["DEL", "sse:~control"], &["XADD", "sse:~control", "*", "disconnect", "subject", "name", "alice"]],
        );
        ends_revoked(&mut alice);
        node.logs(&["the control stream", "anew", "9999999999999-0"]);
        node.metric_becomes("fantail_control_rereads_total", 1.0);
        // Once more, now by less than the time between two reads, and with ids that are no times.
        let mut alice = open(&node, "/events/a", &token("alice", "2"));
        at_once(
            &redis,
            &[
                &["DEL", "sse:~control"],
                &["XADD", "sse:~control", "1-0", "disconnect", "token", "name", "2"],
                &["XADD", "sse:~control", "2-0", "disconnect", "token", "name", "3"],
            ],
        );
        ends_revoked(&mut alice);
        carried_out(&node, "token", 2.0);
        assert_eq!((status(&node, &token("bob", "3")), status(&node, &token("bob", "4"))), (401, 200));
    }
}

#[test]
fn orders_of_another_life_under_the_same_id_are_carried_out_and_old_ones_not_twice() {
    for follow in FOLLOWS {
        let (redis, folder) = (Redis::start(), Folder::new());
        let node = knowing_node(&redis, &folder, follow);
        order(&redis, "9-1", &["disconnect", "subject", "name", "bob"]);
        order(&redis, "9-2", &["disconnect", "subject", "name", "carol"]);
        carried_out(&node, "subject", 2.0);
        let mut streams = ["alice", "bob"].map(|name| open(&node, "/events/a", &token(name, "1")));
        // A rebuilt stream that has the first order as it was.
        at_once(
            &redis,
            &[
                &["DEL", "sse:~control"],
                &["XADD", "sse:~control", "9-1", "disconnect", "subject", "name", "bob"],
                &["XADD", "sse:~control", "9-2", "disconnect", "subject", "name", "alice"],
            ],
        );
        ends_revoked(&mut streams[0]);
        carried_out(&node, "subject", 3.0);
        redis.command(&["XADD", "sse:a", "*", "data", "7"]);
        assert_eq!(streams[1].numbers(1), [7], "bob was disconnected before");
        // What is only shortened or tidied up is no order.
        redis.command(&["XDEL", "sse:~control", "9-2"]);
        redis.command(&["XTRIM", "sse:~control", "MAXLEN", "0"]);
        order(&redis, "10-0", &["disconnect", "subject", "name", "bob"]);
        ends_revoked(&mut streams[1]);
        carried_out(&node, "subject", 4.0);
    }
}

#[test]
fn a_node_that_comes_to_a_stream_of_odd_ids_carries_out_what_comes() {
    for (first, second) in [("9999999999999-0", "9999999999999-1"), ("5-0", "6-0")] {
        let (redis, folder) = (Redis::start(), Folder::new());
        order(&redis, first, &["disconnect", "token", "name", "early"]);
        let node = knowing_node(&redis, &folder, &[]);
        let mut alice = open(&node, "/events/a", &token("alice", "1"));
        order(&redis, second, &["disconnect", "subject", "name", "alice"]);
        ends_revoked(&mut alice);
        assert_eq!(status(&node, &token("alice", "early")), 401, "a token stays out for a day: {first}");
    }
}

#[test]
fn a_node_whose_clock_is_ahead_carries_out_what_redis_dates_earlier() {
    // The ids are what Redis' clock would give if this node's were two minutes, or two days, ahead.
    for ahead in [120, 2 * 86_400] {
        let (redis, folder) = (Redis::start(), Folder::new());
        let node = knowing_node(&redis, &folder, &[]);
        let mut alice = open(&node, "/events/a", &token("alice", "1"));
        order(&redis, &format!("{}-0", (now() - ahead) * 1000), &["disconnect", "subject", "name", "alice"]);
        ends_revoked(&mut alice);
    }
}

#[test]
fn history_and_publishing_wait_until_it_is_known_who_was_revoked() {
    let (redis, folder) = (Redis::start(), Folder::new());
    redis.command(&["XADD", "sse:a", "*", "data", "1"]);
    redis.command(&["SET", "sse:~control", "x"]);
    let node = node_on(&redis, &folder, &["--publish", "on", "--public", "open", "--unready-after", "never"]);
    let bad = token("alice", "bad");
    let (name, value) = bearer(&bad);
    node.ask("GET", "/history/a", &[(name, &value)], "").problem(503, "auth_down");
    assert_eq!(node.ask("HEAD", "/history/a", &[(name, &value)], "").head.status, 503);
    assert_eq!(node.get("/history/open").head.status, 200, "who shows nothing cannot have been revoked");
    let ready = node.page("/readyz");
    assert_eq!(ready.head.status, 200, "all nodes unready at once would be worse");
    assert!(ready.text().starts_with("ready, but ") && ready.text().contains("revoked"), "{}", ready.text());
    assert_eq!(node.status()["auth"]["revocations_known"], false);
    // As for GET /events: there is a head, and nothing more.
    let held = Stream::open(node.listen, "/events/a?since=earliest", &[(name, &value)]);
    redis.command(&["DEL", "sse:~control"]);
    control(&redis, &["disconnect", "token", "name", "bad"]);
    eventually("it is known", || node.page("/readyz").text() == "ready\n");
    node.ask("GET", "/history/a", &[(name, &value)], "").problem(401, "token_revoked");
    assert_eq!(node.status()["auth"]["revocations_known"], true);
    drop(held);
}

#[test]
fn a_node_that_cannot_know_who_was_revoked_is_unready_after_the_time_for_that() {
    let (redis, folder) = (Redis::start(), Folder::new());
    redis.command(&["SET", "sse:~control", "x"]);
    let node = node_on(&redis, &folder, &["--unready-after", "1s"]);
    eventually("it says so", || {
        let ready = node.page("/readyz");
        ready.head.status == 503 && ready.text().contains("who has been revoked")
    });
    assert_eq!(node.status()["ready"], false);
    redis.command(&["DEL", "sse:~control"]);
    eventually("it is ready", || node.page("/readyz").head.status == 200);
    // A node that knew and can no longer read goes the same way.
    redis.command(&["SET", "sse:~control", "x"]);
    eventually("it says so again", || node.page("/readyz").head.status == 503);
    // Where there are no tokens, nobody is kept out by one.
    let open = Node::on(&redis, &["--unready-after", "1s"]);
    eventually("it is ready, and has nothing to add", || open.page("/readyz").text() == "ready\n");
}
