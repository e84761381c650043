//! Ending subscribers by time: idle and old ones are told when to come back, and go on where they were.

use crate::support::node::Node;
use crate::support::stream::End;
use std::time::{Duration, Instant};

fn closed(reason: &str) -> String {
    format!("fantail_connections_closed_total{{reason=\"{reason}\"}}")
}

#[test]
fn idle_subscribers_are_ended_and_busy_ones_are_not() {
    let node = Node::start(&["--idle-timeout", "2s", "--heartbeat", "1s"]);
    let mut idle = node.subscribe("/events/quiet").begun();
    let mut busy = node.subscribe("/events/busy");
    let begin = Instant::now();
    let mut number = 0;
    // Heartbeats are no events.
    while begin.elapsed() < Duration::from_secs(5) {
        number += 1;
        node.publish("/events/busy", &number.to_string());
        assert_eq!(busy.numbers(1), [number]);
        std::thread::sleep(Duration::from_millis(100));
    }
    let beginning = idle.parser.retry();
    assert_eq!(idle.finish(), (End::Incomplete, vec![]));
    assert!(idle.parser.retry().is_some() && beginning.is_some());
    assert!(String::from_utf8_lossy(&idle.raw).matches("retry: ").count() == 2, "a delay of its own at the end");
    node.metric_becomes(&closed("idle"), 1.0);
    node.publish("/events/quiet", "7");
    assert_eq!(node.resume("/events/quiet", &idle.last_event_id()).numbers(1), [7]);
}

#[test]
fn old_subscribers_are_ended_give_or_take_a_fifth() {
    let node = Node::start(&["--max-age", "2s"]);
    let begin = Instant::now();
    let mut streams: Vec<_> = (0..20).map(|_| node.subscribe("/events/a").begun()).collect();
    node.publish("/events/a", "1");
    let mut ages = Vec::new();
    for stream in &mut streams {
        let (end, messages) = stream.finish();
        ages.push(begin.elapsed());
        assert_eq!((end, messages.len(), messages[0].data.as_str()), (End::Incomplete, 1, "1"));
        assert!(String::from_utf8_lossy(&stream.raw).matches("retry: ").count() == 2);
    }
    let last = ages.last().expect("twenty");
    assert!(*last >= Duration::from_millis(1600), "{ages:?}");
    node.metric_becomes(&closed("max_age"), 20.0);
    node.metric_becomes("fantail_connections", 0.0);
    node.publish("/events/a", "2");
    assert_eq!(node.resume("/events/a", &streams[0].last_event_id()).numbers(1), [2]);
}

#[test]
fn a_client_that_hangs_up_is_gone_at_once() {
    let node = Node::start(&[]);
    let streams: Vec<_> = (0..10).map(|n| node.subscribe(&format!("/events?channels=a,b{n}"))).collect();
    node.metric_becomes("fantail_subscriptions", 20.0);
    drop(streams);
    node.metric_becomes("fantail_connections", 0.0);
    node.metric_becomes("fantail_subscriptions", 0.0);
    node.metric_becomes(&closed("client"), 10.0);
}
