//! A Redis that is busy or cuts off who reads too slowly, and more than usual of everything: memory stays bounded,
//! nothing is lost, and it goes on by itself.

use crate::arena::{Arena, Case, SECOND, SEED, runtime, turn};
use crate::publisher::Servers;
use crate::support::fleet::EventStream;
use crate::support::node::Node;
use crate::support::redis::{Redis, Reply};
use crate::table::{Row, record};
use futures_util::future::join_all;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const NODES: usize = 3;
/// What a node of a few megabytes may come to at most, in a debug build.
const RESIDENT: u64 = 400 << 20;
/// For what is much, on a machine that is busy.
const LONG: Duration = Duration::from_secs(120);

fn on(redis: Redis, case: Case, body: impl FnOnce(&mut Arena, &Redis)) {
    let turn = turn();
    let port = redis.port();
    let mut arena = Arena::open(case, turn, runtime(), vec![redis.url(); NODES], Servers::one(port));
    body(&mut arena, &redis);
    arena.close(|_| BTreeSet::new());
}

#[test]
fn a_server_that_is_busy() {
    let redis = Redis::start_with(&["--enable-debug-command", "yes"]);
    on(redis, Case::exact("DEBUG SLEEP for 4 s"), |arena, redis| {
        std::thread::scope(|scope| {
            let fault = Instant::now();
            let busy = scope.spawn(|| redis.command(&["DEBUG", "SLEEP", "4"]));
            arena.expect_down(fault);
            arena.add_late_clients();
            assert_eq!(busy.join().expect("the sleep").text(), "OK");
            let healed = Instant::now();
            arena.healed(healed);
            arena.expect_up(healed);
        });
    });
}

#[test]
fn output_buffers_that_are_too_small() {
    let case = Case { bound: 3 * SECOND, ..Case::exact("output buffers limited to 256 KiB, entries of 100 KiB") };
    on(Redis::start(), case, |arena, redis| {
        arena.publisher.pad(100 << 10);
        redis.command(&["CONFIG", "SET", "client-output-buffer-limit", "normal 256kb 256kb 1 pubsub 1kb 1kb 1"]);
        for node in 0..2 {
            // What it asks for afterwards is more than Redis may keep for it.
            arena.signal(node, Signal::STOP);
            std::thread::sleep(5 * SECOND);
            arena.signal(node, Signal::CONT);
            arena.storm();
            arena.healed(Instant::now());
        }
        arena.healed(Instant::now());
        let cut_off = redis.log().matches("output buffer limits").count();
        println!("cut off at the limit: {cut_off} times");
        assert!(cut_off > 0, "no reply was larger than the limit");
        assert!(arena.resident() < RESIDENT, "{} bytes", arena.resident());
        redis.command(&["CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0 pubsub 32mb 8mb 60"]);
        arena.publisher.pad(0);
        let healed = Instant::now();
        arena.healed(healed);
        arena.expect_up(healed);
    });
}

const CHANNELS: usize = 20_000;
const CHANNELS_EACH: usize = 100;

/// Appends one entry to each of many streams, in pipelines.
fn everywhere(redis: &Redis, round: usize) {
    for part in (0..CHANNELS).collect::<Vec<_>>().chunks(2_000) {
        let data = round.to_string();
        let keys: Vec<String> = part.iter().map(|channel| format!("sse:many.{channel}")).collect();
        let commands: Vec<[&str; 5]> = keys.iter().map(|key| ["XADD", key, "*", "data", &data]).collect();
        let replies = redis.pipeline(&commands.iter().map(|words| &words[..]).collect::<Vec<_>>());
        assert!(replies.iter().all(|reply| matches!(reply, Reply::Text(_))));
    }
}

/// A client of a hundred channels.
struct Wide {
    number: usize,
    stream: EventStream,
}

impl Wide {
    async fn open(node: SocketAddr, number: usize, id: &str) -> Wide {
        let names: Vec<String> = (0..CHANNELS_EACH).map(|i| format!("many.{}", number * CHANNELS_EACH + i)).collect();
        let query = format!("channels={}", names.join(","));
        let stream = EventStream::open(node, &query, id, None).await.expect("a stream");
        assert_eq!(stream.status, 200);
        Wide { number, stream }
    }

    async fn begun(mut self) -> Wide {
        while self.stream.last_event_id().is_empty() {
            let early = self.stream.read().await.expect("a sound stream").expect("no end");
            assert!(early.is_empty(), "{early:?}");
        }
        self
    }

    /// One entry in each of its channels, once: each has another id, and there is one entry a round.
    async fn round(mut self, round: usize) -> Wide {
        let (mut ids, mut count) = (BTreeSet::new(), 0);
        while count < CHANNELS_EACH {
            for message in self.stream.read().await.expect("a sound stream").expect("no end") {
                assert_eq!((message.event.as_str(), message.data.as_str()), ("message", round.to_string().as_str()));
                ids.insert(message.id);
                count += 1;
            }
        }
        assert_eq!((ids.len(), count), (CHANNELS_EACH, CHANNELS_EACH), "client {}", self.number);
        self
    }
}

/// All of them at once, and how long the last one took.
async fn all<T>(each: impl IntoIterator<Item = impl Future<Output = T>>) -> (Vec<T>, Duration) {
    let begun = Instant::now();
    let done = tokio::time::timeout(LONG, join_all(each)).await.expect("all in time");
    (done, begun.elapsed())
}

#[test]
fn tens_of_thousands_of_channels_at_once() {
    let (turn, redis) = (turn(), Redis::start());
    let node = Node::on(&redis, &["--retry", "10ms"]);
    let outage = runtime().block_on(async {
        let open = |ids: Vec<String>| {
            let clients = (0..CHANNELS / CHANNELS_EACH).zip(ids);
            clients.map(|(number, id)| async move { Wide::open(node.listen, number, &id).await.begun().await })
        };
        let (mut clients, joined) = all(open(vec![String::new(); CHANNELS / CHANNELS_EACH])).await;
        assert_eq!(node.metric("fantail_channels"), CHANNELS as f64);
        for round in 0..2 {
            everywhere(&redis, round);
            clients = all(clients.into_iter().map(|client| client.round(round))).await.0;
        }
        // They all come back, and a round has gone by meanwhile.
        let ids = clients.iter().map(|client| client.stream.last_event_id().to_owned()).collect();
        drop(clients);
        node.metric_becomes("fantail_connections", 0.0);
        everywhere(&redis, 2);
        let resume = open(ids).map(|opened| async { opened.await.round(2).await });
        let (clients, resumed) = all(resume).await;
        // And once more, on a connection that has gone.
        redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        everywhere(&redis, 3);
        let (_clients, outage) = all(clients.into_iter().map(|client| client.round(3))).await;
        println!("joined in {joined:?}, resumed in {resumed:?}, {} MiB", node.resident() >> 20);
        assert!(node.resident() < RESIDENT, "{} bytes", node.resident());
        outage
    });
    let mut row =
        Row { fault: "20,000 channels created at once, resumed, connection killed", runs: 1, ..Row::default() };
    row.outages = vec![outage];
    row.counts.events = 4 * CHANNELS as u64;
    record(row, *SEED);
    drop(turn);
}

const RATE: usize = 50_000;
const EVENTS: usize = 2 * RATE;

/// Appends numbers to one stream at a rate, in pipelines of ten milliseconds.
fn pour(port: u16) -> Duration {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("a server");
    let mut replies = BufReader::new(socket.try_clone().expect("a socket"));
    let (begun, mut sent) = (Instant::now(), 0);
    while sent < EVENTS {
        let due = (begun.elapsed().as_millis() as usize * RATE / 1_000).clamp(sent, EVENTS).min(sent + RATE / 20);
        let mut bytes = Vec::new();
        for number in sent..due {
            let data = number.to_string();
            write!(
                bytes,
                "*5\r\n$4\r\nXADD\r\n$8\r\nsse:fast\r\n$1\r\n*\r\n$4\r\ndata\r\n${}\r\n{data}\r\n",
                data.len()
            )
            .expect("memory");
        }
        socket.write_all(&bytes).expect("the server takes it");
        for _ in sent..due {
            assert!(matches!(Reply::read(&mut replies), Ok(Reply::Text(_))));
        }
        sent = due;
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

/// Reads all of it, in order, each once; whether it hangs up on the way decides `leave`.
fn drink(node: &Node, leave: bool) {
    let (mut next, mut id) = (0, String::new());
    let deadline = Instant::now() + LONG;
    while next < EVENTS {
        assert!(Instant::now() < deadline, "only {next} of {EVENTS}");
        let mut stream = match id.as_str() {
            "" => node.subscribe("/events/fast?since=earliest"),
            id => node.resume("/events/fast", id),
        };
        let until = if leave { (next + EVENTS / 5).min(EVENTS) } else { EVENTS };
        while next < until {
            let message = stream.next();
            assert_eq!((message.event.as_str(), message.data), ("message", next.to_string()));
            next += 1;
        }
        id = stream.last_event_id();
    }
}

#[test]
fn one_channel_at_a_high_rate() {
    let turn = turn();
    let redis = Redis::start();
    let nodes =
        ["auto", "block"].map(|f| Node::on(&redis, &["--follow", f, "--tail-bytes", "4MiB", "--replay-rate", "0"]));
    let port = redis.port();
    let begun = Instant::now();
    let took = std::thread::scope(|scope| {
        let publisher = scope.spawn(move || pour(port));
        let readers: Vec<_> =
            nodes.iter().flat_map(|node| [false, true].map(|leave| scope.spawn(move || drink(node, leave)))).collect();
        readers.into_iter().for_each(|reader| reader.join().expect("a reader that got all"));
        publisher.join().expect("the publisher")
    });
    let behind = begun.elapsed().saturating_sub(took);
    for node in &nodes {
        assert!(node.resident() < RESIDENT, "{} bytes", node.resident());
        assert!(node.metric("fantail_tail_bytes") <= 2.0 * (4 << 20) as f64);
        // How late they were is seen from outside.
        assert!(node.metric("fantail_follower_lag_seconds_count") > 0.0);
        assert!(node.metric("fantail_follower_lag_seconds_sum") > 0.0);
        assert_eq!(node.metric("fantail_backplane_up"), 1.0);
    }
    let rate = EVENTS as f64 / took.as_secs_f64();
    println!("{rate:.0} events/s, {:?} MiB", nodes.each_ref().map(|node| node.resident() >> 20));
    let mut row = Row { fault: "one channel at 50,000 events/s", runs: 1, ..Row::default() };
    row.outages = vec![behind];
    row.counts.events = 4 * EVENTS as u64;
    record(row, *SEED);
    drop(turn);
}
