//! Subscriptions of several channels: one position per channel in every id, in full or compact.

use super::add;
use crate::support::event_stream::Message;
use crate::support::node::Node;
use crate::support::redis::Redis;
use std::collections::BTreeMap;

/// Numbers tell their channel: 1000 × its place, and a count.
fn number(message: &Message) -> u64 {
    message.data.parse().unwrap_or_else(|_| panic!("a numbered event was expected: {message:?}"))
}

/// The numbers by channel, in the order in which they came.
fn by_channel(messages: &[Message]) -> BTreeMap<u64, Vec<u64>> {
    let mut channels = BTreeMap::<u64, Vec<u64>>::new();
    for message in messages {
        channels.entry(number(message) / 1000).or_default().push(number(message) % 1000);
    }
    channels
}

fn names(count: u64) -> Vec<String> {
    (1..=count).map(|place| format!("c{place}")).collect()
}

/// Publishes `counts` to each of these channels, in turn.
fn publish(redis: &Redis, names: &[String], counts: std::ops::RangeInclusive<u64>) {
    for count in counts {
        for name in names {
            let place: u64 = name[1..].parse().expect("c and a number");
            add(redis, name, [1000 * place + count]);
        }
    }
}

/// After whichever event the client is cut off, the rest comes at the other node, once each.
fn resumes_exactly(channels: u64) {
    let redis = Redis::start();
    let (one, other) = (Node::on(&redis, &[]), Node::on(&redis, &[]));
    let names = names(channels);
    let target = format!("/events?channels={}", names.join(","));
    let mut stream = one.subscribe(&target).begun();
    let beginning = stream.last_event_id();
    publish(&redis, &names, 1..=3);
    let seen = stream.take(3 * channels as usize);
    publish(&redis, &names, 4..=5);
    let mut expected: BTreeMap<u64, Vec<u64>> = (1..=channels).map(|place| (place, (1..=5).collect())).collect();
    let mut resumed = other.resume(&target, &beginning);
    assert_eq!(by_channel(&resumed.take(5 * channels as usize)), expected);
    for message in &seen {
        let place = number(message) / 1000;
        assert_eq!(expected.get_mut(&place).expect("its channel").remove(0), number(message) % 1000);
        let rest: usize = expected.values().map(Vec::len).sum();
        let mut resumed = other.resume(&target, &message.id);
        assert_eq!(by_channel(&resumed.take(rest)), expected, "after {message:?}");
    }
    // Nothing further comes before what is published now.
    let mut resumed = other.resume(&target, &stream.last_event_id()).begun();
    let caught_up = resumed.take(2 * channels as usize);
    assert_eq!(by_channel(&caught_up).values().filter(|counts| **counts == [4, 5]).count() as u64, channels);
    add(&redis, &names[0], [9999]);
    assert_eq!(number(&resumed.next()), 9999);
}

#[test]
fn a_vector_resumes_exactly_at_another_node() {
    resumes_exactly(3);
}

#[test]
fn a_compact_cursor_resumes_exactly_at_another_node() {
    resumes_exactly(7);
}

#[test]
fn ids_are_one_position_two_to_four_by_name_and_compact_beyond() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let ids: Vec<String> = names(4).iter().map(|name| add(&redis, name, [1]).remove(0)).collect();
    let begin = |count: u64| {
        let target = format!("/events?channels={}", names(count).join(","));
        node.subscribe(&target).begun().last_event_id()
    };
    assert_eq!(begin(1), ids[0]);
    assert_eq!(begin(2), format!("c1={},c2={}", ids[0], ids[1]));
    assert_eq!(begin(4), format!("c1={},c2={},c3={},c4={}", ids[0], ids[1], ids[2], ids[3]));
    let compact = begin(5);
    assert!(compact.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{compact}");
    assert!(begin(100).len() < 100 * 16, "about 12 bytes a channel");
    // A live event has the same form, with its own channel's position in it.
    let mut stream = node.subscribe("/events?channels=c2,c1");
    let live = add(&redis, "c1", [2]).remove(0);
    assert_eq!(stream.next().id, format!("c2={},c1={live}", ids[1]));
}

#[test]
fn a_changed_set_of_channels_finds_its_positions() {
    let redis = Redis::start();
    for (count, prefix) in [(2, "vector"), (6, "compact")] {
        let node = Node::on(&redis, &[]);
        let names = names(count);
        let target = format!("/events?channels={}", names.join(","));
        let id = node.subscribe(&target).begun().last_event_id();
        publish(&redis, &names, 1..=2);
        add(&redis, "c99", [99_001]);
        // One is dropped and a new one added: the new one begins at its end, or where `since` says.
        let mut earlier = node.resume("/events?channels=c2,c99&since=earliest", &id);
        assert_eq!(by_channel(&earlier.take(3)), BTreeMap::from([(2, vec![1, 2]), (99, vec![1])]), "{prefix}");
        let mut changed = node.resume("/events?channels=c2,c99", &id).begun();
        add(&redis, "c99", [99_002]);
        let seen = by_channel(&changed.take(3));
        assert_eq!(seen, BTreeMap::from([(2, vec![1, 2]), (99, vec![2])]), "{prefix}");
        // One alone is left, and its ids are single from here on.
        let mut single = node.resume("/events/c1", &id);
        let messages = single.take(2);
        assert_eq!(by_channel(&messages), BTreeMap::from([(1, vec![1, 2])]), "{prefix}");
        assert!(!messages[1].id.contains('='), "{prefix}");
        // The set grows over the border between the forms.
        let grown = format!("/events?channels={}", self::names(8).join(","));
        let mut grown = node.resume(&grown, &id);
        let seen = by_channel(&grown.take(2 * count as usize));
        assert_eq!(seen.len() as u64, count, "{prefix}");
        redis.command(&["FLUSHALL"]);
    }
}

#[test]
fn channels_may_be_repeated_and_spread_over_parameters() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let mut stream = node.subscribe("/events?channels=c1,c2&channels=c2&channels=c3");
    publish(&redis, &names(3), 1..=1);
    assert_eq!(by_channel(&stream.take(3)).len(), 3);
    node.metric_becomes("fantail_subscriptions", 3.0);
    node.metric_becomes("fantail_channels", 3.0);
    node.metric_becomes("fantail_connections", 1.0);
}

#[test]
fn a_hundred_channels_published_to_at_full_speed_come_whole_and_each_in_order() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let names = names(100);
    let target = format!("/events?channels={}", names.join(","));
    let mut streams = [node.subscribe(&target), node.subscribe(&target), node.subscribe("/events/c50")];
    publish(&redis, &names, 1..=20);
    for stream in &mut streams[..2] {
        let seen = by_channel(&stream.take(2000));
        assert_eq!(seen.len(), 100);
        seen.iter().for_each(|(place, counts)| assert_eq!(*counts, (1..=20).collect::<Vec<_>>(), "c{place}"));
    }
    assert_eq!(by_channel(&streams[2].take(20))[&50], (1..=20).collect::<Vec<_>>());
}
