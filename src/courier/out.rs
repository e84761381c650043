//! Writing to subscribers: the one way in which bytes go into a socket.
//!
//! A socket that was interrupted is asked again, a full one has taken nothing, and every other error ends its
//! subscriber. What a socket took is noted here. What it did not take is kept by who wrote it: as a place in the log,
//! undone in a draft, or as a leftover.

use super::socket::Socket;
use super::subscriber::Connection;
use super::tally::Tally;
use super::terms::Framing;
use super::tick::Tick;
use std::io::{self, ErrorKind, Write};

/// What is copied together at most for one write of a subscriber that is behind the others.
pub const WRITE_BYTES: usize = 64 << 10;
/// A chunk size line at most: eight hex digits, CR, LF.
pub const SIZE_LINE: usize = 10;

/// What became of all that was due to a subscriber.
pub enum Wrote {
    All,
    /// The socket is full.
    Blocked,
    /// The channel's last event is out.
    Finished,
    /// What comes next is lost, and its stream ends there.
    Lost,
    /// The connection is gone.
    Failed,
}

/// Asks a socket by `write` until it answers: how many bytes it took, 0 where it is full. An error ends the connection.
#[inline]
pub fn taken(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            answer => return answer,
        }
    }
}

/// Writes by `write` what a subscriber's socket takes, and notes it; how many bytes that is. An error ends the subscriber.
#[inline]
pub fn write_by(
    connection: &mut Connection,
    tally: &mut Tally,
    now: Tick,
    mut write: impl FnMut(&mut Socket) -> io::Result<usize>,
) -> io::Result<usize> {
    let n = taken(|| write(&mut connection.socket))?;
    if n > 0 {
        connection.wrote = now;
        tally.bytes += n as u64;
    }
    Ok(n)
}

/// Writes as many of these bytes as a subscriber's socket takes, and notes it; how many that is. An error ends the
/// subscriber.
pub fn write_some(connection: &mut Connection, tally: &mut Tally, now: Tick, bytes: &[u8]) -> io::Result<usize> {
    write_by(connection, tally, now, |socket| socket.write(bytes))
}

/// Makes a buffer ready for blocks: empty, with room for the size line.
pub fn begin_blocks(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(SIZE_LINE, 0);
}

/// The blocks behind the room for the size line, framed in place.
pub fn framed(buffer: &mut Vec<u8>, framing: Framing) -> &[u8] {
    match framing {
        Framing::Bare => &buffer[SIZE_LINE..],
        Framing::Chunked => {
            let mut size = buffer.len() - SIZE_LINE;
            let mut start = SIZE_LINE - 2;
            buffer[start..SIZE_LINE].copy_from_slice(b"\r\n");
            while size > 0 && start > 0 {
                start -= 1;
                buffer[start] = b"0123456789abcdef"[size & 0xf];
                size >>= 4;
            }
            buffer.extend_from_slice(b"\r\n");
            &buffer[start..]
        }
    }
}
