//! The operators' listener.

use super::add;
use crate::support::client::Connection;
use crate::support::node::{Node, eventually, within};
use crate::support::redis::Redis;
use std::time::Duration;

#[test]
fn every_metric_and_label_is_there_before_anything_happens() {
    let node = Node::start(&[]);
    for name in [
        "fantail_connections",
        "fantail_connections_opened_total",
        "fantail_connection_limit",
        "fantail_connections_waiting",
        "fantail_channels",
        "fantail_subscriptions",
        "fantail_tail_bytes",
        "fantail_events_received_total",
        "fantail_events_delivered_total",
        "fantail_delivered_bytes_total",
        "fantail_delivery_lag_seconds_count",
        "fantail_delivery_lag_seconds_bucket{le=\"+Inf\"}",
        "fantail_follower_lag_seconds_count",
        "fantail_subscriber_lag_events_count",
        "fantail_courier_turn_seconds_count",
        "fantail_catch_ups_total",
        "fantail_backplane_up",
        "fantail_backplane_reconnects_total",
        "fantail_backplane_errors_total",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ] {
        assert!(node.sample(name).is_some(), "{name}");
    }
    let labels: [(&str, &str, &[&str]); 4] = [
        ("fantail_resumes_total", "outcome", &["live", "tail", "history", "gap", "reset"]),
        ("fantail_connections_closed_total", "reason", &["client", "stalled", "idle", "max_age", "drain", "final"]),
        (
            "fantail_connections_refused_total",
            "reason",
            &["node_full", "too_many_connections", "channel_full", "too_many_channels", "draining", "slow_head"],
        ),
        ("fantail_gaps_total", "reason", &["trimmed", "missing", "reset"]),
    ];
    for (name, label, values) in labels {
        for value in values {
            assert_eq!(node.sample(&format!("{name}{{{label}=\"{value}\"}}")), Some(0.0), "{name} {value}");
        }
    }
    assert!(node.sample("fantail_backplane_command_seconds_count{command=\"xadd\"}").is_some());
}

#[test]
fn what_is_delivered_is_counted() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let mut streams = [node.subscribe("/events/a"), node.subscribe("/events?channels=a,b")];
    add(&redis, "a", 1..=100);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(100).len(), 100));
    node.metric_becomes("fantail_events_received_total", 100.0);
    node.metric_becomes("fantail_events_delivered_total", 200.0);
    node.metric_becomes("fantail_subscriptions", 3.0);
    let body: usize = streams.iter().map(|stream| stream.raw.len()).sum();
    assert!(node.metric("fantail_delivered_bytes_total") >= body as f64 * 0.9);
    assert!(node.metric("fantail_follower_lag_seconds_count") > 0.0);
    eventually("the tails are weighed", || node.metric("fantail_tail_bytes") > 0.0);
    // What is new behind a known entry is read; the first entry of a stream is found by examining it.
    add(&redis, "a", [101]);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [101]));
    assert!(node.metric("fantail_backplane_command_seconds_count{command=\"xread\"}") > 0.0);
    // Of the first hundred only where they did not come while a courier was still taking the streams in.
    eventually("the lag of what is delivered to all at once", || {
        node.metric("fantail_delivery_lag_seconds_count") > 0.0
    });
    // By the Redis clock, on one machine: far below a second even when it is busy.
    let mean = node.metric("fantail_delivery_lag_seconds_sum") / node.metric("fantail_delivery_lag_seconds_count");
    assert!((0.0..5.0).contains(&mean), "{mean}");
}

#[test]
fn status_tells_in_json_what_the_node_does() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--tail-bytes", "2MiB"]);
    let id = add(&redis, "orders", [1]).remove(0);
    let mut stream = node.subscribe("/events/orders?since=earliest");
    assert_eq!(stream.numbers(1), [1]);
    node.metric_becomes("fantail_connections", 1.0);
    let status = node.status();
    let at = |pointer: &str| status.pointer(pointer).cloned().unwrap_or_else(|| panic!("{pointer}: {status}"));
    assert_eq!(
        (at("/state"), at("/ready"), at("/version")),
        ("ok".into(), true.into(), env!("CARGO_PKG_VERSION").into())
    );
    assert_eq!((at("/connections"), at("/subscriptions"), at("/channels")), (1.into(), 1.into(), 1.into()));
    assert_eq!((at("/tail_bytes_limit"), at("/publish_over_http")), ((2 << 20).into(), false.into()));
    assert_eq!((at("/backplane/up"), at("/backplane/follow")), (true.into(), "tracking".into()));
    assert!(at("/backplane/version").as_str().is_some_and(|version| version.contains('.')));
    assert_eq!(at("/most_subscribed/0/channel"), "orders");
    assert_eq!(at("/most_subscribed/0/position"), id.as_str());
}

#[test]
fn pages_answer_get_and_head_only() {
    let node = Node::start(&[]);
    assert_eq!(node.page("/livez").text(), "ok\n");
    // Its first connection to Redis may come later than its pages.
    eventually("ready", || node.page("/readyz").text() == "ready\n");
    assert_eq!(node.page("/metrics").head.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(node.page("/status").head.header("content-type"), Some("application/json"));
    assert_eq!(node.page("/nothing").head.status, 404);
    let post = Connection::open(node.admin).ask("POST", "/livez", &[], b"");
    assert_eq!((post.head.status, post.head.header("allow")), (405, Some("GET, HEAD")));
    // Clients do not get them, and operators no events.
    assert_eq!(node.get("/metrics").head.status, 404);
    assert_eq!(node.page("/events/a").head.status, 404);
}

#[test]
fn probes_answer_while_the_data_plane_is_busy_and_hostile_connections_hold_the_admin_port() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let mut streams: Vec<_> = (0..50).map(|_| node.subscribe("/events/a")).collect();
    let mut held: Vec<Connection> = (0..40).map(|_| Connection::open(node.admin)).collect();
    held.iter_mut().for_each(|connection| connection.send("GET /liv"));
    std::thread::scope(|scope| {
        scope.spawn(|| (0..5000).step_by(100).for_each(|from| drop(add(&redis, "a", from..from + 100))));
        for _ in 0..50 {
            assert_eq!(node.page("/livez").head.status, 200);
            assert_eq!(node.page("/readyz").head.status, 200);
        }
    });
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(5000), (0..5000).collect::<Vec<_>>()));
}

#[test]
fn the_log_may_be_json_with_one_object_a_line() {
    let node = Node::start(&["--log-format", "json", "--max-connections", "1"]);
    let _stream = node.subscribe("/events/a");
    node.get("/events/a").problem(503, "node_full");
    node.logs(&["refused", "node_full"]);
    for line in node.log().lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(json["level"].is_string() && json["message"].is_string() && json["timestamp"].is_string(), "{line}");
    }
    // Refusals of a kind are thinned: a hundred more are one line at most.
    (0..100).for_each(|_| drop(node.get("/events/a")));
    let refusals = || node.log().lines().filter(|line| line.contains("node_full")).count();
    assert!(!within(Duration::from_millis(500), || refusals() > 5), "{}", node.log());
}
