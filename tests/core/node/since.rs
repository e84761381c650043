//! Where a first connect begins: `since` and `tail`.

use super::{add, add_at};
use crate::support::node::Node;
use crate::support::redis::Redis;

/// A channel with six events at chosen times: 1000 ms to 6000 ms after 2023-11-14T22:13:20Z.
fn six() -> Redis {
    let redis = Redis::start();
    (1..=6).for_each(|n| add_at(&redis, "orders", &format!("{}-0", 1_700_000_000_000 + 1000 * n), n));
    redis
}

#[test]
fn every_form_begins_where_it_says() {
    let redis = six();
    for (query, expected) in [
        ("", &[][..]),
        ("since=latest", &[]),
        ("since=earliest", &[1, 2, 3, 4, 5, 6]),
        ("since=1700000003000-0", &[4, 5, 6]),
        ("since=1700000003000", &[3, 4, 5, 6]),
        ("since=1700000003001", &[4, 5, 6]),
        ("since=2023-11-14T22:13:24Z", &[4, 5, 6]),
        ("since=2023-11-14T23:13:24.5%2B01:00", &[5, 6]),
        ("since=9999999999999", &[]),
        ("tail=2", &[5, 6]),
        ("tail=0", &[]),
        ("tail=100", &[1, 2, 3, 4, 5, 6]),
        ("since=earliest&tail=3", &[4, 5, 6]),
        ("since=1700000005000&tail=5", &[5, 6]),
        ("since=1700000002000&tail=2", &[5, 6]),
        ("since=latest&tail=1", &[6]),
    ] {
        let several = format!("/events?channels=orders,other&{query}");
        // An id is of one channel.
        let several = (query != "since=1700000003000-0").then_some(several);
        for target in [format!("/events/orders?{query}")].into_iter().chain(several) {
            // What was deleted stays in a node's memory for a while.
            let node = Node::on(&redis, &[]);
            let mut stream = node.subscribe(&target);
            let marker = add(&redis, "orders", [0]).remove(0);
            // Of an id it is told that entries behind it were deleted.
            let events = stream.before("0").into_iter().filter(|m| m.event == "message");
            let seen: Vec<String> = events.map(|m| m.data).collect();
            let expected: Vec<String> = expected.iter().map(u64::to_string).collect();
            assert_eq!(seen, expected, "{target}");
            redis.command(&["XDEL", "sse:orders", &marker]);
        }
    }
}

#[test]
fn a_duration_counts_back_from_now() {
    let redis = Redis::start();
    let time = redis.command(&["TIME"]);
    let now_ms: u64 = time.list()[0].text().parse::<u64>().expect("seconds") * 1000;
    // Far enough from the border for a slow machine.
    add_at(&redis, "orders", &format!("{}-0", now_ms - 3_600_000), 1);
    add_at(&redis, "orders", &format!("{}-0", now_ms - 600_000), 2);
    let node = Node::on(&redis, &[]);
    assert_eq!(node.subscribe("/events/orders?since=30m").numbers(1), [2]);
    assert_eq!(node.subscribe("/events/orders?since=1h%2030m").numbers(2), [1, 2]);
    let mut none = node.subscribe("/events/orders?since=5s");
    add(&redis, "orders", [3]);
    assert_eq!(none.numbers(1), [3]);
}

#[test]
fn nonsense_is_refused_by_name() {
    let node = Node::start(&[]);
    for query in ["since=yesterday", "since=", "since=-5m", "tail=-1", "tail=x", "envelope=maybe", "events="] {
        let detail = node.get(&format!("/events/orders?{query}")).problem(400, "bad_parameter");
        assert!(detail.starts_with(query.split('=').next().expect("a name")), "{query}: {detail}");
    }
}

#[test]
fn a_channel_begins_where_it_says_while_it_is_published_to() {
    let redis = Redis::start();
    let nodes = [Node::on(&redis, &[]), Node::on(&redis, &["--follow", "block"])];
    add(&redis, "orders", [0]);
    std::thread::scope(|scope| {
        scope.spawn(|| (1..2000).step_by(5).for_each(|from| drop(add(&redis, "orders", from..from + 5))));
        for round in 0..40 {
            let node = &nodes[round % 2];
            let mut stream = node.subscribe("/events/orders?since=earliest");
            assert_eq!(stream.numbers(50), (0..50).collect::<Vec<_>>());
            let mut stream = node.subscribe("/events/orders?tail=1");
            let first = stream.numbers(1)[0];
            if first < 1900 {
                assert_eq!(stream.numbers(20), (first + 1..=first + 20).collect::<Vec<_>>());
            }
        }
    });
}
