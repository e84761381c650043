//! Streams whose channels are changed while they are open: orders reach them on whatever node they are, and their ids carry
//! what they did.

use super::revocations::{control, ends_revoked, open, token};
use super::{bearer, node_on};
use crate::support::event_stream::Message;
use crate::support::jwt::{Folder, signed};
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use serde_json::json;

pub const JOINED: &str = "fantail_set_changes_total{outcome=\"joined\"}";
pub const LEFT: &str = "fantail_set_changes_total{outcome=\"left\"}";

/// Orders for the streams of alice.
pub fn order(redis: &Redis, what: &str, channels: &str) {
    control(redis, &[what, channels, "subject", "alice"]);
}

pub fn publish(redis: &Redis, channel: &str, data: &str) {
    redis.command(&["XADD", &format!("sse:{channel}"), "*", "event", "e", "data", data]);
}

/// Waits until a node has carried out so many orders of a kind.
pub fn has_read(node: &Node, what: &str, count: usize) {
    node.metric_becomes(&format!("fantail_revocations_total{{target=\"{what}\"}}"), count as f64);
}

/// A stream that goes on at an id.
pub fn resume(node: &Node, target: &str, token: &str, id: &str) -> Stream {
    let (name, value) = bearer(token);
    Stream::open(node.listen, target, &[(name, &value), ("Last-Event-ID", id)])
}

/// The next message, which tells of these channels; its id.
pub fn told(stream: &mut Stream, event: &str, channels: &[&str]) -> String {
    let message = stream.next();
    assert_eq!((message.event.as_str(), message.data), (event, json!({"channels": channels}).to_string()));
    message.id
}

/// The next message, which is an event with this data; its id.
pub fn gets(stream: &mut Stream, data: &str) -> String {
    let Message { id, data: got, event } = stream.next();
    assert_eq!(got, data, "{event} at {id}");
    id
}

/// Waits until Redis gives ids of another millisecond.
pub fn another_moment(redis: &Redis) {
    let now = || {
        let time = redis.command(&["TIME"]);
        let part = |at: usize| time.list()[at].text().parse::<u64>().expect("a number");
        part(0) * 1_000 + part(1) / 1_000
    };
    let begun = now();
    eventually("the next moment", || now() > begun);
}

#[test]
fn channels_come_and_go_on_all_nodes() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let nodes = [node_on(&redis, &folder, &[]), node_on(&redis, &folder, &[])];
    let (alice, bob) = (token("alice", "1"), token("bob", "2"));
    let five = "/events?channels=a,2,3,4,5";
    let targets = ["/events/a", "/events?channels=a,b", five, "/events/a?envelope=1", "/events/a?type=channel"];
    let mut streams: Vec<Stream> =
        nodes.iter().flat_map(|node| targets.map(|target| open(node, target, &alice))).collect();
    let mut others: Vec<Stream> = nodes.iter().map(|node| open(node, "/events/a", &bob)).collect();
    order(&redis, "join", "c,a");
    for stream in &mut streams {
        let id = told(stream, "fantail.joined", &["c"]);
        assert!(id.contains(",+c=") && id.contains(",~control="), "{id}");
    }
    publish(&redis, "c", "1");
    for stream in &mut streams {
        let message = stream.next();
        assert!(message.data == "1" || message.data.contains("\"channel\":\"c\""), "{message:?}");
        assert!(message.id.contains(",+c=") && ["e", "message", "c"].contains(&message.event.as_str()), "{message:?}");
    }
    order(&redis, "leave", "a,unknown");
    for stream in &mut streams {
        let id = told(stream, "fantail.left", &["a"]);
        assert!(id.contains(",-a,~control=") && !id.contains("unknown"), "{id}");
    }
    publish(&redis, "a", "2");
    publish(&redis, "c", "3");
    for stream in &mut others {
        assert_eq!(gets(stream, "2").matches(['+', ',', '~']).count(), 0);
    }
    for (number, mut stream) in streams.into_iter().enumerate() {
        let last = stream.next();
        assert!(last.data == "3" || last.data.contains(r#""data":"3""#), "{last:?}");
        drop(stream);
        let (target, other) = (targets[number % targets.len()], &nodes[1 - number / targets.len()]);
        let mut again = resume(other, target, &alice, &last.id).begun();
        assert!(again.last_event_id().contains(",-a,~control="), "{}", again.last_event_id());
        publish(&redis, "a", "4");
        publish(&redis, "c", &format!("more {number}"));
        for number in 0..=number {
            let next = again.next();
            assert!(next.data.contains(&format!("more {number}")), "{next:?}");
        }
    }
    nodes.iter().for_each(|node| {
        node.metric_becomes("fantail_revocations_total{target=\"join\"}", 1.0);
        node.metric_becomes("fantail_revocations_total{target=\"leave\"}", 1.0);
        node.metric_becomes(JOINED, targets.len() as f64);
        node.metric_becomes(LEFT, targets.len() as f64);
        node.logs(&["told to change", "join", "alice"]);
    });
}

#[test]
fn a_token_names_its_streams_too_and_a_revocation_ends_them() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = node_on(&redis, &folder, &[]);
    let (one, two) = (token("alice", "1"), token("alice", "2"));
    let mut streams = [open(&node, "/events/a", &one), open(&node, "/events/a", &two)];
    control(&redis, &["join", "b", "token", "1"]);
    told(&mut streams[0], "fantail.joined", &["b"]);
    publish(&redis, "b", "1");
    gets(&mut streams[0], "1");
    publish(&redis, "a", "2");
    streams.iter_mut().for_each(|stream| drop(gets(stream, "2")));
    control(&redis, &["disconnect", "channel", "name", "b"]);
    ends_revoked(&mut streams[0]);
    publish(&redis, "a", "3");
    gets(&mut streams[1], "3");
}

#[test]
fn what_a_grant_or_a_limit_does_not_cover_is_not_joined() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let flags = ["--max-channels-per-connection", "4", "--max-channels-per-subject", "5"];
    let nodes = [node_on(&redis, &folder, &flags), node_on(&redis, &folder, &flags)];
    let granted = |sub: &str, id: &str, most: u64| {
        let limits = json!({"channels": most});
        signed(json!({"sub": sub, "jti": id, "fantail": {"subscribe": ["a", "room.*"], "limits": limits}}))
    };
    let outcome = |outcome: &str| format!("fantail_set_changes_total{{outcome=\"{outcome}\"}}");
    let mut alice = open(&nodes[0], "/events/a", &granted("alice", "1", 9));
    let mut bob = open(&nodes[0], "/events/a", &granted("bob", "2", 2));
    order(&redis, "join", "secret,room.1");
    told(&mut alice, "fantail.joined", &["room.1"]);
    nodes[0].metric_becomes(&outcome("forbidden"), 1.0);
    nodes[0].logs(&["is not joined", "secret", "forbidden"]);
    order(&redis, "join", "room.2,room.3,room.4");
    let mut joined: Vec<Message> = (0..2).map(|_| alice.next()).collect();
    joined.sort_by(|a, b| a.data.cmp(&b.data));
    assert!(joined[0].data.contains("room.2") && joined[1].data.contains("room.3"), "{joined:?}");
    nodes[0].metric_becomes(&outcome("too_many"), 1.0);
    // Alice has her four, and her subject may have one more.
    let mut second = open(&nodes[0], "/events/a", &granted("alice", "3", 9));
    control(&redis, &["join", "room.9", "token", "3"]);
    nodes[0].metric_becomes(&outcome("too_many"), 2.0);
    order(&redis, "leave", "room.3");
    let left = told(&mut alice, "fantail.left", &["room.3"]);
    control(&redis, &["join", "room.9", "token", "3"]);
    told(&mut second, "fantail.joined", &["room.9"]);
    control(&redis, &["join", "room.1,room.2", "subject", "bob"]);
    told(&mut bob, "fantail.joined", &["room.1"]);
    nodes[0].metric_becomes(&outcome("too_many"), 3.0);
    // Whose id has what its token no longer covers goes on without.
    let narrow = signed(json!({"sub": "alice", "jti": "4", "fantail": {"subscribe": ["a", "room.2"]}}));
    let mut narrow = resume(&nodes[1], "/events/a", &narrow, &left);
    publish(&redis, "room.1", "1");
    publish(&redis, "room.2", "2");
    assert!(!gets(&mut narrow, "2").contains("room.1"));
    nodes[1].metric_becomes(&outcome("forbidden"), 1.0);
}

#[test]
fn who_wants_no_events_of_the_nodes_own_has_ids_that_carry_it() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = node_on(&redis, &folder, &[]);
    let alice = token("alice", "1");
    for mode in ["off", "end"] {
        for more in ["", "&events=e", "&where=event=e"] {
            let mut stream = open(&node, &format!("/events/a?hello=1&control={mode}{more}"), &alice);
            assert_eq!(stream.next().event, "fantail.opened");
            order(&redis, "join", "b");
            stream.read_until("the id", |stream| stream.parser.last_event_id().contains(",+b="));
            redis.command(&["XADD", "sse:b", "*", "event", "other", "data", "0"]);
            publish(&redis, "b", "1");
            if more.is_empty() {
                gets(&mut stream, "0");
            }
            gets(&mut stream, "1");
            order(&redis, "leave", "a,b");
            stream.read_until("the id", |stream| stream.parser.last_event_id().starts_with("-a,~control="));
        }
    }
}

#[test]
fn a_stream_that_has_left_all_its_channels_waits_for_others() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let nodes = [node_on(&redis, &folder, &["--heartbeat", "1s"]), node_on(&redis, &folder, &[])];
    let alice = token("alice", "1");
    let mut stream = open(&nodes[0], "/events/a", &alice);
    order(&redis, "leave", "a");
    let id = told(&mut stream, "fantail.left", &["a"]);
    assert!(id.starts_with("-a,~control="), "{id}");
    let mut again = resume(&nodes[1], "/events/a", &alice, &id).begun();
    assert_eq!(again.last_event_id(), id);
    publish(&redis, "a", "1");
    another_moment(&redis);
    order(&redis, "join", "a,b");
    for stream in [&mut stream, &mut again] {
        let mut joined: Vec<String> = (0..2).map(|_| stream.next().data).collect();
        joined.sort();
        assert_eq!(joined, [r#"{"channels":["a"]}"#, r#"{"channels":["b"]}"#]);
    }
    publish(&redis, "a", "2");
    assert_eq!([&mut stream, &mut again].map(|stream| gets(stream, "2").contains('-')), [true; 2]);
    // A channel that has ended ends the stream with the others alone.
    redis.command(&["XADD", "sse:b", "*", "data", "3", "final", "1"]);
    gets(&mut stream, "3");
    order(&redis, "leave", "a");
    told(&mut stream, "fantail.left", &["a"]);
    assert_eq!(stream.finish().0, crate::support::stream::End::Whole);
}

#[test]
fn what_is_no_order_is_counted_and_logged() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = node_on(&redis, &folder, &[]);
    let mut stream = open(&node, "/events/a", &token("alice", "1"));
    for fields in [
        &["join", "b"][..],
        &["join", "b c", "subject", "alice"],
        &["leave", "~control", "subject", "alice"],
        &["join", "b", "leave", "a", "subject", "alice"],
        &["join", "b", "subject", "alice", "token", "1"],
    ] {
        control(&redis, fields);
    }
    node.metric_becomes("fantail_revocations_total{target=\"unreadable\"}", 5.0);
    node.logs(&["cannot be read", "neither a subject nor a token"]);
    publish(&redis, "a", "1");
    assert!(!gets(&mut stream, "1").contains('~'), "nothing has changed");
}
