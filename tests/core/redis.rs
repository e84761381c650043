//! The Redis backplane against real servers: what is particular to Redis and to losing it.

mod faults;
mod overload;
pub mod rights;

use crate::support::redis::{Redis as Server, Reply};
use bytes::Bytes;
use fantail::backplane::redis::{Observe, Redis, Settings};
use fantail::backplane::{Ask, Backplane, BackplaneError, Link, Pending, Publication, Span, Toward};
use fantail::channel::Channel;
use fantail::config::Follow;
use fantail::position::Position;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Far more than anything here takes; what is bounded by promise has its own limit.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How soon a lost server must be known.
pub const NOTICED: Duration = Duration::from_secs(3);

pub fn node(url: &str, follow: Follow) -> Arc<Redis> {
    observed_node(url, follow, Arc::new(|_, _, _| {}))
}

fn observed_node(url: &str, follow: Follow, observe: Observe) -> Arc<Redis> {
    let settings = Settings { follow, publish_maxlen: 1000, observe, ..Settings::new(url) };
    Redis::start(settings, &Handle::current()).unwrap()
}

pub async fn linked(node: &Redis, expected: Link, within: Duration) {
    let mut link = node.link();
    let waited = timeout(within, link.wait_for(|link| *link == expected)).await;
    waited.unwrap_or_else(|_| panic!("the link is not {expected:?} within {within:?}")).unwrap();
}

/// A node that is connected and has taken the doubt of its first connection.
async fn connected(server: &Server, follow: Follow) -> Arc<Redis> {
    let node = node(&server.url(), follow);
    linked(&node, Link::Up, PATIENCE).await;
    told(&node, |pending| pending.doubt).await;
    node
}

/// Waits until something pending is told that fits.
pub async fn told(node: &Redis, fits: impl Fn(&Pending) -> bool) {
    let wait = async {
        loop {
            node.changes().wait().await;
            if fits(&node.changes().take()) {
                return;
            }
        }
    };
    timeout(PATIENCE, wait).await.expect("the node is told");
}

pub async fn told_of(node: &Redis, channel: &str) {
    told(node, |pending| pending.channels.iter().any(|c| c.as_str() == channel)).await;
}

pub fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

pub fn ask(name: &str, after: Position) -> Ask {
    Ask { channel: channel(name), after, count: 10 }
}

/// Reads one channel, says so as the follower does, and gives the `data` fields.
pub async fn read(node: &Redis, name: &str, after: &mut Position) -> Vec<String> {
    let mut answers = node.read(vec![ask(name, *after)]).await.unwrap();
    let entries = answers.pop().unwrap().unwrap();
    if let Some(last) = entries.last() {
        *after = last.position;
    }
    node.followed(&channel(name), *after);
    entries.iter().map(|e| String::from_utf8_lossy(&e.fields[0].1).into_owned()).collect()
}

pub fn add(server: &Server, name: &str, data: &str) {
    let reply = server.command(&["XADD", &format!("sse:{name}"), "*", "data", data]);
    assert!(matches!(reply, Reply::Text(_)), "{reply:?}");
}

#[test]
fn the_starter_stops_restarts_and_freezes() {
    let redis = Server::start_persistent();
    let id = redis.command(&["XADD", "a", "*", "data", "1"]);
    redis.restart();
    let kept = redis.command(&["XRANGE", "a", "-", "+"]);
    assert_eq!(kept.list()[0].list()[0], id);
    redis.freeze();
    redis.thaw();
    assert_eq!(redis.command(&["PING"]), Reply::Text("PONG".into()));
    redis.stop();
    assert!(redis.try_pipeline(&[&["PING"]]).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn tracking_tells_of_each_change_after_a_read() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    let facts = node.facts();
    assert_eq!((facts.follow, facts.reconnects), (Some("tracking"), 0));
    assert!(facts.version.is_some());
    assert_eq!(facts.name, format!("{}/0", server.url()));
    assert!(facts.clock_offset_ms.abs() < 1000, "one machine, one clock: {}", facts.clock_offset_ms);
    let mut after = Position::ZERO;
    // A stream that is not there yet is told of too.
    assert!(read(&node, "a", &mut after).await.is_empty());
    for data in ["1", "2", "3"] {
        add(&server, "a", data);
        told_of(&node, "a").await;
        assert_eq!(read(&node, "a", &mut after).await, [data]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inspecting_arms_and_keys_of_others_are_ignored() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    assert_eq!(node.inspect(vec![channel("a")]).await.unwrap().pop().unwrap().unwrap(), None);
    add(&server, "a", "1");
    told(&node, |pending| {
        assert!(pending.channels.iter().all(|c| c.as_str() == "a"), "{pending:?}");
        !pending.channels.is_empty()
    })
    .await;
    server.command(&["XADD", "sse:a", "*", "data", "2", "final", "1"]);
    let state = node.inspect(vec![channel("a")]).await.unwrap().pop().unwrap().unwrap().unwrap();
    assert_eq!((state.length, state.added, state.finished), (2, Some(2), true));
    assert!(state.first.unwrap() < state.last);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_key_spoils_only_itself() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    for i in [3, 4, 31] {
        server.command(&["SET", &format!("sse:c{i}"), "no stream"]);
    }
    add(&server, "c5", "5");
    let asks = (0..40).map(|i| ask(&format!("c{i}"), Position::ZERO)).collect();
    let answers = node.read(asks).await.unwrap();
    for (i, answer) in answers.iter().enumerate() {
        match answer {
            Err(BackplaneError::Refused { text: why, .. }) => {
                assert!([3, 4, 31].contains(&i) && why.starts_with("WRONGTYPE"))
            }
            Ok(entries) => assert_eq!(entries.len(), usize::from(i == 5), "c{i}"),
            other => panic!("c{i}: {other:?}"),
        }
    }
    let states = node.inspect(vec![channel("c3"), channel("c5"), channel("c6")]).await.unwrap();
    assert!(matches!(&states[0], Err(BackplaneError::Refused { .. })));
    assert_eq!(states[1].as_ref().unwrap().as_ref().unwrap().length, 1);
    assert_eq!(states[2].as_ref().unwrap(), &None);
    assert_eq!(*node.link().borrow(), Link::Up);
}

#[tokio::test(flavor = "multi_thread")]
async fn examinations_of_present_absent_and_wrong_keys() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    server.command(&["SET", "sse:bad", "no stream"]);
    for data in ["1", "2", "3"] {
        add(&server, "a", data);
    }
    // More than one pipeline's worth, the interesting ones in the second.
    let mut asks: Vec<_> = (0..200).map(|i| ask(&format!("absent{i}"), Position::ZERO)).collect();
    asks.extend([ask("bad", Position::ZERO), Ask { count: 2, ..ask("a", Position::ZERO) }, ask("a", Position::MAX)]);
    let answers = node.examine(asks).await.unwrap();
    for answer in &answers[..200] {
        let examined = answer.as_ref().unwrap();
        assert!(examined.state.is_none() && examined.entries.is_empty());
    }
    assert!(matches!(&answers[200], Err(BackplaneError::Refused { text: why, .. }) if why.starts_with("WRONGTYPE")));
    let (from_zero, from_end) = (answers[201].as_ref().unwrap(), answers[202].as_ref().unwrap());
    assert_eq!((from_zero.entries.len(), from_end.entries.len()), (2, 0));
    assert_eq!(from_zero.state.as_ref().unwrap().length, 3);
    assert_eq!(from_zero.state, from_end.state);
    // They arm, the absent ones too.
    for name in ["a", "absent7"] {
        add(&server, name, "4");
        told_of(&node, name).await;
    }
    assert_eq!(*node.link().borrow(), Link::Up);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_streams_in_one_call() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    let names: Vec<String> = (0..2500).map(|i| format!("c{i}")).collect();
    let keys: Vec<String> = names.iter().map(|name| format!("sse:{name}")).collect();
    let commands: Vec<[&str; 5]> = keys.iter().map(|key| ["XADD", key, "*", "data", key]).collect();
    server.pipeline(&commands.iter().map(|c| &c[..]).collect::<Vec<_>>());
    // Two different counts, in turns.
    let asks = names.iter().enumerate().map(|(i, name)| Ask { count: 1 + i % 2, ..ask(name, Position::ZERO) });
    let answers = node.read(asks.collect()).await.unwrap();
    for (key, answer) in keys.iter().zip(&answers) {
        assert_eq!(answer.as_ref().unwrap()[0].fields, [(Bytes::from("data"), Bytes::from(key.clone()))]);
    }
    let states = node.inspect(names.iter().map(|name| channel(name)).collect()).await.unwrap();
    assert!(states.iter().all(|state| state.as_ref().unwrap().as_ref().unwrap().length == 1));
    // All of them are armed.
    server.pipeline(&commands.iter().map(|c| &c[..]).collect::<Vec<_>>());
    let seen = parking_lot::Mutex::new(std::collections::HashSet::new());
    told(&node, |pending| {
        let mut seen = seen.lock();
        seen.extend(pending.channels.iter().cloned());
        seen.len() == names.len() || pending.doubt
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_oldest_first_from_either_end() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    for id in 1..=5 {
        server.command(&["XADD", "sse:a", &format!("{id}-0"), "data", "x", "data", "y"]);
    }
    let span = |oldest, newest, count, toward| Span {
        channel: channel("a"),
        oldest: Position::new(oldest, 0),
        newest: Position::new(newest, 0),
        count,
        toward,
    };
    let spans = vec![
        span(1, 5, 2, Toward::Newest),
        span(1, 4, 2, Toward::Oldest),
        span(2, 3, 9, Toward::Oldest),
        span(6, 9, 9, Toward::Newest),
        Span { channel: channel("absent"), ..span(0, 9, 9, Toward::Newest) },
    ];
    let answers = node.history(spans).await.unwrap();
    let ids = |i: usize| answers[i].as_ref().unwrap().iter().map(|e| e.position.ms).collect::<Vec<_>>();
    assert_eq!((ids(0), ids(1), ids(2), ids(3), ids(4)), (vec![1, 2], vec![3, 4], vec![2, 3], vec![], vec![]));
    assert_eq!(answers[0].as_ref().unwrap()[0].fields.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn appending_answers_each_in_order_and_trims() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    server.command(&["SET", "sse:bad", "no stream"]);
    let publication = |name: &str, data: String| {
        Publication::new(
            channel(name),
            vec![("data".into(), data.into()), ("data".into(), Bytes::from_static(b"\xff\r\n"))],
        )
    };
    let mut publications: Vec<_> = (0..3000).map(|i| publication("a", i.to_string())).collect();
    publications.push(publication("bad", "x".into()));
    let answers = node.append(publications).await.unwrap();
    let ids: Vec<_> = answers[..3000].iter().map(|answer| *answer.as_ref().unwrap()).collect();
    assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(matches!(&answers[3000], Err(BackplaneError::Refused { text: why, .. }) if why.starts_with("WRONGTYPE")));
    let length = server.command(&["XLEN", "sse:a"]).number();
    assert!((1000..1200).contains(&length), "about 1,000 are kept: {length}");
    let last = node.read(vec![ask("a", ids[2998])]).await.unwrap().pop().unwrap().unwrap();
    assert_eq!(last[0].position, ids[2999]);
    assert_eq!(last[0].fields[1].1.as_ref(), b"\xff\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocking_reads_tell_of_old_and_new_streams() {
    let server = Server::start();
    let node = connected(&server, Follow::Block).await;
    assert_eq!(node.facts().follow, Some("block"));
    let mut after: Vec<Position> = vec![Position::ZERO; 600];
    // More than one group's worth, one after the other: each joins a read that is already waiting.
    for (i, after) in after.iter_mut().enumerate() {
        assert!(read(&node, &format!("c{i}"), after).await.is_empty());
    }
    for round in ["1", "2"] {
        for i in [0, 255, 256, 599] {
            let name = format!("c{i}");
            add(&server, &name, round);
            told_of(&node, &name).await;
            assert_eq!(read(&node, &name, &mut after[i]).await, [round]);
        }
    }
    node.unfollowed(&channel("c0"));
    add(&server, "c0", "3");
    add(&server, "c599", "3");
    told(&node, |pending| {
        assert!(pending.channels.iter().all(|c| c.as_str() == "c599"), "{pending:?}");
        !pending.channels.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_unix_socket_and_another_database() {
    let server = Server::start();
    let node = node(&format!("unix:{}?db=3", server.socket().display()), Follow::Auto);
    linked(&node, Link::Up, PATIENCE).await;
    let publication = Publication::new(channel("a"), vec![("data".into(), "1".into())]);
    let id = node.append(vec![publication]).await.unwrap().pop().unwrap().unwrap();
    let replies = server.pipeline(&[&["SELECT", "3"], &["XRANGE", "sse:a", "-", "+"]]);
    assert_eq!(replies[1].list()[0].list()[0].text(), id.to_string());
}
