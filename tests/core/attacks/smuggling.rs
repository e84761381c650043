//! Requests that two servers may read differently: the node refuses them, or answers one and closes.

use super::Target;
use crate::support::client::Connection;

/// Whether a request is hidden in the body of another: it would publish to the channel `smuggled`.
const HIDDEN: &str = "POST /events/smuggled HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\n\r\nbad";

#[test]
fn no_shape_publishes_what_is_hidden_in_it() {
    let mut target = Target::new(&[]);
    let length = HIDDEN.len();
    let post = "POST /events/a HTTP/1.1\r\nHost: n\r\n";
    let shapes = [
        // Both lengths (RFC 9112, section 6.3: an attack, or an error).
        format!("{post}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"),
        format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n"),
        format!("{post}Content-Length: 1\r\nContent-Length: {length}\r\n\r\n{HIDDEN}"),
        format!("{post}Content-Length: 1, {length}\r\n\r\nx{HIDDEN}"),
        format!("{post}Content-Length: +1\r\n\r\nx{HIDDEN}"),
        format!("{post}Content-Length: 0x1\r\n\r\nx{HIDDEN}"),
        format!("{post}Content-Length : 1\r\n\r\nx{HIDDEN}"),
        format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{HIDDEN}"),
        format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{HIDDEN}"),
        format!("{post}Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n{HIDDEN}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{HIDDEN}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n-1\r\n{HIDDEN}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n{HIDDEN}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n1 ; {}\r\nx\r\n0\r\n\r\n{HIDDEN}", "y".repeat(70_000)),
        format!("POST /events/a HTTP/1.1\r\nHost: n\r\n Content-Length: 1\r\n\r\n{HIDDEN}"),
        format!("POST /events/a HTTP/1.1\nHost: n\nContent-Length: {length}\n\nx"),
        format!("{post}X: a\rContent-Length: 1\r\n\r\n{HIDDEN}"),
        format!("{post}X: a\0\r\n\r\n{HIDDEN}"),
    ];
    let mut witness = target.node.subscribe("/events/smuggled").begun();
    for shape in &shapes {
        let mut connection = Connection::open(target.node.listen);
        // The node may close before it has all of it.
        let _ = std::io::Write::write_all(&mut connection.socket, shape.as_bytes());
        connection.half_close();
        let answer = String::from_utf8_lossy(&connection.rest()).into_owned();
        assert!(answer.matches("HTTP/1.1 201").count() <= 1, "{shape:?}: {answer}");
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 201"),
            "{answer}"
        );
        target.is_unharmed();
    }
    target.node.publish("/events/smuggled", "7");
    assert_eq!(witness.numbers(1), [7], "nothing came of what was hidden");
    drop(witness);
    target.ends_as_before();
}
