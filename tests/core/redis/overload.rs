//! A Redis that is slow or full: the node stays bounded, tells of it, and recovers by itself.

use super::*;
use crate::support::node::Node;

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_server_is_noticed_and_found_again() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    let mut after = Position::ZERO;
    assert!(read(&node, "a", &mut after).await.is_empty());
    server.command(&["CLIENT", "PAUSE", "4000", "ALL"]);
    linked(&node, Link::Down, NOTICED).await;
    linked(&node, Link::Up, PATIENCE).await;
    told(&node, |pending| pending.doubt).await;
    add(&server, "a", "1");
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_refuses_publishers_and_serves_readers() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    add(&server, "a", "1");
    server.pipeline(&[&["CONFIG", "SET", "maxmemory", "1"]]);
    let publication = Publication::new(channel("a"), vec![("data".into(), "x".into())]);
    let refused = node.append(vec![publication]).await.unwrap().remove(0);
    assert!(
        matches!(&refused, Err(BackplaneError::Refused { text: why, .. }) if why.starts_with("OOM")),
        "{refused:?}"
    );
    assert_eq!(read(&node, "a", &mut Position::ZERO.clone()).await, ["1"]);
    assert_eq!(*node.link().borrow(), Link::Up);
}

/// A backlog whose answer is larger than the server lets a client's buffer grow: smaller answers get through.
#[test]
fn a_backlog_of_large_entries_gets_through_a_small_output_buffer() {
    let server = Server::start();
    let node = Node::on(&server, &["--tail-bytes", "64MiB"]);
    let large = "x".repeat(1 << 20);
    let mut stream = node.subscribe("/events/a").begun();
    node.metric_becomes("fantail_subscriptions", 1.0);
    server.command(&["CONFIG", "SET", "client-output-buffer-limit", "normal 6mb 6mb 1"]);
    let add = ["XADD", "sse:a", "*", "data", &large];
    for _ in 0..5 {
        // In one instant, so that they are one backlog.
        let transaction: Vec<&[&str]> =
            [&["MULTI"][..]].into_iter().chain([&add[..]; 8]).chain([&["EXEC"][..]]).collect();
        server.pipeline(&transaction);
    }
    for _ in 0..40 {
        assert_eq!(stream.next().data.len(), large.len());
    }
    node.metric_becomes("fantail_backplane_up", 1.0);
}

#[test]
fn history_that_is_shorter_than_a_reconnect_is_told() {
    let server = Server::start();
    let node = Node::on(&server, &[]);
    let stream = node.subscribe("/events/a").begun();
    assert_eq!(node.metric("fantail_history_seconds"), f64::INFINITY);
    for data in ["1", "2", "3"] {
        server.command(&["XADD", "sse:a", "MAXLEN", "2", "*", "data", data]);
    }
    node.metric_becomes("fantail_history_entries", 2.0);
    node.metric_becomes("fantail_history_short_channels", 1.0);
    assert!(node.metric("fantail_history_seconds") < 25.0);
    let row = &node.status()["most_subscribed"][0];
    assert_eq!((&row["channel"], &row["history_entries"]), (&"a".into(), &2.into()));
    node.logs(&["WARN", "history is short", "channel=a"]);
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_behind_what_is_too_large_is_read_on() {
    let server = Server::start();
    let settings = Settings { max_entry_bytes: 1_000, ..Settings::new(&server.url()) };
    let node = Redis::start(settings, &Handle::current()).unwrap();
    linked(&node, Link::Up, PATIENCE).await;
    let large = "x".repeat(2_000);
    let examined = async || node.examine(vec![ask("a", Position::ZERO)]).await.unwrap().remove(0).unwrap();
    add(&server, "a", &large);
    assert!(examined().await.entries[0].is_too_large());
    // Those behind the first, which is known by now.
    server.pipeline(&[&["XADD", "sse:a", "*", "data", &large], &["XADD", "sse:a", "*", "data", "2"]]);
    told_of(&node, "a").await;
    node.changes().take();
    // Nothing is read on behind a large one, and nobody changes the stream any more.
    assert_eq!(examined().await.entries.len(), 2);
    told_of(&node, "a").await;
    assert_eq!(examined().await.entries.len(), 3);
}
