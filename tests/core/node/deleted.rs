//! Entries that producers or workers delete: what a client has not had of them is told, what it had is not.

use super::{add, add_at};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use serde_json::{Value, json};

fn gap(from: &str, at: &str, lost: Value) -> Value {
    json!({"channel": "a", "reason": "deleted", "resume_from": from, "continues_at": at, "lost": lost})
}

#[test]
fn what_was_deleted_while_a_client_was_away_is_told() {
    for older in [true, false] {
        let redis = Redis::start();
        if older {
            add_at(&redis, "a", "1-0", 1);
        }
        add_at(&redis, "a", "2-0", 2);
        add_at(&redis, "a", "3-0", 3);
        redis.command(&["XDEL", "sse:a", "2-0", "3-0"]);
        let node = Node::on(&redis, &[]);
        let mut stream = node.resume("/events/a", "2-0");
        let told = stream.gap();
        assert_eq!((&told["reason"], &told["resume_from"]), (&json!("deleted"), &json!("2-0")), "{told}");
        // Of what was had nothing is said.
        let mut other = node.resume("/events/a", "3-0");
        add(&redis, "a", [4]);
        assert_eq!((stream.numbers(1), other.numbers(1)), (vec![4], vec![4]));
    }
}

#[test]
fn whoever_resumes_in_memory_is_told_as_who_made_a_node_read_it() {
    let redis = Redis::start();
    (1..=5).for_each(|n| add_at(&redis, "a", &format!("{n}-0"), n));
    redis.command(&["XDEL", "sse:a", "3-0"]);
    let node = Node::on(&redis, &[]);
    let mut live = node.subscribe("/events/a").begun();
    for _ in 0..2 {
        let mut stream = node.resume("/events/a", "1-0");
        assert_eq!((stream.gap(), stream.numbers(3)), (gap("1-0", "2-0", Value::Null), vec![2, 4, 5]));
        let mut after = node.resume("/events/a", "4-0");
        assert_eq!(after.numbers(1), [5]);
    }
    // What is in memory is delivered, deleted or not.
    add_at(&redis, "a", "6-0", 6);
    add_at(&redis, "a", "7-0", 7);
    assert_eq!(live.numbers(2), [6, 7]);
    redis.command(&["XDEL", "sse:a", "6-0"]);
    assert_eq!(node.resume("/events/a", "5-0").numbers(2), [6, 7]);
}

#[test]
fn what_came_and_went_at_once_is_told_to_who_is_there() {
    let redis = Redis::start();
    let nodes = [Node::on(&redis, &[]), Node::on(&redis, &["--follow", "block"])];
    add_at(&redis, "a", "1-0", 1);
    let mut streams: Vec<Stream> = nodes.iter().map(|node| node.subscribe("/events/a").begun()).collect();
    streams.extend(nodes.iter().map(|node| node.subscribe("/events?channels=a,b").begun()));
    redis.pipeline(&[&["MULTI"], &["XADD", "sse:a", "2-0", "data", "2"], &["XDEL", "sse:a", "2-0"], &["EXEC"]]);
    for stream in &mut streams {
        assert_eq!(stream.gap(), gap("1-0", "1-0", json!(1)));
    }
    redis.pipeline(&[
        &["MULTI"],
        &["XADD", "sse:a", "3-0", "data", "3"],
        &["XADD", "sse:a", "4-0", "data", "4"],
        &["XADD", "sse:a", "5-0", "data", "5"],
        &["XDEL", "sse:a", "3-0", "4-0"],
        &["EXEC"],
    ]);
    for stream in &mut streams {
        let told = stream.gap();
        assert_eq!((&told["reason"], &told["lost"]), (&json!("deleted"), &json!(2)), "{told}");
        assert_eq!(stream.numbers(1), [5]);
    }
    // What they had is deleted: nothing to tell.
    redis.command(&["XDEL", "sse:a", "1-0", "5-0"]);
    add_at(&redis, "a", "6-0", 6);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [6]));
}

#[test]
fn what_comes_and_goes_is_counted_after_a_burst_behind_an_id_that_is_gone() {
    let redis = Redis::start();
    add_at(&redis, "a", "1-0", 1);
    add_at(&redis, "a", "2-0", 2);
    redis.command(&["XDEL", "sse:a", "2-0"]);
    let node = Node::on(&redis, &[]);
    let mut stream = node.subscribe("/events/a").begun();
    // More than one read brings.
    let texts: Vec<(String, String)> = (3..=102).map(|n| (format!("{n}-0"), n.to_string())).collect();
    let burst: Vec<[&str; 5]> =
        texts.iter().map(|(id, n)| ["XADD", "sse:a", id.as_str(), "data", n.as_str()]).collect();
    let mut commands: Vec<&[&str]> = vec![&["MULTI"]];
    commands.extend(burst.iter().map(|words| &words[..]));
    commands.push(&["EXEC"]);
    redis.pipeline(&commands);
    assert_eq!(stream.numbers(100), (3..=102).collect::<Vec<_>>());
    redis.pipeline(&[&["MULTI"], &["XADD", "sse:a", "103-0", "data", "103"], &["XDEL", "sse:a", "103-0"], &["EXEC"]]);
    assert_eq!(stream.gap(), gap("102-0", "102-0", json!(1)));
}

#[test]
fn workers_that_delete_what_they_have_done_are_told_of_once_per_resume() {
    let redis = Redis::start();
    redis.command(&["XGROUP", "CREATE", "sse:a", "workers", "$", "MKSTREAM"]);
    let node = Node::on(&redis, &[]);
    let mut live = node.subscribe("/events/a").begun();
    (1..=5).for_each(|n| add_at(&redis, "a", &format!("{n}-0"), n));
    assert_eq!(live.numbers(5), [1, 2, 3, 4, 5]);
    redis.command(&["XREADGROUP", "GROUP", "workers", "w", "STREAMS", "sse:a", ">"]);
    for n in 1..=4 {
        let id = format!("{n}-0");
        redis.command(&["XACK", "sse:a", "workers", &id]);
        redis.command(&["XDEL", "sse:a", &id]);
    }
    let cold = Node::on(&redis, &[]);
    let mut away = cold.resume("/events/a", "2-0");
    assert_eq!((away.gap()["reason"].clone(), away.numbers(1)), (json!("deleted"), vec![5]));
    assert_eq!(node.resume("/events/a", "2-0").numbers(3), [3, 4, 5], "all is in memory");
    add_at(&redis, "a", "6-0", 6);
    assert_eq!((live.numbers(1), away.numbers(1)), (vec![6], vec![6]));
}

#[test]
fn a_deletion_elsewhere_hides_no_foreign_id() {
    let redis = Redis::start();
    for (id, n) in [("7-0", 1), ("12-0", 2), ("13-0", 3)] {
        add_at(&redis, "a", id, n);
    }
    redis.command(&["XDEL", "sse:a", "13-0"]);
    let told = Node::on(&redis, &[]).resume("/events/a", "10-0").gap();
    assert_eq!(told["reason"], "reset", "{told}");
}
