//! What does not depend on the machine, with hard limits: allocations per delivery, and bytes of state per idle
//! subscriber. The node and its clients are in this process, and nothing else is, so that every allocation counts; Redis has its own.

mod redis;

use fantail::backplane::memory::{self, Memory};
use fantail::backplane::{Backplane, Publication};
use fantail::channel::Channel;
use fantail::command::settings_of;
use fantail::node::{Metrics, Node};
use fantail::outside::Outside;
use redis::Redis;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SUBSCRIBERS: usize = 1_000;
/// Events of one measurement.
const EVENTS: usize = 10;
/// Measurements, of which the least counts: what the node does each second anyway is not in all of them.
const MEASUREMENTS: usize = 10;

/// An event costs the node some allocations, however many get it; a delivery costs none.
const MOST_ALLOCATIONS_PER_EVENT: usize = 40;
/// An event that is encoded in a form of its own once more, and whose fields are looked at.
const MOST_ALLOCATIONS_PER_SHAPED_EVENT: usize = 60;
/// An event from Redis that one subscriber reads, one at a time.
const MOST_ALLOCATIONS_PER_UNICAST: usize = 55;
/// A subscriber of one channel.
const MOST_BYTES_PLAIN: usize = 200;
/// A subscriber of a quiet channel of its own and three shared ones, the channel's feed and its place in the in-process
/// backplane included.
const MOST_BYTES_OWN_AND_SHARED: usize = 1_000;
/// Who asks for anything else than all events of a channel as they are, beside who does not.
const MOST_BYTES_MORE: usize = 64;
/// A further stream of one channel on a connection of HTTP/2.
const MOST_BYTES_STREAM: usize = 256;
/// A connection of HTTP/2, a stream included.
const MOST_BYTES_HTTP2: usize = 1_400;
/// Line breaks of an event, each of which becomes a line of its own on the wire.
const LINES: usize = 256 << 10;
/// All that is ever allocated for one large event, given back or not; so the most that it takes at once is less.
const MOST_PER_BYTE_ON_THE_WIRE: usize = 3;

/// Channels of one subscriber each.
const CHANNELS: u32 = 50;

#[test]
fn deliveries_allocate_nothing_and_idle_subscribers_keep_little() {
    let backplane = Memory::new(memory::Settings::default());
    let settings = settings_of(&["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--couriers", "1"])
        .expect("good flags");
    let node = Node::start_with(settings, backplane.clone(), Outside::default()).expect("a node");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let publish_field = |channel: &str, name: &str, text: String| {
        let fields = vec![(name.to_owned().into(), text.into())];
        let publication = Publication::new(Channel::new(channel).expect("a name"), fields);
        runtime.block_on(backplane.append(vec![publication])).expect("memory is up");
    };
    let publish = |channel: &str, data: &str| publish_field(channel, "data", data.to_owned());
    let connect = |number: usize, query: &str| {
        let mut client = Client::connect(node.listen()[0], query);
        client.read_until(b"id: ", 1);
        // One at a time, so that nothing of the way in is left in flight.
        settled(&node, number + 1);
        client
    };

    let mut warm: Vec<Client> = (0..64).map(|n| connect(n, "channels=a")).collect();
    publish("a", "0");
    warm.iter_mut().for_each(|client| client.read_until(b"data: ", 1));
    let region = Region::new(ALLOCATOR);
    let mut plain: Vec<Client> = (0..SUBSCRIBERS).map(|n| connect(64 + n, "channels=a")).collect();
    // What clients of this test keep is theirs.
    let kept = kept(&region.change()).saturating_sub(SUBSCRIBERS * Client::BYTES) / SUBSCRIBERS;
    println!("bytes per idle subscriber of one channel: {kept}");
    assert!(kept <= MOST_BYTES_PLAIN, "{kept} bytes per idle subscriber");

    let per_event = least(|| {
        for _ in 0..EVENTS {
            publish("a", "12345678");
            plain.iter_mut().chain(&mut warm).for_each(|client| client.read_until(b"data: ", 1));
        }
        EVENTS
    });
    println!("allocations per event, for {} deliveries: {per_event}", SUBSCRIBERS + 64);
    assert!(per_event <= MOST_ALLOCATIONS_PER_EVENT, "{per_event} allocations per event");

    let before = plain.len() + warm.len();
    let region = Region::new(ALLOCATOR);
    let own: Vec<Client> = (0..SUBSCRIBERS).map(|n| connect(before + n, &format!("channels=user.{n},a,b,c"))).collect();
    let kept = self::kept(&region.change()).saturating_sub(SUBSCRIBERS * Client::BYTES) / SUBSCRIBERS;
    println!("bytes per idle subscriber with an own channel and three shared ones: {kept}");
    assert!(kept <= MOST_BYTES_OWN_AND_SHARED, "{kept} bytes per idle subscriber of four channels");
    drop(own);

    streams(&node, plain.len() + warm.len());

    let before = plain.len() + warm.len();
    shaped(&node, before, &connect, &publish);

    // Line breaks take the most room on the wire; without `data`, they are escaped in JSON.
    for (field, line) in [("data", "data: \n"), ("note", "\\n")] {
        let mut reader = connect(before, &format!("channels=large.{field}"));
        let (text, region) = ("\n".repeat(LINES), Region::new(ALLOCATOR));
        publish_field(&format!("large.{field}"), field, text);
        let wire = LINES * line.len();
        reader.read_bytes(wire);
        let allocated = region.change().bytes_allocated;
        println!("bytes allocated for a large {field}, per byte on the wire: {:.2}", allocated as f64 / wire as f64);
        assert!(allocated <= MOST_PER_BYTE_ON_THE_WIRE * wire, "{allocated} bytes for one of {wire}");
    }
    drop(node);
    unicast();
}

/// Streams of HTTP/2, one on each connection and six. Called by the one test, too.
fn streams(node: &Node, before: usize) {
    const CONNECTIONS: usize = 200;
    let mut kept = Vec::new();
    // The first round makes the room that all others use again.
    for streams in [6, 1, 6] {
        settled(node, before);
        let connect = |number: usize| {
            let mut client = Client::connect_http2(node.listen()[0], "channels=a", streams);
            client.read_until(b"id: ", streams);
            settled(node, before + (number + 1) * streams);
            client
        };
        let warm: Vec<Client> = (0..8).map(connect).collect();
        let region = Region::new(ALLOCATOR);
        let clients: Vec<Client> = (0..CONNECTIONS).map(|n| connect(warm.len() + n)).collect();
        kept.push(self::kept(&region.change()).saturating_sub(CONNECTIONS * Client::BYTES) / CONNECTIONS);
        drop(clients);
    }
    let further = kept[2].saturating_sub(kept[1]) / 5;
    println!("bytes per idle HTTP/2 connection with a stream: {}, per further stream: {further}", kept[1]);
    assert!(kept[1] <= MOST_BYTES_HTTP2, "{kept:?}");
    assert!(further <= MOST_BYTES_STREAM, "{kept:?}");
    settled(node, before);
}

/// Subscribers with a filter, and those who ask for each other thing that a stream can be. Called by the one test, too.
fn shaped(node: &Node, before: usize, connect: &impl Fn(usize, &str) -> Client, publish: &impl Fn(&str, &str)) {
    let mut kept = Vec::new();
    for query in [
        // The first round makes the room that all others use again.
        "events=message",
        // A heartbeat of one's own leaves a subscriber of one channel in its leanest form.
        "heartbeat=4s&heartbeatEvent=1&hello=1",
        "events=message",
        "where=event=message",
        "events=message&type=channel&data=raw&field=text&heartbeat=4s&heartbeatEvent=1&control=off&hello=1",
        "where=event=message&type=channel&heartbeat=4s",
        "where=event=message&type=channel&envelope=1&heartbeat=4s&control=end",
    ] {
        settled(node, before);
        let query = format!("channels=shaped&{query}");
        let warm: Vec<Client> = (0..8).map(|n| connect(before + n, &query)).collect();
        let region = Region::new(ALLOCATOR);
        let mut clients: Vec<Client> = (0..SUBSCRIBERS).map(|n| connect(before + warm.len() + n, &query)).collect();
        kept.push(self::kept(&region.change()).saturating_sub(SUBSCRIBERS * Client::BYTES) / SUBSCRIBERS);
        let per_event = least(|| {
            for _ in 0..EVENTS {
                publish("shaped", "12345678");
                clients.iter_mut().for_each(|client| client.read_until(b"12345678", 1));
            }
            EVENTS
        });
        println!("{query}: bytes per idle subscriber {}, allocations per event {per_event}", kept[kept.len() - 1]);
        assert!(per_event <= MOST_ALLOCATIONS_PER_SHAPED_EVENT, "{query}: {per_event} allocations per event");
    }
    assert!(kept[2..].iter().all(|bytes| *bytes <= kept[1] + MOST_BYTES_MORE), "{kept:?}");
}

/// Called by the one test, for whatever else there is in this process is counted.
fn unicast() {
    let mut redis = Redis::start();
    let flags =
        ["--redis", &redis.url(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--couriers", "1"];
    let node = Node::start(settings_of(&flags).expect("good flags"), Metrics::new(), None).expect("a node");
    let mut clients: Vec<Client> = Vec::new();
    for number in 0..CHANNELS {
        let mut client = Client::connect(node.listen()[0], &format!("channels=u{number:03}"));
        client.read_until(b"id: ", 1);
        clients.push(client);
    }
    let data = "x".repeat(140);
    let mut round = || {
        for (client, channel) in clients.iter_mut().zip(0..) {
            redis.add(channel, &data);
            client.read_until(b"data: ", 1);
        }
    };
    round();
    let per_event = least(|| {
        round();
        CHANNELS as usize
    });
    println!("allocations per event from Redis with one reader: {per_event}");
    assert!(per_event <= MOST_ALLOCATIONS_PER_UNICAST, "{per_event} allocations per event with one reader");
}

/// Allocations per event, as the least of some measurements has them; `events` says how many it had.
fn least(mut events: impl FnMut() -> usize) -> usize {
    let measured = || {
        let region = Region::new(ALLOCATOR);
        let count = events();
        region.change().allocations / count
    };
    std::iter::repeat_with(measured).take(MEASUREMENTS).min().unwrap_or_default()
}

fn kept(change: &Stats) -> usize {
    change.bytes_allocated.saturating_sub(change.bytes_deallocated)
}

/// Waits until so many subscribers are on couriers.
fn settled(node: &Node, count: usize) {
    let begun = Instant::now();
    while node.subscribers() != count {
        assert!(begun.elapsed() < Duration::from_secs(10), "{} of {count} subscribers", node.subscribers());
        std::thread::yield_now();
    }
}

/// A client that keeps no more than its socket.
struct Client(TcpStream);

impl Client {
    const BYTES: usize = size_of::<Client>();

    fn connect(address: std::net::SocketAddr, query: &str) -> Client {
        let mut socket = TcpStream::connect(address).expect("the node listens");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
        write!(socket, "GET /events?{query} HTTP/1.1\r\nHost: n\r\n\r\n").expect("a fresh socket takes it");
        Client(socket)
    }

    /// With so many requests on one connection (RFC 9113, sections 3.4 and 6.2; indexed names of RFC 7541, appendix A).
    fn connect_http2(address: std::net::SocketAddr, query: &str, streams: usize) -> Client {
        let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
            let length = (payload.len() as u32).to_be_bytes();
            [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
        };
        let path = format!("/events?{query}");
        let block = [&[0x82, 0x86, 0x04, path.len() as u8][..], path.as_bytes(), &[0x01, 1, b'n']].concat();
        let mut bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat();
        (0..streams as u32).for_each(|number| bytes.extend(frame(1, 5, 2 * number + 1, &block)));
        let mut socket = TcpStream::connect(address).expect("the node listens");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
        socket.write_all(&bytes).expect("a fresh socket takes it");
        Client(socket)
    }

    fn read_bytes(&mut self, count: usize) {
        let (mut read, mut buffer) = (0, [0u8; 4096]);
        while read < count {
            let n = self.0.read(&mut buffer).expect("bytes in time");
            assert!(n > 0, "the stream ended");
            read += n;
        }
    }

    /// Reads until the word has been seen so often.
    fn read_until(&mut self, word: &[u8], times: usize) {
        let mut seen = 0;
        let mut buffer = [0u8; 4096];
        while seen < times {
            let n = self.0.read(&mut buffer).expect("bytes in time");
            assert!(n > 0, "the stream ended");
            seen += buffer[..n].windows(word.len()).filter(|window| *window == word).count();
        }
    }
}
