//! Publishing once, and for so long, in a node's own memory; at Redis it is `redis_once`'s.

use crate::support::jwt::{Folder, flags, signed};
use crate::support::node::{Node, eventually};
use serde_json::json;

#[test]
fn a_repeat_returns_the_first_id_and_publishes_nothing() {
    let node = Node::start(&[]);
    let by = |target: &str, key: &str| {
        let answer = node.ask("POST", target, &[("Idempotency-Key", key)], "7");
        assert_eq!(answer.head.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    };
    let mut stream = node.subscribe("/events/a").begun();
    let first = by("/events/a", "k");
    assert_eq!([by("/events/a", "k"), by("/events/a?event=other", "\"k\"")], [first.clone(), first.clone()]);
    let (other, elsewhere) = (by("/events/a", "K"), by("/events/b", "k"));
    assert!(other != first && elsewhere != first);
    let line = json!({"channel": "a", "data": 8, "key": "k"});
    let batch = node.ask("POST", "/events", &[], &format!("{line}\n{}\n", json!({"channel": "a", "data": 9})));
    assert_eq!((batch.head.status, &batch.json()["ids"][0]), (200, &json!(first)));
    assert_eq!(stream.numbers(3), [7, 7, 9]);
}

#[test]
fn keys_are_their_subjects_own_by_one_event_as_by_a_batch() {
    let folder = Folder::new();
    let flags = flags(&folder);
    let node = Node::start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let ask = |subject: &str, target: &str, key: &[(&str, &str)], body: &str| {
        let bearer = format!("Bearer {}", signed(json!({"sub": subject, "fantail": {"publish": ["a"]}})));
        let answer = node.ask("POST", target, &[&[("Authorization", bearer.as_str())], key].concat(), body);
        assert!(matches!(answer.head.status, 200 | 201), "{}", answer.text());
        answer.json()
    };
    let one = |subject: &str| ask(subject, "/events/a", &[("Idempotency-Key", "k")], "x")["id"].clone();
    let line = json!({"channel": "a", "data": "x", "key": "k"}).to_string();
    let batch = |subject: &str| ask(subject, "/events", &[], &line)["ids"][0].clone();
    let (ann, bob) = (one("ann"), batch("bob"));
    assert_ne!(ann, bob);
    assert_eq!((batch("ann"), one("bob")), (ann, bob));
}

#[test]
fn what_is_no_key_is_refused() {
    let node = Node::start(&[]);
    let long = "k".repeat(129);
    for key in ["", "a b", "\"a", &long] {
        let detail = node.ask("POST", "/events/a", &[("Idempotency-Key", key)], "x").problem(400, "bad_parameter");
        assert!(detail.starts_with("idempotency-key="), "{detail}");
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    node.ask("POST", "/events/a", &twice, "x").problem(400, "bad_parameter");
    let line = json!({"channel": "a", "data": "x"}).to_string();
    let detail = node.ask("POST", "/events", &[("Idempotency-Key", "a")], &line).problem(400, "bad_parameter");
    assert!(detail.contains("member"), "{detail}");
    let line = json!({"channel": "a", "data": "x", "key": "ä"}).to_string();
    assert!(node.ask("POST", "/events", &[], &line).problem(400, "bad_body").contains("member \"key\""));
    assert_eq!(node.get("/history/a").json()["events"], json!([]), "nothing was published");
}

#[test]
fn a_stream_keeps_as_many_and_lives_as_long_as_a_post_says() {
    let node = Node::start(&[]);
    (0..9).for_each(|n| drop(node.publish("/events/a?maxlen=2", &n.to_string())));
    assert_eq!(node.subscribe("/events/a?since=earliest").numbers(2), [7, 8]);
    let mut stream = node.subscribe("/events/b").begun();
    node.publish("/events/b?ttl=1s", "1");
    assert_eq!(stream.numbers(1), [1]);
    eventually("its end", || node.get("/history/b").json()["events"] == json!([]));
    assert_eq!(stream.gap()["reason"], "missing");
}
