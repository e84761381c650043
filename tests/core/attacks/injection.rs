//! Producers that try to break out of an event, through every field and every form of delivery; and names and
//! cursors that are too much.

use super::Target;
use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::stream::Stream;

/// What would be a second event, another id, a delay, or the end, if it got out.
const BREAKS: [&str; 7] = [
    "x\n\nid: 9999999999999-0\nevent: evil\ndata: evil\n\n",
    "x\r\n\r\nevent: evil\r\ndata: evil\r\n\r\n",
    "x\revent: evil\r\rdata: evil\r\r",
    "x\nretry: 1\n\n",
    "x\0id: 9-9\0",
    "\u{feff}\u{2028}\u{2029}\u{85}event: evil",
    "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
];

#[test]
fn no_field_of_an_entry_gets_out_of_its_place() {
    let redis = Redis::start();
    let node = Node::on(&redis, &[]);
    let targets = ["/events/a", "/events?channels=a,b", "/events/a?envelope=1", "/events/a?events=message,x,%20"];
    let mut streams = targets.map(|target| node.subscribe(target).begun());
    let mut pipelined = Connection::open(node.listen).http2();
    pipelined.send_request("GET", "/events/a", &[], b"");
    let mut stream = Stream::answered(pipelined).begun();
    for text in BREAKS {
        for field in ["data", "event", "retry", "final", "traceparent", "id", text] {
            redis.command(&["XADD", "sse:a", "*", "data", "d", field, text]);
        }
        // Without data, an entry is an object of its fields.
        redis.command(&["XADD", "sse:a", "*", text, text]);
    }
    redis.command(&["XADD", "sse:a", "*", "data", "last"]);
    for stream in streams.iter_mut().chain([&mut stream]) {
        let enveloped = stream.raw.is_empty();
        assert!(!enveloped);
        loop {
            let message = stream.next();
            assert!(!message.event.contains(['\n', '\r', '\0']), "{message:?}");
            assert_ne!(message.event, "evil");
            assert!(!message.id.starts_with('9'), "{message:?}");
            if message.data == "last" || message.data.contains("\"data\":\"last\"") {
                break;
            }
        }
        assert_ne!(stream.parser.retry(), Some(1));
    }
}

#[test]
fn names_and_cursors_of_ten_thousand_channels() {
    let mut target = Target::new(&[]);
    let names: Vec<String> = (0..10_000).map(|number| format!("c{number}")).collect();
    let listed = target.node.get(&format!("/events?channels={}", names.join(",")));
    assert!(matches!(listed.head.status, 400 | 414 | 431), "{}", listed.head.status);
    let vector: String = names.iter().map(|name| format!("{name}=1700000000000-0,")).collect();
    for cursor in [&vector[..], &"9".repeat(60_000), &"A".repeat(60_000), &format!("~{}", "A".repeat(50_000))] {
        for (name, header) in [("Last-Event-ID", true), ("lastEventId", false)] {
            let mut connection = Connection::open(target.node.listen);
            let head = match header {
                true => format!("GET /events/a HTTP/1.1\r\nHost: n\r\n{name}: {cursor}\r\n\r\n"),
                false => format!("GET /events/a?{name}={cursor} HTTP/1.1\r\nHost: n\r\n\r\n"),
            };
            let _ = std::io::Write::write_all(&mut connection.socket, head.as_bytes());
            // A cursor that is none of ours is a gap, one that is too long for a head is refused.
            let first = connection.some().ok().flatten().unwrap_or_default();
            let line = String::from_utf8_lossy(&first[..first.len().min(12)]).into_owned();
            assert!(
                ["", "HTTP/1.1 200", "HTTP/1.1 400", "HTTP/1.1 431", "HTTP/1.1 414"].contains(&line.as_str()),
                "{line}"
            );
        }
        target.is_unharmed();
    }
    target.ends_as_before();
}
