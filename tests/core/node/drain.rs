//! Draining: SIGTERM ends a node without costing anybody an event.

use super::add;
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use rustix::process::Signal;
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn subscribers_are_ended_evenly_each_with_its_own_delay_and_the_exit_code_is_0() {
    const STREAMS: usize = 60;
    let redis = Redis::start();
    let mut node = Node::on(&redis, &["--drain", "3s", "--retry", "100ms..900ms"]);
    let streams: Vec<Stream> = (0..STREAMS).map(|_| node.subscribe("/events/a").begun()).collect();
    node.metric_becomes("fantail_connections", STREAMS as f64);
    add(&redis, "a", [1]);
    let begin = Instant::now();
    node.signal(Signal::TERM);
    let ends: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            std::thread::spawn(move || {
                let (end, messages) = stream.finish();
                let delays = String::from_utf8_lossy(&stream.raw).matches("retry: ").count();
                (
                    begin.elapsed(),
                    end,
                    messages,
                    delays,
                    stream.parser.retry().expect("a retry"),
                    stream.last_event_id(),
                )
            })
        })
        .collect();
    let ends: Vec<_> = ends.into_iter().map(|thread| thread.join().expect("a reader")).collect();
    assert_eq!(node.wait(), Some(0));
    node.logs(&["draining", "60"]);
    node.logs(&["drained"]);
    let delays: std::collections::HashSet<u64> = ends.iter().map(|end| end.4).collect();
    assert!(delays.len() > 20 && delays.iter().all(|delay| (100..=900).contains(delay)), "{delays:?}");
    for (_, end, messages, delays, ..) in &ends {
        assert_eq!((*end, messages.len(), *delays), (End::Incomplete, 1, 2));
    }
    let mut times: Vec<Duration> = ends.iter().map(|end| end.0).collect();
    times.sort();
    // Evenly: the window's parts have about the same share. Bounds are wide, for the machine may be slow.
    let early = times.iter().filter(|time| **time < Duration::from_millis(1500)).count();
    assert!(early <= STREAMS * 3 / 4, "{times:?}");
    assert!(times[0] < times[STREAMS - 1] - Duration::from_secs(1), "{times:?}");
    // They go on elsewhere.
    let other = Node::on(&redis, &[]);
    add(&redis, "a", [2]);
    assert_eq!(other.resume("/events/a", &ends[0].5).numbers(1), [2]);
}

#[test]
fn a_draining_node_is_not_ready_but_alive_and_goes_on_for_the_delay() {
    let mut node = Node::start(&["--drain-delay", "2s", "--drain", "1s"]);
    let mut early = node.subscribe("/events/a").begun();
    assert_eq!(node.page("/readyz").head.status, 200);
    node.signal(Signal::TERM);
    eventually("not ready", || node.page("/readyz").head.status == 503);
    assert!(node.page("/readyz").text().contains("draining"));
    assert_eq!((node.page("/livez").head.status, &node.status()["state"]), (200, &"draining".into()));
    // Load balancers still send clients; they are served.
    let mut late = node.subscribe("/events/a").begun();
    node.publish("/events/a", "1");
    for stream in [&mut early, &mut late] {
        let (end, messages) = stream.finish();
        assert_eq!((end, messages.len()), (End::Incomplete, 1));
    }
    assert_eq!(node.wait(), Some(0));
}

#[test]
fn a_second_signal_hurries() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut node = Node::start(&["--drain-delay", "5m", "--drain", "1h"]);
        let mut streams: Vec<Stream> = (0..20).map(|_| node.subscribe("/events/a").begun()).collect();
        node.signal(signal);
        node.logs(&["draining"]);
        assert!(node.runs());
        node.signal(Signal::TERM);
        streams.iter_mut().for_each(|stream| assert_eq!(stream.finish(), (End::Incomplete, vec![])));
        assert_eq!(node.wait(), Some(0));
        node.logs(&["hurrying"]);
    }
}

#[test]
fn nobody_is_accepted_after_the_delay() {
    let mut node = Node::start(&["--drain", "4s"]);
    let mut stream = node.subscribe("/events/a").begun();
    let mut others: Vec<Stream> = (0..3).map(|_| node.subscribe("/events/a").begun()).collect();
    node.signal(Signal::TERM);
    eventually("the listener is closed", || TcpStream::connect(node.listen).is_err());
    // The operators' pages are there to the end.
    assert_eq!(node.page("/livez").head.status, 200);
    stream.finish();
    others.iter_mut().for_each(|stream| assert_eq!(stream.finish().0, End::Incomplete));
    assert_eq!(node.wait(), Some(0));
}

#[test]
fn an_idle_node_ends_at_once() {
    let mut node = Node::start(&["--drain", "1h"]);
    node.signal(Signal::TERM);
    assert_eq!(node.wait(), Some(0));
}

#[test]
fn who_does_not_read_does_not_hold_the_drain() {
    use crate::support::client::Connection;
    let redis = Redis::start();
    let mut node = Node::on(&redis, &["--drain", "500ms"]);
    let blocked = Stream::on(Connection::narrow(node.listen), "/events/a", &[]).begun();
    let data = "x".repeat(10_000);
    (0..20).for_each(|_| {
        redis.pipeline(&[&["XADD", "sse:a", "*", "data", &data][..]; 50]);
    });
    eventually("all is read", || node.metric("fantail_events_received_total") == 1000.0);
    node.signal(Signal::TERM);
    assert_eq!(node.wait(), Some(0));
    drop(blocked);
}
