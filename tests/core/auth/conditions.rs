//! What a grant says of subscriptions: conditions on the fields of events, and the channels of who names none.

use super::node;
use crate::node::conditions::publish;
use crate::support::jwt::{Folder, signed};
use crate::support::stream::Stream;
use serde_json::json;

#[test]
fn a_grants_conditions_are_joined_with_those_of_the_request() {
    let folder = Folder::new();
    let node = node(&folder, &[]);
    let token = |claim: serde_json::Value| {
        let rights = json!({"subscribe": ["orders"], "publish": ["orders"], "where": claim});
        format!("Bearer {}", signed(json!({"sub": "alice", "fantail": rights})))
    };
    let narrow = token("team=red".into());
    let auth = [("Authorization", narrow.as_str())];
    let mut all = Stream::open(node.listen, "/events/orders", &auth);
    let mut some = Stream::open(node.listen, "/events/orders?where=level%3E1", &auth);
    let mut none = Stream::open(node.listen, "/events/orders?where=team!=red", &auth).begun();
    publish(&node, &auth);
    assert_eq!(all.numbers(3), [1, 3, 5]);
    assert_eq!(some.numbers(2), [3, 5]);
    let page = node.ask("GET", "/history/orders?where=level%3E1", &auth, "").json();
    assert_eq!(page["events"].as_array().map(Vec::len), Some(2));
    assert_eq!(node.ask("GET", "/history/orders", &auth, "").json()["events"].as_array().map(Vec::len), Some(3));
    assert_eq!(node.ask("POST", "/events/orders?final=1&field.team=red", &auth, "9").head.status, 201);
    assert!(none.finish().1.is_empty(), "what it asks for it may not see");
    for (claim, part) in [(json!(["team=red"]), "no text"), (json!("team"), "no operator")] {
        let token = token(claim);
        let refused = node.ask("GET", "/events/orders", &[("Authorization", &token)], "").problem(401, "bad_token");
        assert!(refused.contains("fantail.where") && refused.contains(part), "{refused}");
    }
}

#[test]
fn who_names_no_channel_gets_those_of_the_grant() {
    let folder = Folder::new();
    let node = node(&folder, &["--max-channels-per-connection", "3"]);
    let token = |rights: serde_json::Value| format!("Bearer {}", signed(json!({"sub": "alice", "fantail": rights})));
    let (covered, all) = (json!(["user.{sub}.*", "news"]), json!(["**"]));
    let own = token(json!({"subscribe": covered, "publish": all, "channels": ["user.{sub}.inbox", "news"]}));
    let auth = [("Authorization", own.as_str())];
    let mut stream = Stream::open(node.listen, "/events", &auth).begun();
    for (number, channel) in [(1, "user.alice.inbox"), (2, "user.alice.other"), (3, "news")] {
        assert_eq!(node.ask("POST", &format!("/events/{channel}"), &auth, &number.to_string()).head.status, 201);
    }
    assert_eq!(stream.numbers(2), [1, 3]);
    let last = stream.last_event_id();
    assert_eq!(node.ask("POST", "/events/news", &auth, "4").head.status, 201);
    let resume = [("Authorization", own.as_str()), ("Last-Event-ID", last.as_str())];
    assert_eq!(Stream::open(node.listen, "/events", &resume).numbers(1), [4]);
    assert_eq!(
        Stream::open(node.listen, "/events?channels=news&tail=1", &auth).numbers(1),
        [4],
        "what it names counts"
    );
    assert_eq!(node.ask("HEAD", "/events", &auth, "").head.status, 200);
    for (rights, status, code) in [
        (json!({"subscribe": ["news"]}), 400, "bad_channel"),
        (json!({"subscribe": ["news"], "channels": ["news", "other"]}), 403, "forbidden"),
        (json!({"subscribe": ["**"], "channels": ["news.*"]}), 401, "bad_token"),
        (json!({"subscribe": ["**"], "channels": ["a", "b", "c", "d"]}), 400, "too_many_channels"),
        (json!({"subscribe": ["**"], "channels": ["a", "b"], "limits": {"channels": 1}}), 400, "too_many_channels"),
    ] {
        let token = token(rights);
        node.ask("GET", "/events", &[("Authorization", &token)], "").problem(status, code);
    }
}
