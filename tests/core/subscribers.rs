//! Who is subscribed, as the operators' listener tells it, beside clients that are really there.

use crate::support::client::{Connection, Response};
use crate::support::jwt::{Folder, flags, signed};
use crate::support::node::{Node, eventually};
use crate::support::redis::{Redis, Reply};
use crate::support::stream::{End, Stream};
use serde_json::{Value, json};

/// The subscribers that a query finds, and whether there may be more.
fn found(node: &Node, query: &str) -> (Vec<Value>, bool) {
    let answer = node.page(&format!("/api/subscribers?{query}"));
    assert_eq!(answer.head.status, 200, "{query}: {}", answer.text());
    let answer = answer.json();
    let all = answer["subscribers"].as_array().expect("a list").clone();
    (all, answer["more"].as_bool().expect("more"))
}

/// Waits until delivery threads have so many subscribers: a stream begins a little earlier.
fn has(node: &Node, count: usize) {
    node.metric_becomes("fantail_connections", count as f64);
}

/// The only subscriber that a query finds.
fn only(node: &Node, query: &str) -> Value {
    let (mut all, more) = found(node, query);
    assert_eq!((all.len(), more), (1, false), "{query}: {all:?}");
    all.remove(0)
}

fn id(seen: &Value) -> String {
    seen["id"].as_str().expect("an id").to_owned()
}

fn one(node: &Node, id: &str) -> Value {
    let answer = node.page(&format!("/api/subscribers/{id}"));
    assert_eq!(answer.head.status, 200, "{id}: {}", answer.text());
    answer.json()
}

#[test]
fn subscribers_are_found_by_channel_address_and_subject_and_nothing_of_a_token_is_told() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let flags = flags(&folder);
    let more = ["--trusted-proxies", "127.0.0.1"];
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more).collect();
    let node = Node::on(&redis, &flags);
    let token = signed(json!({"sub": "ann", "jti": "secret-id", "fantail": {"subscribe": ["**"]}}));
    let nobodys = signed(json!({"fantail": {"subscribe": ["**"]}}));
    let from = |address, target, token: &str| {
        let bearer = format!("Bearer {token}");
        Stream::open(node.listen, target, &[("X-Forwarded-For", address), ("Authorization", &bearer)]).begun()
    };
    let mut anns = from("192.0.2.7", "/events?channels=a,b", &token);
    let _plain = from("192.0.2.8", "/events/a", &nobodys);
    let _other = from("2001:db8::1", "/events/c", &nobodys);
    has(&node, 3);
    let by_subject = only(&node, "subject=ann");
    assert_eq!(only(&node, "address=192.0.2.7")["id"], by_subject["id"]);
    assert_eq!(only(&node, "channel=b")["id"], by_subject["id"]);
    assert_eq!(only(&node, "address=2001:db8:0::1")["channels"][0]["channel"], "c");
    assert_eq!((found(&node, "channel=a").0.len(), found(&node, "").0.len()), (2, 3));
    assert_eq!(found(&node, "channel=a&address=2001:db8::1"), (vec![], false));
    let plain = only(&node, "address=192.0.2.8");
    assert_eq!(
        (&plain["subject"], &plain["composed"], &plain["channel_count"]),
        (&Value::Null, &false.into(), &1.into())
    );

    let last = redis.command(&["XADD", "sse:b", "*", "data", "1"]).text().to_owned();
    assert_eq!(anns.numbers(1), [1]);
    let seen = one(&node, &id(&by_subject));
    assert_eq!(
        (&seen["address"], &seen["subject"], &seen["state"]),
        (&"192.0.2.7".into(), &"ann".into(), &"live".into())
    );
    assert_eq!(
        (&seen["transport"], &seen["behind"], &seen["leftover_bytes"]),
        (&"HTTP/1".into(), &0.into(), &0.into())
    );
    let place = seen["channels"].as_array().expect("channels").iter().find(|place| place["channel"] == "b");
    let place = place.expect("its channel");
    assert_eq!((&place["position"], &place["newest"]), (&last.as_str().into(), &last.as_str().into()));
    assert!(seen["age_seconds"].as_f64().is_some_and(|age| (0.0..600.0).contains(&age)), "{seen}");
    let all = node.page("/api/subscribers").text() + &seen.to_string();
    assert!(!all.contains("secret-id") && !all.contains(&token), "{all}");

    drop(anns);
    let gone = id(&by_subject);
    eventually("it is gone", || node.page(&format!("/api/subscribers/{gone}")).head.status == 404);
    assert_eq!(found(&node, "subject=ann"), (vec![], false));
}

/// Data of an entry: large, so that the kernel's buffers hold few.
fn add(redis: &Redis, count: usize) -> Vec<String> {
    let data = "x".repeat(20_000);
    let add: &[&str] = &["XADD", "sse:a", "*", "data", &data];
    redis.pipeline(&vec![add; count]).iter().map(|reply| reply.text().to_owned()).collect()
}

#[test]
fn a_reader_that_takes_nothing_is_seen_as_blocked_and_as_far_behind_as_it_is() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--stall-timeout", "10m", "--tail-bytes", "1MiB"]);
    let mut ids = add(&redis, 1);
    let mut slow = Stream::on(Connection::narrow(node.listen), "/events/a?since=earliest", &[]).begun();
    let mut quick = node.subscribe("/events/a?since=earliest").begun();
    has(&node, 2);
    let id_of = |query: &str| id(&only(&node, query));
    let mut read = |ids: &[String], from: usize| ids[from..].iter().for_each(|id| assert!(quick.reaches(id), "{id}"));
    read(&ids, 0);
    let mut rounds = 0;
    // The kernel takes some megabytes, whatever it was told.
    while found(&node, "state=blocked").0.is_empty() {
        rounds += 1;
        assert!(rounds < 100, "its socket never fills");
        let from = ids.len();
        ids.extend(add(&redis, 50));
        read(&ids, from);
    }
    let blocked = id_of("state=blocked");
    assert_ne!(blocked, id_of("state=live"));
    let before = behind(&one(&node, &blocked), &ids);
    // So much more that what it needs leaves memory: it is to be caught up from history.
    let from = ids.len();
    ids.extend(add(&redis, 100));
    read(&ids, from);
    eventually("it is behind the tail", || one(&node, &blocked)["channels"][0]["state"] == "history");
    let seen = one(&node, &blocked);
    assert_eq!((&seen["state"], &seen["composed"]), (&"blocked".into(), &true.into()), "{seen}");
    // The rest of an event that it is in is kept, and counts as sent from then on.
    assert!((before + 99..=before + 100).contains(&behind(&seen, &ids)), "{before} before, {seen}");
    assert!(seen["leftover_bytes"].as_u64().is_some_and(|bytes| bytes < 21_000), "{seen}");
    assert_eq!(only(&node, "state=live")["behind"], 0);
    // It is as it says: it takes what it is behind, and then is no more.
    assert_eq!(slow.take(ids.len()).len(), ids.len());
    eventually("it is live", || found(&node, "state=live").0.len() == 2);
    assert_eq!(one(&node, &blocked)["behind"], 0);
}

/// How many events a subscriber of one channel is said to be behind, which must be as many as follow its position.
fn behind(seen: &Value, ids: &[String]) -> usize {
    let place = &seen["channels"][0];
    let at = ids.iter().position(|id| place["position"] == id.as_str());
    let behind = ids.len() - 1 - at.unwrap_or_else(|| panic!("it stands nowhere: {seen}"));
    assert_eq!(place["newest"].as_str(), ids.last().map(String::as_str), "{seen}");
    assert_eq!((&seen["behind"], &place["behind"]), (&behind.into(), &behind.into()), "{seen}");
    behind
}

#[test]
fn a_list_is_bounded_and_says_that_there_is_more() {
    let node = Node::start(&["--couriers", "2"]);
    let eight: Vec<String> = (0..8).map(|n| format!("c{n}")).collect();
    let eight = format!("/events?channels={}", eight.join(","));
    let _streams: Vec<Stream> = (0..60).map(|_| node.subscribe(&eight).begun()).collect();
    has(&node, 60);
    let (usual, more) = found(&node, "");
    assert_eq!((usual.len(), more), (50, true));
    assert_eq!((usual[0]["channels"].as_array().map(Vec::len), &usual[0]["channel_count"]), (Some(5), &8.into()));
    assert_eq!(one(&node, &id(&usual[0]))["channels"].as_array().map(Vec::len), Some(8));
    let (all, more) = found(&node, "limit=500");
    let mut ids: Vec<String> = all.iter().map(id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), more), (60, false));
    assert_eq!(found(&node, "limit=1").0.len(), 1);
    for wrong in ["limit=501", "limit=0", "state=full", "address=here"] {
        node.page(&format!("/api/subscribers?{wrong}")).problem(400, "bad_parameter");
    }
    node.page("/api/subscribers?channel=~control").problem(403, "reserved_channel");
}

#[test]
fn a_subscriber_is_named_by_its_node_and_place_alone() {
    let redis = Redis::start();
    let nodes = [(); 2].map(|()| Node::on(&redis, &[]));
    let _streams = nodes.each_ref().map(|node| node.subscribe("/events/a").begun());
    nodes.iter().for_each(|node| has(node, 1));
    let [first, second] = nodes.each_ref().map(|node| id(&only(node, "channel=a")));
    assert_ne!(first, second);
    let said = nodes[0].page(&format!("/api/subscribers/{second}")).problem(404, "not_found");
    assert!(said.contains("another node"), "{said}");
    for wrong in ["x", "0.0.1", &format!("{first}.1"), &first.to_uppercase()] {
        nodes[0].page(&format!("/api/subscribers/{wrong}")).problem(400, "bad_parameter");
    }
    let (place, serial) = first.rsplit_once('.').expect("parts");
    let later = format!("{place}.{}", serial.parse::<u32>().expect("a number") + 1);
    nodes[0].page(&format!("/api/subscribers/{later}")).problem(404, "not_found");
    let beyond = format!("{}.999999.0.1", first.split('.').next().expect("a node"));
    nodes[0].page(&format!("/api/subscribers/{beyond}")).problem(404, "not_found");
    assert_eq!(nodes[0].ask("GET", "/api/subscribers", &[], "").head.status, 404, "not for clients");
}

const ACT: (&str, &str) = ("X-Fantail-Action", "1");

fn disconnect(node: &Node, id: &str, headers: &[(&str, &str)]) -> Response {
    Connection::open(node.admin).ask("POST", &format!("/api/disconnect?subscriber={id}"), headers, b"")
}

#[test]
fn an_operator_disconnects_exactly_one_subscriber_of_whatever_node() {
    let redis = Redis::start();
    let flags = ["--trusted-proxies", "127.0.0.1", "--admin-actions"];
    let [asked, holder] = [(); 2].map(|()| Node::on(&redis, &flags));
    let open =
        |node: &Node, address, target| Stream::open(node.listen, target, &[("X-Forwarded-For", address)]).begun();
    let rounds = [("192.0.2.1", "/events/a"), ("198.51.100.1", "/events?channels=a,b")];
    for (number, &(client, target)) in rounds.iter().enumerate() {
        // The same client has another stream elsewhere, and others have its channels.
        let others = [("192.0.2.2", target), ("192.0.2.3", "/events/a"), ("192.0.2.4", "/events?channels=a,b")];
        let mut ended = open(&holder, client, target);
        let mut others = others.map(|(address, target)| open(&holder, address, target));
        let mut elsewhere = open(&asked, client, target);
        eventually("it is there", || !found(&holder, &format!("address={client}")).0.is_empty());
        let named = id(&only(&holder, &format!("address={client}")));
        let answer = disconnect(&asked, &named, &[ACT]);
        assert_eq!(
            (answer.head.status, &answer.json()["subscriber"]),
            (202, &named.as_str().into()),
            "{}",
            answer.text()
        );
        let entries = redis.command(&["XREVRANGE", "sse:~control", "+", "-", "COUNT", "1"]);
        let entry = entries.list()[0].list();
        let fields: Vec<&str> = entry[1].list().iter().map(Reply::text).collect();
        assert_eq!(
            (answer.json()["id"].as_str(), &fields[..]),
            (Some(entry[0].text()), &["disconnect", "subscriber", "name", &named][..])
        );

        let (end, messages) = ended.finish();
        let kinds: Vec<&str> = messages.iter().map(|message| &*message.event).collect();
        assert_eq!((end, &kinds[..]), (End::Incomplete, &["fantail.revoked"][..]));
        (1..=3).for_each(|n| drop(redis.command(&["XADD", "sse:a", "*", "data", &n.to_string()])));
        others.iter_mut().chain([&mut elsewhere]).for_each(|stream| assert_eq!(stream.numbers(3), [1, 2, 3]));
        let last = ended.last_event_id();
        let headers = [("X-Forwarded-For", client), ("Last-Event-ID", &last)];
        let mut back = Stream::open(holder.listen, target, &headers);
        assert_eq!(back.numbers(3), [1, 2, 3], "it may come back, and lost nothing");

        // Once more: whoever has its place by now is another one.
        assert_eq!(disconnect(&asked, &named, &[ACT]).head.status, 202);
        let orders = 2.0 * (number + 1) as f64;
        for node in [&asked, &holder] {
            node.metric_becomes("fantail_revocations_total{target=\"subscriber\"}", orders);
        }
        redis.command(&["XADD", "sse:a", "*", "data", "4"]);
        others.iter_mut().chain([&mut elsewhere, &mut back]).for_each(|stream| assert_eq!(stream.numbers(1), [4]));
        let revoked = "fantail_connections_closed_total{reason=\"revoked\"}";
        holder.metric_becomes(revoked, (number + 1) as f64);
        assert_eq!(asked.metric(revoked), 0.0);
        asked.logs(&["told to disconnect by the console", &named, "127.0.0.1", entry[0].text()]);
    }
    rounds.iter().for_each(|(client, _)| holder.logs(&["subscriber disconnected by an order", client]));
}

#[test]
fn disconnecting_is_for_operators_who_allowed_it() {
    let redis = Redis::start();
    let off = Node::on(&redis, &[]);
    let on = Node::on(&redis, &["--admin-actions"]);
    let mut stream = on.subscribe("/events/a").begun();
    has(&on, 1);
    let named = id(&only(&on, ""));
    let said = disconnect(&off, &named, &[ACT]).problem(403, "forbidden");
    assert!(said.contains("--admin-actions"), "{said}");
    off.logs(&["an action of the console was refused", "/api/disconnect", "127.0.0.1", "--admin-actions"]);
    disconnect(&on, &named, &[]).problem(403, "forbidden");
    disconnect(&on, &named, &[ACT, ("Origin", "https://evil.example")]).problem(403, "forbidden");
    for wrong in ["", "x", "1.2.3", &format!("{named}.1")] {
        disconnect(&on, wrong, &[ACT]).problem(400, "bad_parameter");
    }
    let get = on.page(&format!("/api/disconnect?subscriber={named}"));
    assert_eq!((get.head.status, get.head.header("allow")), (405, Some("POST")));
    assert_eq!(redis.command(&["EXISTS", "sse:~control"]).number(), 0, "nothing was ordered");
    redis.command(&["SET", "sse:~control", "no stream"]);
    disconnect(&on, &named, &[ACT]).problem(502, "backplane_refused");
    on.logs(&["told to disconnect by the console", &named, "backplane_refused"]);
    redis.command(&["XADD", "sse:a", "*", "data", "1"]);
    assert_eq!(stream.numbers(1), [1]);
}

#[test]
fn a_node_in_memory_disconnects_too() {
    let node = Node::start(&["--admin-actions"]);
    let _streams = [(); 2].map(|()| node.subscribe("/events/a").begun());
    has(&node, 2);
    let (all, _) = found(&node, "");
    assert_eq!(disconnect(&node, &id(&all[0]), &[ACT]).head.status, 202);
    eventually("one is gone", || found(&node, "").0.len() == 1);
    assert_eq!(id(&only(&node, "")), id(&all[1]));
}
