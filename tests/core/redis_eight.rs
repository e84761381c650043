//! What Redis 8 added to streams, and what subscribers see of it when producers and workers use it.

use crate::support::node::Node;
use crate::support::redis::{Redis, Reply};
use crate::support::stream::Stream;
use serde_json::{Value, json};

/// Whether the server knows a command, by what it replies to one of a stream that is not there.
fn knows(server: &Redis, words: &[&str]) -> bool {
    let reply = server.command(words);
    let unknown = matches!(&reply, Reply::Error(text) if ["unknown", "syntax", "Invalid stream ID", "wrong number"]
        .iter().any(|part| text.contains(part)));
    if unknown {
        println!("this server does not know {}: nothing to see", words[0]);
    }
    !unknown
}

fn add(server: &Redis, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        server.command(&["XADD", "sse:a", &format!("{n}-0"), "data", &n.to_string()]);
    }
}

/// Streams at two nodes, one of which follows by blocking reads.
fn streams(nodes: &[Node]) -> Vec<Stream> {
    nodes.iter().map(|node| node.subscribe("/events/a").begun()).collect()
}

fn nodes(server: &Redis) -> [Node; 2] {
    [Node::on(server, &[]), Node::on(server, &["--follow", "block"])]
}

#[test]
fn a_repeat_by_a_producers_own_key_is_no_event_and_trims_nothing() {
    let server = Redis::start();
    if !knows(&server, &["XADD", "other", "IDMP", "p", "1", "*", "data", "x"]) {
        return;
    }
    let nodes = nodes(&server);
    let mut streams = streams(&nodes);
    let publish = |key: &str, data: &str, trim: &[&str]| {
        let words = [&["XADD", "sse:a", "IDMP", "p", key][..], trim, &["*", "data", data]].concat();
        server.command(&words).text().to_owned()
    };
    let first = publish("1", "1", &[]);
    assert_eq!(publish("1", "1", &[]), first);
    (2..=6).for_each(|n| drop(publish(&n.to_string(), &n.to_string(), &[])));
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(6), [1, 2, 3, 4, 5, 6], "each once"));
    // A repeat is answered before anything is trimmed.
    assert_eq!(publish("1", "1", &["MAXLEN", "=", "2"]), first);
    assert_eq!(server.command(&["XLEN", "sse:a"]).number(), 6);
    // One whose entry is gone still has its id, and is not published again.
    server.command(&["XDEL", "sse:a", &first]);
    assert_eq!((publish("1", "1", &[]), server.command(&["XLEN", "sse:a"]).number()), (first, 5));
    publish("7", "7", &[]);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [7], "and no gap"));
}

/// `XDELEX` and `XACKDEL` are to subscribers what `XDEL` is.
#[test]
fn what_xdelex_and_xackdel_remove_is_told_as_deleted() {
    for words in [
        &["XDELEX", "sse:a", "KEEPREF", "IDS", "1", "3-0"][..],
        &["XACKDEL", "sse:a", "workers", "DELREF", "IDS", "1", "3-0"],
    ] {
        let server = Redis::start();
        if !knows(&server, words) {
            return;
        }
        server.command(&["XGROUP", "CREATE", "sse:a", "workers", "$", "MKSTREAM"]);
        let nodes = nodes(&server);
        let mut streams = streams(&nodes);
        add(&server, 1..=5);
        server.command(&["XREADGROUP", "GROUP", "workers", "w", "STREAMS", "sse:a", ">"]);
        streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(5), [1, 2, 3, 4, 5]));
        assert_eq!(server.command(words), Reply::List(vec![Reply::Number(1)]), "{words:?}");
        // Who was away learns of it, who has had it does not.
        let cold = Node::on(&server, &[]);
        let mut away = cold.resume("/events/a", "1-0");
        let gap = json!({"channel": "a", "reason": "deleted", "resume_from": "1-0", "continues_at": "2-0", "lost": Value::Null});
        assert_eq!((away.gap(), away.numbers(3)), (gap, vec![2, 4, 5]), "{words:?}");
        add(&server, 6..=6);
        streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [6], "{words:?}"));
    }
}

/// With `ACKED` an entry stays while a group has not done with it, and subscribers get it.
#[test]
fn what_a_group_has_not_done_with_is_not_deleted_by_acked() {
    let server = Redis::start();
    if !knows(&server, &["XDELEX", "sse:a", "ACKED", "IDS", "1", "1-0"]) {
        return;
    }
    server.command(&["XGROUP", "CREATE", "sse:a", "workers", "$", "MKSTREAM"]);
    add(&server, 1..=3);
    server.command(&["XREADGROUP", "GROUP", "workers", "w", "STREAMS", "sse:a", ">"]);
    let delete = || server.command(&["XDELEX", "sse:a", "ACKED", "IDS", "1", "2-0"]);
    assert_eq!(delete(), Reply::List(vec![Reply::Number(2)]), "it stays");
    assert_eq!(Node::on(&server, &[]).resume("/events/a", "1-0").numbers(2), [2, 3]);
    server.command(&["XACK", "sse:a", "workers", "2-0"]);
    assert_eq!(delete(), Reply::List(vec![Reply::Number(1)]), "it goes");
    let cold = Node::on(&server, &[]);
    let mut away = cold.resume("/events/a", "1-0");
    assert_eq!((&away.gap()["reason"], away.numbers(1)), (&json!("deleted"), vec![3]));
}

/// Who reads with a limit of bytes has a part; subscribers have all, for nodes have a limit of their own.
#[test]
fn a_reader_with_a_limit_of_bytes_goes_on_where_it_was() {
    let server = Redis::start();
    if !knows(&server, &["XREAD", "MAXSIZE", "100", "STREAMS", "other", "0-0"]) {
        return;
    }
    let node = Node::on(&server, &[]);
    let data: Vec<String> = (0..5).map(|n| n.to_string().repeat(40_000)).collect();
    for (n, data) in data.iter().enumerate() {
        server.command(&["XADD", "sse:a", &format!("{}-0", n + 1), "data", data]);
    }
    let (mut after, mut reads, mut read) = ("0-0".to_owned(), 0, Vec::new());
    while let Reply::List(streams) = server.command(&["XREAD", "MAXSIZE", "100000", "STREAMS", "sse:a", &after]) {
        let entries = streams[0].list()[1].list();
        assert!(!entries.is_empty(), "at least one, however large");
        for entry in entries {
            after = entry.list()[0].text().to_owned();
            read.push(entry.list()[1].list()[1].text().to_owned());
        }
        reads += 1;
    }
    assert_eq!((reads > 1, &read), (true, &data));
    let mut stream = node.resume("/events/a", "0-0");
    let seen: Vec<String> = (0..5).map(|_| stream.next().data).collect();
    assert_eq!(seen, data);
}
