//! What cannot be delivered is announced: once, with the right reason, in the right place.

use super::{add, add_at};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use serde_json::{Value, json};

/// A channel with events 1 to 6 under the ids `10-0` to `60-0`.
fn six(redis: &Redis, channel: &str) {
    (1..=6).for_each(|n| add_at(redis, channel, &format!("{n}0-0"), n));
}

/// The gap, then these numbers, then nothing before the next event.
fn expect(redis: &Redis, mut stream: Stream, gap: Value, then: &[u64]) {
    assert_eq!(stream.gap(), gap);
    assert_eq!(stream.numbers(then.len()), then);
    let channel = gap["channel"].as_str().expect("a channel");
    add(redis, channel, [777]);
    assert_eq!(stream.numbers(1), [777], "one gap, and nothing twice");
}

#[test]
fn trimmed_history_is_told_with_what_follows() {
    let redis = Redis::start();
    let (cold, warm) = (Node::on(&redis, &[]), Node::on(&redis, &[]));
    six(&redis, "a");
    assert_eq!(warm.subscribe("/events/a?since=earliest").numbers(6), [1, 2, 3, 4, 5, 6]);
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "2"]);
    let stream = cold.resume("/events/a", "20-0");
    assert_eq!(stream.head.status, 200);
    let gap = json!({"channel": "a", "reason": "trimmed", "resume_from": "20-0", "continues_at": "50-0", "lost": null});
    expect(&redis, stream, gap, &[5, 6]);
    cold.metric_becomes("fantail_gaps_total{reason=\"trimmed\"}", 1.0);
    cold.logs(&["gap announced", "trimmed"]);
    // A node that still has it in memory has nothing to announce.
    assert_eq!(warm.resume("/events/a", "20-0").numbers(4), [3, 4, 5, 6]);
    // At the border nothing was lost: the entry itself is gone, what follows it is not.
    let mut border = cold.resume("/events/a", "50-0");
    assert_eq!(border.numbers(2), [6, 777]);
}

#[test]
fn a_stream_trimmed_to_nothing_and_one_that_was_deleted() {
    let redis = Redis::start();
    let (node, other) = (Node::on(&redis, &[]), Node::on(&redis, &[]));
    six(&redis, "a");
    six(&redis, "b");
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "0"]);
    redis.command(&["DEL", "sse:b"]);
    // Nothing was lost by who had it all.
    let mut up_to_date = other.resume("/events/a", "60-0");
    for (channel, reason) in [("a", "trimmed"), ("b", "missing")] {
        let mut stream = node.resume(&format!("/events/{channel}"), "20-0");
        let told = stream.gap();
        assert_eq!((&told["reason"], &told["resume_from"]), (&json!(reason), &json!("20-0")), "{told}");
        assert_eq!((&told["channel"], &told["lost"]), (&json!(channel), &json!(null)), "{told}");
        add(&redis, channel, [777]);
        assert_eq!(stream.numbers(1), [777]);
    }
    assert_eq!(up_to_date.numbers(1), [777]);
}

#[test]
fn a_stream_made_anew_is_a_reset() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    for number in 1..=3 {
        add_at(&redis, "a", &format!("{number}-0"), number);
    }
    let mut stream = node.resume("/events/a", "50-0");
    let told = stream.gap();
    assert_eq!((&told["reason"], &told["resume_from"], &told["lost"]), (&json!("reset"), &json!("50-0"), &json!(null)));
    assert_eq!(told["continues_at"], "3-0");
    add_at(&redis, "a", "4-0", 4);
    assert_eq!(stream.numbers(1), [4]);
    node.metric_becomes("fantail_gaps_total{reason=\"reset\"}", 1.0);
}

#[test]
fn an_id_that_is_not_ours_gets_the_stream_and_a_reset() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let id = add(&redis, "a", [1]).remove(0);
    for foreign in ["42", "abc", "a=b=c", "<script>", "x, y", &"9".repeat(3000)] {
        let mut stream = node.resume("/events/a?since=earliest", foreign).begun();
        let expected =
            json!({"channel": "a", "reason": "reset", "resume_from": null, "continues_at": id, "lost": null});
        assert_eq!(stream.gap(), expected, "{foreign}");
        assert_eq!(stream.last_event_id(), id);
    }
    let encoded = "/events/a?lastEventId=%00%ff";
    let stream = node.subscribe(encoded);
    expect(
        &redis,
        stream,
        json!({"channel": "a", "reason": "reset", "resume_from": null, "continues_at": id, "lost": null}),
        &[],
    );
}

#[test]
fn of_several_channels_only_those_with_a_loss_are_named() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    six(&redis, "a");
    six(&redis, "b");
    redis.command(&["XTRIM", "sse:b", "MAXLEN", "1"]);
    let mut stream = node.resume("/events?channels=a,b,c", "a=50-0,b=10-0,c=0-0");
    let told = stream.gap();
    assert_eq!(
        (&told["channel"], &told["reason"], &told["continues_at"]),
        (&json!("b"), &json!("trimmed"), &json!("60-0"))
    );
    let mut seen: Vec<String> = stream.take(2).into_iter().map(|m| m.id).collect();
    seen.sort();
    assert_eq!(seen.len(), 2);
    add(&redis, "c", [777]);
    let last = stream.next();
    assert_eq!(last.data, "777");
    assert!(last.id.starts_with("a=60-0,b=60-0,c="), "{}", last.id);
}

#[test]
fn a_stream_deleted_and_made_anew_under_live_subscribers_is_told_to_each_once() {
    let redis = Redis::start();
    let nodes = [Node::on(&redis, &[]), Node::on(&redis, &["--follow", "block"])];
    let mut streams: Vec<Stream> = nodes.iter().map(|node| node.subscribe("/events/a").begun()).collect();
    streams.extend(nodes.iter().map(|node| node.subscribe("/events?channels=a,b").begun()));
    add_at(&redis, "a", "900-0", 1);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [1]));
    redis.pipeline(&[
        &["DEL", "sse:a"],
        &["XADD", "sse:a", "5-0", "data", "2"],
        &["XADD", "sse:a", "6-0", "data", "3"],
    ]);
    for stream in &mut streams {
        let told = stream.gap();
        assert!(told["reason"] == "reset" || told["reason"] == "missing", "{told}");
        assert_eq!((&told["channel"], &told["resume_from"]), (&json!("a"), &json!("900-0")));
    }
    // All of the new stream comes after the gap.
    add_at(&redis, "a", "7-0", 4);
    for stream in &mut streams {
        let mut numbers = Vec::new();
        while numbers.last() != Some(&4) {
            numbers.extend(stream.numbers(1));
        }
        assert_eq!(numbers, [2, 3, 4]);
    }
}

#[test]
fn who_had_nothing_of_a_stream_is_told_how_much_was_trimmed() {
    let redis = Redis::start();
    let (one, cold) = (Node::on(&redis, &[]), Node::on(&redis, &[]));
    let nothing = one.subscribe("/events/a").begun().last_event_id();
    six(&redis, "a");
    let warm = Node::on(&redis, &[]);
    assert_eq!(warm.subscribe("/events/a?since=earliest").numbers(6), [1, 2, 3, 4, 5, 6]);
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "2"]);
    // A node that has all of it in memory has nothing to announce.
    assert_eq!(warm.resume("/events/a", &nothing).numbers(6), [1, 2, 3, 4, 5, 6]);
    let gap = json!({"channel": "a", "reason": "trimmed", "resume_from": "0-0", "continues_at": "50-0", "lost": 4});
    expect(&redis, cold.resume("/events/a", &nothing), gap, &[5, 6]);
}

#[test]
fn an_entry_that_a_client_had_is_no_loss_when_it_is_deleted() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    six(&redis, "a");
    redis.command(&["XDEL", "sse:a", "20-0", "40-0"]);
    let mut missed = node.resume("/events/a", "20-0");
    assert_eq!((missed.gap()["reason"].as_str(), missed.numbers(3)), (Some("deleted"), vec![3, 5, 6]));
    assert_eq!(node.resume("/events/a", "40-0").numbers(2), [5, 6]);
    let mut live = node.resume("/events/a", "60-0").begun();
    redis.command(&["XDEL", "sse:a", "60-0"]);
    add(&redis, "a", [7]);
    assert_eq!(live.numbers(1), [7]);
    assert_eq!(node.resume("/events/a", "60-0").numbers(1), [7]);
}

/// Who is cut off right behind a gap has no id yet that lies behind it, and is told again.
#[test]
fn what_was_lost_is_told_before_the_id_behind_it() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    six(&redis, "a");
    add(&redis, "b", [1]);
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "2"]);
    for (target, id) in [("/events/a", "20-0"), ("/events?channels=a,b", "a=20-0")] {
        let mut stream = node.resume(target, id);
        let told = stream.next();
        assert_eq!((&told.event[..], &told.id[..]), ("fantail.gap", ""), "{target}");
        stream = stream.begun();
        assert!(stream.last_event_id().contains("0-0"), "{target}");
    }
}
