//! A Redis that replies with garbage, and producers that write what they should not: the node neither ends nor hangs,
//! says so, serves everything else, and goes on by itself.

use crate::support::client::Connection;
use crate::support::node::{Node, eventually, within};
use crate::support::redis::{Redis, Reply};
use crate::support::relay::{Relay, frame};
use crate::support::stream::{End, Stream};
use fastrand::Rng;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Every command that a node sends, and what it is not asked for.
const COMMANDS: [&str; 14] = [
    "HELLO",
    "CLIENT",
    "INFO",
    "SET",
    "GET",
    "TIME",
    "XREAD",
    "XINFO",
    "MULTI",
    "EXEC",
    "XRANGE",
    "XREVRANGE",
    "XADD",
    "PUSH",
];

/// A reply of every type, of both versions, and what is none.
const GARBAGE: &[&[u8]] = &[
    b"_\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"%0\r\n",
    b"~0\r\n",
    b":7\r\n",
    b":-9223372036854775808\r\n",
    b",1.5\r\n",
    b",inf\r\n",
    b",nan\r\n",
    b"#t\r\n",
    b"+OK\r\n",
    b"+\r\n",
    b"+QUEUED\r\n",
    b"$0\r\n\r\n",
    b"$3\r\n\xff\xfe\x00\r\n",
    b"=7\r\ntxt:abc\r\n",
    b"(3492890328409238509324850943850943825024385\r\n",
    b"-ERR garbage\r\n",
    b"-\r\n",
    b"-WRONGTYPE not a stream\r\n",
    b"-NOPERM nothing is allowed\r\n",
    b"-LOADING in a moment\r\n",
    b"-BUSY with a script\r\n",
    b"-READONLY a replica\r\n",
    b"-OOM no memory\r\n",
    b"-NOAUTH who?\r\n",
    b"-MOVED 1 127.0.0.1:1\r\n",
    b"-ASK 1 127.0.0.1:1\r\n",
    b"-EXECABORT because\r\n",
    b"!9\r\nERR a blob\r\n",
    b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
    b"*2\r\n-ERR inside\r\n-ERR inside\r\n",
    b"*2\r\n_\r\n_\r\n",
    b"%1\r\n:1\r\n:2\r\n",
    b"%1\r\n$5\r\nsse:a\r\n*0\r\n",
    b"%1\r\n$5\r\nsse:a\r\n_\r\n",
    // An entry of the far future, ids out of order, the same id twice, a field without its value.
    b"%1\r\n$5\r\nsse:a\r\n*1\r\n*2\r\n$22\r\n18446744073709551615-0\r\n*2\r\n$1\r\nd\r\n$1\r\nx\r\n",
    b"*1\r\n*2\r\n$5\r\nsse:a\r\n*2\r\n*2\r\n$3\r\n9-0\r\n*2\r\n$1\r\nd\r\n$1\r\nx\r\n*2\r\n$3\r\n8-0\r\n*0\r\n",
    b"*2\r\n*2\r\n$3\r\n9-0\r\n*0\r\n*2\r\n$3\r\n9-0\r\n*0\r\n",
    b"*1\r\n*2\r\n$3\r\n9-0\r\n*1\r\n$1\r\nd\r\n",
    b"%2\r\n$6\r\nlength\r\n:-1\r\n$17\r\nlast-generated-id\r\n$3\r\n1-1\r\n",
    b"%3\r\n$6\r\nlength\r\n:9\r\n$17\r\nlast-generated-id\r\n$3\r\n1-1\r\n$13\r\nentries-added\r\n:0\r\n",
    // Pushes of odd shapes, attributes, two replies for one, none, half of one.
    b">1\r\n+x\r\n",
    b">2\r\n+invalidate\r\n_\r\n",
    b">2\r\n+invalidate\r\n*1\r\n:5\r\n",
    b">2\r\n+invalidate\r\n+x\r\n",
    b">3\r\n+message\r\n+a\r\n+b\r\n",
    b"|1\r\n+k\r\n+v\r\n+OK\r\n",
    b"+OK\r\n+OK\r\n",
    b"",
    b"*3\r\n:1\r\n",
    b"$100\r\nhalf",
    b"$?\r\n;4\r\nhalf\r\n;0\r\n",
    b"*?\r\n:1\r\n.\r\n",
    b"no RESP at all\r\n",
    b"\0\0\0\0",
    b"$99999999999999999999\r\n",
];

fn add(server: &Redis, name: &str, data: &str) {
    let reply = server.command(&["XADD", &format!("sse:{name}"), "*", "data", data]);
    assert!(matches!(reply, Reply::Text(_)), "{reply:?}");
}

/// Reads until a number has come; numbers grow, and what is missing was announced.
fn read_through(stream: &mut Stream, last: &mut u64, until: u64) {
    let mut announced = false;
    while *last < until {
        let message = stream.next();
        if message.event == "fantail.gap" {
            announced = true;
            continue;
        }
        let number: u64 = message.data.parse().expect("a number");
        assert!(number == *last + 1 || (announced && number > *last), "{number} after {last}, announced: {announced}");
        (*last, announced) = (number, false);
    }
}

#[test]
fn whatever_is_replied_to_any_command_the_node_goes_on_afterwards() {
    let (server, seed) = (Redis::start(), crate::support::fleet::seed("hostile"));
    let (relay, mut rng) = (Relay::start(server.port()), Rng::with_seed(seed));
    let flags = |follow| ["--redis", &relay.url(), "--follow", follow, "--publish", "on"].map(str::to_owned);
    let start = |follow| Node::start(&flags(follow).each_ref().map(String::as_str));
    let mut nodes = [start("auto"), start("block")];
    let mut streams = nodes.each_ref().map(|node| {
        node.metric_becomes("fantail_backplane_up", 1.0);
        node.subscribe("/events/a").begun()
    });
    let (mut number, mut last) = (0, [0; 2]);
    for command in COMMANDS {
        for round in 0..2 {
            let mut rng = rng.fork();
            let before =
                relay.spoil(move |name, _| (name == command).then(|| GARBAGE[rng.usize(0..GARBAGE.len())].to_vec()));
            if round == 0 {
                // What a node sends when it connects.
                server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
            }
            // What it sends when something comes, somebody joins, somebody publishes.
            number += 1;
            add(&server, "a", &number.to_string());
            let request = |node: &Node, method, target: &str| {
                let mut connection = Connection::open(node.listen);
                connection.send_request(method, target, &[], b"x");
                connection
            };
            let joins = nodes.each_ref().map(|node| {
                [
                    ("GET", "/events/a?since=1-1"),
                    ("GET", "/events/a?tail=2"),
                    ("GET", "/events/b"),
                    ("POST", "/events/c"),
                ]
                .map(|(method, target)| request(node, method, target))
            });
            within(Duration::from_millis(500), || relay.spoilt() >= before + 3);
            relay.heal();
            drop(joins);
            number += 1;
            add(&server, "a", &number.to_string());
            for (stream, last) in streams.iter_mut().zip(&mut last) {
                read_through(stream, last, number);
            }
        }
    }
    assert!(relay.spoilt() > COMMANDS.len(), "{}", relay.spoilt());
    for node in &mut nodes {
        node.metric_becomes("fantail_backplane_up", 1.0);
        assert!(node.runs() && !node.log().contains("panicked"), "seed {seed}");
        assert_eq!(node.status()["state"], "ok");
    }
}

#[test]
fn garbage_in_every_heartbeat_is_said_aloud() {
    let server = Redis::start();
    let relay = Relay::start(server.port());
    let node = Node::start(&["--redis", &relay.url()]);
    node.metric_becomes("fantail_backplane_up", 1.0);
    relay.spoil(|name, _| (name == "GET").then(|| b"-LOADING for ever\r\n".to_vec()));
    node.metric_becomes("fantail_backplane_up", 0.0);
    eventually("the word degraded", || node.status()["state"] == "degraded");
    node.logs(&["degraded", "the backplane is down"]);
    relay.heal();
    node.metric_becomes("fantail_backplane_up", 1.0);
}

#[test]
fn a_stream_that_cannot_be_read_spoils_only_itself() {
    let server = Redis::start();
    let relay = Relay::start(server.port());
    let node = Node::start(&["--redis", &relay.url()]);
    let mut both = node.subscribe("/events?channels=good,bad").begun();
    let mut good = node.subscribe("/events/good").begun();
    // Ids of the bad stream lose their shape on the way, of the same length so that the frame stays whole.
    relay.spoil(|name, reply| {
        let text = String::from_utf8_lossy(reply);
        let is_bad = matches!(name, "XREAD" | "EXEC" | "XRANGE" | "XREVRANGE") && text.contains("sse:bad");
        is_bad.then(|| text.replace("4102444800000-", "4102444800000+").into_bytes())
    });
    server.command(&["XADD", "sse:bad", "4102444800000-1", "data", "bad"]);
    for data in ["1", "2", "3"] {
        add(&server, "good", data);
        assert_eq!((both.next().data, good.next().data), (data.to_owned(), data.to_owned()));
    }
    node.logs(&["WARN", "a stream cannot be read", "channel=bad"]);
    assert_eq!(node.metric("fantail_backplane_up"), 1.0);
    relay.heal();
    server.command(&["XADD", "sse:bad", "4102444800000-2", "data", "right"]);
    assert_eq!(both.take(2).into_iter().map(|message| message.data).collect::<Vec<_>>(), ["bad", "right"]);
}

/// A reply with its streams in the other order, where it has several: a map of RESP3, or an array of pairs.
fn reversed(reply: &[u8]) -> Option<Vec<u8>> {
    let (mut rest, mut head) = (reply, Vec::new());
    rest.read_until(b'\n', &mut head).ok()?;
    let count: usize = std::str::from_utf8(head.get(1..)?).ok()?.trim().parse().ok().filter(|count| *count > 1)?;
    let of_each = if head[0] == b'%' { 2 } else { 1 };
    let mut streams: Vec<Vec<u8>> = Vec::new();
    for _ in 0..count {
        let mut stream = Vec::new();
        (0..of_each).try_for_each(|_| frame(&mut rest, &mut stream)).ok()?;
        streams.push(stream);
    }
    streams.push(head);
    Some(streams.into_iter().rev().flatten().collect())
}

#[test]
fn streams_that_come_in_another_order_than_asked_for_are_told_apart() {
    const CHANNELS: usize = 8;
    let server = Redis::start();
    let relay = Relay::start(server.port());
    let node = Node::start(&["--redis", &relay.url()]);
    let mut streams: Vec<Stream> =
        (0..CHANNELS).map(|channel| node.subscribe(&format!("/events/c{channel}")).begun()).collect();
    relay.spoil(|name, reply| if name == "XREAD" { reversed(reply) } else { None });
    let heavy = "x".repeat(300 << 10);
    for round in 0..100 {
        let events: Vec<(String, String)> =
            (0..CHANNELS).map(|channel| (format!("sse:c{channel}"), format!("{round} of {channel}"))).collect();
        // The reply is cut at an entry that is read apart, so that what would follow is asked for again. Its stream is apart from then on,
        // and the others are not.
        let mut commands: Vec<Vec<&str>> = vec![vec!["MULTI"]];
        for (channel, (key, data)) in events.iter().enumerate() {
            let beside = if channel < 2 && channel == round { heavy.as_str() } else { "" };
            commands.push(vec!["XADD", key, "*", "data", data, "beside", beside]);
        }
        commands.push(vec!["EXEC"]);
        server.pipeline(&commands.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for (stream, (_, data)) in streams.iter_mut().zip(&events) {
            assert_eq!(stream.next().data, *data);
        }
        if round >= 2 && relay.spoilt() >= CHANNELS {
            break;
        }
    }
    assert!(relay.spoilt() >= CHANNELS, "{} replies had several streams", relay.spoilt());
    assert_eq!(node.metric("fantail_backplane_reconnects_total"), 0.0);
}

/// Appends one entry of any bytes.
fn append(server: &Redis, key: &str, fields: &[&[u8]]) {
    let words = [&[b"XADD", key.as_bytes(), b"*"][..], fields].concat();
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend([format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat());
    }
    let mut socket = TcpStream::connect(("127.0.0.1", server.port())).expect("a server");
    socket.write_all(&bytes).expect("the server takes it");
    let reply = Reply::read(&mut BufReader::new(socket)).expect("a reply");
    assert!(matches!(reply, Reply::Text(_)), "{reply:?}");
}

/// Fields of an entry, and what becomes of them: type, and data where it is worth a look.
type Odd<'a> = (&'a [&'a [u8]], &'a str, Option<&'a str>);

#[test]
fn nothing_that_a_producer_writes_stops_a_node_or_another_channel() {
    let server = Redis::start();
    let nodes = ["tracking", "block"].map(|follow| Node::on(&server, &["--follow", follow]));
    server.command(&["SET", "sse:wrong", "no stream"]);
    let mut odd = nodes.each_ref().map(|node| node.subscribe("/events/odd").begun());
    let mut both = nodes.each_ref().map(|node| node.subscribe("/events?channels=odd,good").begun());
    let mut good = nodes.each_ref().map(|node| node.subscribe("/events/good").begun());
    let many: Vec<Vec<u8>> = (0..20_000).map(|i| format!("{i}").into_bytes()).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    let huge = vec![b'x'; 3 << 20];
    let entries: [Odd; 15] = [
        (&[b"", b""], "message", Some(r#"{"":""}"#)),
        (&[b"\xff\0\r\n", b"\x80"], "message", Some("{\"\u{fffd}\\u0000\\r\\n\":\"\u{fffd}\"}")),
        (&[b"data", b""], "message", Some("")),
        (&[b"data", b"\xff\0\r\nx\rid: 9\r\n\r\nevent: y"], "message", Some("\u{fffd}\0\nx\nid: 9\n\nevent: y")),
        (&[b"event", b"a\r\nid: 1-1\n\ndata: z", b"data", b"1"], "a  id: 1-1  data: z", Some("1")),
        (&[b"event", b"\xc3\x28\0", b"data", b"1"], "\u{fffd}( ", Some("1")),
        (&[b"event", b"fantail.gap", b"data", br#"{"channel":"odd","reason":"reset"}"#], "_fantail.gap", None),
        (&[b"event", b"fantail.expired", b"data", b"{}"], "_fantail.expired", None),
        (&[b"data", b"1", b"data", b"2"], "message", Some("1")),
        (&[b"data", b"1", b"retry", b"-1"], "message", Some("1")),
        (&[b"data", b"1", b"retry", b"99999999999999999999999999"], "message", Some("1")),
        (&[b"data", b"1", b"retry", b"\xff"], "message", Some("1")),
        (&[b"data", b"1", b"final", b"0"], "message", Some("1")),
        (&[b"data", &huge], "message", None),
        (&many, "message", None),
    ];
    for (fields, event, data) in &entries {
        append(&server, "sse:odd", fields);
        for stream in odd.iter_mut().chain(&mut both) {
            let message = stream.next();
            assert_eq!(message.event, *event);
            assert!(data.is_none_or(|data| message.data == data), "{:?} of {event}", message.data);
        }
    }
    // Streams that are none, and become some: who asks for them is told, and nobody else notices.
    for node in &nodes {
        // On a busy machine the head may go out before Redis has said so.
        eventually("a refusal", || node.get("/events/wrong").head.status == 502);
    }
    server.command(&["RENAME", "sse:wrong", "sse:odd"]);
    add(&server, "good", "still here");
    for stream in good.iter_mut().chain(&mut both) {
        assert_eq!(stream.next().data, "still here");
    }
    for stop in [&b"yes"[..], b"", b"10", b"\x01", b"TRUE", b"true"] {
        append(&server, "sse:good", &[b"data", b"x", b"final", stop]);
    }
    for stream in good.iter_mut().chain(&mut both) {
        assert_eq!(stream.take(6).iter().filter(|message| message.data == "x").count(), 6);
    }
    for stream in &mut good {
        let (end, rest) = stream.finish();
        assert_eq!((end, rest.len()), (End::Whole, 0));
    }
    for node in nodes {
        assert_eq!(node.metric("fantail_backplane_up"), 1.0);
        assert_eq!(node.metric("fantail_types_renamed_total"), 2.0);
        assert!(!node.log().contains("panicked"));
    }
}
