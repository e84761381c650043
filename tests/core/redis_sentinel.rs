//! The Redis backplane behind Sentinel: promotions of every kind, and demoted servers behind a plain address.

use crate::redis::{NOTICED, PATIENCE, add, ask, channel, linked, node, read, told};
use crate::support::node::{eventually, within};
use crate::support::redis::{Redis as Server, Reply};
use crate::support::topology::Sentinels;
use fantail::backplane::redis::{Redis, Settings, survey};
use fantail::backplane::{Backplane, BackplaneError, Link, Publication};
use fantail::config::Follow;
use fantail::position::Position;
use std::time::Duration;

/// The promise is three seconds after the promotion; the machine may be busy.
const AFTER_PROMOTION: Duration = Duration::from_secs(6);

fn served_by(node: &Redis, port: u16) -> bool {
    node.facts().server.is_some_and(|server| server.ends_with(&format!(":{port}"))) && *node.link().borrow() == Link::Up
}

async fn append(node: &Redis, name: &str, data: &str) {
    let fields = vec![("data".into(), data.to_owned().into())];
    node.append(vec![Publication::new(channel(name), fields)]).await.unwrap().remove(0).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_is_replaced() {
    let servers = Sentinels::start();
    let node = node(&servers.url(), Follow::Auto);
    linked(&node, Link::Up, PATIENCE).await;
    let old = servers.primary();
    assert!(served_by(&node, old));
    let mut after = Position::ZERO;
    append(&node, "a", "1").await;
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
    node.changes().take();
    // A sentinel that is away, the first one asked, changes nothing.
    servers.sentinels[0].freeze();
    servers.server(old).stop();
    linked(&node, Link::Down, NOTICED).await;
    let new = servers.promoted(old);
    assert!(within(AFTER_PROMOTION, || served_by(&node, new.port())), "{:?}", node.facts());
    told(&node, |pending| pending.doubt).await;
    add(new, "a", "2");
    assert_eq!(read(&node, "a", &mut after).await, ["2"]);
    append(&node, "a", "3").await;
    assert_eq!(read(&node, "a", &mut after).await, ["3"]);
    servers.sentinels[0].thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_before_a_sentinel_has_named_the_primary() {
    let sentinel = Server::start();
    sentinel.stop();
    let node = node(&format!("redis-sentinel://127.0.0.1:{}/main", sentinel.port()), Follow::Auto);
    let publication = Publication::new(channel("a"), vec![("data".into(), "1".into())]);
    let answer = node.append(vec![publication]).await;
    assert!(matches!(answer, Err(BackplaneError::Down { unsent: true, .. })), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_is_followed_at_once() {
    let servers = Sentinels::start();
    let node = node(&servers.url(), Follow::Auto);
    linked(&node, Link::Up, PATIENCE).await;
    let old = servers.primary();
    assert_eq!(servers.sentinels[1].command(&["SENTINEL", "FAILOVER", "main"]).text(), "OK");
    let new = servers.promoted(old);
    assert!(within(AFTER_PROMOTION, || served_by(&node, new.port())), "{:?}", node.facts());
    let mut after = Position::ZERO;
    append(&node, "a", "1").await;
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
}

/// A sentinel that is cut off goes on naming the old primary, which may live and take writes.
#[tokio::test(flavor = "multi_thread")]
async fn the_sentinel_that_knows_of_the_last_failover_is_believed() {
    let (left, first) = (Server::start(), Server::start());
    let second = Server::start_with(&["--replicaof", "127.0.0.1", &first.port().to_string()]);
    let (stale, knows) = (Server::start_sentinel(left.port(), 1), Server::start_sentinel(first.port(), 1));
    // A failover is refused until the sentinel has found the replica.
    let failover = || knows.command(&["SENTINEL", "FAILOVER", "main"]);
    eventually("a failover", || matches!(failover(), Reply::Text(answer) if answer == "OK"));
    let hosts = [&stale, &knows].map(|sentinel| format!("127.0.0.1:{}", sentinel.port()));
    for hosts in [hosts.join(","), [&hosts[1][..], &hosts[0]].join(",")] {
        let node = node(&format!("redis-sentinel://{hosts}/main"), Follow::Auto);
        assert!(within(AFTER_PROMOTION, || served_by(&node, second.port())), "{hosts}: {:?}", node.facts());
        // At the next connect the stale one may answer first.
        second.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        linked(&node, Link::Down, NOTICED).await;
        linked(&node, Link::Up, PATIENCE).await;
        assert!(served_by(&node, second.port()), "{hosts}: {:?}", node.facts());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_server_behind_a_plain_address_is_left() {
    let (first, second) = (Server::start(), Server::start());
    let node = node(&first.url(), Follow::Auto);
    linked(&node, Link::Up, PATIENCE).await;
    // Redis itself closes the connections of clients only when it has to take over another data set.
    first.command(&["REPLICAOF", "127.0.0.1", &second.port().to_string()]);
    linked(&node, Link::Down, NOTICED).await;
    eventually("a word about it", || node.facts().trouble.is_some_and(|why| why.contains("replica")));
    first.command(&["REPLICAOF", "NO", "ONE"]);
    linked(&node, Link::Up, PATIENCE).await;
    told(&node, |pending| pending.doubt).await;
    assert!(node.read(vec![ask("a", Position::ZERO)]).await.is_ok());
    assert_eq!(node.facts().trouble, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_is_wrong_with_sentinels() {
    let servers = Sentinels::start();
    let found = survey(Settings::new(&servers.url()), true).await.unwrap().unwrap();
    assert!(found.rights.iter().all(|right| right.refused.is_none()), "{found:?}");
    let unknown = servers.url().replace("/main", "/other");
    let error = survey(Settings::new(&unknown), true).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("knows no primary named \"other\""), "{error}");
    let error = survey(Settings::new("redis-sentinel://127.0.0.1:1/main"), true).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("no sentinel says where the primary is: 127.0.0.1:1"), "{error}");
}
