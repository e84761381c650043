//! Conditions on the fields of events: `where=`.

use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::Stream;

const LINES: [(&str, &str); 5] = [("red", "1"), ("blue", "5"), ("red", "10"), ("green", "7"), ("red", "5.0")];

/// Publishes [`LINES`], numbered from 1.
pub fn publish(node: &Node, auth: &[(&str, &str)]) {
    for (number, (team, level)) in (1..).zip(LINES) {
        let target = format!("/events/orders?event=e{number}&field.team={team}&field.level={level}");
        assert_eq!(node.ask("POST", &target, auth, &number.to_string()).head.status, 201);
    }
}

#[test]
fn only_events_whose_fields_meet_them_come() {
    let node = Node::start(&[]);
    let cases: [(&str, &[u64]); 7] = [
        ("where=team=red", &[1, 3, 5]),
        ("where=level%3E%3D5", &[2, 3, 4, 5]),
        ("where=level%3E%3D5,team=red", &[3, 5]),
        ("where=team!=red|blue", &[4]),
        ("where=level=5&events=e2,e3", &[2]),
        ("where=event%5E=e,team%5E=gr", &[4]),
        ("where=missing!=1", &[]),
    ];
    let mut live: Vec<Stream> = Vec::new();
    for target in ["/events/orders?", "/events?channels=orders,other&", "/events/orders?envelope=1&"] {
        live.extend(cases.iter().map(|(query, _)| node.subscribe(&format!("{target}{query}")).begun()));
    }
    publish(&node, &[]);
    // Who wants nothing of these is shown the end: `final` passes no filter, and yet ends the stream.
    node.publish("/events/orders?final=1&event=none", "99");
    node.publish("/events/other?final=1", "99");
    for (mut stream, (query, expected)) in live.into_iter().zip(cases.iter().cycle()) {
        let messages = stream.finish().1;
        let data = |text: &str| match serde_json::from_str::<serde_json::Value>(text).expect("JSON") {
            serde_json::Value::Object(wrapped) => wrapped["data"].as_str().expect("a text").parse().expect("a number"),
            number => number.as_u64().expect("a number"),
        };
        let numbers: Vec<u64> = messages.iter().map(|message| data(&message.data)).filter(|n| *n != 99).collect();
        assert_eq!(numbers, *expected, "{query}");
    }
    for (query, expected) in cases {
        let mut history: Vec<u64> = Vec::new();
        for event in node.get(&format!("/history/orders?{query}")).json()["events"].as_array().expect("events") {
            history.push(event["data"].as_str().expect("a text").parse().expect("a number"));
        }
        assert_eq!(history, *expected, "of history: {query}");
    }
}

#[test]
fn they_look_at_entries_of_redis_in_the_tail_and_far_behind_it() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--tail-bytes", "1MiB", "--heartbeat", "1s"]);
    for number in 1..=500 {
        let team = if number % 100 == 0 { "red" } else { "blue" };
        redis.command(&["XADD", "sse:a", &format!("{number}-0"), "data", &format!("{number:05000}"), "team", team]);
    }
    for target in ["/events/a?where=team=red&since=earliest", "/events?channels=a,b&where=team=red&since=earliest"] {
        assert_eq!(node.subscribe(target).numbers(5), [100, 200, 300, 400, 500]);
    }
    // Ids advance with what is skipped, so that who comes back is not sent it again.
    let mut stream = node.subscribe("/events/a?where=team=red").begun();
    redis.command(&["XADD", "sse:a", "600-0", "data", "600", "team", "blue"]);
    stream.read_until("an advanced id", |stream| stream.last_event_id() == "600-0");
    // An entry without data is an object of its fields, and they can be looked at as well.
    redis.command(&["XADD", "sse:a", "700-0", "team", "red", "note", "n"]);
    assert_eq!(stream.next().data, r#"{"team":"red","note":"n"}"#);
}

#[test]
fn a_page_of_history_is_filled_with_what_passes_and_goes_on_where_it_stopped() {
    let redis = Redis::start();
    let script = "for n = 1, 45000 do redis.call('XADD', KEYS[1], n..'-0', 'data', n, 'rest', n % 30000) end";
    redis.command(&["EVAL", script, "1", "sse:a"]);
    // Redis answers nobody meanwhile, so the node comes later.
    let node = Node::on(&redis, &[]);
    let ids = |page: &serde_json::Value| -> Vec<String> {
        page["events"].as_array().expect("events").iter().map(|e| e["id"].as_str().expect("an id").to_owned()).collect()
    };
    let page = node.get("/history/a?where=rest%3C100&after=0-0&limit=3").json();
    assert_eq!((ids(&page), &page["more"]), (vec!["1-0".into(), "2-0".into(), "3-0".into()], &true.into()));
    let page = node.get("/history/a?where=rest%3C100&before=30003-0&limit=5").json();
    assert_eq!(ids(&page), ["29999-0".to_owned(), "30000-0".into(), "30001-0".into(), "30002-0".into()][1..].to_vec());
    // Nothing passes for a long way: the answer says where to go on, and no entry is looked at twice.
    let (mut at, mut found, mut pages) = ("99-0".to_owned(), Vec::new(), 0);
    loop {
        let page = node.get(&format!("/history/a?where=rest=50&after={at}")).json();
        found.extend(ids(&page));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => at = next.to_owned(),
            None => break,
        }
    }
    assert_eq!((found, pages), (vec!["30050-0".to_owned()], 3));
}
