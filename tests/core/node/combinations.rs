//! Each parameter of a subscription with each other one: whatever a stream looks like, it has all events once, and goes on by its id.

use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::Stream;

const ASKED: [&str; 14] = [
    "hello=1",
    "heartbeat=1s",
    "heartbeatEvent=1",
    "control=off",
    "control=end",
    "absent=204",
    "type=channel",
    "data=raw&field=text",
    "envelope=1",
    "events=chunk,other",
    "where=n%3E%3D0",
    "since=earliest",
    "tail=1",
    "type=event&data=json&control=on",
];

/// Two of them on some way to a node.
struct Case {
    query: String,
    gzip: bool,
    http2: bool,
}

impl Case {
    /// All pairs, each for one channel and for two, on each way.
    fn all() -> Vec<Case> {
        let pairs = (0..ASKED.len()).flat_map(|one| (one + 1..ASKED.len()).map(move |other| (one, other)));
        // What is said twice is refused.
        let names = |asked: &str| {
            asked.split('&').map(|part| part[..=part.find('=').unwrap_or(0)].to_owned()).collect::<Vec<_>>()
        };
        let apart =
            |(one, other): &(usize, usize)| !names(ASKED[*one]).iter().any(|name| names(ASKED[*other]).contains(name));
        let pairs: Vec<(usize, usize)> = pairs.filter(apart).collect();
        let mut cases = Vec::new();
        for (one, other) in pairs {
            for channels in ["a", "a,b"] {
                for (gzip, http2) in [(false, false), (true, false), (false, true), (true, true)] {
                    let query = format!("channels={channels}&{}&{}", ASKED[one], ASKED[other]);
                    cases.push(Case { query, gzip, http2 });
                }
            }
        }
        cases
    }

    fn open(&self, node: &Node, id: &str) -> Stream {
        let connection = Connection::open(node.listen);
        let connection = if self.http2 { connection.http2() } else { connection };
        let coding = if self.gzip { "gzip" } else { "identity" };
        Stream::on(
            connection,
            &format!("/events?{}", self.query),
            &[("Accept-Encoding", coding), ("Last-Event-ID", id)],
        )
    }

    /// The number of the next event, which must look as was asked for.
    fn next(&self, stream: &mut Stream) -> u64 {
        let has = |asked: &str| self.query.split('&').any(|part| part == asked);
        let message = loop {
            let message = stream.next();
            match message.event.as_str() {
                "fantail.opened" => assert!(has("hello=1"), "{}", self.query),
                "fantail.heartbeat" => assert!(has("heartbeatEvent=1"), "{}", self.query),
                _ => break message,
            }
        };
        let kind = if has("type=channel") {
            "a"
        } else if has("envelope=1") {
            "message"
        } else {
            "chunk"
        };
        assert_eq!(message.event, kind, "{}: {message:?}", self.query);
        let envelope = serde_json::from_str::<serde_json::Value>(&message.data).ok().filter(|_| has("envelope=1"));
        let data = envelope.map_or(message.data.clone(), |envelope| {
            assert_eq!((&envelope["channel"], &envelope["event"]), (&"a".into(), &"chunk".into()), "{}", self.query);
            envelope["data"].as_str().expect("text").to_owned()
        });
        assert!(message.id.contains('-'), "{}: {message:?}", self.query);
        data.parse().unwrap_or_else(|_| panic!("{}: {message:?}", self.query))
    }
}

#[test]
fn each_with_each_other_on_every_way() {
    let redis = Redis::start();
    let flags = ["--compress", "on", "--publish", "on"];
    let (memory, one, other) = (Node::start(&flags), Node::on(&redis, &flags), Node::on(&redis, &flags));
    for (node, later) in [(&memory, &memory), (&one, &other)] {
        let publish = |n: u64| node.publish(&format!("/events/a?event=chunk&field.n={n}"), &n.to_string());
        publish(0);
        assert_eq!(node.subscribe("/events/a?since=earliest").numbers(1), [0]);
        let cases = Case::all();
        assert!(cases.len() > 600, "{}", cases.len());
        let mut streams: Vec<Stream> = cases.iter().map(|case| case.open(node, "")).collect();
        (1..=3).for_each(|n| drop(publish(n)));
        let mut ids = Vec::new();
        for (case, stream) in cases.iter().zip(&mut streams) {
            let past = ["since=earliest", "tail=1"].iter().any(|asked| case.query.contains(asked));
            (u64::from(!past)..=3).for_each(|n| assert_eq!(case.next(stream), n, "{}", case.query));
            ids.push(stream.last_event_id());
        }
        drop(streams);
        publish(4);
        for (case, id) in cases.iter().zip(&ids) {
            assert_eq!(case.next(&mut case.open(later, id)), 4, "{} behind {id}", case.query);
        }
    }
}
