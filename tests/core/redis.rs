//! The Redis backplane against real servers: what is particular to Redis and to losing it.

use crate::support::redis::{Redis as Server, Reply};
use bytes::Bytes;
use fantail::backplane::redis::{Observe, Redis, Settings};
use fantail::backplane::{Ask, Backplane, BackplaneError, Link, Pending, Publication, Span, Toward};
use fantail::channel::Channel;
use fantail::command::check::report;
use fantail::config::{Follow, Serve};
use fantail::position::Position;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Far more than anything here takes; what is bounded by promise has its own limit.
const PATIENCE: Duration = Duration::from_secs(20);
/// How soon a lost server must be known.
const NOTICED: Duration = Duration::from_secs(3);

fn node(url: &str, follow: Follow) -> Arc<Redis> {
    observed_node(url, follow, Arc::new(|_, _, _| {}))
}

fn observed_node(url: &str, follow: Follow, observe: Observe) -> Arc<Redis> {
    let settings = Settings { url: url.into(), key_prefix: "sse:".into(), follow, publish_maxlen: 1000, observe };
    Redis::start(settings, &Handle::current()).unwrap()
}

async fn linked(node: &Redis, expected: Link, within: Duration) {
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
async fn told(node: &Redis, fits: impl Fn(&Pending) -> bool) {
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

async fn told_of(node: &Redis, channel: &str) {
    told(node, |pending| pending.channels.iter().any(|c| c.as_str() == channel)).await;
}

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn ask(name: &str, after: Position) -> Ask {
    Ask { channel: channel(name), after, count: 10 }
}

/// Reads one channel, says so as the follower does, and gives the `data` fields.
async fn read(node: &Redis, name: &str, after: &mut Position) -> Vec<String> {
    let mut answers = node.read(vec![ask(name, *after)]).await.unwrap();
    let entries = answers.pop().unwrap().unwrap();
    if let Some(last) = entries.last() {
        *after = last.position;
    }
    node.followed(&channel(name), *after);
    entries.iter().map(|e| String::from_utf8_lossy(&e.fields[0].1).into_owned()).collect()
}

fn add(server: &Server, name: &str, data: &str) {
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
async fn a_restart_costs_a_doubt_and_nothing_else() {
    let server = Server::start_persistent();
    let node = connected(&server, Follow::Auto).await;
    let mut after = Position::ZERO;
    add(&server, "a", "1");
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
    server.stop();
    linked(&node, Link::Down, NOTICED).await;
    assert!(matches!(node.read(vec![ask("a", after)]).await, Err(BackplaneError::Down(_))));
    let history = node.history(vec![Span {
        channel: channel("a"),
        oldest: Position::ZERO,
        newest: Position::MAX,
        count: 1,
        toward: Toward::Newest,
    }]);
    assert!(matches!(history.await, Err(BackplaneError::Down(_))));
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
        linked(&node, Link::Up, PATIENCE).await;
        assert_eq!(node.facts().reconnects, round);
        assert!(read(&node, "a", &mut after).await.is_empty());
        let data = round.to_string();
        add(&server, "a", &data);
        told_of(&node, "a").await;
        assert_eq!(read(&node, "a", &mut after).await, [data]);
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
    assert!(matches!(read, Err(BackplaneError::Down(_))), "{read:?}");
    linked(&node, Link::Down, NOTICED).await;
    server.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_server_is_doubted_though_the_connection_lives() {
    let server = Server::start();
    let node = connected(&server, Follow::Auto).await;
    let mut after = Position::ZERO;
    for flush in [&["FLUSHALL"][..], &["FLUSHDB"]] {
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
            Err(BackplaneError::Refused(why)) => assert!([3, 4, 31].contains(&i) && why.starts_with("WRONGTYPE")),
            Ok(entries) => assert_eq!(entries.len(), usize::from(i == 5), "c{i}"),
            other => panic!("c{i}: {other:?}"),
        }
    }
    let states = node.inspect(vec![channel("c3"), channel("c5"), channel("c6")]).await.unwrap();
    assert!(matches!(&states[0], Err(BackplaneError::Refused(_))));
    assert_eq!(states[1].as_ref().unwrap().as_ref().unwrap().length, 1);
    assert_eq!(states[2].as_ref().unwrap(), &None);
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
    let publication = |name: &str, data: String| Publication {
        channel: channel(name),
        fields: vec![("data".into(), data.into()), ("data".into(), Bytes::from_static(b"\xff\r\n"))],
    };
    let mut publications: Vec<_> = (0..3000).map(|i| publication("a", i.to_string())).collect();
    publications.push(publication("bad", "x".into()));
    let answers = node.append(publications).await.unwrap();
    let ids: Vec<_> = answers[..3000].iter().map(|answer| *answer.as_ref().unwrap()).collect();
    assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(matches!(&answers[3000], Err(BackplaneError::Refused(why)) if why.starts_with("WRONGTYPE")));
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

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_track_it_blocks() {
    let server = Server::start();
    server.command(&["ACL", "SETUSER", "u", "on", ">p", "~sse:*", "+@all", "-client|tracking", "-client|unblock"]);
    let url = format!("redis://u:p@127.0.0.1:{}", server.port());
    let node = node(&url, Follow::Auto);
    linked(&node, Link::Up, PATIENCE).await;
    assert_eq!(node.facts().follow, Some("block"));
    assert!(!node.facts().name.contains("u:p"));
    let mut after = Position::ZERO;
    for name in ["a", "b"] {
        assert!(read(&node, name, &mut Position::ZERO.clone()).await.is_empty());
    }
    add(&server, "a", "1");
    told_of(&node, "a").await;
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_only_read_follows_by_tracking() {
    let server = Server::start();
    let rights = ["+xread", "+xrange", "+xrevrange", "+xinfo", "+client", "+hello", "+ping"];
    server.command(&[&["ACL", "SETUSER", "u", "on", ">p", "%R~sse:*"][..], &rights].concat());
    let beats = Arc::new(Semaphore::new(0));
    let count = beats.clone();
    let observe: Observe = Arc::new(move |name, _, ok| count.add_permits(usize::from(name == "canary" && ok)));
    let node = observed_node(&format!("redis://u:p@127.0.0.1:{}", server.port()), Follow::Auto, observe);
    linked(&node, Link::Up, PATIENCE).await;
    assert_eq!(node.facts().follow, Some("tracking"));
    let mut after = Position::ZERO;
    assert!(read(&node, "a", &mut after).await.is_empty());
    add(&server, "a", "1");
    told_of(&node, "a").await;
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
    let refused = node.append(vec![Publication { channel: channel("a"), fields: vec![("data".into(), "x".into())] }]);
    assert!(matches!(&refused.await.unwrap()[0], Err(BackplaneError::Refused(why)) if why.starts_with("NOPERM")));
    // It beats on without the write, and does not fill the server's ACL log with further tries.
    timeout(PATIENCE, beats.acquire_many(4)).await.expect("beats").unwrap().forget();
    let tried = server.command(&["ACL", "LOG"]);
    let sets: Vec<_> = tried.list().iter().map(Reply::list).filter(|e| e[7].text() == "set").collect();
    assert_eq!(sets.iter().map(|e| e[1].number()).sum::<i64>(), 1, "{tried:?}");
    assert_eq!((node.facts().reconnects, *node.link().borrow()), (0, Link::Up));
    server.freeze();
    linked(&node, Link::Down, NOTICED).await;
    server.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_keeps_the_link_down() {
    let server = Server::start_with(&["--requirepass", "right"]);
    let bad = node(&format!("redis://:wrong@127.0.0.1:{}", server.port()), Follow::Auto);
    let good = node(&format!("redis://:right@127.0.0.1:{}", server.port()), Follow::Auto);
    linked(&good, Link::Up, PATIENCE).await;
    assert_eq!(*bad.link().borrow(), Link::Down);
    assert!(bad.read(vec![ask("a", Position::ZERO)]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_unix_socket_and_another_database() {
    let server = Server::start();
    let node = node(&format!("unix:{}?db=3", server.socket().display()), Follow::Auto);
    linked(&node, Link::Up, PATIENCE).await;
    let publication = Publication { channel: channel("a"), fields: vec![("data".into(), "1".into())] };
    let id = node.append(vec![publication]).await.unwrap().pop().unwrap().unwrap();
    let replies = server.pipeline(&[&["SELECT", "3"], &["XRANGE", "sse:a", "-", "+"]]);
    assert_eq!(replies[1].list()[0].list()[0].text(), id.to_string());
}

/// What `fantail check` says of a Redis URL.
async fn checked(url: &str, more: &[&str]) -> (String, u8) {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: Serve,
    }
    let line: Line = clap::Parser::try_parse_from([&["check", "--redis", url], more].concat()).unwrap();
    let (report, code) = report(&line.serve).await;
    (report.lines().join("\n"), code)
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_what_is_missing() {
    let server = Server::start();
    let (said, code) = checked(&server.url(), &["--publish", "on"]).await;
    assert_eq!(code, 0, "{said}");
    for line in ["ok    follow: tracking", "ok    rights: every command is allowed", "a node would work"] {
        assert!(said.lines().any(|said| said == line), "{line}\n{said}");
    }
    // Nothing is left in the server; the keys it needs expire.
    server.command(&["ACL", "SETUSER", "u", "on", ">p", "~sse:*", "+@all", "-client|tracking", "-xadd", "-xrevrange"]);
    let url = format!("redis://u:p@127.0.0.1:{}", server.port());
    let (said, code) = checked(&url, &["--publish", "on"]).await;
    assert_eq!(code, 1, "{said}");
    for start in [
        "warn  follow: block",
        "warn  rights: CLIENT TRACKING, for following by tracking: NOPERM",
        "FAIL  rights: XREVRANGE, for reading history: NOPERM",
        "FAIL  rights: XADD, for publishing: NOPERM",
        "a node would not work",
    ] {
        assert!(said.lines().any(|said| said.starts_with(start)), "{start}\n{said}");
    }
    assert!(!said.contains("u:p"));
    // XADD is no concern of a node that does not publish.
    server.command(&["ACL", "SETUSER", "u", "+xrevrange"]);
    let (said, code) = checked(&url, &[]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(server.command(&["EXISTS", "sse:a"]).number(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_fails_where_tracking_is_asked_for_and_refused() {
    let server = Server::start();
    server.command(&["ACL", "SETUSER", "u", "on", ">p", "~sse:*", "+@all", "-client|tracking"]);
    let url = format!("redis://u:p@127.0.0.1:{}", server.port());
    let (said, code) = checked(&url, &["--follow", "tracking"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the server refuses tracking: NOPERM"), "{said}");
    let node = node(&url, Follow::Tracking);
    let mut link = node.link();
    let up = timeout(Duration::from_millis(500), link.wait_for(|link| *link == Link::Up)).await;
    assert!(up.is_err(), "no follow mode, no link");
}
