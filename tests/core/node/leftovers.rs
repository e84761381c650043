//! What full sockets leave over: a large event is in memory once, however many have it half sent, and what they take
//! together is bounded.

use crate::support::client::Connection;
use crate::support::http2::{Http2, window};
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use std::io::Write;

const LEFTOVER: &str = "fantail_leftover_bytes";
const MIB: usize = 1 << 20;
/// On the wire each line break of data is a line with a field name.
const PER_BREAK: usize = "data: \n".len();

fn narrow(node: &Node, target: &str, headers: &[(&str, &str)]) -> Stream {
    Stream::on(Connection::narrow(node.listen), target, headers)
}

/// Clients of one kind get a large event and do not read; how much the node keeps for them, in its own count and as the
/// system sees it.
fn kept_for(target: &str, headers: &[(&str, &str)], data: &str) -> (usize, usize) {
    const CLIENTS: usize = 60;
    let redis = Redis::start();
    let node = Node::on(&redis, &["--stall-timeout", "5m", "--compress", "on"]);
    let mut slow: Vec<Stream> = (0..CLIENTS).map(|_| narrow(&node, target, headers)).collect();
    eventually("all are there", || node.metric("fantail_connections") == CLIENTS as f64);
    let before = node.resident();
    redis.command(&["XADD", "sse:m1", "*", "data", data]);
    // The last one's socket is full when all others' are.
    eventually("sockets are full", || node.metric("fantail_delivered_bytes_total") > (CLIENTS * 4096) as f64);
    eventually("leftovers", || node.metric(LEFTOVER) > 0.0 || !target.contains("channels"));
    let kept = (node.metric(LEFTOVER) as usize, node.resident().saturating_sub(before) as usize);
    // It is whole when it is read, and nothing is left then.
    for stream in &mut slow[..2] {
        let message = stream.next();
        let text = match serde_json::from_str::<serde_json::Value>(&message.data) {
            Ok(envelope) => envelope["data"].as_str().expect("text").to_owned(),
            Err(_) => message.data,
        };
        assert!(text == data, "{} of {} bytes", text.len(), data.len());
    }
    drop(slow);
    node.metric_becomes(LEFTOVER, 0.0);
    kept
}

#[test]
fn a_large_event_is_shared_by_all_whose_sockets_are_full() {
    let breaks = "\n".repeat(MIB);
    let wire = MIB * PER_BREAK;
    // What does not compress stays large.
    let noise: String = (0..4 * MIB).map(|_| fastrand::alphanumeric()).collect();
    let (_, plain) = kept_for("/events/m1", &[], &breaks);
    let gzip: &[(&str, &str)] = &[("accept-encoding", "gzip")];
    for (target, headers, data) in [
        ("/events?channels=m1,m2", &[][..], &breaks),
        ("/events?channels=m1&events=message", &[], &breaks),
        ("/events?channels=m1,m2&envelope=1", &[], &breaks),
        ("/events?channels=m1,m2", gzip, &noise),
    ] {
        let (counted, resident) = kept_for(target, headers, data);
        println!("{target}: {} KiB counted, {} MiB resident, plain {} MiB", counted >> 10, resident >> 20, plain >> 20);
        // Once, be it in two forms; for each of the sixty it would be hundreds of megabytes.
        assert!(counted < 2 * wire, "{target}: {counted} bytes");
        assert!(resident < plain + 8 * wire, "{target}: {resident} bytes, plain {plain}");
    }
}

#[test]
fn at_the_limit_of_leftovers_the_slowest_go_and_resume_by_id() {
    const CLIENTS: usize = 24;
    let redis = Redis::start();
    let node = Node::on(&redis, &["--stall-timeout", "5m", "--leftover-bytes", "2MiB", "--couriers", "1"]);
    let target = |number: usize| format!("/events?channels=m.{number},x");
    let mut slow: Vec<Stream> = (0..CLIENTS).map(|number| narrow(&node, &target(number), &[]).begun()).collect();
    let data = "x".repeat(MIB);
    for number in 0..CLIENTS {
        redis.command(&["XADD", &format!("sse:m.{number}"), "*", "data", &data]);
        eventually("it was sent", || node.metric("fantail_events_received_total") == (number + 1) as f64);
    }
    let evicted = "fantail_connections_closed_total{reason=\"slowest\"}";
    eventually("some go", || node.metric(evicted) >= 8.0);
    node.logs(&["evicted", "--leftover-bytes"]);
    // One event may be as large as it is.
    assert!(node.metric(LEFTOVER) < (4 * MIB) as f64);
    assert!(node.metric("fantail_connections") >= 1.0);
    let (_, messages) = slow[0].finish();
    assert!(messages.is_empty(), "it had a part at most");
    let mut again = node.resume(&target(0), &slow[0].last_event_id());
    assert_eq!(again.next().data.len(), MIB);
}

#[test]
fn connections_of_http2_whose_answers_nobody_reads_go_at_the_limit() {
    const CLIENTS: usize = 24;
    let flags = ["--http2", "courier", "--http2-streams", "10000", "--leftover-bytes", "1MiB", "--couriers", "1"];
    let node = Node::start(&flags);
    let ended = || node.metric("fantail_connections_refused_total{reason=\"http2_flood\"}");
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut raw = Connection::narrow(node.listen).raw;
        let mut said = Vec::new();
        let mut http2 = Http2::begin(&mut said).expect("a vector");
        said.extend(window(0, 1 << 30));
        for _ in 0..1_500 {
            http2.open(&mut said, "GET", "/events/not%20a%20channel", &[], b"");
        }
        raw.write_all(&said).expect("the node takes it");
        clients.push(raw);
    }
    // Each would keep 64 KiB and more.
    eventually("some go", || ended() >= 2.0);
    eventually("the rest is within the limit", || node.metric(LEFTOVER) <= MIB as f64);
    assert!(ended() < CLIENTS as f64, "those that are within it stay");
    drop(clients);
    node.metric_becomes(LEFTOVER, 0.0);
    node.metric_becomes("fantail_http2_connections", 0.0);
}

#[test]
fn small_events_that_a_full_socket_leaves_are_not_kept_for_it() {
    const CLIENTS: u64 = 50;
    let redis = Redis::start();
    let node = Node::on(&redis, &["--stall-timeout", "5m"]);
    let open = |_| narrow(&node, "/events?channels=a,b", &[]).begun();
    let mut slow: Vec<Stream> = (0..CLIENTS).map(open).collect();
    let script = "for n = 0, 29999 do redis.call('XADD', KEYS[1], '*', 'data', n) end";
    redis.command(&["EVAL", script, "1", "sse:a"]);
    eventually("all is read", || node.metric("fantail_events_received_total") == 30_000.0);
    eventually("sockets are full", || node.metric("fantail_subscriber_lag_events_sum") > 0.0);
    // Of each the rest of one event at most.
    assert!(node.metric(LEFTOVER) <= (CLIENTS * 256) as f64, "{}", node.metric(LEFTOVER));
    for stream in slow.iter_mut().take(3) {
        assert_eq!(stream.numbers(30_000), (0..30_000).collect::<Vec<_>>());
    }
}
