//! Revocations: an entry of the control stream reaches every node, and who is kept out stays out.

use super::{bearer, node_on};
use crate::support::jwt::{Folder, now, signed};
use crate::support::node::{Node, eventually};
use crate::support::program;
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use serde_json::json;

pub fn token(subject: &str, id: &str) -> String {
    signed(json!({"sub": subject, "jti": id, "fantail": {"subscribe": ["**"]}}))
}

pub fn open(node: &Node, target: &str, token: &str) -> Stream {
    let (name, value) = bearer(token);
    Stream::open(node.listen, target, &[(name, &value)]).begun()
}

pub fn status(node: &Node, token: &str) -> u16 {
    let (name, value) = bearer(token);
    node.ask("HEAD", "/events/a", &[(name, &value)], "").head.status
}

pub fn control(redis: &Redis, fields: &[&str]) {
    redis.command(&[&["XADD", "sse:~control", "*"], fields].concat());
}

pub fn ends_revoked(stream: &mut Stream) {
    let (end, messages) = stream.finish();
    assert_eq!((end, messages.last().map(|m| m.event.as_str())), (End::Incomplete, Some("fantail.revoked")));
    assert!(stream.parser.last_event_id() != "", "it goes on where it was");
}

#[test]
fn a_token_is_cut_on_all_nodes_and_stays_out() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let nodes = [node_on(&redis, &folder, &[]), node_on(&redis, &folder, &[])];
    let (bad, good) = (token("alice", "bad"), token("alice", "good"));
    let mut revoked: Vec<Stream> =
        nodes.iter().flat_map(|n| [open(n, "/events/a", &bad), open(n, "/events?channels=a,b", &bad)]).collect();
    let mut others: Vec<Stream> = nodes.iter().map(|node| open(node, "/events/a", &good)).collect();
    control(&redis, &["disconnect", "token", "name", "bad"]);
    revoked.iter_mut().for_each(ends_revoked);
    redis.command(&["XADD", "sse:a", "*", "data", "1"]);
    others.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [1], "another token notices nothing"));
    for node in &nodes {
        let (name, value) = bearer(&bad);
        node.ask("GET", "/events/a", &[(name, &value)], "").problem(401, "token_revoked");
        assert_eq!(status(node, &good), 200);
        node.metric_becomes("fantail_connections_closed_total{reason=\"revoked\"}", 2.0);
        node.metric_becomes("fantail_auth_barred", 1.0);
        node.logs(&["told to disconnect", "token", "bad"]);
    }
    // A node that comes later knows, too, before it delivers anything.
    let late = node_on(&redis, &folder, &[]);
    eventually("it is known", || status(&late, &bad) == 401);
    let (name, value) = bearer(&bad);
    late.ask("GET", "/events/a?since=earliest", &[(name, &value)], "").problem(401, "token_revoked");
    assert_eq!(open(&late, "/events/a?since=earliest", &good).numbers(1), [1]);
}

#[test]
fn a_new_node_delivers_nothing_to_a_revoked_token() {
    let (redis, folder) = (Redis::start(), Folder::new());
    redis.command(&["XADD", "sse:a", "*", "data", "1"]);
    control(&redis, &["disconnect", "token", "name", "bad"]);
    let bad = token("alice", "bad");
    for _ in 0..5 {
        // As early as can be: its control stream may not have been read yet.
        let node = node_on(&redis, &folder, &[]);
        let (name, value) = bearer(&bad);
        let answer = node.ask("GET", "/events/a?since=earliest", &[(name, &value)], "");
        answer.problem(401, "token_revoked");
    }
}

#[test]
fn what_was_carried_out_before_a_node_came_is_not_carried_out_again() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let long_ago = (now() - 60) * 1000;
    for (number, fields) in
        [["disconnect", "subject", "name", "alice"], ["disconnect", "channel", "name", "a"]].iter().enumerate()
    {
        redis.command(&[&["XADD", "sse:~control", &format!("{long_ago}-{}", number + 1)], &fields[..]].concat());
    }
    let node = node_on(&redis, &folder, &[]);
    let mut stream = open(&node, "/events/a", &token("alice", "1"));
    control(&redis, &["disconnect", "subject", "name", "bob"]);
    node.metric_becomes("fantail_revocations_total{target=\"subject\"}", 1.0);
    redis.command(&["XADD", "sse:a", "*", "data", "5"]);
    assert_eq!(stream.numbers(1), [5]);
    assert_eq!(node.metric("fantail_connections_closed_total{reason=\"revoked\"}"), 0.0);
}

#[test]
fn a_subject_may_come_back_unless_it_is_kept_out() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = node_on(&redis, &folder, &[]);
    let (alice, bob) = (token("alice", "1"), token("bob", "2"));
    let mut streams = [open(&node, "/events/a", &alice), open(&node, "/events/b", &alice)];
    let mut other = open(&node, "/events/a", &bob);
    control(&redis, &["disconnect", "subject", "name", "alice"]);
    streams.iter_mut().for_each(ends_revoked);
    let mut again = open(&node, "/events/a", &alice);
    let until = (now() + 600).to_string();
    control(&redis, &["disconnect", "subject", "name", "alice", "until", &until]);
    ends_revoked(&mut again);
    assert_eq!((status(&node, &alice), status(&node, &bob)), (401, 200));
    redis.command(&["XADD", "sse:a", "*", "data", "7"]);
    assert_eq!(other.numbers(1), [7]);
}

#[test]
fn a_channels_subscribers_are_judged_afresh_tokens_or_not() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let mut streams = [node.subscribe("/events/a").begun(), node.subscribe("/events?channels=b,a").begun()];
    let mut other = node.subscribe("/events/b").begun();
    control(&redis, &["disconnect", "channel", "name", "a"]);
    streams.iter_mut().for_each(ends_revoked);
    redis.command(&["XADD", "sse:b", "*", "data", "1"]);
    redis.command(&["XADD", "sse:a", "*", "data", "2"]);
    assert_eq!(other.numbers(1), [1]);
    assert_eq!(node.resume("/events/a", &streams[0].last_event_id()).numbers(1), [2]);
}

#[test]
fn entries_that_mean_nothing_are_counted_and_passed_over() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = node_on(&redis, &folder, &[]);
    let mut stream = open(&node, "/events/a", &token("alice", "1"));
    for fields in [&["data", "x"][..], &["disconnect", "all"], &["disconnect", "token", "name", ""]] {
        control(&redis, fields);
    }
    node.metric_becomes("fantail_revocations_total{target=\"unreadable\"}", 3.0);
    node.logs(&["an entry of the control stream cannot be read"]);
    let output = program::fantail()
        .args(["revoke", "subject", "alice", "--for", "1h", "--redis", &redis.url()])
        .output()
        .expect("the binary");
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains('-'), "{output:?}");
    ends_revoked(&mut stream);
    assert_eq!(status(&node, &token("alice", "2")), 401);
}

#[test]
fn a_revocation_while_redis_is_away_counts_when_it_is_back() {
    let (redis, folder) = (Redis::start_persistent(), Folder::new());
    let node = node_on(&redis, &folder, &[]);
    let mut before = open(&node, "/events/a", &token("alice", "1"));
    redis.stop();
    node.metric_becomes("fantail_backplane_up", 0.0);
    // Held: it has a head, and no channel yet.
    let (name, value) = bearer(&token("alice", "1"));
    let mut held = Stream::open(node.listen, "/events/new", &[(name, &value)]);
    redis.run();
    control(&redis, &["disconnect", "subject", "name", "alice"]);
    let (end, messages) = before.finish();
    assert_eq!((end, messages.last().map(|m| m.event.as_str())), (End::Incomplete, Some("fantail.revoked")));
    assert_eq!(held.finish().0, End::Incomplete);
}
