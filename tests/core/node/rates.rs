//! What counts for the rates of subscribing: all that reads.

use crate::support::client::Connection;
use crate::support::jwt::{Folder, SECRET, signed};
use crate::support::node::Node;
use serde_json::json;

/// Asks until it is refused; how often it was not.
fn until_refused(node: &Node, method: &str, target: &str) -> usize {
    for taken in 0..1000 {
        let mut connection = Connection::open(node.listen);
        connection.send_request(method, target, &[], b"");
        match connection.head().status {
            200 => {}
            status => {
                assert_eq!(status, 429, "{method} {target}");
                return taken;
            }
        }
    }
    panic!("{method} {target}: a thousand requests were taken");
}

#[test]
fn head_and_history_count_for_the_rate_of_an_address() {
    for (method, target) in [("HEAD", "/events/a"), ("GET", "/history/a"), ("HEAD", "/history/a"), ("GET", "/events/a")]
    {
        let node = Node::start(&["--subscribe-rate", "1"]);
        until_refused(&node, method, target);
        let reason = "fantail_connections_refused_total{reason=\"subscribe_rate\"}";
        assert_eq!(node.metric(reason), 1.0, "{method} {target}");
    }
}

#[test]
fn head_and_history_count_for_the_rate_of_a_subject() {
    let folder = Folder::new();
    let secret = folder.write("secret", SECRET);
    let token = signed(json!({"sub": "alice", "fantail": {"subscribe": ["a"]}}));
    for (method, path) in [("HEAD", "/events/a"), ("GET", "/history/a")] {
        let flags = ["--auth", "jwt", "--jwt-key", &secret, "--subscribe-rate-per-subject", "1"];
        until_refused(&Node::start(&flags), method, &format!("{path}?token={token}"));
    }
}
