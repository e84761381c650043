//! Going on by `Last-Event-ID`, on whatever node.

use super::add;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::Stream;

#[test]
fn one_channel_goes_on_at_another_node() {
    let redis = Redis::start();
    let (one, other) = (Node::on(&redis, &[]), Node::on(&redis, &[]));
    let mut stream = one.subscribe("/events/orders");
    let ids = add(&redis, "orders", 1..=5);
    assert_eq!(stream.numbers(5), [1, 2, 3, 4, 5]);
    drop(stream);
    add(&redis, "orders", 6..=8);
    // After whichever it had seen, exactly the rest.
    for (seen, id) in (1..=5).zip(&ids) {
        let mut resumed = other.resume("/events/orders", id);
        let rest: Vec<u64> = (seen + 1..=8).collect();
        assert_eq!(resumed.numbers(rest.len()), rest, "after {seen}");
    }
    let mut resumed = other.resume("/events/orders", &ids[4]);
    add(&redis, "orders", [9]);
    assert_eq!(resumed.numbers(4), [6, 7, 8, 9]);
    assert_eq!(other.metric("fantail_resumes_total{outcome=\"gap\"}"), 0.0);
    assert_eq!(other.metric("fantail_resumes_total{outcome=\"reset\"}"), 0.0);
}

#[test]
fn a_client_cut_off_before_its_first_event_loses_nothing() {
    let redis = Redis::start();
    let (one, other) = (Node::on(&redis, &[]), Node::on(&redis, &[]));
    let nothing_yet = one.subscribe("/events/fresh").begun().last_event_id();
    add(&redis, "orders", 1..=2);
    let two = one.subscribe("/events/orders").begun().last_event_id();
    let mixed = one.subscribe("/events?channels=fresh,orders").begun().last_event_id();
    add(&redis, "fresh", 10..=12);
    add(&redis, "orders", 3..=4);
    assert_eq!(other.resume("/events/fresh", &nothing_yet).numbers(3), [10, 11, 12]);
    assert_eq!(other.resume("/events/orders", &two).numbers(2), [3, 4]);
    let mut both = other.resume("/events?channels=fresh,orders", &mixed).numbers(5);
    both.sort_unstable();
    assert_eq!(both, [3, 4, 10, 11, 12]);
}

#[test]
fn of_header_and_parameter_the_later_counts_and_both_go_before_since_and_tail() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let ids = add(&redis, "orders", 1..=6);
    let target = format!("/events/orders?lastEventId={}&since=earliest&tail=1", ids[1]);
    assert_eq!(node.resume(&target, &ids[3]).numbers(2), [5, 6]);
    assert_eq!(node.resume(&target, &ids[0]).numbers(4), [3, 4, 5, 6]);
    assert_eq!(node.subscribe(&target).numbers(4), [3, 4, 5, 6]);
    // EventSource sends no header, or an empty one, where it has no id.
    assert_eq!(node.resume(&target, "").numbers(4), [3, 4, 5, 6]);
    assert_eq!(node.subscribe("/events/orders?lastEventId=&since=earliest").numbers(6), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn how_subscribers_began_is_counted() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let ids = add(&redis, "orders", 1..=4);
    let count = |outcome: &str| node.metric(&format!("fantail_resumes_total{{outcome=\"{outcome}\"}}"));
    assert_eq!(node.resume("/events/orders", &ids[1]).numbers(2), [3, 4]);
    assert_eq!(count("history"), 1.0);
    // Now that is in memory.
    assert_eq!(node.resume("/events/orders", &ids[1]).numbers(2), [3, 4]);
    assert_eq!(count("tail"), 1.0);
    drop(node.resume("/events/orders", &ids[3]).begun());
    assert_eq!(count("live"), 1.0);
    drop(node.resume("/events/orders", "nonsense").begun());
    assert_eq!(count("reset"), 1.0);
    redis.command(&["XTRIM", "sse:gone", "MAXLEN", "0"]);
    let gone = add(&redis, "gone", 1..=3);
    redis.command(&["XTRIM", "sse:gone", "MAXLEN", "1"]);
    drop(node.resume("/events/gone", &gone[0]).begun());
    assert_eq!(count("gap"), 1.0);
}

/// Reconnects at every event while a producer runs at full speed; each event must come exactly once.
#[test]
fn reconnects_while_published_to_at_full_speed_are_exact() {
    const EVENTS: u64 = 3000;
    let redis = Redis::start();
    let nodes = [Node::on(&redis, &[]), Node::on(&redis, &[]), Node::on(&redis, &["--follow", "block"])];
    let mut stream = nodes[0].subscribe("/events/orders").begun();
    let mut seen = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| (1..=EVENTS).step_by(10).for_each(|from| drop(add(&redis, "orders", from..from + 10))));
        let mut turn = 0;
        while seen.last() != Some(&EVENTS) {
            for _ in 0..fastrand::u32(1..200) {
                if seen.last() == Some(&EVENTS) {
                    break;
                }
                let message = stream.next();
                seen.push(message.data.parse().unwrap_or_else(|_| panic!("{message:?}")));
                // What is on its way in this connection is thrown away with it.
                stream = if fastrand::u32(..50) == 0 { again(&nodes, &mut turn, &message.id) } else { stream };
            }
        }
    });
    assert_eq!(seen, (1..=EVENTS).collect::<Vec<_>>());
}

fn again(nodes: &[Node], turn: &mut usize, id: &str) -> Stream {
    *turn += 1;
    nodes[*turn % nodes.len()].resume("/events/orders", id)
}

#[test]
fn long_history_is_exact_beyond_memory_and_beyond_a_page() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--tail-bytes", "1MiB"]);
    let filler = "x".repeat(1000);
    let numbers: Vec<String> = (0..5000).map(|number| format!("{number} {filler}")).collect();
    let commands: Vec<[&str; 5]> = numbers.iter().map(|data| ["XADD", "sse:orders", "*", "data", data]).collect();
    for batch in commands.chunks(500) {
        redis.pipeline(&batch.iter().map(|command| &command[..]).collect::<Vec<_>>());
    }
    let targets = ["/events/orders?since=earliest", "/events?channels=orders,other&since=earliest"];
    let mut streams = targets.map(|target| node.subscribe(target));
    for stream in &mut streams {
        for number in 0..5000 {
            let data = stream.next().data;
            assert_eq!(data.split(' ').next(), Some(number.to_string().as_str()));
        }
    }
    add(&redis, "orders", [7]);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [7]));
    assert!(node.metric("fantail_catch_ups_total") > 0.0);
    assert!(node.metric("fantail_tail_bytes") <= f64::from(1 << 20));
}
