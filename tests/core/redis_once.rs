//! Publishing once, at Redis: `XADD … IDMP` where the server knows it, 501 where it does not. Run against both by
//! `tests/run versions`.

use crate::redis::rights::checked;
use crate::support::jwt::{Folder, flags, signed};
use crate::support::node::Node;
use crate::support::redis::{Redis, Reply};
use crate::support::topology::Cluster;
use serde_json::json;

/// Whether this server remembers keys: Redis 8.6 and later do.
fn remembers(server: &Redis) -> bool {
    let reply = server.command(&["XCFGSET", "nothing", "IDMP-DURATION", "1"]);
    reply.is_error_of("ERR no such key") || reply.is_error_of("MOVED")
}

fn publish(node: &Node, target: &str, key: &str) -> (u16, String) {
    let answer = node.ask("POST", target, &[("Idempotency-Key", key)], "x");
    let id =
        if answer.head.status == 201 { answer.json()["id"].as_str().expect("an id").to_owned() } else { String::new() };
    (answer.head.status, id)
}

/// A number of what a stream tells of itself.
fn told(server: &Redis, stream: &str, name: &str) -> i64 {
    let reply = server.command(&["XINFO", "STREAM", stream]);
    let at = reply.list().iter().position(|field| *field == Reply::Text(name.into())).expect("a field");
    reply.list()[at + 1].number()
}

#[test]
fn a_repeat_at_any_node_returns_the_first_id_and_publishes_nothing() {
    let server = Redis::start();
    if !remembers(&server) {
        println!("this server is older than 8.6: nothing to see");
        return;
    }
    let nodes = [Node::on(&server, &["--publish", "on"]), Node::on(&server, &["--publish", "on"])];
    let mut stream = nodes[1].subscribe("/events/new").begun();
    let (status, first) = publish(&nodes[0], "/events/new", "k1");
    assert_eq!(status, 201);
    for node in nodes.iter().cycle().take(6) {
        assert_eq!(publish(node, "/events/new", "\"k1\""), (201, first.clone()));
    }
    assert_ne!(publish(&nodes[1], "/events/new", "k2").1, first);
    assert_eq!(server.command(&["XLEN", "sse:new"]).number(), 2);
    assert_eq!((told(&server, "sse:new", "idmp-duration"), told(&server, "sse:new", "idmp-maxsize")), (600, 10_000));
    assert_eq!(told(&server, "sse:new", "groups"), 0, "what made the stream has left nothing");
    assert_eq!(stream.next().id, first);
    assert_eq!(stream.next().data, "x");
    // More keys than a server's default keeps.
    (0..150).for_each(|n| assert_eq!(publish(&nodes[0], "/events/new", &format!("n{n}")).0, 201));
    assert_eq!(publish(&nodes[1], "/events/new", "k1").1, first);
    // A stream that was there, with entries of others.
    server.command(&["XADD", "sse:old", "*", "data", "1"]);
    let (_, old) = publish(&nodes[0], "/events/old", "k1");
    assert_eq!(publish(&nodes[1], "/events/old", "k1").1, old);
    assert_eq!(told(&server, "sse:old", "idmp-duration"), 600);
    // One that goes while nodes take it to be prepared.
    server.command(&["DEL", "sse:old"]);
    let (status, again) = publish(&nodes[0], "/events/old", "k1");
    assert_eq!((status, publish(&nodes[1], "/events/old", "k1").1), (201, again));
    assert_eq!((server.command(&["XLEN", "sse:old"]).number(), told(&server, "sse:old", "idmp-duration")), (1, 600));
}

#[test]
fn lines_of_a_batch_have_keys_of_their_own() {
    let server = Redis::start();
    let node = Node::on(&server, &["--publish", "on"]);
    let line = |channel: &str, key: &str| json!({"channel": channel, "data": "x", "key": key}).to_string();
    let batch = [line("a", "1"), line("b", "1"), line("a", "1"), json!({"channel": "a", "data": "y"}).to_string()];
    let answer = node.ask("POST", "/events", &[], &batch.join("\n"));
    let lengths = || ["sse:a", "sse:b"].map(|key| server.command(&["XLEN", key]).number());
    if !remembers(&server) {
        assert_eq!(answer.head.status, 207);
        let answer = answer.json();
        let refused: Vec<_> =
            answer["errors"].as_array().expect("errors").iter().map(|e| (&e["line"], &e["code"])).collect();
        assert_eq!(json!(refused), json!([[1, "not_supported"], [2, "not_supported"], [3, "not_supported"]]));
        assert_eq!(lengths(), [1, 0], "what has no key is published");
        return;
    }
    assert_eq!((answer.head.status, lengths()), (200, [2, 1]));
    let ids = answer.json()["ids"].clone();
    assert_eq!(ids[0], ids[2]);
    assert_eq!(node.ask("POST", "/events", &[], &batch[..3].join("\n")).json()["ids"], json!([ids[0], ids[1], ids[2]]));
    assert_eq!(lengths(), [2, 1]);
}

#[test]
fn a_cluster_remembers_at_each_of_its_servers() {
    let cluster = Cluster::start();
    if !remembers(&cluster.servers[0]) {
        println!("these servers are older than 8.6: nothing to see");
        return;
    }
    let nodes = [(); 2].map(|()| Node::start(&["--redis", &cluster.url(), "--publish", "on"]));
    let names: Vec<String> = (0..9).map(|n| format!("once.{n}")).collect();
    let batch: Vec<String> =
        names.iter().map(|name| json!({"channel": name, "data": "x", "key": "k"}).to_string()).collect();
    let ids = |node: &Node| {
        let answer = node.ask("POST", "/events", &[], &batch.join("\n"));
        assert_eq!(answer.head.status, 200, "{}", answer.text());
        answer.json()["ids"].clone()
    };
    let first = ids(&nodes[0]);
    assert_eq!([ids(&nodes[1]), ids(&nodes[0])], [first.clone(), first]);
    let length = |name: &String| cluster.of(&format!("sse:{name}")).command(&["XLEN", &format!("sse:{name}")]).number();
    assert!(names.iter().all(|name| length(name) == 1));
}

#[test]
fn an_older_server_is_said_to_be_one_and_nothing_is_published() {
    let server = Redis::start();
    if remembers(&server) {
        println!("this server is not older than 8.6: nothing to see");
        return;
    }
    let node = Node::on(&server, &["--publish", "on"]);
    server.command(&["XADD", "sse:there", "*", "data", "1"]);
    for channel in ["there", "not"] {
        let answer = node.ask("POST", &format!("/events/{channel}"), &[("Idempotency-Key", "k")], "x");
        assert!(answer.problem(501, "not_supported").contains("Redis 8.6"));
    }
    assert_eq!(server.command(&["XLEN", "sse:there"]).number(), 1);
    assert_eq!(server.command(&["EXISTS", "sse:not"]).number(), 0, "no stream is made for it");
    node.publish("/events/there", "2");
    assert_eq!(node.status()["backplane"]["refused"], json!([]), "the server works as it should");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_whether_keys_are_taken() {
    let server = Redis::start();
    let (said, code) = checked(&server.url(), &["--publish", "on"]).await;
    let expected = match remembers(&server) {
        true => "ok    once: Idempotency-Key is taken",
        false => "ok    once: Idempotency-Key is answered 501 not_supported: this server is older than Redis 8.6",
    };
    assert!(code == 0 && said.contains(expected), "{said}");
    assert!(!checked(&server.url(), &[]).await.0.contains("once"), "a node that does not publish takes none");
    if remembers(&server) {
        server.command(&["ACL", "SETUSER", "u", "reset", "on", ">p", "~sse:*", "+@all", "-xgroup"]);
        let (said, code) = checked(&format!("redis://u:p@127.0.0.1:{}", server.port()), &["--publish", "on"]).await;
        assert!(code == 0 && said.contains("warn  once: Idempotency-Key cannot be taken: XGROUP: NOPERM"), "{said}");
    }
}

#[test]
fn keys_are_their_subjects_own() {
    let server = Redis::start();
    if !remembers(&server) {
        println!("this server is older than 8.6: nothing to see");
        return;
    }
    let folder = Folder::new();
    let flags = flags(&folder);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--publish", "on"]).collect();
    let node = Node::on(&server, &flags);
    let by = |subject: &str| {
        let token = signed(json!({"sub": subject, "fantail": {"publish": ["a"]}}));
        let headers = [("Authorization", &*format!("Bearer {token}")), ("Idempotency-Key", "k")];
        node.ask("POST", "/events/a", &headers, "x").json()["id"].clone()
    };
    let (ann, bob) = (by("ann"), by("bob"));
    assert_ne!(ann, bob);
    assert_eq!((by("ann"), by("bob")), (ann, bob));
    assert_eq!(server.command(&["XLEN", "sse:a"]).number(), 2);
}

#[test]
fn a_post_says_how_a_stream_is_kept() {
    let server = Redis::start();
    let node = Node::on(&server, &["--publish", "on", "--publish-maxlen", "1000", "--publish-ttl", "10s..1h"]);
    // Redis trims whole blocks of a hundred.
    (0..500).for_each(|n| drop(node.publish("/events/a?maxlen=5", &n.to_string())));
    assert!(server.command(&["XLEN", "sse:a"]).number() <= 105);
    assert_eq!(server.command(&["PTTL", "sse:a"]).number(), -1);
    let lines = [
        json!({"channel": "a", "data": 1, "ttl": "30s"}),
        json!({"channel": "b", "data": 1, "ttl": "1h", "maxlen": 7}),
    ];
    let answer = node.ask("POST", "/events", &[], &format!("{}\n{}", lines[0], lines[1]));
    assert_eq!((answer.head.status, answer.json()["ids"].as_array().map(Vec::len)), (200, Some(2)));
    let left = |key: &str| server.command(&["PTTL", key]).number();
    assert!((1..=30_000).contains(&left("sse:a")) && (3_000_000..=3_600_000).contains(&left("sse:b")));
    node.publish("/events/a?ttl=20m", "x");
    assert!((1_000_000..=1_200_000).contains(&left("sse:a")), "the latest counts");
    for query in ["maxlen=1001", "maxlen=0", "ttl=9s", "ttl=2h", "ttl=x"] {
        let detail = node.ask("POST", &format!("/events/a?{query}"), &[], "x").problem(400, "bad_parameter");
        assert!(detail.starts_with(query.split('=').next().unwrap()), "{detail}");
    }
}
