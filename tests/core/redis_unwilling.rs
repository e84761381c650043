//! A Redis that answers, but refuses some commands: with a full disk, no memory, or as a replica. What works goes on, what
//! is refused is said by its name, and `fantail check` says beforehand what a node would find.

use crate::redis::rights::checked;
use crate::support::node::{Node, eventually};
use crate::support::program;
use crate::support::redis::{Redis, Reply};
use crate::support::resp_proxy::{Act, RespProxy, error};
use std::sync::{Arc, Mutex};

/// Its snapshots fail, so that it refuses writes, and `PING`, with `MISCONF`.
fn with_a_full_disk() -> Redis {
    let server = Redis::start_with(&["--save", "3600", "1"]);
    server.command(&["XADD", "sse:a", "1-1", "data", "1"]);
    server.command(&["XADD", "sse:a", "1-2", "data", "2"]);
    // A folder in the way of the file: not even root can write it.
    let folder = server.socket().parent().expect("a folder").join("dump.rdb");
    std::fs::create_dir_all(folder.join("full")).expect("a folder");
    eventually("a failed snapshot", || {
        server.command(&["BGSAVE"]);
        server.command(&["PING"]).is_error_of("MISCONF")
    });
    server
}

#[test]
fn with_a_full_disk_history_comes_and_what_is_refused_has_a_name() {
    let server = with_a_full_disk();
    let node = Node::on(&server, &["--publish", "on"]);
    node.metric_becomes("fantail_backplane_up", 1.0);
    let mut resumed = node.resume("/events/a", "1-1");
    assert_eq!(resumed.next().data, "2");
    let page = node.get("/history/a");
    assert_eq!((page.head.status, page.json()["events"].as_array().map(Vec::len)), (200, Some(2)));
    let answer = node.ask("POST", "/events/a", &[], "3");
    assert!(answer.head.status == 502 && answer.text().contains("MISCONF"), "{}", answer.text());
    node.logs(&["WARN", "MISCONF"]);
    node.logs(&["XADD is refused", "MISCONF"]);
    for command in ["SET", "XADD", "HSET"] {
        eventually(&format!("{command} is listed"), || {
            let status = node.status();
            let refused = status["backplane"]["refused"].as_array().expect("a list").clone();
            let said = refused.into_iter().find(|refused| refused["command"] == command);
            said.is_some_and(|said| said["why"].as_str().unwrap_or_default().starts_with("MISCONF"))
        });
    }
    assert!(node.metric("fantail_backplane_refused_total{code=\"MISCONF\"}") >= 2.0);
    server.command(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    assert_eq!(node.ask("POST", "/events/a", &[], "3").head.status, 201);
    eventually("nothing refused", || node.status()["backplane"]["refused"].as_array().is_some_and(Vec::is_empty));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_that_the_disk_is_full() {
    let server = with_a_full_disk();
    let (said, code) = checked(&server.url(), &[]).await;
    assert!(code == 0 && said.contains("warn  rights: SET") && said.contains("MISCONF"), "{said}");
    let (said, code) = checked(&server.url(), &["--publish", "on"]).await;
    assert!(code == 1 && said.contains("FAIL  rights: XADD, for publishing: MISCONF"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_what_keeps_a_node_from_publishing() {
    let server = Redis::start();
    for (setting, value, code) in [("maxmemory", "1", "OOM"), ("min-replicas-to-write", "1", "NOREPLICAS")] {
        let before = server.command(&["CONFIG", "GET", setting]).list()[1].text().to_owned();
        server.command(&["CONFIG", "SET", setting, value]);
        let (said, exit) = checked(&server.url(), &["--publish", "on"]).await;
        assert!(exit == 1 && said.contains(&format!("FAIL  rights: XADD, for publishing: {code}")), "{said}");
        let (said, exit) = checked(&server.url(), &[]).await;
        assert!(exit == 0 && said.contains(code), "{said}");
        server.command(&["CONFIG", "SET", setting, &before]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_known_by_what_it_refuses() {
    let primary = Redis::start();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    let set = ["ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-info", "-role"];
    assert!(matches!(replica.command(&set), Reply::Text(_)));
    let url = format!("redis://u:p@127.0.0.1:{}", replica.port());
    let (said, code) = checked(&url, &[]).await;
    assert!(code == 1 && said.contains("the server is a replica"), "{said}");
    let node = Node::start(&["--redis", &url]);
    node.logs(&["the server is a replica"]);
    assert_eq!(node.metric("fantail_backplane_up"), 0.0);
    // Who may not even try to write cannot know.
    let may_not_write = [&set[..], &["-set"]].concat();
    replica.command(&may_not_write);
    let (said, code) = checked(&url, &[]).await;
    assert!(code == 0 && said.contains("warn  rights: ROLE, for telling a replica from a primary"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_what_a_node_asks() {
    let server = Redis::start();
    let unavailable = |words: &[String]| match words[0].as_str() {
        "XREAD" => error("ERR Command is not available"),
        _ => Act::Pass,
    };
    let proxy = RespProxy::start(server.port(), unavailable);
    for follow in ["auto", "block"] {
        let (said, code) = checked(&proxy.url(), &["--follow", follow]).await;
        assert!(code == 1 && said.contains("FAIL  rights: XREAD, ") && said.contains("is not available"), "{said}");
    }
    // Reads that wait are needed by some alone.
    proxy.decide(|words| match words.iter().any(|word| word == "BLOCK") {
        true => error("ERR not here"),
        false => Act::Pass,
    });
    let (said, code) = checked(&proxy.url(), &["--follow", "block"]).await;
    assert!(code == 1 && said.contains("FAIL  rights: XREAD BLOCK, for following: ERR not here"), "{said}");
    let (said, code) = checked(&proxy.url(), &[]).await;
    assert!(code == 0 && said.contains("warn  rights: XREAD BLOCK, for waiting for busy streams"), "{said}");
    // Several servers behind one address.
    proxy.decide(|words| {
        let keys = words.iter().position(|word| word == "STREAMS").map_or(0, |at| words.len() - at - 1);
        if words[0] == "XREAD" && keys > 2 { error("CROSSSLOT Keys in request") } else { Act::Pass }
    });
    let (said, code) = checked(&proxy.url(), &[]).await;
    assert!(code == 0 && said.contains("warn  rights: XREAD of two keys") && said.contains("CROSSSLOT"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_warns_of_settings_that_harm() {
    let server = Redis::start();
    let (said, _) = checked(&server.url(), &[]).await;
    assert!(!said.contains("warn  maxmemory-policy") && !said.contains("warn  tracking-table"), "{said}");
    for (setting, value, effect) in [
        ("maxmemory-policy", "allkeys-lru", "whole streams are evicted"),
        ("tracking-table-max-keys", "10", "are forgotten and read again"),
        ("maxclients", "12", "a node may want"),
        ("client-output-buffer-limit", "normal 262144 131072 2", "are ended at 131072 bytes"),
    ] {
        server.command(&["CONFIG", "SET", setting, value]);
        let (said, code) = checked(&server.url(), &[]).await;
        let line = said.lines().find(|line| line.starts_with(&format!("warn  {setting}: ")));
        assert!(code == 0 && line.is_some_and(|line| line.contains(effect)), "{said}");
    }
}

#[test]
fn check_and_serve_take_the_same_origins() {
    for origin in ["null", "https://a:b", "https://[x"] {
        for command in ["check", "serve"] {
            let mut program = program::fantail();
            let output = program.args([command, "--cors-origin", origin]).output().expect("the binary");
            assert_eq!(
                output.status.code(),
                Some(2),
                "{command} {origin}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[test]
fn a_server_that_leaves_out_the_first_entry_is_asked_for_it() {
    let redis = Redis::start();
    let told = Arc::new(Mutex::new(String::new()));
    let tell = |length: u64, last: &str, added: u64| {
        *told.lock().expect("no panic") = format!(
            "*8\r\n$6\r\nlength\r\n:{length}\r\n$17\r\nlast-generated-id\r\n$3\r\n{last}\r\n\
             $13\r\nentries-added\r\n:{added}\r\n$20\r\nmax-deleted-entry-id\r\n$3\r\n0-0\r\n"
        );
    };
    let answer = told.clone();
    let proxy = RespProxy::start(redis.port(), move |words| match (words[0].as_str(), words.last()) {
        ("XINFO", Some(key)) if key == "sse:a" => Act::Say(answer.lock().expect("no panic").clone().into_bytes()),
        _ => Act::Pass,
    });
    tell(1, "1-0", 1);
    redis.command(&["XADD", "sse:a", "1-0", "data", "1"]);
    let node = Node::start(&["--redis", &proxy.url()]);
    let mut stream = node.subscribe("/events/a").begun();
    tell(3, "4-0", 4);
    redis.pipeline(&[
        &["MULTI"],
        &["XADD", "sse:a", "2-0", "data", "2"],
        &["XADD", "sse:a", "3-0", "data", "3"],
        &["XADD", "sse:a", "4-0", "data", "4"],
        &["XTRIM", "sse:a", "MAXLEN", "3"],
        &["EXEC"],
    ]);
    assert_eq!(stream.numbers(3), [2, 3, 4]);
}
