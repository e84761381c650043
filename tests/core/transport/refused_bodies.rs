//! A body that is refused before its end: the client may send the rest and reads its answer, as RFC 9112, section 9.6, asks for.

use super::{Site, Way};
use crate::support::client::Connection;
use crate::support::node::{Node, eventually};

static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];
/// Pieces of a body: more than sockets keep for a program that does not read.
const PIECES: usize = 16 * 16;

fn ended(node: &Node, end: &str) -> f64 {
    node.metric(&format!("fantail_unread_bodies_total{{end=\"{end}\"}}"))
}

/// Reads the refusal of a body that has hardly begun.
fn refused(connection: &mut Connection, length: usize) {
    connection.send(format!("POST /events/a HTTP/1.1\r\nHost: n\r\nContent-Length: {length}\r\n\r\nx"));
    connection.answer(false).problem(413, "body_too_large");
}

#[test]
fn the_rest_of_a_refused_body_is_taken() {
    let site = Site::start("refused-bodies", &["--publish", "on"]);
    for way in [Way::Http1, Way::Tls, Way::OldTls] {
        let closed = ended(site.node(way), "closed");
        let mut connection = site.connect(way);
        refused(&mut connection, PIECES * PIECE.len() + 1);
        for _ in 0..PIECES {
            connection.send(PIECE);
        }
        drop(connection);
        eventually("the end", || ended(site.node(way), "closed") == closed + 1.0);
    }
}

#[test]
fn a_body_without_end_is_cut() {
    let node = Node::start(&[]);
    let mut connection = Connection::open(node.listen);
    refused(&mut connection, 1 << 40);
    let pieces = 4 * (64 << 20) / PIECE.len();
    assert!((0..pieces).any(|_| std::io::Write::write_all(&mut connection.socket, &PIECE).is_err()));
    eventually("the cut", || ended(&node, "cut") == 1.0);
}
