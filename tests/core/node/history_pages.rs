//! What a page of history weighs, and what it costs the node and Redis.

use crate::support::client::Connection;
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;

const MIB: usize = 1 << 20;
/// What an answer weighs at most, unless one event alone is larger.
const PAGE: usize = 4 * MIB;

/// Events of a page: id, and the first byte of their data.
fn events(page: &Value) -> Vec<(String, char)> {
    let event = |event: &Value| {
        let text = |name: &str| event[name].as_str().expect("text").to_owned();
        (text("id"), text("data").chars().next().expect("some data"))
    };
    page["events"].as_array().unwrap_or_else(|| panic!("{page}")).iter().map(event).collect()
}

/// Appends events of a size, each of another letter; their ids.
fn fill(redis: &Redis, channel: &str, count: usize, data: impl Fn(char) -> String) -> Vec<(String, char)> {
    let key = format!("sse:{channel}");
    let letters = ('a'..='z').cycle().take(count);
    letters.map(|c| (redis.command(&["XADD", &key, "*", "data", &data(c)]).text().to_owned(), c)).collect()
}

/// Walks all of a channel's history; the pages.
fn walk(node: &Node, channel: &str, forward: bool) -> Vec<Vec<(String, char)>> {
    let mut pages: Vec<Vec<_>> = Vec::new();
    let mut place = if forward { "after=0-0".to_owned() } else { String::new() };
    loop {
        let answer = node.get(&format!("/history/{channel}?limit=1000&{place}"));
        let json = answer.json();
        let page = events(&json);
        assert!(answer.body.len() <= PAGE + 1000 || page.len() == 1, "{} bytes", answer.body.len());
        let end = if forward { page.last() } else { page.first() };
        place = format!("{}={}", if forward { "after" } else { "before" }, end.expect("an event").0);
        pages.push(page);
        if json["more"] == false {
            break;
        }
    }
    if !forward {
        pages.reverse();
    }
    pages
}

#[test]
fn pages_are_sized_by_what_they_weigh_and_nothing_is_left_out_between_them() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let plain = fill(&redis, "plain", 10, |c| c.to_string().repeat(MIB));
    // Six times as long in JSON: one of them is more than a page.
    let escaped = fill(&redis, "escaped", 3, |c| format!("{c}{}", "\u{1}".repeat(MIB)));
    let small = fill(&redis, "small", 2_300, |c| format!("{c}é\n\"").repeat(20));
    let mixed =
        fill(&redis, "mixed", 26, |c| c.to_string().repeat(if (c as u8).is_multiple_of(5) { 3 * MIB } else { 300 }));
    for forward in [true, false] {
        for (channel, all, pages) in
            [("plain", &plain, 4), ("escaped", &escaped, 3), ("small", &small, 3), ("mixed", &mixed, 6)]
        {
            let walked = walk(&node, channel, forward);
            assert_eq!(&walked.concat(), all, "{channel} {forward}");
            assert!(walked.len() <= pages, "{channel} {forward}: {} pages", walked.len());
        }
    }
    let few = node.get("/history/small?limit=3").json();
    assert_eq!((events(&few), &few["more"]), (small[2_297..].to_vec(), &Value::from(true)));
    node.metric_becomes("fantail_history_bytes", 0.0);
}

#[test]
fn readers_that_do_not_read_cost_the_node_a_piece_each() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let all = fill(&redis, "a", 50, |c| c.to_string().repeat(MIB));
    assert_eq!(events(&node.get("/history/a").json()), all[47..]);
    let before = node.resident();
    let mut idle: Vec<Connection> = (0..20).map(|_| Connection::narrow(node.listen)).collect();
    for (place, connection) in idle.iter_mut().enumerate() {
        let direction = if place % 2 == 0 { "" } else { "&after=0-0" };
        connection.send_request("GET", &format!("/history/a?limit=1000{direction}"), &[], b"");
        assert_eq!(connection.head().status, 200);
    }
    // Who comes from elsewhere is served meanwhile.
    assert_eq!(events(&from_elsewhere(&node).ask("GET", "/history/a", &[], b"").json()), all[47..]);
    let held = node.metric("fantail_history_bytes");
    assert!(held > 0.0 && held < 64e6, "{held}");
    let grown = node.resident().saturating_sub(before);
    assert!(grown < 120 << 20, "{grown} bytes of memory");
    drop(idle);
    node.metric_becomes("fantail_history_bytes", 0.0);
}

/// A connection from another address.
fn from_elsewhere(node: &Node) -> Connection {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).expect("an address of this machine");
    socket.connect(&node.listen.into()).expect("the node takes it");
    Connection::of(socket.into())
}

#[test]
fn who_takes_nothing_is_cut_off_and_a_page_that_is_not_whole_says_so() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--stall-timeout", "1s"]);
    fill(&redis, "a", 8, |c| c.to_string().repeat(MIB));
    let mut connection = Connection::narrow(node.listen);
    connection.send_request("GET", "/history/a", &[], b"");
    assert!(connection.head().is_chunked());
    let mut http2 = Connection::open(node.listen).http2();
    http2.send_request("GET", "/history/a", &[], b"");
    node.metric_becomes("fantail_history_bytes", 0.0);
    let mut body = Vec::new();
    let torn = loop {
        match connection.chunk() {
            Ok(Some(chunk)) => body.extend(chunk),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(torn && body.len() < 4 * MIB, "{} bytes", body.len());
}

#[test]
fn redis_is_asked_for_little_at_a_time_and_not_on_the_live_connection() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    fill(&redis, "a", 20, |c| c.to_string().repeat(MIB / 2));
    let _stream = node.subscribe("/events/live").begun();
    redis.command(&["CONFIG", "SET", "slowlog-max-len", "100000"]);
    redis.command(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    std::thread::scope(|scope| {
        for place in 0..6 {
            let target = if place % 2 == 0 { "/history/a?limit=1000" } else { "/history/a?limit=1000&after=0-0" };
            let node = &node;
            scope.spawn(move || assert_eq!(events(&node.get(target).json()).len(), 7));
        }
    });
    // A read of the live connection must be in it, too.
    redis.command(&["XADD", "sse:live", "*", "data", "1"]);
    let mut log = Vec::new();
    eventually("a read of the live connection", || {
        let reply = redis.command(&["SLOWLOG", "GET", "-1"]);
        log = reply.list().iter().map(logged).collect();
        log.iter().any(|(words, _)| words[0].eq_ignore_ascii_case("xread") && words.contains(&"sse:live".to_owned()))
    });
    let of = |name: &[&str]| -> Vec<(Vec<String>, String)> {
        log.iter().filter(|(words, _)| name.iter().any(|n| words[0].eq_ignore_ascii_case(n))).cloned().collect()
    };
    let (live, history) = (of(&["xread"]), of(&["xrange", "xrevrange"]));
    assert!(!history.is_empty());
    for (words, address) in &history {
        assert!(live.iter().all(|(_, other)| other != address), "{words:?} on the live connection");
        let count: u64 = words[5].parse().expect("a count");
        // The sizes are known after the first, which is of two.
        assert!(count <= 2, "{words:?}");
    }
    assert_eq!(node.metric("fantail_backplane_reconnects_total"), 0.0);
}

/// A command of the slow log, and who sent it.
fn logged(entry: &crate::support::redis::Reply) -> (Vec<String>, String) {
    let entry = entry.list();
    (entry[3].list().iter().map(|word| word.text().to_owned()).collect(), entry[4].text().to_owned())
}

#[test]
fn the_memory_backplane_and_head_answer_alike() {
    let node = Node::start(&["--max-event-bytes", "2MiB"]);
    for letter in ["a", "b", "c", "d", "e"] {
        node.publish("/events/a", &letter.repeat(MIB));
    }
    let mut connection = Connection::open(node.listen);
    let page = connection.ask("GET", "/history/a", &[], b"");
    assert_eq!(events(&page.json()).iter().map(|(_, letter)| *letter).collect::<String>(), "cde");
    let head = connection.ask("HEAD", "/history/a", &[], b"").head;
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
    let none = connection.ask("GET", "/history/none", &[], b"");
    assert_eq!(none.json(), serde_json::json!({"channel": "none", "events": [], "more": false}));
    let head = connection.ask("HEAD", "/history/none", &[], b"").head;
    assert_eq!(head.header("content-length"), none.head.header("content-length"));
    let mut http2 = Connection::open(node.listen).http2();
    assert_eq!(http2.ask("GET", "/history/a", &[], b"").body, page.body);
}
