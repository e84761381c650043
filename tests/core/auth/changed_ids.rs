//! Ids of streams whose channels were changed: on any node they say what counted, and what was ordered while nobody listened
//! is made up for.

use super::changes::{JOINED, another_moment, gets, has_read, order, publish, resume, told};
use super::node_on;
use super::revocations::{control, open, token};
use crate::support::jwt::{Folder, now};
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use rustix::process::Signal;

/// A node that is killed, and its stream's last id.
fn cut_off(mut node: Node, stream: Stream) -> String {
    node.signal(Signal::KILL);
    node.wait();
    stream.last_event_id()
}

/// A node knows so many orders.
fn have_read(node: &Node, joins: usize, leaves: usize) {
    has_read(node, "join", joins);
    has_read(node, "leave", leaves);
}

#[test]
fn what_was_ordered_between_two_connections_applies() {
    for target in ["/events/a", "/events?channels=a,b", "/events?channels=a,b,3,4,5"] {
        let (redis, folder) = (Redis::start(), Folder::new());
        let [first, second, third] = [(); 3].map(|()| node_on(&redis, &folder, &[]));
        publish(&redis, "c", "before the order");
        let alice = token("alice", "1");
        let mut stream = open(&first, target, &alice);
        publish(&redis, "a", "1");
        gets(&mut stream, "1");
        // Its ids say nothing of orders yet.
        let id = cut_off(first, stream);
        assert!(!id.contains('~'), "{id}");
        another_moment(&redis);
        order(&redis, "join", "c,d");
        order(&redis, "leave", "a,d");
        publish(&redis, "a", "2");
        publish(&redis, "c", "3");
        have_read(&second, 1, 1);
        let mut stream = resume(&second, target, &alice, &id);
        told(&mut stream, "fantail.joined", &["c"]);
        told(&mut stream, "fantail.left", &["a"]);
        gets(&mut stream, "3");
        // Now they do.
        let id = cut_off(second, stream);
        order(&redis, "leave", "c");
        order(&redis, "join", "a");
        publish(&redis, "c", "4");
        publish(&redis, "a", "5");
        another_moment(&redis);
        order(&redis, "join", "c");
        publish(&redis, "c", "6");
        have_read(&third, 3, 2);
        let mut stream = resume(&third, target, &alice, &id);
        told(&mut stream, "fantail.joined", &["a"]);
        let mut got = [stream.next().data, stream.next().data];
        got.sort();
        assert_eq!(got, ["5", "6"], "c was left, and begins again where it was joined");
    }
}

#[test]
fn who_is_held_is_told_how_its_set_has_changed_when_its_channels_are_there() {
    let (redis, folder) = (Redis::start_persistent(), Folder::new());
    let [first, second] = [(); 2].map(|()| node_on(&redis, &folder, &[]));
    let alice = token("alice", "1");
    let stream = open(&first, "/events?channels=a,b", &alice);
    let id = cut_off(first, stream);
    order(&redis, "join", "c");
    order(&redis, "leave", "a");
    have_read(&second, 1, 1);
    redis.stop();
    second.metric_becomes("fantail_backplane_up", 0.0);
    let mut held = resume(&second, "/events?channels=a,b", &alice, &id);
    redis.run();
    told(&mut held, "fantail.joined", &["c"]);
    told(&mut held, "fantail.left", &["a"]);
    publish(&redis, "c", "1");
    gets(&mut held, "1");
}

#[test]
fn who_comes_for_the_first_time_is_not_given_old_orders() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let nodes = [node_on(&redis, &folder, &[]), node_on(&redis, &folder, &[])];
    let alice = token("alice", "1");
    order(&redis, "join", "b");
    nodes.iter().for_each(|node| node.metric_becomes("fantail_revocations_total{target=\"join\"}", 1.0));
    let stream = open(&nodes[0], "/events/a", &alice);
    let id = stream.last_event_id();
    assert!(id.starts_with("a=0-0,~control="), "it is told which orders counted: {id}");
    let mut again = resume(&nodes[1], "/events/a", &alice, &id);
    publish(&redis, "b", "1");
    publish(&redis, "a", "2");
    gets(&mut again, "2");
    assert_eq!(open(&nodes[1], "/events/a", &token("bob", "2")).last_event_id().matches('~').count(), 0);
}

#[test]
fn a_channel_that_cannot_be_read_yet_is_joined_when_it_can_on_whatever_node() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let [first, second] = [(); 2].map(|()| node_on(&redis, &folder, &[]));
    let alice = token("alice", "1");
    redis.command(&["SET", "sse:w", "x"]);
    let mut stream = open(&first, "/events?channels=a,b", &alice);
    order(&redis, "join", "w");
    order(&redis, "join", "c");
    let id = told(&mut stream, "fantail.joined", &["c"]);
    let (_, since) = id.split_once("+w=").expect("it is awaited");
    assert!(since.split_once(',').is_some_and(|(since, _)| since.parse::<u64>().is_ok()), "{id}");
    order(&redis, "leave", "a");
    let id = told(&mut stream, "fantail.left", &["a"]);
    let mut again = resume(&second, "/events?channels=a,b", &alice, &id);
    redis.command(&["DEL", "sse:w"]);
    publish(&redis, "w", "1");
    told(&mut stream, "fantail.joined", &["w"]);
    assert!(gets(&mut stream, "1").contains("+w="));
    let held = again.next();
    if held.event == "fantail.held" {
        told(&mut again, "fantail.joined", &["w"]);
        gets(&mut again, "1");
    } else {
        assert_eq!(held.data, "1");
    }
    // One that waits may be left.
    redis.command(&["SET", "sse:v", "x"]);
    order(&redis, "join", "v");
    order(&redis, "leave", "v");
    told(&mut stream, "fantail.left", &["v"]);
    redis.command(&["DEL", "sse:v"]);
    publish(&redis, "v", "2");
    publish(&redis, "b", "3");
    assert!(!gets(&mut stream, "3").contains("v="));
}

#[test]
fn a_channel_that_waits_from_the_beginning_is_left_when_it_has_come() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = node_on(&redis, &folder, &[]);
    redis.command(&["SET", "sse:w", "x"]);
    let mut stream = open(&node, "/events?channels=a,w", &token("alice", "1"));
    told(&mut stream, "fantail.held", &["w"]);
    order(&redis, "leave", "w");
    have_read(&node, 0, 1);
    redis.command(&["DEL", "sse:w"]);
    told(&mut stream, "fantail.joined", &["w"]);
    told(&mut stream, "fantail.left", &["w"]);
    publish(&redis, "w", "1");
    publish(&redis, "a", "2");
    assert!(gets(&mut stream, "2").contains(",-w,~control="));
}

#[test]
fn an_order_under_an_id_that_goes_back_is_none_for_who_has_had_a_later_one() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = node_on(&redis, &folder, &[]);
    let mut stream = open(&node, "/events/a", &token("alice", "1"));
    order(&redis, "join", "c");
    told(&mut stream, "fantail.joined", &["c"]);
    redis.command(&["DEL", "sse:~control"]);
    redis.command(&["XADD", "sse:~control", "5-0", "join", "d", "subject", "alice"]);
    have_read(&node, 2, 0);
    publish(&redis, "d", "1");
    publish(&redis, "c", "2");
    gets(&mut stream, "2");
}

#[test]
fn a_node_that_comes_later_knows_what_was_ordered() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let first = node_on(&redis, &folder, &[]);
    let alice = token("alice", "1");
    let mut stream = open(&first, "/events/a", &alice);
    publish(&redis, "a", "1");
    gets(&mut stream, "1");
    let id = cut_off(first, stream);
    order(&redis, "join", "b");
    publish(&redis, "b", "2");
    // As early as can be: its control stream may not have been read yet.
    let second = node_on(&redis, &folder, &[]);
    let mut stream = resume(&second, "/events/a", &alice, &id);
    told(&mut stream, "fantail.joined", &["b"]);
    gets(&mut stream, "2");
    second.metric_becomes(JOINED, 1.0);
}

#[test]
fn orders_of_before_a_stream_are_carried_out_for_nobody() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let long_ago = (now() - 60) * 1000;
    redis.command(&["XADD", "sse:~control", &format!("{long_ago}-0"), "join", "b", "subject", "alice"]);
    let node = node_on(&redis, &folder, &[]);
    let mut stream = open(&node, "/events/a", &token("alice", "1"));
    control(&redis, &["join", "b", "subject", "bob"]);
    eventually("it is read", || node.metric("fantail_revocations_total{target=\"join\"}") == 1.0);
    publish(&redis, "b", "1");
    publish(&redis, "a", "2");
    gets(&mut stream, "2");
    assert_eq!(node.metric(JOINED), 0.0);
}

#[test]
fn history_of_the_channels_that_stay_comes_whole_while_others_come_and_go() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let node = node_on(&redis, &folder, &["--tail-bytes", "1MiB", "--replay-rate", "5000"]);
    let alice = token("alice", "1");
    let filler = "x".repeat(2_000);
    for n in 0..3_000 {
        let [a, b, c] = ["a", "b", "c"].map(|name| (format!("sse:{name}"), format!("{name} {n} {filler}")));
        let commands = [&a, &b, &c].map(|(key, data)| ["XADD", key, "*", "data", data]);
        redis.pipeline(&commands.each_ref().map(|command| &command[..]));
    }
    let mut stream = open(&node, "/events?channels=a,b,c&since=earliest", &alice);
    let mut next = [0_u64; 3];
    let mut gone = None;
    while next[1] < 3_000 || next[2] < 3_000 {
        let message = stream.next();
        if message.event == "fantail.left" {
            gone = Some(message.id);
            continue;
        }
        let mut words = message.data.split(' ');
        let name = words.next().expect("a channel");
        let at = ["a", "b", "c"].iter().position(|other| *other == name).expect("a channel");
        assert!(at > 0 || gone.is_none(), "a has gone");
        assert_eq!(words.next(), Some(&*next[at].to_string()), "of channel {at}");
        next[at] += 1;
        if next.iter().sum::<u64>() == 500 {
            order(&redis, "leave", "a");
        }
    }
    assert!(gone.is_some_and(|id| id.contains(",-a,")));
}
