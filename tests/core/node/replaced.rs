//! Ids that are used again: whoever is connected is told of each new life of a stream, and gets all of it.

use super::{add, add_at};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use serde_json::json;

/// Subscribers of a node in each way of following, of one channel and of several.
fn everybody(redis: &Redis) -> (Vec<Node>, Vec<Stream>) {
    let nodes = vec![Node::on(redis, &[]), Node::on(redis, &["--follow", "block"])];
    let mut streams: Vec<Stream> = nodes.iter().map(|node| node.subscribe("/events/a").begun()).collect();
    streams.extend(nodes.iter().map(|node| node.subscribe("/events?channels=a,b").begun()));
    (nodes, streams)
}

/// In one transaction.
fn at_once(redis: &Redis, commands: &[&str]) {
    let words: Vec<Vec<&str>> = commands.iter().map(|command| command.split(' ').collect()).collect();
    let mut all: Vec<&[&str]> = vec![&["MULTI"]];
    all.extend(words.iter().map(|words| &words[..]));
    all.push(&["EXEC"]);
    redis.pipeline(&all);
}

/// A reset whose next event is `at`, then these numbers, then what is added.
fn expect(redis: &Redis, streams: &mut [Stream], at: &str, numbers: &[u64]) {
    for stream in streams.iter_mut() {
        let told = stream.gap();
        assert_eq!((&told["reason"], &told["continues_at"]), (&json!("reset"), &json!(at)), "{told}");
        assert_eq!(stream.numbers(numbers.len()), numbers);
    }
    add(redis, "a", [777]);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [777], "nothing more, and nothing twice"));
}

#[test]
fn a_life_under_the_same_ids_is_told_and_comes_whole() {
    let redis = Redis::start();
    let (_nodes, mut streams) = everybody(&redis);
    for life in [1, 2] {
        let ids = 1..=5;
        let adds: Vec<String> = ids.map(|n| format!("XADD sse:a {n}-0 data {life}{n}")).collect();
        let mut commands = vec!["DEL sse:a"];
        commands.extend(adds.iter().map(String::as_str));
        at_once(&redis, &commands);
        for stream in &mut streams {
            if life == 2 {
                let told = stream.gap();
                assert_eq!((&told["reason"], &told["continues_at"]), (&json!("reset"), &json!("1-0")), "{told}");
            }
            assert_eq!(stream.numbers(5), (1..=5).map(|n| 10 * life + n).collect::<Vec<_>>());
        }
    }
}

#[test]
fn the_newest_known_id_is_another_entry() {
    for (commands, at, numbers) in [
        (&["DEL sse:a", "XADD sse:a 9-1 data 11", "XADD sse:a 9-9 data 12"][..], "9-1", &[11, 12][..]),
        (
            &["DEL sse:a", "XADD sse:a 9-5 data 11", "XADD sse:a 9-9 data 12", "XADD sse:a 9-12 data 13"],
            "9-5",
            &[11, 12, 13],
        ),
        (&["XTRIM sse:a MAXLEN 0", "XSETID sse:a 9-1", "XADD sse:a 9-9 data 11"], "9-9", &[11]),
        (&["DEL sse:a", "XADD sse:a 9-9 data 2"], "9-9", &[]),
    ] {
        let redis = Redis::start();
        let (_nodes, mut streams) = everybody(&redis);
        add_at(&redis, "a", "9-1", 1);
        add_at(&redis, "a", "9-9", 2);
        streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(2), [1, 2]));
        if numbers.is_empty() {
            // The same entry: all that differs is the count.
            at_once(&redis, commands);
            for stream in &mut streams {
                assert_eq!(stream.gap()["reason"], "reset");
            }
            continue;
        }
        at_once(&redis, commands);
        expect(&redis, &mut streams, at, numbers);
    }
}

#[test]
fn another_stream_in_its_place_comes_whole_smaller_ids_included() {
    for replace in [&["RENAME sse:rebuilt sse:a"][..], &["COPY sse:rebuilt sse:a REPLACE"]] {
        let redis = Redis::start();
        add_at(&redis, "a", "9-1", 1);
        let (_nodes, mut streams) = everybody(&redis);
        add_at(&redis, "rebuilt", "3-1", 31);
        add_at(&redis, "rebuilt", "3-2", 32);
        at_once(&redis, replace);
        expect(&redis, &mut streams, "3-1", &[31, 32]);
    }
}

#[test]
fn a_stream_that_goes_away_and_comes_back_is_not_repeated() {
    let redis = Redis::start();
    let (_nodes, mut streams) = everybody(&redis);
    (1..=3).for_each(|n| add_at(&redis, "a", &format!("{n}-0"), n));
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(3), [1, 2, 3]));
    redis.command(&["RENAME", "sse:a", "sse:away"]);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.gap()["reason"], "missing"));
    at_once(&redis, &["XADD sse:away 4-0 data 4", "RENAME sse:away sse:a"]);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [4]));
    add(&redis, "a", [5]);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [5]));
}

/// A subscriber that has had 3 to 5 of a stream, of which `sse:older` is a copy with 1 to 4.
fn behind_an_older_copy() -> (Redis, Node, Stream) {
    let redis = Redis::start();
    (1..=4).for_each(|n| add_at(&redis, "a", &format!("{n}-0"), n));
    redis.command(&["COPY", "sse:a", "sse:older"]);
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "2"]);
    let node = Node::on(&redis, &[]);
    let mut stream = node.subscribe("/events/a?since=earliest");
    assert_eq!(stream.numbers(2), [3, 4]);
    add_at(&redis, "a", "5-0", 5);
    assert_eq!(stream.numbers(1), [5]);
    (redis, node, stream)
}

#[test]
fn an_older_copy_has_no_hole_for_who_comes_later() {
    let (redis, node, mut stream) = behind_an_older_copy();
    at_once(&redis, &["RENAME sse:older sse:a", "XADD sse:a 6-0 data 6"]);
    let told = stream.gap();
    assert_eq!((&told["reason"], &told["continues_at"]), (&json!("reset"), &json!("1-0")), "{told}");
    assert_eq!(stream.numbers(3), [1, 2, 6], "what it has had is not repeated");
    assert_eq!(node.resume("/events/a", "1-0").numbers(4), [2, 3, 4, 6], "nothing is passed over");
}

#[test]
fn an_older_copy_is_not_repeated_by_what_follows() {
    let (redis, _node, mut stream) = behind_an_older_copy();
    redis.command(&["RENAME", "sse:older", "sse:a"]);
    assert_eq!(stream.gap()["reason"], "reset");
    assert_eq!(stream.numbers(2), [1, 2]);
    add(&redis, "a", [6]);
    assert_eq!(stream.numbers(1), [6]);
}
