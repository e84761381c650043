//! Slow readers: nobody waits for them, they get everything exactly, and one that takes nothing is evicted.

use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use std::time::Duration;

/// Bytes of one event's data: a number and a filler.
const SIZE: usize = 4000;

fn add(redis: &Redis, numbers: std::ops::Range<u64>) {
    let data: Vec<String> = numbers.map(|number| format!("{number} {}", "x".repeat(SIZE))).collect();
    let commands: Vec<[&str; 5]> = data.iter().map(|data| ["XADD", "sse:a", "*", "data", data]).collect();
    for batch in commands.chunks(100) {
        redis.pipeline(&batch.iter().map(|command| &command[..]).collect::<Vec<_>>());
    }
}

fn expect(stream: &mut Stream, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let message = stream.next();
        let begin: String = message.data.chars().take(40).collect();
        assert_eq!(message.event, "message", "{}", message.data);
        assert_eq!(message.data.split(' ').next(), Some(number.to_string().as_str()), "{begin}");
    }
}

#[test]
fn readers_that_fall_off_the_tail_are_caught_up_exactly_and_disturb_nobody() {
    const EVENTS: u64 = 2000;
    let redis = Redis::start();
    let node = Node::on(&redis, &["--tail-bytes", "1MiB", "--stall-timeout", "60s"]);
    let targets = ["/events/a", "/events?channels=a,b", "/events/a?envelope=0&events=message"];
    let mut slow: Vec<Stream> =
        targets.iter().map(|target| Stream::on(Connection::narrow(node.listen), target, &[]).begun()).collect();
    let mut quick = targets.map(|target| node.subscribe(target));
    for from in (0..EVENTS).step_by(100) {
        add(&redis, from..from + 100);
        // The quick ones keep up while the slow ones do not read at all.
        quick.iter_mut().for_each(|stream| expect(stream, from..from + 100));
    }
    assert!(node.metric("fantail_tail_bytes") <= f64::from(1 << 20));
    for stream in &mut slow {
        expect(stream, 0..EVENTS);
    }
    add(&redis, EVENTS..EVENTS + 10);
    slow.iter_mut().chain(&mut quick).for_each(|stream| expect(stream, EVENTS..EVENTS + 10));
    assert!(node.metric("fantail_catch_ups_total") > 0.0);
    assert_eq!(node.metric("fantail_connections"), 6.0);
}

#[test]
fn a_reader_that_takes_nothing_is_evicted_and_resumes_by_id() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--stall-timeout", "2s", "--heartbeat", "1s"]);
    let stalled = [
        Stream::on(Connection::narrow(node.listen), "/events/a", &[]).begun(),
        Stream::on(Connection::narrow(node.listen), "/events?channels=a,b", &[]).begun(),
    ];
    let mut quick = node.subscribe("/events/a");
    // More than the kernel keeps for both sides.
    add(&redis, 0..1000);
    expect(&mut quick, 0..1000);
    node.metric_becomes("fantail_connections_closed_total{reason=\"stalled\"}", 2.0);
    node.logs(&["evicted", "127.0.0.1"]);
    assert_eq!(node.metric("fantail_connections"), 1.0);
    add(&redis, 1000..1010);
    expect(&mut quick, 1000..1010);
    for (mut stream, target) in stalled.into_iter().zip(["/events/a", "/events?channels=a,b"]) {
        // What the kernel still had is whole events, and maybe a cut one that counts for nothing.
        let (_, messages) = stream.finish();
        let got = messages.len() as u64;
        assert!(got < 1000);
        let mut resumed = node.resume(target, &stream.last_event_id());
        expect(&mut resumed, got..1010);
    }
}

#[test]
fn a_stalled_reader_is_evicted_long_before_a_heartbeat_would_be_due() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--stall-timeout", "2s", "--heartbeat", "2m"]);
    let _stalled = Stream::on(Connection::narrow(node.listen), "/events/a", &[]).begun();
    let mut quick = node.subscribe("/events/a");
    // Both have been looked at, and will not be for nearly two minutes if nothing happens.
    crate::support::node::eventually("a look", || node.metric("fantail_subscriber_lag_events_count") >= 2.0);
    add(&redis, 0..1000);
    expect(&mut quick, 0..1000);
    node.metric_becomes("fantail_connections_closed_total{reason=\"stalled\"}", 1.0);
}

#[test]
fn heartbeats_go_on_as_soon_as_a_full_socket_has_been_read() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--stall-timeout", "10m", "--heartbeat", "1s"]);
    let mut stream = Stream::on(Connection::narrow(node.listen), "/events/a", &[]).begun();
    // Until the node has looked at it while its socket was full; then little is left, which goes out at once.
    let mut added = 0;
    crate::support::node::eventually("the socket is full", || {
        add(&redis, added..added + 5);
        added += 5;
        node.metric("fantail_subscriber_lag_events_sum") > 0.0
    });
    expect(&mut stream, 0..added);
    let before = stream.parser.comments();
    stream.read_until("heartbeats", |stream| stream.parser.comments() > before + 1);
}

#[test]
fn a_reader_that_takes_little_at_a_time_is_not_evicted() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--stall-timeout", "2s", "--heartbeat", "1s", "--tail-bytes", "1MiB"]);
    let mut stream = Stream::on(Connection::narrow(node.listen), "/events/a", &[]).begun();
    add(&redis, 0..300);
    // It has more to read than fits into the kernel, for longer than the stall timeout.
    for from in (0..300).step_by(10) {
        expect(&mut stream, from..from + 10);
        std::thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(node.metric("fantail_connections_closed_total{reason=\"stalled\"}"), 0.0);
}

#[test]
fn a_blocked_reader_with_a_channel_of_its_own_does_not_hold_others() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--couriers", "1", "--stall-timeout", "60s"]);
    let _blocked: Vec<Stream> =
        (0..20).map(|_| Stream::on(Connection::narrow(node.listen), "/events/a", &[]).begun()).collect();
    add(&redis, 0..500);
    let mut quick = node.subscribe("/events/b");
    for number in 0..200 {
        super::add(&redis, "b", [number]);
        assert_eq!(quick.numbers(1), [number]);
    }
}

#[test]
fn history_trimmed_under_a_sleeping_reader_is_told_with_the_number_lost() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--tail-bytes", "1MiB", "--stall-timeout", "60s"]);
    let targets = ["/events/a", "/events?channels=a,b"];
    let mut asleep: Vec<Stream> =
        targets.iter().map(|target| Stream::on(Connection::narrow(node.listen), target, &[]).begun()).collect();
    add(&redis, 0..2000);
    crate::support::node::eventually("all is read", || node.metric("fantail_events_received_total") == 2000.0);
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "10"]);
    for stream in &mut asleep {
        let mut seen = 0;
        let lost = loop {
            let message = stream.next();
            if message.event == "fantail.gap" {
                let told: serde_json::Value = serde_json::from_str(&message.data).expect("JSON");
                assert_eq!((&told["channel"], &told["reason"]), (&"a".into(), &"trimmed".into()), "{told}");
                assert_eq!(
                    told["resume_from"].as_str(),
                    message.id.split(',').next().map(|id| id.trim_start_matches("a="))
                );
                break told["lost"].as_u64().unwrap_or_else(|| panic!("the number is known: {told}"));
            }
            assert_eq!(message.data.split(' ').next(), Some(seen.to_string().as_str()));
            seen += 1;
        };
        assert!(lost > 0 && seen + lost < 2000, "{seen} seen, {lost} lost");
        expect(stream, seen + lost..2000);
    }
}
