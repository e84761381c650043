//! Positions as people bring them: under other names, old ones beside new ones, several headers, Unix seconds.

use super::{add, add_at};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::Stream;

const AHEAD: &str = "99999999999999-0";

#[test]
fn a_last_event_id_is_taken_under_the_names_that_servers_give_it() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let ids = add(&redis, "a", 1..=3);
    for name in ["lastEventId", "lastEventID", "Last-Event-ID", "last_event_id"] {
        assert_eq!(node.subscribe(&format!("/events/a?{name}={}", ids[1])).numbers(1), [3], "{name}");
    }
}

#[test]
fn of_header_and_parameter_the_later_one_counts_that_is_not_ahead_of_the_stream() {
    let redis = Redis::start();
    let nodes = [Node::on(&redis, &[]), Node::on(&redis, &[])];
    let ids = add(&redis, "a", 1..=4);
    let resumed =
        |node: &Node, header: &str, parameter: &str| node.resume(&format!("/events/a?lastEventId={parameter}"), header);
    for (header, parameter, next) in [
        (ids[0].as_str(), ids[2].as_str(), 4),
        (&ids[2], &ids[0], 4),
        (&ids[2], AHEAD, 4),
        (AHEAD, &ids[2], 4),
        (&ids[2], "foreign", 4),
        ("foreign", &ids[2], 4),
    ] {
        // On a node that has the channel in memory, and on one that has not.
        for node in [&nodes[0], &Node::on(&redis, &[])] {
            assert_eq!(resumed(node, header, parameter).numbers(1), [next], "{header} {parameter}");
        }
    }
    let mut both = resumed(&nodes[1], AHEAD, "99999999999998-0");
    let gap = both.gap();
    assert_eq!((&gap["reason"], &gap["resume_from"]), (&"reset".into(), &AHEAD.into()));
    // A page that keeps its first header for ever gets nothing twice.
    let mut stream = resumed(&nodes[0], &ids[0], &ids[3]);
    add(&redis, "a", [5]);
    assert_eq!(stream.numbers(1), [5]);
}

#[test]
fn that_is_so_in_each_channel() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    for seq in 1..=5 {
        add_at(&redis, "a", &format!("1-{seq}"), 10 + seq);
        add_at(&redis, "b", &format!("2-{seq}"), 20 + seq);
        add_at(&redis, "c", &format!("3-{seq}"), 30 + seq);
    }
    let target = format!("/events?channels=a,b,c&lastEventId=a=1-4,b=2-2,c={AHEAD}");
    let mut numbers = node.resume(&target, "a=1-1,b=2-3,c=3-4").numbers(4);
    numbers.sort_unstable();
    assert_eq!(numbers, [15, 24, 25, 35]);
    // One position does not say in which of several it is; built by hand, by name, it does.
    let mut stream = node.resume("/events?channels=a,b", "1-4");
    assert_eq!([stream.gap()["reason"].clone(), stream.gap()["reason"].clone()], ["reset", "reset"]);
    let mut by_hand = node.resume("/events?channels=a,b&lastEventId=a%3D1-4%2Cb%3D2-4", "1-4").numbers(2);
    by_hand.sort_unstable();
    assert_eq!(by_hand, [15, 25]);
}

#[test]
fn of_several_headers_the_last_counts() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let ids = add(&redis, "a", 1..=3);
    for headers in [
        &[("Last-Event-ID", ids[0].as_str()), ("Last-Event-ID", &ids[1])][..],
        &[("Last-Event-ID", "foreign"), ("last-event-id", &ids[1])],
        &[("Last-Event-ID", &format!("{}, {}", ids[0], ids[1]))],
    ] {
        assert_eq!(Stream::open(node.listen, "/events/a", headers).numbers(1), [3], "{headers:?}");
    }
}

#[test]
fn since_takes_unix_seconds() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    add_at(&redis, "a", "1699999999999-0", 1);
    add_at(&redis, "a", "1700000000000-0", 2);
    for since in ["1700000000", "1700000000000"] {
        assert_eq!(node.subscribe(&format!("/events/a?since={since}")).numbers(1), [2], "{since}");
    }
}
