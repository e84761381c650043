//! Trimming that takes entries out of the middle, as `ACKED` of Redis 8.2 and later does, and leaves no id behind that tells.

use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use rustix::process::Signal;
use serde_json::json;

fn add(server: &Redis, n: u64) {
    server.command(&["XADD", "sse:a", &format!("{n}-0"), "data", &n.to_string()]);
}

/// A group has read all that is there, and has not done with these.
fn read_all_but(server: &Redis, numbers: std::ops::RangeInclusive<u64>, stuck: &[u64]) {
    server.command(&["XREADGROUP", "GROUP", "workers", "w", "STREAMS", "sse:a", ">"]);
    for n in numbers.filter(|n| !stuck.contains(n)) {
        server.command(&["XACK", "sse:a", "workers", &format!("{n}-0")]);
    }
}

/// Whether this server has it. With a group that begins at the beginning.
fn begin(server: &Redis) -> bool {
    server.command(&["XGROUP", "CREATE", "sse:a", "workers", "$", "MKSTREAM"]);
    let can = !server.command(&["XTRIM", "sse:a", "MAXLEN", "=", "4", "ACKED"]).is_error_of("ERR");
    if !can {
        println!("this server does not trim by ACKED: nothing to see");
    }
    can
}

#[test]
fn who_is_connected_is_told_how_many_are_gone() {
    let server = Redis::start();
    if !begin(&server) {
        return;
    }
    let nodes = [Node::on(&server, &[]), Node::on(&server, &["--follow", "block"])];
    let mut streams: Vec<Stream> = nodes.iter().map(|node| node.subscribe("/events/a").begun()).collect();
    add(&server, 1);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [1]));
    // What follows must come to them in one piece, and a signal takes its time.
    nodes.iter().for_each(|node| node.signal(Signal::STOP));
    eventually("they are stopped", || nodes.iter().all(Node::is_stopped));
    (2..=10).for_each(|n| add(&server, n));
    read_all_but(&server, 1..=10, &[1]);
    server.command(&["XTRIM", "sse:a", "MAXLEN", "=", "4", "ACKED"]);
    nodes.iter().for_each(|node| node.signal(Signal::CONT));
    let gap = json!({"channel": "a", "reason": "trimmed", "resume_from": "1-0", "continues_at": "8-0", "lost": 6});
    for stream in &mut streams {
        assert_eq!((stream.gap(), stream.numbers(3)), (gap.clone(), vec![8, 9, 10]));
    }
}

#[test]
fn what_everybody_has_had_is_no_gap_when_it_is_trimmed() {
    let server = Redis::start();
    if !begin(&server) {
        return;
    }
    let nodes = [Node::on(&server, &[]), Node::on(&server, &["--follow", "block"])];
    let mut streams: Vec<Stream> = nodes.iter().map(|node| node.subscribe("/events/a").begun()).collect();
    (1..=5).for_each(|n| add(&server, n));
    let stuck: Vec<u64> = (1..=5).collect();
    read_all_but(&server, 1..=5, &stuck);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(5), stuck));
    for n in 6..=25 {
        let id = format!("{n}-0");
        server.command(&["XADD", "sse:a", "MAXLEN", "=", "5", "ACKED", &id, "data", &n.to_string()]);
        streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [n], "and no gap"));
        read_all_but(&server, n..=n, &[]);
    }
}
