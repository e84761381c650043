//! The console while Redis is away: what is not heard of is not gone.

use crate::support::node::{Node, eventually};
use crate::support::program;
use crate::support::redis::Redis;
use serde_json::Value;

fn nodes(node: &Node) -> Vec<Value> {
    node.page("/api/nodes").json()["nodes"].as_array().expect("nodes").clone()
}

fn age_ms(nodes: &[Value]) -> u64 {
    let at = |node: &Value| node["at_ms"].as_u64().expect("a time");
    at(&nodes[0]).saturating_sub(at(&nodes[1]))
}

#[test]
fn other_nodes_stay_as_they_were_heard_last() {
    let redis = Redis::start();
    let [node, other] = [(); 2].map(|()| Node::on(&redis, &[]));
    let _stream = other.subscribe("/events/a").begun();
    eventually("the other's connection", || nodes(&node).get(1).is_some_and(|other| other["connections"] == 1));
    redis.stop();
    // Longer than a record counts.
    eventually("its last state, of a while ago", || {
        let all = nodes(&node);
        assert_eq!((all.len(), &all[1]["connections"]), (2, &1.into()), "{all:?}");
        age_ms(&all) > 12_000
    });
    assert_eq!(nodes(&node)[0]["backplane"]["up"], false);
    let mut top = program::fantail();
    let output = top.args(["top", "--url", &format!("http://{}", node.admin)]).output().expect("the binary");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.starts_with("Redis is away") && text.contains("s ago"), "{text}");
    // A new Redis knows nothing of it until it has written again.
    redis.run();
    eventually("it is heard again", || {
        let all = nodes(&node);
        assert_eq!(all.len(), 2, "{all:?}");
        age_ms(&all) < 6_000 && all[0]["backplane"]["up"] == true
    });
    // Who goes meanwhile is gone when nothing hides it.
    drop(other);
    eventually("it is gone", || nodes(&node).len() == 1);
}
