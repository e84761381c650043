//! What a connection's first bytes, which stay in the kernel, say of whether it is worth reading.

use std::io::{self, ErrorKind};

/// Bytes that are looked at for the end of a head; a longer one is read as it comes.
pub(super) const GLANCE_BYTES: usize = 16 << 10;
/// The second form is not HTTP, but parsers take it. HTTP/2's preface has the first.
const HEAD_ENDS: [&[u8]; 2] = [b"\r\n\r\n", b"\n\n"];

/// What a glance at a connection's first bytes says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Not worth a reader yet.
    Little,
    /// A `GET` of HTTP/1, with its whole head.
    Get,
    /// Something else that is worth one; an end and an error are his to find.
    Enough,
}

impl Seen {
    /// What the outcome of a look into `bytes` says; an `Err` is that of the look.
    pub(super) fn of(seen: io::Result<usize>, bytes: &[u8]) -> Seen {
        let seen = match seen {
            Ok(n) if n < bytes.len() => &bytes[..n],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Seen::Little,
            _ => return Seen::Enough,
        };
        let enough = match seen {
            // Its end.
            [] => true,
            // A TLS record, with its length (RFC 8446, section 5.1).
            [22, _, _, high, low, rest @ ..] => rest.len() >= usize::from(u16::from_be_bytes([*high, *low])),
            [22, ..] => false,
            // A proxy's header: the head comes behind it.
            [b'P', b'R', b'O', ..] | [b'\r', b'\n', ..] => true,
            _ => HEAD_ENDS.iter().any(|end| memchr::memmem::find(seen, end).is_some()),
        };
        match enough {
            true if seen.starts_with(b"GET ") => Seen::Get,
            true => Seen::Enough,
            false => Seen::Little,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_enough_to_read() {
        let seen = |seen: &[u8]| {
            let mut bytes = vec![0; GLANCE_BYTES];
            bytes[..seen.len()].copy_from_slice(seen);
            Seen::of(Ok(seen.len()), &bytes)
        };
        for whole in [
            &b"POST / HTTP/1.1\r\n\r\nhalf a body"[..],
            b"GETS / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"PROXY TCP4 ",
            b"\r\n\r\n\0\r\nQUIT\n",
            b"\x16\x03\x01\0\x02hi",
            b"",
            &[b'x'; GLANCE_BYTES],
        ] {
            assert_eq!(seen(whole), Seen::Enough, "{whole:?}");
        }
        for get in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"GET / HTTP/1.0\n\n"] {
            assert_eq!(seen(get), Seen::Get);
        }
        for part in [&b"GET / HTTP/1.1\r\nHost: n\r\n"[..], b"G", b"PRI * HTTP/2", b"\x16\x03", b"\x16\x03\x01\0\x02h"]
        {
            assert_eq!(seen(part), Seen::Little, "{part:?}");
        }
        let failed = |kind: ErrorKind| Seen::of(Err(kind.into()), &[]);
        assert_eq!([failed(ErrorKind::WouldBlock), failed(ErrorKind::BrokenPipe)], [Seen::Little, Seen::Enough]);
    }
}
