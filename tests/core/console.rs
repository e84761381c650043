//! The console's data and page, and the history of channels, asked as their users ask.

use crate::support::client::Connection;
use crate::support::node::{Node, eventually, within};
use crate::support::program;
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

/// A record counts for ten seconds; on a busy machine that takes longer to see.
const FORGOTTEN: Duration = Duration::from_secs(40);

fn api(node: &Node, path: &str) -> Value {
    let answer = node.page(path);
    assert_eq!(answer.head.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn names(node: &Node) -> Vec<String> {
    let nodes = api(node, "/api/nodes");
    let name = |node: &Value| node["name"].as_str().expect("a name").to_owned();
    nodes["nodes"].as_array().expect("nodes").iter().map(name).collect()
}

fn act(node: &Node, path: &str, headers: &[(&str, &str)], body: &str) -> crate::support::client::Response {
    Connection::open(node.admin).ask("POST", path, headers, body.as_bytes())
}

const ACT: (&str, &str) = ("X-Fantail-Action", "1");

#[test]
fn nodes_of_a_cluster_know_of_each_other_and_of_channels() {
    let redis = Redis::start();
    let [node, mut other] = [(); 2].map(|()| Node::on(&redis, &["--publish", "on"]));
    let _first = [(); 2].map(|()| node.subscribe("/events/a").begun());
    let _second = other.subscribe("/events?channels=a,b").begun();
    eventually("both nodes", || names(&node).len() == 2);
    let all = api(&node, "/api/nodes");
    assert_eq!(all["nodes"][0]["id"], all["own"], "the asked one first: {all}");
    let of_other = |name: &str| api(&node, "/api/nodes")["nodes"][1][name].clone();
    eventually("the other's connections", || of_other("connections") == 1);
    assert_eq!((&of_other("state"), &of_other("backplane")["up"]), (&"ok".into(), &true.into()));
    assert!(redis.command(&["PTTL", "sse:~nodes"]).number() > 0, "records expire");

    let count = |path: &str| api(&node, path)["audience"]["subscribers"].as_u64();
    eventually("subscribers of all nodes", || count("/api/channels/a") == Some(3));
    assert_eq!(count("/api/channels/b"), Some(1));
    let found = api(&node, "/api/channels?search=A");
    assert_eq!((&found["channels"][0]["channel"], found["channels"].as_array().map(Vec::len)), (&"a".into(), Some(1)));
    let answer = node.ask("POST", "/events/a?subscribers=1", &[], "x").json();
    assert_eq!((&answer["subscribers"], &answer["approximate"]), (&3.into(), &true.into()));
    assert_eq!(node.ask("POST", "/events/a", &[], "x").json().get("subscribers"), None);
    assert_eq!(node.ask("POST", "/events/a?subscribers=x", &[], "x").head.status, 400);

    other.signal(Signal::KILL);
    other.wait();
    assert!(within(FORGOTTEN, || names(&node).len() == 1), "{:?}", names(&node));
    assert_eq!(count("/api/channels/a"), Some(2));
}

/// Each name of `/api/channels`, in its order.
fn listed(node: &Node, query: &str) -> Vec<String> {
    let answer = api(node, &format!("/api/channels?{query}"));
    let name = |row: &Value| row["channel"].as_str().expect("a name").to_owned();
    answer["channels"].as_array().expect("channels").iter().map(name).collect()
}

/// Both nodes read the same events, which the cluster has once.
#[test]
fn events_that_several_nodes_read_are_counted_once() {
    let redis = Redis::start();
    let nodes = [(); 2].map(|()| Node::on(&redis, &[]));
    let _streams = nodes.each_ref().map(|node| node.subscribe("/events/a").begun());
    eventually("both nodes", || nodes.iter().all(|node| names(node).len() == 2));
    let now = redis.command(&["TIME"]).list()[0].text().parse::<u64>().expect("seconds");
    // All of one slot of time, however long the commands take.
    let slot = (now / 2 + 1) * 2_000;
    (0..100).for_each(|n| drop(redis.command(&["XADD", "sse:a", &format!("{slot}-{n}"), "data", "x"])));
    let told = |node: &Node| api(node, "/api/nodes")["events_in"].as_f64().expect("a number");
    eventually("the events", || nodes.iter().any(|node| told(node) > 0.0));
    eventually("each once", || nodes.iter().all(|node| told(node) == 50.0));
    let text = api(&nodes[0], "/api/nodes").to_string();
    assert!(!text.contains("\"read\""), "{text}");
}

#[test]
fn channels_are_listed_by_rate_though_many_have_more_subscribers() {
    let redis = Redis::start();
    let [node, other] = [(); 2].map(|()| Node::on(&redis, &[]));
    // More than a record names by subscribers, and one with fewer.
    let crowded: Vec<String> = (0..60).map(|n| format!("crowded{n}")).collect();
    let crowd = format!("/events?channels={}", crowded.join(","));
    let _crowds = [&node, &node, &other, &other].map(|node| node.subscribe(&crowd).begun());
    let _few = [node.subscribe("/events/here").begun(), other.subscribe("/events/there").begun()];
    // A rate is that of the last two seconds.
    let fast = |what: &str, asked: &dyn Fn() -> bool| {
        eventually(what, || {
            (0..40).for_each(|_| drop(redis.command(&["XADD", "sse:there", "*", "data", "x"])));
            (0..4).for_each(|_| drop(redis.command(&["XADD", "sse:here", "*", "data", "x"])));
            asked()
        });
    };
    fast("a fast channel of another node before crowded ones", &|| {
        listed(&node, "sort=rate&limit=2") == ["there", "here"]
    });
    fast("those found, the fast one first", &|| listed(&node, "sort=rate&search=ERE") == ["there", "here"]);
    let url = format!("http://{}", node.admin);
    fast("the same in the terminal", &|| {
        let mut top = program::fantail();
        let output = top.args(["top", "--sort", "rate", "--url", &url]).output().expect("the binary");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().skip_while(|line| !line.starts_with("CHANNEL")).nth(1).is_some_and(|row| row.starts_with("there"))
    });
    let usual = listed(&node, "limit=500");
    assert!(usual.len() >= 61, "{usual:?}");
    assert!(usual[..60].iter().all(|name| name.starts_with("crowded")), "{usual:?}");
    assert_eq!(listed(&node, "sort=subscribers&limit=60"), usual[..60]);
    let said = node.page("/api/channels?sort=name").problem(400, "bad_parameter");
    assert!(said.contains("sort") && said.contains("neither subscribers nor rate"), "{said}");
}

#[test]
fn a_record_has_the_last_minutes() {
    let redis = Redis::start();
    let nodes = [(); 2].map(|()| Node::on(&redis, &[]));
    let _stream = nodes[1].subscribe("/events/a").begun();
    // A point is of ten seconds.
    assert!(
        within(Duration::from_secs(90), || {
            let past = api(&nodes[0], "/api/nodes")["nodes"][1]["past"].clone();
            past["connections"].as_array().is_some_and(|points| points.last() == Some(&1.into()))
                && past["lag"].as_array().map(Vec::len) == past["connections"].as_array().map(Vec::len)
        }),
        "{}",
        api(&nodes[0], "/api/nodes")
    );
}

#[test]
fn counts_that_redis_lost_are_written_again() {
    let redis = Redis::start();
    let nodes = [(); 2].map(|()| Node::on(&redis, &[]));
    let _stream = nodes[1].subscribe("/events/a").begun();
    let count = || api(&nodes[0], "/api/channels/a")["audience"]["subscribers"].as_u64();
    eventually("the other's subscriber", || count() == Some(1));
    redis.command(&["FLUSHALL"]);
    eventually("the same again", || {
        redis.command(&["KEYS", "sse:~subscribers:*"]).list().len() == 1 && count() == Some(1)
    });
}

#[test]
fn a_node_alone_has_its_own_record() {
    let node = Node::start(&[]);
    let _stream = node.subscribe("/events/a").begun();
    eventually("a record", || api(&node, "/api/nodes")["nodes"][0]["connections"] == 1);
    assert_eq!(names(&node).len(), 1);
    assert_eq!(node.ask("POST", "/events/a?subscribers=true", &[], "x").json()["subscribers"], 1);
    eventually("its lag", || api(&node, "/api/nodes")["nodes"][0]["deliveries"].as_f64().is_some());
}

#[test]
fn a_node_that_may_not_write_records_delivers_all_the_same() {
    let redis = Redis::start();
    redis.command(&["ACL", "SETUSER", "u", "on", ">p", "~sse:*", "+@all", "-hset"]);
    let url = format!("redis://u:p@127.0.0.1:{}", redis.port());
    let node = Node::start(&["--redis", &url, "--publish", "on"]);
    node.logs(&["keeps no records of nodes", "NOPERM"]);
    let mut stream = node.subscribe("/events/a").begun();
    node.publish("/events/a", "1");
    assert_eq!(stream.next().data, "1");
    assert_eq!(names(&node).len(), 1);
}

#[test]
fn history_pages_lead_to_the_live_stream_without_a_loss() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--publish", "on", "--cors-origin", "https://app.example"]);
    let ids: Vec<String> = (0..120).map(|n| node.publish("/events/a?event=n", &n.to_string())).collect();
    let page = |query: &str| {
        let answer = node.get(&format!("/history/a{query}"));
        assert_eq!(answer.head.status, 200, "{}", answer.text());
        let json = answer.json();
        let data = |event: &Value| event["data"].as_str().expect("data").parse::<usize>().expect("a number");
        let events = json["events"].as_array().expect("events");
        (events.iter().map(data).collect::<Vec<_>>(), json["more"].as_bool().expect("more"), json.clone())
    };
    let (newest, more, json) = page("");
    assert_eq!((newest, more), ((70..120).collect(), true));
    assert_eq!((&json["events"][0]["id"], &json["events"][0]["event"]), (&ids[70].as_str().into(), &"n".into()));
    assert_eq!(page(&format!("?before={}&limit=60", ids[70])).0, (10..70).collect::<Vec<_>>());
    let (oldest, more, _) = page(&format!("?before={}&limit=10", ids[10]));
    assert_eq!((oldest, more), ((0..10).collect(), false));
    let (after, more, _) = page(&format!("?after={}&limit=1000", ids[99]));
    assert_eq!((after, more), ((100..120).collect(), false));
    assert_eq!(page(&format!("?after={}&before={}&limit=3", ids[5], ids[9])).0, [6, 7, 8]);
    assert_eq!(page(&format!("?after={}", ids[119])).0, [0_usize; 0]);
    assert_eq!(node.get("/history/nothing").json()["events"], Value::Array(vec![]));

    let last = json["events"].as_array().and_then(|events| events.last()).expect("events")["id"].clone();
    node.publish("/events/a", "120");
    let mut stream = node.subscribe(&format!("/events/a?since={}", last.as_str().expect("an id")));
    assert_eq!(stream.next().data, "120", "what came between page and subscription");

    assert_eq!(node.get("/history/~nodes").problem(403, "reserved_channel"), "channel \"~nodes\" is the cluster's own");
    node.get("/history/a?limit=0").problem(400, "bad_parameter");
    node.get("/history/a?before=x").problem(400, "bad_parameter");
    let post = node.ask("POST", "/history/a", &[], "");
    assert_eq!((post.head.status, post.head.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    let shown = node.ask("GET", "/history/a", &[("Origin", "https://app.example")], "");
    assert_eq!(shown.head.header("access-control-allow-origin"), Some("https://app.example"));
    let other = node.ask("GET", "/history/a", &[("Origin", "https://other.example")], "");
    assert_eq!(other.head.header("access-control-allow-origin"), None);
}

#[test]
fn an_answer_of_large_events_stays_bounded() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let data = "x".repeat(1 << 20);
    (0..120).for_each(|_| drop(redis.command(&["XADD", "sse:a", "*", "data", &data])));
    let answer = node.get("/history/a?limit=1000");
    assert!(answer.body.len() < 60 << 20, "{} bytes", answer.body.len());
    assert_eq!(answer.json()["more"], true);
}

#[test]
fn the_page_is_whole_and_lets_only_its_own_script_run() {
    let node = Node::start(&[]);
    let [first, second] = [(); 2].map(|()| node.page("/"));
    assert_eq!((first.head.status, first.head.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = first.head.header("content-security-policy").expect("a policy");
    let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
    let text = first.text();
    assert!(
        text.contains(&format!("<script nonce=\"{nonce}\">")) && text.contains(&format!("<style nonce=\"{nonce}\">"))
    );
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!second.text().contains(nonce), "each answer has its own nonce");
    for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " src=", "url(", "@import"]
    {
        assert!(!text.contains(sink), "{sink} in the page");
    }
    assert_eq!(node.page("/api/else").head.status, 404);
    assert!(node.page("/api/channels/%00").problem(400, "bad_channel").contains("outside"));
}

#[test]
fn updates_and_a_channel_are_streamed_whatever_events_hold() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let mut updates = Stream::open(node.admin, "/api/updates", &[]);
    let message = updates.next();
    assert_eq!(message.event, "nodes");
    let update: Value = serde_json::from_str(&message.data).expect("JSON");
    assert!(update["nodes"].is_array() && update["channels"].is_array(), "{update}");
    assert_eq!(updates.next().event, "nodes", "and again");

    let hostile = "</script><img src=x onerror=alert(1)>\r\nid: 9-9\n\nevent: fantail.gap";
    redis.command(&["XADD", "sse:h", "*", "event", "<b>\nx", "data", hostile]);
    let answer = api(&node, "/api/channels/h");
    let shown = hostile.replace("\r\n", "\n");
    assert_eq!((&answer["events"][0]["data"], &answer["stream"]["entries"]), (&shown.as_str().into(), &1.into()));
    let mut live = Stream::open(node.admin, "/api/channels/h/live", &[]);
    redis.command(&["XADD", "sse:h", "*", "event", "<b>\nx", "data", hostile]);
    let message = live.next();
    assert_eq!((&*message.event, message.data), ("<b> x", shown));
    let since = answer["events"][0]["id"].as_str().expect("an id");
    redis.command(&["DEL", "sse:h"]);
    assert_eq!(live.gap()["reason"], "missing");
    let mut late = Stream::open(node.admin, &format!("/api/channels/h/live?since={since}"), &[]);
    assert_eq!(late.gap()["reason"], "missing");
}

#[test]
fn a_viewer_is_an_event_source_that_goes_on_where_it_was() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let add = |data: &str| redis.command(&["XADD", "sse:v", "*", "event", "note", "retry", "86400000", "data", data]);
    add("1");
    let live = "/api/channels/v/live?envelope=1";
    let mut viewer = Stream::open(node.admin, live, &[]);
    add("2");
    let message = viewer.next();
    assert_eq!(message.event, "message");
    let entry: Value = serde_json::from_str(&message.data).expect("JSON");
    assert_eq!((&entry["event"], &entry["data"], &entry["channel"]), (&"note".into(), &"2".into(), &"v".into()));
    assert_eq!(entry["id"].as_str(), Some(&*message.id), "{entry}");
    let mut plain = Stream::open(node.admin, "/api/channels/v/live?since=0-1", &[]);
    assert_eq!(plain.gap()["reason"], "reset", "it is no id of the stream");
    let first = plain.next();
    assert_eq!((&*first.data, plain.parser.retry()), ("1", None), "a producer's delay is not for viewers");
    drop(viewer);
    add("3");
    let mut again = Stream::open(node.admin, &format!("{live}&since=0-1"), &[("Last-Event-ID", &message.id)]);
    let entry: Value = serde_json::from_str(&again.next().data).expect("JSON");
    assert_eq!(entry["data"], "3", "the header wins");
    let wrong = Connection::open(node.admin).ask("GET", live, &[("Last-Event-ID", "x")], b"");
    wrong.problem(400, "bad_parameter");
}

#[test]
fn the_console_answers_under_names_of_its_own_alone() {
    let node = Node::start(&["--admin-actions", "--admin-host", "Console.example.org,b.example.org"]);
    let ask = |host: &str, method: &str, path: &str| {
        let mut connection = Connection::open(node.admin);
        connection.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nX-Fantail-Action: 1\r\nContent-Length: 0\r\n\r\n"
        ));
        connection.answer(false)
    };
    for (method, path) in [("GET", "/"), ("GET", "/api/nodes"), ("GET", "/api/updates"), ("POST", "/api/drain")] {
        let said = ask("evil.example:9090", method, path).problem(403, "forbidden");
        assert!(said.contains("--admin-host"), "{path}: {said}");
    }
    for host in
        ["localhost:1", "[::1]:9090", "10.0.0.1", "fantail.default.svc:9090", "console.example.org", "b.example.org:9"]
    {
        assert_eq!(ask(host, "GET", "/api/nodes").head.status, 200, "{host}");
    }
    assert_eq!(ask("evil.example", "GET", "/livez").head.status, 200, "probes are asked by any name");
}

#[test]
fn streams_of_the_console_leave_room_for_probes() {
    let node = Node::start(&[]);
    let mut streams: Vec<Stream> = (0..24).map(|_| Stream::open(node.admin, "/api/updates", &[])).collect();
    assert_eq!(node.page("/api/updates").problem(503, "node_full"), "the console has as many streams as it may");
    assert_eq!(node.page("/livez").head.status, 200);
    streams.pop();
    eventually("room again", || {
        let mut connection = Connection::open(node.admin);
        connection.send_request("GET", "/api/updates", &[], b"");
        connection.head().status == 200
    });
}

#[test]
fn actions_are_for_operators_who_allowed_them() {
    let off = Node::start(&[]);
    let said = act(&off, "/api/publish?channel=a", &[ACT], "x").problem(403, "forbidden");
    assert!(said.contains("--admin-actions"), "{said}");
    act(&off, "/api/drain", &[ACT], "").problem(403, "forbidden");

    let mut on = Node::start(&["--admin-actions", "--publish", "off"]);
    let mut stream = on.subscribe("/events/a").begun();
    act(&on, "/api/publish?channel=a", &[], "x").problem(403, "forbidden");
    act(&on, "/api/drain", &[], "").problem(403, "forbidden");
    let foreign = [ACT, ("Origin", "https://evil.example")];
    act(&on, "/api/publish?channel=a", &foreign, "x").problem(403, "forbidden");
    act(&on, "/api/publish", &[ACT], "x").problem(400, "bad_channel");
    act(&on, "/api/publish?channel=~nodes", &[ACT], "x").problem(403, "reserved_channel");
    let answer = act(&on, "/api/publish?channel=a&event=note", &[ACT], "x");
    assert_eq!(answer.head.status, 201, "{}", answer.text());
    let message = stream.next();
    assert_eq!((&*message.event, &*message.data), ("note", "x"));
    drop(stream);
    assert_eq!(act(&on, "/api/drain", &[ACT], "").head.status, 202);
    assert_eq!(on.wait(), Some(0));
}

#[test]
fn top_says_how_redis_is_now_and_not_how_it_was_with_the_last_record() {
    let redis = Redis::start();
    redis.stop();
    let node = Node::on(&redis, &[]);
    eventually("the first record", || api(&node, "/api/nodes")["nodes"][0]["name"] != "");
    redis.run();
    eventually("Redis is found", || node.status()["state"] == "ok");
    // The next record comes up to two seconds later.
    let url = format!("http://{}", node.admin);
    let output = program::fantail().args(["top", "--once", "--url", &url]).output().expect("the binary");
    let text = String::from_utf8(output.stdout).expect("text");
    let row = text.lines().find(|line| line.contains(" *  ")).unwrap_or_else(|| panic!("{text}"));
    assert!(row.contains(" *  ok ") && row.contains("  up tracking ") && text.starts_with("1 node "), "{text}");
}

#[test]
fn top_prints_the_cluster_where_there_is_no_terminal() {
    let node = Node::start(&[]);
    let _stream = node.subscribe("/events/orders").begun();
    let top = |url: &str| {
        let mut command = program::fantail();
        command.args(["top", "--url", url]).output().expect("the binary")
    };
    eventually("a record and a channel", || {
        let output = top(&format!("http://{}", node.admin));
        let text = String::from_utf8(output.stdout).expect("text");
        output.status.success()
            && text.starts_with("1 node  1 of ")
            && text.lines().any(|line| line.starts_with("orders"))
    });
    let wrong = top(&format!("http://{}", node.listen));
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8(wrong.stderr).expect("text");
    assert!(said.contains("404 not_found") && said.lines().count() == 1, "{said}");
}
