//! The PROXY protocol: a trusted proxy names the client, and nobody else can.

use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::stream::Stream;

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 10.0.0.1 40000 443\r\n").into_bytes()
}

fn v2(client: [u8; 4]) -> Vec<u8> {
    [V2, &[0x21, 0x11, 0, 12], &client, &[10, 0, 0, 1, 1, 2, 3, 4]].concat()
}

fn after(node: &Node, header: &[u8]) -> Connection {
    let mut connection = Connection::open(node.listen);
    connection.send(header);
    connection
}

#[test]
fn limits_are_those_of_the_client_that_a_trusted_proxy_names() {
    let flags = ["--proxy-protocol", "--trusted-proxies", "127.0.0.1", "--max-connections-per-address", "1"];
    let node = Node::start(&flags);
    let one = Stream::on(after(&node, &v1("203.0.113.7")), "/events/a", &[]).begun();
    let answer = after(&node, &v2([203, 0, 113, 7])).ask("GET", "/events/a", &[], b"");
    assert!(answer.problem(429, "too_many_connections").contains("203.0.113.7"));
    let two = Stream::on(after(&node, &v2([203, 0, 113, 8])), "/events/a", &[]).begun();
    let http2 = Stream::on(after(&node, &v1("203.0.113.9")).http2(), "/events/a", &[]).begun();
    node.metric_becomes("fantail_connections", 3.0);
    // The proxy's own, such as a health check, is its own.
    let local = [V2, &[0x20, 0, 0, 0]].concat();
    assert_eq!(after(&node, &local).ask("GET", "/nowhere", &[], b"").head.status, 404);
    drop((one, two, http2));
    node.metric_becomes("fantail_connections", 0.0);
}

#[test]
fn a_trusted_proxy_without_a_header_is_closed_and_another_one_chooses_no_address() {
    let node = Node::start(&["--proxy-protocol", "--trusted-proxies", "127.0.0.1"]);
    let long = [V2, &[0x21, 0x11, 0xff, 0xff], &[0; 100]].concat();
    for bytes in [&b"GET /events/a HTTP/1.1\r\nHost: n\r\n\r\n"[..], b"PROXY TCP4 nonsense\r\n\r\n", &long] {
        let mut connection = after(&node, bytes);
        connection.half_close();
        assert_eq!(connection.rest(), b"");
    }
    node.metric_becomes("fantail_connections_refused_total{reason=\"proxy_header\"}", 3.0);
    let node = Node::start(&["--proxy-protocol", "--trusted-proxies", "10.0.0.0/8"]);
    let mut connection = after(&node, &v1("203.0.113.7"));
    connection.send("GET /events/a HTTP/1.1\r\nHost: n\r\n\r\n");
    let answer = String::from_utf8_lossy(&connection.rest()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    drop(node.subscribe("/events/a").begun());
}
