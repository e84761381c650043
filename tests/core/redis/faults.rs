//! Losing the server in every way: stopped, killed, frozen, flushed.

use super::*;
use fantail::backplane::{Span, Toward};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_costs_a_doubt_and_nothing_else() {
    let server = Server::start_persistent();
    let node = connected(&server, Follow::Auto).await;
    let mut after = Position::ZERO;
    add(&server, "a", "1");
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
    server.stop();
    linked(&node, Link::Down, NOTICED).await;
    assert!(matches!(node.read(vec![ask("a", after)]).await, Err(BackplaneError::Down { .. })));
    let history = node.history(vec![Span {
        channel: channel("a"),
        oldest: Position::ZERO,
        newest: Position::MAX,
        count: 1,
        toward: Toward::Newest,
    }]);
    assert!(matches!(history.await, Err(BackplaneError::Down { .. })));
    server.run();
    add(&server, "a", "2");
    linked(&node, Link::Up, PATIENCE).await;
    told(&node, |pending| pending.doubt).await;
    assert_eq!(read(&node, "a", &mut after).await, ["2"]);
    assert_eq!(node.facts().reconnects, 1);
    add(&server, "a", "3");
    told_of(&node, "a").await;
    assert_eq!(read(&node, "a", &mut after).await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_late_is_found() {
    let server = Server::start();
    server.stop();
    let node = node(&server.url(), Follow::Auto);
    assert_eq!(*node.link().borrow(), Link::Down);
    assert!(node.read(vec![ask("a", Position::ZERO)]).await.is_err());
    server.run();
    linked(&node, Link::Up, PATIENCE).await;
    assert_eq!(node.facts().reconnects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_connection_is_replaced_and_tracks() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    let mut after = Position::ZERO;
    for round in 1..=3 {
        assert!(read(&node, "a", &mut after).await.is_empty());
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        told(&node, |pending| pending.doubt).await;
        // The loss of a connection that only reads may be noticed before that of the live one.
        reconnected(&node, round).await;
        linked(&node, Link::Up, PATIENCE).await;
        assert!(read(&node, "a", &mut after).await.is_empty());
        let data = round.to_string();
        add(&server, "a", &data);
        told_of(&node, "a").await;
        assert_eq!(read(&node, "a", &mut after).await, [data]);
    }
}

async fn reconnected(node: &Arc<Redis>, times: u64) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while node.facts().reconnects < times {
        assert!(std::time::Instant::now() < deadline, "{} of {times} reconnects", node.facts().reconnects);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_noticed_and_found_again() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    let mut after = Position::ZERO;
    assert!(read(&node, "a", &mut after).await.is_empty());
    server.freeze();
    linked(&node, Link::Down, NOTICED).await;
    server.thaw();
    linked(&node, Link::Up, PATIENCE).await;
    told(&node, |pending| pending.doubt).await;
    assert!(read(&node, "a", &mut after).await.is_empty());
    add(&server, "a", "1");
    told_of(&node, "a").await;
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_during_a_freeze_fails_in_time() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    server.freeze();
    let read = timeout(NOTICED, node.read(vec![ask("a", Position::ZERO)])).await.expect("no hanging read");
    assert!(matches!(read, Err(BackplaneError::Down { .. })), "{read:?}");
    linked(&node, Link::Down, NOTICED).await;
    server.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_server_is_doubted_though_the_connection_lives() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    let mut after = Position::ZERO;
    // Each comes right at a heartbeat, at any place of it.
    for round in 0..12 {
        let flush = [&["FLUSHALL"][..], &["FLUSHDB"]][round % 2];
        assert!(read(&node, "a", &mut after).await.is_empty());
        server.command(flush);
        told(&node, |pending| pending.doubt).await;
    }
    assert_eq!((node.facts().reconnects, *node.link().borrow()), (0, Link::Up));
    assert!(read(&node, "a", &mut after).await.is_empty());
    add(&server, "a", "1");
    told_of(&node, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocking_reads_survive_a_restart_and_a_stream_of_another_type() {
    let server = Server::start_persistent();
    let node = connected(&server, Follow::Block).await;
    let (mut a, mut b) = (Position::ZERO, Position::ZERO);
    assert!(read(&node, "a", &mut a).await.is_empty());
    assert!(read(&node, "b", &mut b).await.is_empty());
    server.restart();
    told(&node, |pending| pending.doubt).await;
    linked(&node, Link::Up, PATIENCE).await;
    assert!(read(&node, "a", &mut a).await.is_empty());
    assert!(read(&node, "b", &mut b).await.is_empty());
    add(&server, "a", "1");
    told_of(&node, "a").await;
    assert_eq!(read(&node, "a", &mut a).await, ["1"]);
    server.command(&["SET", "sse:b", "no stream"]);
    // Told of both, the follower finds that one is fine and the other is not.
    told_of(&node, "b").await;
    assert!(node.read(vec![ask("b", b)]).await.unwrap()[0].is_err());
    assert!(read(&node, "a", &mut a).await.is_empty());
    add(&server, "a", "2");
    told_of(&node, "a").await;
    assert_eq!(read(&node, "a", &mut a).await, ["2"]);
}
