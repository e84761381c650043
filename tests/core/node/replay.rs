//! Replay: a limit makes readers wait, and never costs an event that the stream holds.

use crate::support::client::Connection;
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::stream::Stream;

/// Adds numbered events in one go, as a script does, each with so many bytes of filler.
fn pour(redis: &Redis, channel: &str, numbers: std::ops::Range<u64>, filler: usize) {
    let script = "for n = ARGV[1], ARGV[2] - 1 do redis.call('XADD', KEYS[1], '*', 'data', n .. ARGV[3]) end";
    let (key, from, to) = (format!("sse:{channel}"), numbers.start.to_string(), numbers.end.to_string());
    let filler = " ".repeat(filler);
    redis.command(&["EVAL", script, "1", &key, &from, &to, &filler]);
}

fn expect(stream: &mut Stream, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let message = stream.next();
        assert_eq!((message.event.as_str(), message.data.trim_end()), ("message", number.to_string().as_str()));
    }
}

const REPLAYED: &str = "fantail_replay_entries_total";
const WAITED_FOR_RATE: &str = "fantail_replay_waits_total{limit=\"rate\"}";
const WAITED_FOR_BYTES: &str = "fantail_replay_waits_total{limit=\"bytes\"}";

#[test]
fn all_that_a_stream_holds_is_replayed_at_the_nodes_rate() {
    let redis = Redis::start();
    pour(&redis, "a", 0..20_000, 50);
    let node = Node::on(&redis, &["--tail-bytes", "1MiB", "--replay-rate", "20000", "--replay-limit", "100"]);
    node.logs(&["--replay-limit has no effect"]);
    let targets = ["/events/a?since=earliest", "/events?channels=a,b&since=earliest"];
    let mut streams = targets.map(|target| node.subscribe(target));
    for stream in &mut streams {
        expect(stream, 0..20_000);
    }
    assert!(node.metric(REPLAYED) > 10_000.0);
    assert!(node.metric(WAITED_FOR_RATE) > 0.0, "it was paced");
    assert_eq!(node.metric("fantail_gaps_total{reason=\"trimmed\"}"), 0.0);
    // Abreast again, they are live.
    pour(&redis, "a", 20_000..20_003, 0);
    streams.iter_mut().for_each(|stream| expect(stream, 20_000..20_003));
}

#[test]
fn a_reader_that_a_burst_overruns_loses_nothing() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--tail-bytes", "1MiB", "--replay-rate", "20000", "--replay-limit", "100"]);
    let targets = ["/events/a", "/events?channels=a,b", "/events/a?events=message"];
    let mut witnesses = targets.map(|target| node.subscribe(target).begun());
    pour(&redis, "a", 0..20_000, 50);
    for witness in &mut witnesses {
        expect(witness, 0..20_000);
    }
    assert_eq!(node.metric("fantail_gaps_total{reason=\"trimmed\"}"), 0.0);
}

#[test]
fn what_is_trimmed_while_it_is_replayed_is_a_gap_and_nothing_else_is() {
    let redis = Redis::start();
    pour(&redis, "a", 0..20_000, 50);
    let node = Node::on(&redis, &["--tail-bytes", "1MiB", "--replay-rate", "5000"]);
    let mut stream = node.subscribe("/events/a?since=earliest");
    expect(&mut stream, 0..1);
    redis.command(&["XTRIM", "sse:a", "MAXLEN", "100"]);
    let mut next = 1;
    let told: serde_json::Value = loop {
        let message = stream.next();
        match message.event.as_str() {
            "fantail.gap" => break serde_json::from_str(&message.data).expect("JSON"),
            _ => assert_eq!(message.data.trim_end(), next.to_string()),
        }
        next += 1;
    };
    assert_eq!((&told["reason"], &told["channel"]), (&"trimmed".into(), &"a".into()));
    let first = stream.next();
    assert_eq!(told["continues_at"], first.id);
    let went_on: u64 = first.data.trim_end().parse().expect("a number");
    assert!(went_on > next && went_on <= 19_900, "{next} {went_on}");
    expect(&mut stream, went_on + 1..20_000);
}

#[test]
fn one_who_replays_many_channels_does_not_hold_up_one_who_replays_little() {
    const CHANNELS: usize = 40;
    const LITTLE: u64 = 1_000;
    let redis = Redis::start();
    let node = Node::on(&redis, &["--tail-bytes", "1MiB", "--replay-rate", "10000"]);
    let channels: Vec<String> = (0..CHANNELS).map(|number| format!("many.{number}")).collect();
    channels.iter().for_each(|channel| pour(&redis, channel, 0..2_000, 400));
    pour(&redis, "one", 0..LITTLE, 1_000);
    let mut many = node.subscribe(&format!("/events?channels={}&since=earliest", channels.join(",")));
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut seen = 0;
            for _ in 0..CHANNELS as u64 * 2_000 {
                let message = many.next();
                assert_eq!(message.event, "message", "{}", message.data);
                seen += message.data.trim_end().parse::<u64>().expect("a number");
            }
            seen
        });
        eventually("it replays", || node.metric(REPLAYED) > 2_000.0);
        let before = node.metric(REPLAYED);
        let mut one = node.subscribe("/events/one?since=earliest");
        expect(&mut one, 0..LITTLE);
        let others = node.metric(REPLAYED) - before - LITTLE as f64;
        assert!(others < 20_000.0, "{others} entries of another's were read first");
        // It gets all of its own, too.
        assert_eq!(reader.join().expect("a reader that got all"), CHANNELS as u64 * (1_999 * 2_000 / 2));
    });
}

#[test]
fn replays_that_wait_for_their_sockets_give_their_memory_to_others() {
    let redis = Redis::start();
    pour(&redis, "a", 0..4_000, 4_000);
    let limit = 1 << 20;
    let flags = ["--tail-bytes", "1MiB", "--replay-bytes", "1MiB", "--stall-timeout", "5m", "--replay-rate", "0"];
    let node = Node::on(&redis, &flags);
    let history = redis.command(&["XRANGE", "sse:a", "-", "+", "COUNT", "20"]);
    let ids: Vec<&str> = history.list().iter().map(|entry| entry.list()[0].text()).collect();
    // From places of their own, so that none shares the page of another.
    let narrow =
        |id: &&str| Stream::on(Connection::narrow(node.listen), &format!("/events/a?events=message&since={id}"), &[]);
    let mut slow: Vec<Stream> = ids.iter().map(narrow).collect();
    eventually("there is no room", || node.metric(WAITED_FOR_BYTES) > 0.0);
    let mut quick = node.subscribe("/events/a?since=earliest");
    expect(&mut quick, 0..4_000);
    let most = f64::from(3 * limit);
    assert!(node.metric("fantail_replay_bytes") <= most, "{}", node.metric("fantail_replay_bytes"));
    for (stream, from) in slow.iter_mut().zip(1..) {
        expect(stream, from..4_000);
    }
    node.metric_becomes("fantail_replay_bytes", 0.0);
}
