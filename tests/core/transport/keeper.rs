//! Who keeps connections of HTTP/2: hyper, or a courier, in the clear or under TLS.

use super::secure_node;
use crate::support::authority::Authority;
use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::raw::{Raw, trusting};
use rustls::ProtocolVersion::TLSv1_3;
use std::fmt;

/// What stands in `--http2`, and whether it is under TLS.
pub struct Keeper {
    name: &'static str,
    authority: Option<Authority>,
}

impl Keeper {
    /// All of them; `name` is for their certificates.
    pub fn all(name: &str) -> [Keeper; 4] {
        let secure = |keeper| Some(Authority::new(&format!("{name}-{keeper}")));
        [("hyper", None), ("courier", None), ("hyper", secure("hyper")), ("courier", secure("courier"))]
            .map(|(name, authority)| Keeper { name, authority })
    }

    /// Runs a test by each of them, side by side.
    pub fn each(name: &str, test: impl Fn(&Keeper) + Sync) {
        let keepers = Keeper::all(name);
        std::thread::scope(|scope| {
            for keeper in &keepers {
                let test = &test;
                scope.spawn(move || test(keeper));
            }
        });
    }

    /// Whether it is hyper, which lets go of who has said nothing without a word.
    pub fn is_hyper(&self) -> bool {
        self.name == "hyper"
    }

    /// A node whose connections it keeps.
    pub fn node(&self, flags: &[&str]) -> Node {
        let flags = [&["--http2", self.name], flags].concat();
        match &self.authority {
            None => Node::start(&flags),
            Some(authority) => secure_node(authority, &flags),
        }
    }

    fn connection(&self, node: &Node, protocol: &str) -> Connection {
        let connection = Connection::open(node.listen);
        match &self.authority {
            None => connection,
            Some(authority) => connection.secure(trusting(authority, &[protocol], &[TLSv1_3])),
        }
    }

    /// A connection for HTTP/2, of which nothing has been sent.
    pub fn open(&self, node: &Node) -> Raw {
        self.connection(node, "h2").raw
    }

    /// Publishes an event.
    pub fn publish(&self, node: &Node, target: &str, data: &str) {
        let answer = self.connection(node, "http/1.1").ask("POST", target, &[], data.as_bytes());
        assert_eq!(answer.head.status, 201, "{}", answer.text());
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.authority.is_some() { " under TLS" } else { "" })
    }
}
