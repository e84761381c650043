//! Busy streams, whose next entry a node waits for at Redis: they are exact whatever becomes of the stream, of the
//! connection or of who listens, and quiet again they are followed as the others.

use super::add;
use crate::support::node::{Node, eventually};
use crate::support::redis::{Redis, Reply};
use crate::support::stream::Stream;
use std::time::{Duration, Instant};

const HOT: &str = "fantail_hot_streams";
/// A stream cools by itself, so what is done to a hot one may come too late; each time it must be exact.
const TRIES: usize = 50;

/// A client that has had everything, and the number of the next event.
struct Reader {
    stream: Stream,
    node: Node,
    redis: Redis,
    next: u64,
}

impl Reader {
    fn start() -> Reader {
        let redis = Redis::start();
        let node = Node::on(&redis, &[]);
        Reader { stream: node.subscribe("/events/a").begun(), node, redis, next: 1 }
    }

    /// One event more, published and read.
    fn step(&mut self) {
        add(&self.redis, "a", [self.next]);
        self.expect(1);
    }

    fn expect(&mut self, count: u64) {
        let expected: Vec<u64> = (self.next..self.next + count).collect();
        assert_eq!(self.stream.numbers(count as usize), expected);
        self.next += count;
    }

    fn heat(&mut self) {
        eventually("a hot stream", || {
            self.step();
            self.node.metric(HOT) == 1.0
        });
    }
}

/// Ids of the connections that wait for an entry.
fn blocked(clients: &Reply) -> Vec<String> {
    let waits = |line: &&str| line.contains(" cmd=xread ") && line.contains(" flags=b ");
    let id = |line: &str| line.split(' ').find_map(|word| Some(word.strip_prefix("id=")?.to_owned()));
    clients.text().lines().filter(waits).filter_map(id).collect()
}

/// Does something to a hot stream in one go with looking whether it is waited for, until it was, and has each judged.
fn while_hot(reader: &mut Reader, mut act: impl FnMut(&mut Reader) -> Vec<Vec<String>>, judge: impl Fn(&mut Reader)) {
    for _ in 0..TRIES {
        reader.heat();
        let acts = act(reader);
        let mut commands = vec![vec!["CLIENT".to_owned(), "LIST".to_owned()]];
        commands.extend(acts);
        let words: Vec<Vec<&str>> = commands.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
        let replies = reader.redis.pipeline(&words.iter().map(|words| &words[..]).collect::<Vec<_>>());
        judge(reader);
        reader.step();
        if !blocked(&replies[0]).is_empty() {
            return;
        }
    }
    panic!("the stream was never waited for");
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_busy_stream_is_waited_for_until_it_falls_quiet() {
    let mut reader = Reader::start();
    // So many that the sweep has its turn with each but once in thirty seconds.
    let others: Vec<String> = (0..90).map(|n| format!("quiet.{n}")).collect();
    let _others = reader.node.subscribe(&format!("/events?channels={}", others.join(","))).begun();
    for _ in 0..3 {
        reader.heat();
        (0..20).for_each(|_| reader.step());
        add(&reader.redis, "a", reader.next..reader.next + 500);
        reader.expect(500);
        reader.node.metric_becomes(HOT, 0.0);
        assert_eq!(blocked(&reader.redis.command(&["CLIENT", "LIST"])), Vec::<String>::new());
        let begun = Instant::now();
        reader.step();
        assert!(begun.elapsed() < Duration::from_secs(5), "not by a push");
    }
    assert_eq!(reader.node.metric("fantail_backplane_up"), 1.0);
}

#[test]
fn bursts_are_read_whole_and_not_waited_for() {
    let mut reader = Reader::start();
    reader.heat();
    for burst in 0..20 {
        add(&reader.redis, "a", reader.next..reader.next + 100);
        reader.expect(100);
        if burst == 0 {
            // It ends the wait that it met.
            reader.node.metric_becomes(HOT, 0.0);
        }
        assert_eq!(blocked(&reader.redis.command(&["CLIENT", "LIST"])), Vec::<String>::new(), "burst {burst}");
    }
}

#[test]
fn a_hot_stream_that_begins_anew_is_a_reset() {
    let mut reader = Reader::start();
    let anew = |reader: &mut Reader| {
        vec![words("DEL sse:a"), words(&format!("XADD sse:a 5-{} data {}", reader.next, reader.next))]
    };
    while_hot(&mut reader, anew, |reader| {
        assert_eq!(reader.stream.gap()["reason"], "reset");
        reader.expect(1);
    });
}

#[test]
fn what_a_script_adds_and_trims_at_once_is_a_gap() {
    let mut reader = Reader::start();
    let script = "for n = 1, 5 do redis.call('XADD', KEYS[1], 'MAXLEN', 2, '*', 'data', ARGV[1] + n - 1) end";
    let flood = |reader: &mut Reader| {
        vec![[words("EVAL"), vec![script.to_owned()], words(&format!("1 sse:a {}", reader.next))].concat()]
    };
    while_hot(&mut reader, flood, |reader| {
        let gap = reader.stream.gap();
        // Nothing is left of what was read: it could be a stream that was made anew.
        assert_eq!((gap["reason"].as_str(), gap["lost"].as_u64()), (Some("trimmed"), None));
        reader.next += 3;
        reader.expect(2);
    });
}

#[test]
fn a_connection_that_waits_may_be_cut() {
    let mut reader = Reader::start();
    let cut = |reader: &mut Reader| {
        let ids = blocked(&reader.redis.command(&["CLIENT", "LIST"]));
        let kills = ids.iter().map(|id| words(&format!("CLIENT KILL ID {id}")));
        kills.chain([words(&format!("XADD sse:a * data {}", reader.next))]).collect()
    };
    while_hot(&mut reader, cut, |reader| reader.expect(1));
    // The live connection has nothing to do with it.
    assert_eq!(reader.node.metric("fantail_backplane_reconnects_total"), 0.0);
}

#[test]
fn a_server_that_is_another_one_is_told_from_the_old_one() {
    let mut reader = Reader::start();
    reader.heat();
    reader.redis.restart();
    let told = reader.stream.gap();
    assert_eq!(told["reason"], "missing", "{told}");
    reader.node.metric_becomes("fantail_backplane_up", 1.0);
    reader.heat();
}

#[test]
fn nobody_is_waited_for_who_has_left_or_where_it_is_not_wanted() {
    let mut reader = Reader::start();
    let pushed = Node::on(&reader.redis, &["--follow", "tracking"]);
    let mut other = pushed.subscribe("/events/a").begun();
    reader.heat();
    let Reader { stream, node, redis, .. } = reader;
    drop(stream);
    node.metric_becomes("fantail_connections", 0.0);
    node.metric_becomes(HOT, 0.0);
    assert_eq!(other.numbers(1), [1]);
    let mut again = node.subscribe("/events/a").begun();
    add(&redis, "a", [0]);
    assert_eq!(again.numbers(1), [0]);
    assert_eq!(pushed.metric(HOT), 0.0);
}
