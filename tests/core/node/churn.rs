//! Clients that reconnect all the time, on sets of channels of their own, while everything is published to and Redis
//! restarts: each sees each event of its channels exactly once, in order.

use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use std::collections::HashMap;

const CHANNELS: u64 = 12;
/// Events of each channel.
const EVENTS: u64 = 400;

/// What one client has seen: the next number of each of its channels.
struct Client {
    target: String,
    expected: HashMap<u64, u64>,
    enveloped: bool,
}

impl Client {
    fn new() -> Client {
        let count = fastrand::usize(1..=8);
        let channels = fastrand::choose_multiple(1..=CHANNELS, count);
        let names: Vec<String> = channels.iter().map(|channel| format!("c{channel}")).collect();
        let enveloped = fastrand::u8(..4) == 0;
        let target = format!("/events?channels={}&envelope={}", names.join(","), u8::from(enveloped));
        Client { target, expected: channels.into_iter().map(|channel| (channel, 0)).collect(), enveloped }
    }

    /// Reads until it has everything, reconnecting at random to any node.
    fn run(mut self, nodes: &[Node], mut stream: Stream) {
        while self.expected.values().any(|next| *next < EVENTS) {
            let message = stream.next();
            assert_eq!(message.event, "message", "{}: {message:?}", self.target);
            self.see(&message.data);
            if fastrand::u32(..150) == 0 {
                let node = &nodes[fastrand::usize(..nodes.len())];
                // What is on its way in the old connection is thrown away with it.
                stream = node.resume(&self.target, &message.id);
            }
        }
    }

    /// Data are `CHANNEL/NUMBER`.
    fn see(&mut self, data: &str) {
        let plain = match self.enveloped {
            true => serde_json::from_str::<serde_json::Value>(data).expect("JSON")["data"].as_str().map(str::to_owned),
            false => Some(data.to_owned()),
        };
        let plain = plain.expect("data");
        let (channel, number) = plain.split_once('/').expect("a channel and a number");
        let next = self.expected.get_mut(&channel.parse().expect("a channel")).expect("one that was asked for");
        assert_eq!(number.parse(), Ok(*next), "{} of channel {channel}", self.target);
        *next += 1;
    }
}

/// One event of each channel at a time, in one pipeline; Redis restarts half-way.
fn produce(redis: &Redis) {
    for number in 0..EVENTS {
        let events: Vec<(String, String)> =
            (1..=CHANNELS).map(|channel| (format!("sse:c{channel}"), format!("{channel}/{number}"))).collect();
        let commands: Vec<[&str; 5]> = events.iter().map(|(key, data)| ["XADD", key, "*", "data", data]).collect();
        redis.pipeline(&commands.iter().map(|command| &command[..]).collect::<Vec<_>>());
        if number == EVENTS / 2 {
            redis.restart();
        }
    }
}

#[test]
fn every_client_sees_every_event_of_its_channels_once_and_in_order() {
    let redis = Redis::start_persistent();
    let small: &[&str] = &["--tail-bytes", "1MiB", "--couriers", "3"];
    let nodes = [Node::on(&redis, &[]), Node::on(&redis, small), Node::on(&redis, &["--follow", "block"])];
    std::thread::scope(|scope| {
        for number in 0..12 {
            let client = Client::new();
            let stream = nodes[number % nodes.len()].subscribe(&client.target).begun();
            let nodes = &nodes;
            scope.spawn(move || client.run(nodes, stream));
        }
        scope.spawn(|| produce(&redis));
    });
    for node in &nodes {
        node.metric_becomes("fantail_connections", 0.0);
        for reason in ["trimmed", "missing", "reset"] {
            assert_eq!(node.metric(&format!("fantail_gaps_total{{reason=\"{reason}\"}}")), 0.0);
        }
    }
}
