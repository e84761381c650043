//! Redis away: nobody loses a connection, nothing is lost in silence, and operators are told.

use super::{add, add_at};
use crate::support::client::Connection;
use crate::support::node::{Node, eventually, within};
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// What is promised within a second or three, with room for a busy machine.
const SOON: Duration = Duration::from_secs(10);

fn is_down(node: &Node) {
    assert!(within(SOON, || node.metric("fantail_backplane_up") == 0.0), "backplane_up {}", node.log());
    // A node that has never found it is starting, for two seconds.
    assert!(within(SOON, || node.status()["state"] == "degraded"), "{}", node.status());
    let status = node.status();
    assert_eq!(status["backplane"]["up"], false, "{status}");
    assert!(status["backplane"]["down_seconds"].is_number(), "{status}");
}

fn is_up(node: &Node) {
    assert!(within(SOON, || node.metric("fantail_backplane_up") == 1.0), "backplane_up {}", node.log());
    assert_eq!(node.status()["state"], "ok");
}

/// A subscriber whose channels cannot be joined yet: head and delay, no position.
fn held(node: &Node, target: &str, id: &str) -> Stream {
    let stream = node.resume(target, id);
    assert!(stream.parser.retry().is_some() && stream.last_event_id().is_empty());
    stream
}

fn outage(follow: &str, away: impl Fn(&Redis), back: impl Fn(&Redis)) {
    let redis = Redis::start_persistent();
    let node = Node::on(&redis, &["--follow", follow, "--heartbeat", "1s", "--publish", "on"]);
    let mut live = [node.subscribe("/events/a").begun(), node.subscribe("/events?channels=a,b").begun()];
    let ids = add(&redis, "a", 1..=3);
    live.iter_mut().for_each(|stream| assert_eq!(stream.numbers(3), [1, 2, 3]));
    away(&redis);
    is_down(&node);
    node.logs(&["WARN", "degraded"]);
    assert_eq!(node.page("/readyz").head.status, 200, "readiness does not fail hastily");
    assert_eq!(node.page("/livez").head.status, 200);
    node.ask("POST", "/events/a", &[], "99").problem(503, "backplane_down");
    // A channel that nobody follows yet, so that nothing of it is in memory.
    let mut fresh = held(&node, "/events/fresh", "");
    let mut both = held(&node, "/events?channels=fresh,a&since=earliest", "");
    drop(held(&node, "/events/fresh", ""));
    let comments: Vec<usize> = live.iter().map(|stream| stream.parser.comments()).collect();
    for (stream, before) in live.iter_mut().zip(comments) {
        stream.read_until("heartbeats go on", |stream| stream.parser.comments() > before);
    }
    fresh.read_until("a heartbeat", |stream| stream.parser.comments() > 0);
    back(&redis);
    let returned = Instant::now();
    add(&redis, "a", 4..=6);
    live.iter_mut().for_each(|stream| assert_eq!(stream.numbers(3), [4, 5, 6], "no gap, and nothing twice"));
    assert!(returned.elapsed() < SOON, "{:?}", returned.elapsed());
    is_up(&node);
    fresh = fresh.begun();
    add(&redis, "fresh", [10]);
    assert_eq!(fresh.numbers(1), [10]);
    let mut seen = both.numbers(7);
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 10]);
    assert_eq!(node.resume("/events/a", &ids[2]).numbers(3), [4, 5, 6]);
    node.metric_becomes("fantail_connections_closed_total{reason=\"client\"}", 2.0);
    assert!(node.metric("fantail_backplane_reconnects_total") >= 1.0);
    for reason in ["trimmed", "missing", "reset"] {
        assert_eq!(node.metric(&format!("fantail_gaps_total{{reason=\"{reason}\"}}")), 0.0);
    }
}

#[test]
fn a_redis_that_restarts_costs_nobody_a_connection_or_an_event() {
    outage("auto", Redis::stop, Redis::run);
}

#[test]
fn the_same_where_the_node_follows_by_blocking_reads() {
    outage("block", Redis::stop, Redis::run);
}

#[test]
fn a_redis_that_is_frozen_is_found_out_and_followed_again() {
    outage("auto", Redis::freeze, Redis::thaw);
}

#[test]
fn events_are_delivered_while_redis_comes_and_goes() {
    let redis = Redis::start_persistent();
    let nodes = [Node::on(&redis, &[]), Node::on(&redis, &["--follow", "block"])];
    let mut streams: Vec<Stream> = nodes.iter().map(|node| node.subscribe("/events/a").begun()).collect();
    streams.extend(nodes.iter().map(|node| node.subscribe("/events?channels=a,b,c").begun()));
    let mut next = 1;
    for _ in 0..3 {
        add(&redis, "a", next..next + 50);
        redis.restart();
        add(&redis, "a", next + 50..next + 100);
        next += 100;
    }
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(300), (1..=300).collect::<Vec<_>>()));
}

#[test]
fn a_redis_that_comes_back_empty_is_told_to_every_subscriber_once() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let mut streams = [node.subscribe("/events/a").begun(), node.subscribe("/events?channels=a,b").begun()];
    let id = add(&redis, "a", 1..=3).remove(2);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(3), [1, 2, 3]));
    redis.restart();
    for stream in &mut streams {
        let told = stream.gap();
        assert_eq!((&told["channel"], &told["reason"]), (&"a".into(), &"missing".into()), "{told}");
        assert_eq!((&told["resume_from"], &told["lost"]), (&id.as_str().into(), &serde_json::Value::Null), "{told}");
    }
    add(&redis, "a", [4, 5]);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(2), [4, 5]));
    node.logs(&["gap", "issing"]);
}

#[test]
fn a_redis_that_lost_the_newest_entries_is_a_reset() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let mut stream = node.subscribe("/events/a").begun();
    (1..=3).for_each(|n| add_at(&redis, "a", &format!("{n}00-0"), n));
    assert_eq!(stream.numbers(3), [1, 2, 3]);
    // As a replica that was behind: the same stream without its end.
    redis.pipeline(&[&["DEL", "sse:a"], &["XADD", "sse:a", "100-0", "data", "1"]]);
    let told = stream.gap();
    assert_eq!((&told["reason"], &told["resume_from"]), (&"reset".into(), &"300-0".into()), "{told}");
    add_at(&redis, "a", "150-0", 4);
    assert_eq!(stream.numbers(1), [4]);
}

#[test]
fn readiness_fails_late_and_comes_back() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--unready-after", "3s"]);
    let never = Node::on(&redis, &["--unready-after", "never"]);
    redis.stop();
    is_down(&node);
    eventually("not ready", || node.page("/readyz").head.status == 503);
    assert!(node.status()["backplane"]["down_seconds"].as_f64() >= Some(3.0));
    assert!(node.page("/readyz").text().contains("backplane"));
    assert_eq!((node.page("/livez").head.status, &node.status()["ready"]), (200, &false.into()));
    assert_eq!(never.page("/readyz").head.status, 200);
    redis.run();
    eventually("ready again", || node.page("/readyz").head.status == 200);
}

#[test]
fn a_node_starts_without_redis_and_holds_its_subscribers() {
    let redis = Redis::start_persistent();
    let ids = add(&redis, "a", 1..=4);
    redis.command(&["XADD", "sse:job", "*", "final", "1", "data", "1"]);
    redis.stop();
    let node = Node::on(&redis, &["--max-channel-subscribers", "1"]);
    is_down(&node);
    let mut resumed = held(&node, "/events/a", &ids[1]);
    let mut several = held(&node, "/events?channels=c,d&tail=2", "");
    let mut unchunked = Connection::open(node.listen);
    unchunked.send("GET /events/e?envelope=1 HTTP/1.0\r\n\r\n");
    let mut unchunked = Stream::answered(unchunked);
    let mut job = held(&node, "/events/job?since=earliest", "");
    redis.run();
    assert_eq!(resumed.numbers(2), [3, 4]);
    several = several.begun();
    unchunked = unchunked.begun();
    add(&redis, "d", [5]);
    add(&redis, "e", [6]);
    assert_eq!(several.numbers(1), [5]);
    assert!(unchunked.next().data.contains("\"data\":\"6\""));
    let (end, messages) = job.finish();
    assert_eq!((end, messages.len()), (End::Whole, 1));
    is_up(&node);
}

#[test]
fn held_subscribers_of_a_channel_that_has_ended_are_ended() {
    let redis = Redis::start_persistent();
    let id = redis.command(&["XADD", "sse:job", "*", "final", "1", "data", "1"]);
    redis.stop();
    let node = Node::on(&redis, &[]);
    let mut job = held(&node, "/events/job", id.text());
    redis.run();
    assert_eq!(job.finish(), (End::Whole, vec![]));
    // Its next try is told that there is nothing more.
    assert_eq!(node.ask("GET", "/events/job", &[("Last-Event-ID", &job.last_event_id())], "").head.status, 204);
}

#[test]
fn held_subscribers_leave_and_drain_like_others() {
    let redis = Redis::start();
    let mut node = Node::on(&redis, &["--drain", "500ms"]);
    redis.stop();
    is_down(&node);
    let mut stays = held(&node, "/events/a", "");
    drop(held(&node, "/events?channels=b,c", ""));
    node.metric_becomes("fantail_connections", 1.0);
    node.signal(Signal::TERM);
    assert_eq!(stays.finish(), (End::Incomplete, vec![]));
    assert_eq!(node.wait(), Some(0));
}
