//! Broadcasts that are large enough to lie in pages which the sockets of many share: every byte of them is right, for who
//! reads at once, for who reads later, and for who comes in between.

use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use std::ops::Range;

/// Adds events at once, so that one broadcast has them all.
const ADD: &str = "for number = ARGV[1], ARGV[2] - 1 do
    redis.call('XADD', KEYS[1], '*', 'data', number .. ' ' .. string.rep(string.char(97 + number % 26), ARGV[3]))
end";

/// Events of so many bytes each.
struct Burst(Range<u64>, usize);

impl Burst {
    fn add(&self, redis: &Redis) {
        let [first, end, size] = [self.0.start, self.0.end, self.1 as u64].map(|number| number.to_string());
        let reply = redis.command(&["EVAL", ADD, "1", "sse:a", &first, &end, &size]);
        assert!(!reply.is_error_of(""), "{reply:?}");
    }

    fn expect(&self, stream: &mut Stream) {
        for number in self.0.clone() {
            let filler = (b'a' + (number % 26) as u8) as char;
            let message = stream.next();
            let (begin, rest) = message.data.split_once(' ').expect("a number and a filler");
            assert_eq!(begin, number.to_string());
            assert!(rest.len() == self.1 && rest.chars().all(|c| c == filler), "event {number} has other bytes");
        }
    }
}

#[test]
fn large_broadcasts_are_the_same_for_quick_and_blocked_and_new_readers() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--couriers", "1", "--stall-timeout", "60s"]);
    let narrow = || Stream::on(Connection::narrow(node.listen), "/events/a", &[]).begun();
    let mut asleep: Vec<Stream> = (0..4).map(|_| narrow()).collect();
    let mut quick: Vec<Stream> = (0..16).map(|_| node.subscribe("/events/a")).collect();
    // Short events; more than sockets take; one event alone.
    let bursts = [Burst(0..100, 200), Burst(100..200, 30_000), Burst(200..300, 200), Burst(300..301, 200_000)];
    let mut late = Vec::new();
    for burst in &bursts {
        burst.add(&redis);
        quick.iter_mut().for_each(|stream| burst.expect(stream));
        late.iter_mut().for_each(|stream| burst.expect(stream));
        late.push(node.subscribe("/events/a"));
    }
    for burst in &bursts {
        asleep.iter_mut().for_each(|stream| burst.expect(stream));
    }
    let last = Burst(301..401, 200);
    last.add(&redis);
    asleep.iter_mut().chain(&mut quick).chain(&mut late).for_each(|stream| last.expect(stream));
    assert_eq!(node.metric("fantail_connections"), 24.0);
}
