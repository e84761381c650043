//! Users who may not do everything, and what `fantail check` says of them.

use super::*;
use fantail::backplane::redis::Observe;
use fantail::command::check::report;
use fantail::config::Serve;
use tokio::sync::Semaphore;

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
    let probes = Arc::new(Semaphore::new(0));
    let count = probes.clone();
    let observe: Observe = Arc::new(move |name, _, ok| count.add_permits(usize::from(name == "canary" && ok)));
    let node = observed_node(&format!("redis://u:p@127.0.0.1:{}", server.port()), Follow::Auto, observe);
    linked(&node, Link::Up, PATIENCE).await;
    assert_eq!(node.facts().follow, Some("tracking"));
    let mut after = Position::ZERO;
    assert!(read(&node, "a", &mut after).await.is_empty());
    add(&server, "a", "1");
    told_of(&node, "a").await;
    assert_eq!(read(&node, "a", &mut after).await, ["1"]);
    let refused = node.append(vec![Publication::new(channel("a"), vec![("data".into(), "x".into())])]);
    assert!(
        matches!(&refused.await.unwrap()[0], Err(BackplaneError::Refused { text: why, .. }) if why.starts_with("NOPERM"))
    );
    // It goes on probing without the write, and does not fill the server's ACL log with further tries.
    timeout(PATIENCE, probes.acquire_many(4)).await.expect("probes").unwrap().forget();
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

/// What `fantail check` says of a Redis URL.
pub async fn checked(url: &str, more: &[&str]) -> (String, u8) {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: Serve,
    }
    let line: Line = clap::Parser::try_parse_from([&["check", "--redis", url], more].concat()).unwrap();
    let (report, code) = report(&line.serve, None, &[]).await;
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
