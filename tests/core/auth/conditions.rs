//! Conditions of a grant on the fields of events.

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
