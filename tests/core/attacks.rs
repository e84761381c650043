//! Attacks with real sockets. Each is bounded: other subscribers notice nothing, the node's memory comes back, and it
//! serves whoever comes next.

mod bodies;
mod crowds;
mod floods;
mod half_open;
mod injection;
mod kept_alive;
mod slow;
mod smuggling;

use crate::support::authority::Authority;
use crate::support::client::Connection;
use crate::support::node::{Node, eventually};
use crate::support::raw::trusting;
use crate::support::stream::Stream;
use rustls::ProtocolVersion::TLSv1_3;

/// Memory that may stay after an attack: what an allocator keeps of its largest moment, generously.
const MEMORY_KEPT: f64 = 24e6;

/// A node under attack, with a subscriber from before who must get every event in order.
struct Target {
    node: Node,
    witness: Stream,
    published: u64,
    memory: f64,
    tls: Option<Authority>,
}

impl Target {
    fn new(flags: &[&str]) -> Target {
        Target::of(Node::start(&[flags, &["--publish", "on"]].concat()), None)
    }

    /// The same with TLS.
    fn secure(name: &str, flags: &[&str]) -> Target {
        let authority = Authority::new(name);
        let node = super::transport::secure_node(&authority, flags);
        Target::of(node, Some(authority))
    }

    fn of(node: Node, tls: Option<Authority>) -> Target {
        let connection = match &tls {
            None => Connection::open(node.listen),
            Some(authority) => super::transport::secure(node.listen, authority),
        };
        let witness = Stream::on(connection, "/events/witness", &[]).begun();
        let mut target = Target { node, witness, published: 0, memory: 0.0, tls };
        // What the first requests of each kind leave behind is not the attack's.
        (0..20).for_each(|_| target.is_unharmed());
        target.memory = target.rss();
        target
    }

    /// A connection such as its other clients have.
    fn open(&self) -> Connection {
        match &self.tls {
            None => Connection::open(self.node.listen),
            Some(authority) => super::transport::secure(self.node.listen, authority),
        }
    }

    /// A connection for HTTP/2, of which nothing has been sent yet.
    fn open_for_http2(&self) -> Connection {
        let connection = Connection::open(self.node.listen);
        match &self.tls {
            None => connection,
            Some(authority) => connection.secure(trusting(authority, &["h2"], &[TLSv1_3])),
        }
    }

    fn rss(&self) -> f64 {
        self.node.metric("process_resident_memory_bytes")
    }

    /// An event reaches the witness, and a newcomer is served.
    fn is_unharmed(&mut self) {
        self.published += 1;
        let number = self.published.to_string();
        assert_eq!(self.open().ask("POST", "/events/witness", &[], number.as_bytes()).head.status, 201);
        assert_eq!(self.witness.numbers(1), [self.published]);
        drop(Stream::on(self.open(), "/events/witness", &[]).begun());
        assert_eq!(self.node.page("/livez").head.status, 200);
    }

    /// After the attack, whose connections are closed: nothing is left of it.
    fn ends_as_before(mut self) {
        self.is_unharmed();
        self.node.metric_becomes("fantail_connections_waiting", 0.0);
        self.node.metric_becomes("fantail_connections", 1.0);
        self.node.metric_becomes("fantail_http2_connections", 0.0);
        let before = self.memory;
        eventually(&format!("memory is back at {before}"), || self.rss() < before + MEMORY_KEPT);
        self.is_unharmed();
    }
}
