//! gzip for those who ask: the same events, decoded by a stranger's decoder piece by piece, with a checksum that is right.

use super::add;
use crate::support::node::{Node, PATIENCE};
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use rustix::process::Signal;
use std::process::{Command, Stdio};

const GZIP: (&str, &str) = ("Accept-Encoding", "gzip, deflate, br, zstd");

fn packed(node: &Node, target: &str) -> Stream {
    let stream = Stream::open(node.listen, target, &[GZIP]);
    assert_eq!(stream.head.header("content-encoding"), Some("gzip"));
    stream
}

#[test]
fn every_kind_of_subscriber_reads_what_the_plain_one_reads() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--compress", "on"]);
    add(&redis, "orders", 1..=3);
    let targets = [
        "/events/orders?since=earliest",
        "/events/orders?since=earliest&events=message",
        "/events/orders?since=earliest&envelope=1",
        "/events?channels=orders,other&since=earliest",
        "/events?channels=orders,other,a,b,c,d&since=earliest",
        "/events?channels=orders,other&since=earliest&envelope=1",
    ];
    let mut streams = targets.map(|target| (packed(&node, target), node.subscribe(target)));
    add(&redis, "orders", 4..=23);
    for ((packed, plain), target) in streams.iter_mut().zip(targets) {
        assert_eq!(plain.head.header("content-encoding"), None, "it did not ask");
        assert_eq!(packed.take(23), plain.take(23), "{target}");
    }
    // There is no order between channels, so the other one has its turn when this one is through.
    add(&redis, "other", [100]);
    for ((packed, plain), target) in streams.iter_mut().zip(targets).filter(|(_, target)| target.contains("other")) {
        assert_eq!(packed.next(), plain.next(), "{target}");
        assert_eq!(packed.last_event_id(), plain.last_event_id());
    }
}

#[test]
fn the_last_event_ends_a_whole_stream_with_its_checksum_and_a_drain_an_incomplete_one() {
    let redis = Redis::start();
    let mut node = Node::on(&redis, &["--compress", "on", "--drain", "500ms", "--heartbeat", "1s"]);
    let mut finished = packed(&node, "/events/job");
    redis.command(&["XADD", "sse:job", "*", "final", "1", "data", "1"]);
    let (end, messages) = finished.finish();
    assert_eq!((end, messages.len()), (End::Whole, 1));

    let mut drained = ["/events/orders", "/events?channels=orders,other", "/events/orders?events=x"]
        .map(|target| packed(&node, target));
    add(&redis, "orders", 1..=2);
    for stream in &mut drained {
        stream.read_until("two comments, or ids of what a filter skipped", |s| {
            s.parser.comments() >= 1 || s.raw.windows(4).filter(|w| w == b"\nid:").count() >= 1
        });
    }
    node.signal(Signal::TERM);
    let ends = drained.map(|mut stream| {
        let (end, messages) = stream.finish();
        (end, messages.len())
    });
    assert_eq!(ends, [(End::Incomplete, 2), (End::Incomplete, 2), (End::Incomplete, 0)]);
    assert_eq!(node.wait(), Some(0));
}

#[test]
fn who_reconnects_goes_on_packed_or_plain() {
    let redis = Redis::start();
    let (one, other) = (Node::on(&redis, &["--compress", "on"]), Node::on(&redis, &[]));
    let mut stream = packed(&one, "/events/orders");
    let ids = add(&redis, "orders", 1..=4);
    assert_eq!(stream.numbers(4), [1, 2, 3, 4]);
    assert_eq!(stream.last_event_id(), ids[3]);
    assert_eq!(other.resume("/events/orders", &ids[1]).numbers(2), [3, 4]);
    let mut resumed = Stream::open(one.listen, "/events/orders", &[GZIP, ("Last-Event-ID", &ids[0])]);
    assert_eq!(resumed.numbers(3), [2, 3, 4]);
    let mut foreign = Stream::open(one.listen, "/events/orders", &[GZIP, ("Last-Event-ID", "elsewhere")]);
    assert_eq!(foreign.gap()["reason"], "reset");
}

#[test]
fn a_slow_reader_gets_all_of_it_from_memory_and_from_history() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--compress", "on", "--tail-bytes", "1MiB"]);
    let connection = crate::support::client::Connection::narrow(node.listen);
    let mut slow = Stream::on(connection, "/events/orders", &[GZIP]).begun();
    // Noise, so that it is as large when packed, and fills socket and tail.
    let noise: Vec<String> = (0..64).map(|_| (0..32_768).map(|_| fastrand::alphanumeric()).collect()).collect();
    for part in &noise {
        redis.command(&["XADD", "sse:orders", "*", "data", part]);
    }
    node.metric_becomes("fantail_events_received_total", noise.len() as f64);
    let got: Vec<String> = slow.take(noise.len()).into_iter().map(|message| message.data).collect();
    assert!(got == noise, "all of it, in order");
    assert!(node.metric("fantail_catch_ups_total") > 0.0, "it was behind the tail");
}

#[test]
fn events_become_smaller_on_the_wire() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--compress", "on"]);
    let mut stream = packed(&node, "/events/orders").begun();
    let (raw, wire) = (stream.raw.len(), stream.wire);
    let data = r#"{"id":17,"state":"open","name":"a name"},"#.repeat(50);
    redis.command(&["XADD", "sse:orders", "*", "data", &data]);
    assert_eq!(stream.next().data, data);
    assert!((stream.wire - wire) * 5 < stream.raw.len() - raw, "{} of {}", stream.wire, stream.raw.len());
}

#[test]
fn cookies_only_where_it_is_switched_on_and_nobody_who_did_not_ask() {
    let redis = Redis::start();
    for (compress, headers, expected) in [
        ("on", vec![GZIP], Some("gzip")),
        ("on", vec![GZIP, ("Cookie", "session=1")], None),
        ("always", vec![GZIP, ("Cookie", "session=1")], Some("gzip")),
        ("always", vec![("Accept-Encoding", "br, gzip;q=0")], None),
        ("always", vec![], None),
        ("off", vec![GZIP], None),
    ] {
        let node = Node::on(&redis, &["--compress", compress]);
        let stream = Stream::open(node.listen, "/events/orders", &headers);
        assert_eq!(stream.head.header("content-encoding"), expected, "{compress} {headers:?}");
    }
}

/// Python's own client and decoder: a line for each event, as soon as it is there.
const PYTHON: &str = "
import http.client, sys, urllib.parse, zlib
url = urllib.parse.urlsplit(sys.argv[1])
connection = http.client.HTTPConnection(url.netloc, timeout=60)
connection.request('GET', f'{url.path}?{url.query}', headers={'Accept-Encoding': 'gzip'})
answer = connection.getresponse()
assert answer.headers['Content-Encoding'] == 'gzip', answer.headers
decoder, text = zlib.decompressobj(wbits=31), b''
while piece := answer.read1(65536):
    text += decoder.decompress(piece)
    *blocks, text = text.split(b'\\n\\n')
    for block in blocks:
        for line in block.split(b'\\n'):
            if line.startswith(b'data: '):
                print(line[6:].decode(), flush=True)
assert decoder.eof and not decoder.unused_data, 'the stream has no whole end'
";

#[test]
fn python_reads_each_event_when_it_comes_and_finds_the_checksum_right() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--compress", "on"]);
    let url = format!("http://{}/events?channels=job,other&since=earliest", node.listen);
    let mut python = Command::new("python3");
    let mut python = python.args(["-c", PYTHON, &url]).stdout(Stdio::piped()).spawn().expect("python3");
    let mut seen = std::io::BufReader::new(python.stdout.take().expect("piped"));
    for number in 1..=3 {
        add(&redis, "job", [number]);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut seen, &mut line).expect("text");
        assert_eq!(line, format!("{number}\n"));
    }
    for channel in ["sse:job", "sse:other"] {
        redis.command(&["XADD", channel, "*", "final", "1", "data", "last"]);
    }
    assert!(python.wait().expect("it ends").success(), "of its own accord, with the end of the stream");
}

#[test]
fn curl_reads_each_event_when_it_comes() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--compress", "on"]);
    let url = format!("http://{}/events/orders?since=earliest", node.listen);
    let mut curl = Command::new("curl");
    curl.args(["-sN", "--compressed", "--max-time", &PATIENCE.as_secs().to_string(), &url]);
    let mut curl = curl.stdout(Stdio::piped()).spawn().expect("curl");
    let mut seen = std::io::BufReader::new(curl.stdout.take().expect("piped"));
    for number in 1..=3 {
        add(&redis, "orders", [number]);
        let mut line = String::new();
        while line != format!("data: {number}\n") {
            line.clear();
            let n = std::io::BufRead::read_line(&mut seen, &mut line).expect("text");
            assert!(n > 0, "curl ended before {number}");
        }
    }
    curl.kill().expect("it runs");
    curl.wait().expect("it ends");
}
