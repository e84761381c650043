//! Every way that leads to a node: TLS, HTTP/2, headers of proxies. Delivery is the same on all.

mod certificates;
mod commands;
mod delivery;
mod ends;
pub mod keeper;
mod proxy_header;
mod records;
mod refused_bodies;
mod streams;
mod tickets;
mod turned_away;
mod windows;

use crate::support::authority::Authority;
use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::raw::trusting;
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
use std::net::SocketAddr;

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Http1,
    Http2,
    Tls,
    /// TLS 1.2, as old clients have it.
    OldTls,
    TlsHttp2,
}

const WAYS: [Way; 5] = [Way::Http1, Way::Http2, Way::Tls, Way::OldTls, Way::TlsHttp2];

/// Two nodes of a cluster, of which one speaks TLS.
struct Site {
    authority: Authority,
    redis: Redis,
    plain: Node,
    secure: Node,
}

impl Site {
    fn start(name: &str, flags: &[&str]) -> Site {
        let (authority, redis) = (Authority::new(name), Redis::start());
        let plain = Node::on(&redis, flags);
        let secure = Node::on(&redis, &[&tls_flags(&authority).each_ref().map(String::as_str), flags].concat());
        Site { authority, redis, plain, secure }
    }

    fn node(&self, way: Way) -> &Node {
        match way {
            Way::Http1 | Way::Http2 => &self.plain,
            Way::Tls | Way::OldTls | Way::TlsHttp2 => &self.secure,
        }
    }

    fn connect(&self, way: Way) -> Connection {
        connect(way, Connection::open(self.node(way).listen), &self.authority)
    }

    /// A connection whose kernel takes few bytes that are not read.
    fn narrow(&self, way: Way) -> Connection {
        connect(way, Connection::narrow(self.node(way).listen), &self.authority)
    }

    fn subscribe(&self, way: Way, target: &str) -> Stream {
        Stream::on(self.connect(way), target, &[])
    }

    fn resume(&self, way: Way, target: &str, last_event_id: &str) -> Stream {
        Stream::on(self.connect(way), target, &[("Last-Event-ID", last_event_id)])
    }
}

fn tls_flags(authority: &Authority) -> [String; 4] {
    ["--tls-cert".into(), authority.file("server.pem"), "--tls-key".into(), authority.file("server.key")]
}

fn connect(way: Way, connection: Connection, authority: &Authority) -> Connection {
    match way {
        Way::Http1 => connection,
        Way::Http2 => connection.http2(),
        Way::Tls => connection.secure(trusting(authority, &["http/1.1"], &[TLSv1_3])),
        Way::OldTls => connection.secure(trusting(authority, &[], &[TLSv1_2])),
        Way::TlsHttp2 => connection.secure(trusting(authority, &["h2", "http/1.1"], &[TLSv1_3])).http2(),
    }
}

/// A node that speaks TLS, with channels in its own memory.
pub fn secure_node(authority: &Authority, flags: &[&str]) -> Node {
    Node::start(&[&tls_flags(authority).each_ref().map(String::as_str), flags].concat())
}

pub fn secure(address: SocketAddr, authority: &Authority) -> Connection {
    connect(Way::Tls, Connection::open(address), authority)
}
