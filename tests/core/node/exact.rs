//! Corners of exactness: where a subscription begins and falls behind, what Redis refuses, who left while Redis was away.

use super::{add, add_at};
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::relay::Relay;
use crate::support::stream::Stream;
use rustix::process::Signal;
use serde_json::json;

/// Numbered events of about a kilobyte, far more than a tail of the smallest size holds.
fn add_large(redis: &Redis, numbers: std::ops::RangeInclusive<u64>) {
    let data: Vec<String> = numbers.map(|number| format!("{number} {}", "x".repeat(1_000))).collect();
    let commands: Vec<[&str; 5]> = data.iter().map(|data| ["XADD", "sse:a", "*", "data", data]).collect();
    redis.pipeline(&commands.iter().map(|command| &command[..]).collect::<Vec<_>>());
}

fn expect_large(stream: &mut Stream, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let message = stream.next();
        assert_eq!(message.event, "message", "{}", message.data);
        assert_eq!(message.data.split(' ').next(), Some(number.to_string().as_str()));
    }
}

#[test]
fn joins_are_served_while_redis_is_at_its_maxmemory() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    (1..=6).for_each(|n| add_at(&redis, "a", &format!("{n}0-0"), n));
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "4"]);
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(redis.command(&["XADD", "sse:a", "*", "data", "7"]).is_error_of("OOM"));
    // Each of these needs the stream's state.
    let mut gap = node.resume("/events/a", "10-0");
    assert_eq!((gap.gap()["reason"].as_str(), gap.numbers(4)), (Some("trimmed"), vec![3, 4, 5, 6]));
    let mut between = node.resume("/events/a", "35-0");
    assert_eq!(between.gap()["reason"], "reset");
    let mut ahead = node.resume("/events/a", "99-0");
    assert_eq!(ahead.gap()["reason"], "reset");
    let mut fresh = node.subscribe("/events?channels=a,b&since=earliest");
    assert_eq!(fresh.numbers(4), [3, 4, 5, 6]);
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    add_at(&redis, "a", "70-0", 7);
    assert_eq!([gap.numbers(1), ahead.numbers(1), fresh.numbers(1)], [[7], [7], [7]]);
}

#[test]
fn who_subscribes_during_an_outage_gets_what_is_published_from_then_on() {
    let redis = Redis::start();
    let relay = Relay::start(redis.port());
    add_at(&redis, "a", "1000-0", 1);
    add_at(&redis, "b", "1000-0", 11);
    relay.spoil(|_, _| Some(b"-LOADING not yet\r\n".to_vec()));
    let node = Node::start(&["--redis", &relay.url()]);
    node.metric_becomes("fantail_backplane_up", 0.0);
    let mut streams = ["/events/a", "/events?channels=a,b", "/events/a?tail=0"].map(|target| node.subscribe(target));
    // Others reach Redis all the time.
    add(&redis, "a", [2, 3]);
    relay.heal();
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(2), [2, 3]));
    add(&redis, "a", [4]);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [4]));
}

#[test]
fn joins_wait_for_the_end_of_a_script() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let id = add(&redis, "a", [1]).remove(0);
    redis.command(&["CONFIG", "SET", "lua-time-limit", "50"]);
    std::thread::scope(|scope| {
        let script = scope.spawn(|| redis.command(&["EVAL", "while true do end", "0"]));
        eventually("the script is slow", || redis.command(&["PING"]).is_error_of("BUSY"));
        let mut held = node.resume("/events/fresh", "");
        let mut resumed = node.resume("/events/other", &id);
        assert_eq!([held.head.status, resumed.head.status], [200, 200]);
        redis.command(&["SCRIPT", "KILL"]);
        assert!(script.join().expect("an answer").is_error_of("ERR"));
        held = held.begun();
        add(&redis, "fresh", [2]);
        assert_eq!(held.numbers(1), [2]);
        assert_eq!(resumed.gap()["reason"], "missing");
    });
}

#[test]
fn a_subscription_that_falls_behind_before_its_first_event_is_told_of_no_gap() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--tail-bytes", "1MiB"]);
    // What was trimmed before it came is nothing that it lost.
    (1..=6).for_each(|n| add_at(&redis, "a", &format!("{n}0-0"), n));
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "0"]);
    let mut streams: Vec<Stream> =
        ["/events/a?since=earliest", "/events?channels=a,b&since=earliest", "/events/a?since=1h", "/events/a?tail=3"]
            .map(|target| node.subscribe(target).begun())
            .into();
    node.metric_becomes("fantail_subscriptions", 5.0);
    // At once, so that nothing is delivered before the tail is full.
    node.signal(Signal::STOP);
    add_large(&redis, 1..=2_000);
    node.signal(Signal::CONT);
    streams.iter_mut().for_each(|stream| expect_large(stream, 1..=2_000));
    assert!(node.metric("fantail_catch_ups_total") > 0.0);
    for reason in ["trimmed", "missing", "reset"] {
        assert_eq!(node.metric(&format!("fantail_gaps_total{{reason=\"{reason}\"}}")), 0.0);
    }
}

#[test]
fn what_is_trimmed_before_a_subscription_that_fell_behind_has_read_it_is_told() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--tail-bytes", "1MiB"]);
    (1..=6).for_each(|n| add_at(&redis, "a", &format!("{n}0-0"), n));
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "0"]);
    let mut streams: Vec<Stream> = ["/events/a?since=earliest", "/events?channels=a,b&since=earliest"]
        .map(|target| node.subscribe(target).begun())
        .into();
    node.metric_becomes("fantail_subscriptions", 3.0);
    node.signal(Signal::STOP);
    add_large(&redis, 1..=2_000);
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "1900"]);
    node.signal(Signal::CONT);
    for stream in &mut streams {
        let told = stream.gap();
        assert_eq!((&told["reason"], &told["lost"]), (&json!("trimmed"), &json!(null)), "{told}");
        expect_large(stream, 101..=2_000);
    }
}

#[test]
fn the_newest_few_are_as_many_as_asked_for_though_the_tail_is_full() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--tail-bytes", "1MiB"]);
    add_large(&redis, 1..=2_000);
    let mut live = node.subscribe("/events/a").begun();
    add_large(&redis, 2_001..=3_000);
    expect_large(&mut live, 2_001..=3_000);
    for tail in [1_500, 1_000, 3] {
        let mut stream = node.subscribe(&format!("/events/a?tail={tail}"));
        expect_large(&mut stream, 3_001 - tail..=3_000);
        let mut several = node.subscribe(&format!("/events?channels=a,b&tail={tail}"));
        expect_large(&mut several, 3_001 - tail..=3_000);
    }
    let mut all = node.subscribe("/events/a?tail=4000");
    expect_large(&mut all, 1..=3_000);
}

#[test]
fn an_emptied_stream_goes_on_after_its_last_id() {
    let redis = Redis::start();
    let nodes = [Node::on(&redis, &[]), Node::on(&redis, &["--follow", "block"])];
    let mut streams: Vec<Stream> = nodes.iter().map(|node| node.subscribe("/events/a").begun()).collect();
    streams.extend(nodes.iter().map(|node| node.subscribe("/events?channels=a,b").begun()));
    add_at(&redis, "a", "10-0", 1);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [1]));
    let commands: [&[&str]; 5] = [
        &["MULTI"],
        &["XADD", "sse:a", "20-0", "data", "2"],
        &["XADD", "sse:a", "30-0", "data", "3"],
        &["XTRIM", "sse:a", "MAXLEN", "0"],
        &["EXEC"],
    ];
    redis.pipeline(&commands);
    let gap = json!({"channel": "a", "reason": "trimmed", "resume_from": "10-0", "continues_at": "30-0", "lost": null});
    streams.iter_mut().for_each(|stream| assert_eq!(stream.gap(), gap));
    add_at(&redis, "a", "40-0", 4);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [4]));
    for node in &nodes {
        // Who comes back is told the same by the node's memory.
        let mut resumed = node.resume("/events/a", "10-0");
        assert_eq!((resumed.gap(), resumed.numbers(1)), (gap.clone(), vec![4]));
    }
}

/// Redis tells of it what it would of one that went on and was trimmed; but its counts are its own.
#[test]
fn a_stream_that_is_made_anew_while_its_nodes_sleep_is_not_counted_as_the_old_one() {
    let redis = Redis::start();
    let nodes = [Node::on(&redis, &[]), Node::on(&redis, &["--follow", "block"])];
    let mut streams: Vec<Stream> = nodes.iter().map(|node| node.subscribe("/events/a").begun()).collect();
    streams.extend(nodes.iter().map(|node| node.subscribe("/events?channels=a,b").begun()));
    (1..=3).for_each(|n| add_at(&redis, "a", &format!("{n}-0"), n));
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(3), [1, 2, 3]));
    nodes.iter().for_each(|node| node.signal(Signal::STOP));
    eventually("they are stopped", || nodes.iter().all(Node::is_stopped));
    redis.command(&["DEL", "sse:a"]);
    (4..=34).for_each(|n| add_at(&redis, "a", &format!("{n}-0"), n));
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "2"]);
    nodes.iter().for_each(|node| node.signal(Signal::CONT));
    let gap = json!({"channel": "a", "reason": "trimmed", "resume_from": "3-0", "continues_at": "33-0", "lost": null});
    for stream in &mut streams {
        assert_eq!((stream.gap(), stream.numbers(2)), (gap.clone(), vec![33, 34]));
    }
    for node in &nodes {
        let mut resumed = node.resume("/events/a", "3-0");
        assert_eq!((resumed.gap(), resumed.numbers(2)), (gap.clone(), vec![33, 34]));
    }
    // From here on it is known again.
    redis.pipeline(&[
        &["MULTI"],
        &["XADD", "sse:a", "35-0", "data", "35"],
        &["XDEL", "sse:a", "35-0"],
        &["XADD", "sse:a", "36-0", "data", "36"],
        &["EXEC"],
    ]);
    let gap = json!({"channel": "a", "reason": "deleted", "resume_from": "34-0", "continues_at": "36-0", "lost": 1});
    for stream in &mut streams {
        assert_eq!((stream.gap(), stream.numbers(1)), (gap.clone(), vec![36]));
    }
}

#[test]
fn what_a_failover_left_is_not_repeated_and_what_came_since_is_not_skipped() {
    let redis = Redis::start();
    let nodes = [Node::on(&redis, &[]), Node::on(&redis, &["--follow", "block"])];
    let mut streams: Vec<Stream> = nodes.iter().map(|node| node.subscribe("/events/a").begun()).collect();
    streams.extend(nodes.iter().map(|node| node.subscribe("/events?channels=a,b").begun()));
    (1..=6).for_each(|n| add_at(&redis, "a", &format!("{n}0-0"), n));
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(6), [1, 2, 3, 4, 5, 6]));
    // 5 and 6 are forgotten; the new primary's clock is behind, so its ids are smaller than those that were delivered.
    let kept: Vec<[String; 5]> = (1..=4)
        .map(|n| (format!("{n}0-0"), n))
        .chain([("41-0".into(), 7), ("55-0".into(), 8)])
        .map(|(id, n)| ["XADD", "sse:a", &id, "data", &n.to_string()].map(str::to_owned))
        .collect();
    let kept: Vec<Vec<&str>> = kept.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
    let mut commands: Vec<&[&str]> = vec![&["MULTI"], &["DEL", "sse:a"]];
    commands.extend(kept.iter().map(|words| &words[..]));
    commands.push(&["EXEC"]);
    redis.pipeline(&commands);
    for stream in &mut streams {
        let told = stream.gap();
        assert_eq!((&told["reason"], &told["resume_from"]), (&json!("reset"), &json!("60-0")), "{told}");
        assert_eq!(told["continues_at"], "41-0");
        assert_eq!(stream.numbers(2), [7, 8]);
    }
    add_at(&redis, "a", "70-0", 9);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [9]));
}

#[test]
fn who_leaves_during_an_outage_is_forgotten_during_it() {
    let redis = Redis::start_persistent();
    let node = Node::on(&redis, &["--tail-bytes", "1MiB"]);
    add_large(&redis, 1..=3_000);
    let first = redis.command(&["XRANGE", "sse:a", "-", "+", "COUNT", "1"]).list()[0].list()[0].text().to_owned();
    // Its socket is full before it has what the tail has not.
    let connection = crate::support::client::Connection::narrow(node.listen);
    let behind = Stream::on(connection, "/events?channels=a,b", &[("Last-Event-ID", &format!("a={first},b=0-0"))]);
    let other = node.resume("/events/a", &first);
    redis.freeze();
    eventually("it is away", || node.metric("fantail_backplane_up") == 0.0);
    let fresh: Vec<Stream> = (0..20).map(|n| node.resume(&format!("/events/fresh.{n}"), "")).collect();
    eventually("joins wait", || node.metric("fantail_joins_waiting") >= 20.0);
    drop((fresh, behind, other));
    for metric in ["joins_waiting", "catch_ups_waiting", "connections"] {
        eventually(metric, || node.metric(&format!("fantail_{metric}")) == 0.0);
    }
    eventually("their channels are forgotten", || node.metric("fantail_channels") <= 2.0);
    assert_eq!(node.metric("fantail_backplane_up"), 0.0, "all during the outage");
    redis.thaw();
    let mut stream = node.subscribe("/events/fresh.7").begun();
    add(&redis, "fresh.7", [7]);
    assert_eq!(stream.numbers(1), [7]);
}
