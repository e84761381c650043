//! `fantail check` in each case that is wrong: it says what, and what to do.

use crate::redis::rights::checked;
use crate::redis_versions::counts;
use crate::support::redis::Redis;
use crate::support::relay::Relay;
use crate::support::topology::Cluster;

/// It would not work, and these are said.
async fn wrong(url: &str, more: &[&str], parts: &[&str]) {
    let (said, code) = checked(url, more).await;
    assert_eq!(code, 1, "{url}: {said}");
    for part in parts.iter().chain(&["FAIL  ", "a node would not work"]) {
        assert!(said.contains(part), "{url}: {part:?} is not in\n{said}");
    }
    assert!(!said.contains("secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords() {
    let server = Redis::start_with(&["--requirepass", "right"]);
    wrong(&server.url(), &[], &["NOAUTH", "the server wants a password"]).await;
    let with = |credentials: &str| format!("redis://{credentials}@127.0.0.1:{}", server.port());
    wrong(&with(":secret"), &[], &["WRONGPASS", "wrong user or password"]).await;
    wrong(&with("nobody:secret"), &[], &["WRONGPASS", "wrong user or password"]).await;
    wrong(&server.url(), &["--redis-username", "u"], &["a user needs a password"]).await;
    wrong(&server.url(), &["--redis-password-file", "/nonexistent"], &["--redis-password-file /nonexistent: "]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_that_the_user_lacks_is_named() {
    let server = Redis::start();
    for command in ["xread", "xrange", "xrevrange", "xinfo", "xadd"] {
        let minus = format!("-{command}");
        server.command(&["ACL", "SETUSER", "u", "reset", "on", ">p", "~sse:*", "+@all", &minus]);
        let part = format!("FAIL  rights: {}", command.to_uppercase());
        wrong(&format!("redis://u:p@127.0.0.1:{}", server.port()), &["--publish", "on"], &[&part, "NOPERM"]).await;
    }
    // The keys, all of them.
    server.command(&["ACL", "SETUSER", "u", "reset", "on", ">p", "~other:*", "+@all"]);
    wrong(&format!("redis://u:p@127.0.0.1:{}", server.port()), &[], &["FAIL  rights: XREAD", "NOPERM"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_kind_of_server() {
    let server = Redis::start();
    let cluster = Cluster::start();
    let sentinel = Redis::start_sentinel(server.port(), 1);
    let at = |scheme: &str, port: u16, path: &str| format!("{scheme}://127.0.0.1:{port}{path}");
    wrong(&at("redis-cluster", server.port(), ""), &[], &["not a cluster: use redis://"]).await;
    wrong(&at("redis", cluster.servers[1].port(), ""), &[], &["use redis-cluster://"]).await;
    wrong(&at("redis", sentinel.port(), ""), &[], &["the server is a sentinel: use redis-sentinel://"]).await;
    wrong(&at("redis-sentinel", server.port(), "/main"), &[], &["no sentinel: name the sentinels' port"]).await;
    wrong(&at("redis-sentinel", sentinel.port(), "/other"), &[], &["knows no primary named \"other\""]).await;
    let (said, code) = checked(&at("redis-sentinel", sentinel.port(), "/main"), &[]).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_and_one_without_its_primary() {
    let primary = Redis::start();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    wrong(&replica.url(), &[], &["the server is a replica"]).await;
    primary.stop();
    wrong(&replica.url(), &[], &["the server is a replica"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there() {
    wrong("redis://127.0.0.1:1", &[], &["refused"]).await;
    wrong("redis://nowhere.invalid", &[], &["nowhere.invalid"]).await;
    wrong("redis-cluster://127.0.0.1:1,127.0.0.1:2", &[], &["127.0.0.1:1: ", "127.0.0.1:2: "]).await;
    let server = Redis::start();
    wrong(&format!("{}/99", server.url()), &[], &["DB index is out of range"]).await;
    server.freeze();
    wrong(&server.url(), &["--redis-timeout", "200ms"], &["FAIL  redis: "]).await;
    server.thaw();
}

/// Servers of other versions, played by a relay that changes what this one replies.
#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_too_old() {
    let server = Redis::start();
    let relay = Relay::start(server.port());
    // 6.2 does not count entries, whatever version it tells.
    relay.spoil(|name, _| {
        (name == "XSETID").then(|| b"-ERR wrong number of arguments for 'xsetid' command\r\n".to_vec())
    });
    let (said, code) = checked(&relay.url(), &[]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("warn  gaps: before Redis 7.0"), "{said}");
    // 5.0 has no RESP3, and so no tracking.
    relay.spoil(|name, _| (name == "HELLO").then(|| b"-ERR unknown command `HELLO`, with args\r\n".to_vec()));
    let (said, code) = checked(&relay.url(), &[]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("warn  follow: block"), "{said}");
    wrong(&relay.url(), &["--follow", "tracking"], &["HELLO"]).await;
    // 4.0 has no streams.
    relay.spoil(|name, _| name.starts_with('X').then(|| format!("-ERR unknown command '{name}'\r\n").into_bytes()));
    wrong(&relay.url(), &[], &["FAIL  rights: XREAD", "unknown command"]).await;
    relay.heal();
    let (said, code) = checked(&relay.url(), &[]).await;
    assert!(code == 0 && said.contains("warn  gaps") != counts(&server), "{said}");
}

/// Stand-ins for Redis, of which applications' tests make use: they lack commands, or have words of their own for that.
#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_no_redis() {
    let server = Redis::start();
    let relay = Relay::start(server.port());
    for words in ["ERR unknown command `XSETID`", "Unsupported operation: xsetid"] {
        let reply = format!("-{words}\r\n").into_bytes();
        relay.spoil(move |name, _| ["XSETID", "XCFGSET"].contains(&name).then(|| reply.clone()));
        let (said, code) = checked(&relay.url(), &["--publish", "on"]).await;
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("warn  gaps: the server does not know XSETID"), "{words}: {said}");
        assert!(said.contains("ok    once: Idempotency-Key is answered 501 not_supported"), "{words}: {said}");
    }
    // One that tells nothing of streams is of no use.
    relay.spoil(|name, _| (name == "XINFO").then(|| b"-Unsupported operation: xinfo\r\n".to_vec()));
    wrong(&relay.url(), &[], &["FAIL  rights: XINFO STREAM, for telling gaps: Unsupported operation"]).await;
}

/// KeyDB, where two servers take what is appended and pass it on to each other.
#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_are_both_written_to() {
    let server = Redis::start();
    let relay = Relay::start(server.port());
    relay.spoil(|_, reply| {
        let text = String::from_utf8_lossy(reply);
        // As long as it was, for the length stands before it.
        let (before, after) = text.split_once("role:master")?;
        let rest = after.strip_suffix("\r\n")?;
        let shorter = rest.len() - ("active-replica".len() - "master".len());
        Some(format!("{before}role:active-replica{}\r\n", &rest[..shorter]).into_bytes())
    });
    let (said, code) = checked(&relay.url(), &[]).await;
    assert!(code == 0 && relay.spoilt() > 0, "{said}");
    assert!(said.contains("warn  active-replica: on: streams that both sides append to lose events"), "{said}");
}
