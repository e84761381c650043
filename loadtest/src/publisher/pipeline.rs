//! Commands to Redis on one connection, none of which waits for the reply to another: what many publishers are to it.

use super::stream;
use crate::redis::encode;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// What an event becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// An entry of a stream that keeps about so many.
    Xadd { keep: u64 },
    /// A message of sharded pub/sub.
    Spublish,
}

/// The connection, and how many replies are due on it.
pub struct Pipeline {
    stream: TcpStream,
    verb: Verb,
    replies: Replies,
    due: u64,
}

/// Replies that may be due before the publisher waits for some.
const MOST_DUE: u64 = 100_000;
/// Seconds without any reply after which Redis counts as stuck.
const LONGEST: i64 = 20;

impl Pipeline {
    pub fn open(address: SocketAddr, verb: Verb) -> Result<Pipeline> {
        Ok(Pipeline { stream: stream(address)?, verb, replies: Replies::default(), due: 0 })
    }

    /// Sends events and takes the replies that are there. Waits only where very many are due.
    pub fn send(&mut self, prefix: &str, events: &[(u32, Vec<u8>)]) -> Result<()> {
        let mut bytes = Vec::new();
        for (channel, data) in events {
            let key = format!("sse:{prefix}{channel}");
            match self.verb {
                Verb::Xadd { keep } => {
                    let keep = keep.to_string();
                    let trim: [&[u8]; 5] = [b"MAXLEN", b"~", keep.as_bytes(), b"*", b"data"];
                    encode(&mut bytes, &[&[b"XADD", key.as_bytes()], &trim[..], &[data.as_slice()]].concat());
                }
                Verb::Spublish => encode(&mut bytes, &[b"SPUBLISH", key.as_bytes(), data]),
            }
        }
        self.stream.write_all(&bytes).context("writing to Redis")?;
        self.due += events.len() as u64;
        while self.wait(0)? {}
        while self.due > MOST_DUE {
            ensure!(self.wait(LONGEST)?, "Redis does not answer");
        }
        Ok(())
    }

    /// Waits until every reply has come.
    pub fn settle(&mut self) -> Result<()> {
        while self.due > 0 {
            ensure!(self.wait(LONGEST)?, "Redis does not answer");
        }
        Ok(())
    }

    /// Takes replies, if any come within so many seconds.
    fn wait(&mut self, seconds: i64) -> Result<bool> {
        let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let mut socket = [PollFd::new(&self.stream, PollFlags::IN)];
        if self.due == 0 || retry_on_intr(|| poll(&mut socket, Some(&limit)))? == 0 {
            return Ok(false);
        }
        let mut part = [0; 64 * 1024];
        match self.stream.read(&mut part) {
            Ok(0) => bail!("Redis closed the connection"),
            Ok(read) => self.due -= self.replies.count(&part[..read])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }
}

/// Counts replies that are numbers or bulk strings without line breaks, however they are torn.
#[derive(Default)]
struct Replies {
    line: Vec<u8>,
    /// The line is a bulk string's text.
    text: bool,
}

impl Replies {
    /// How many are whole with these bytes; an error reply is an error.
    fn count(&mut self, bytes: &[u8]) -> Result<u64> {
        let mut whole = 0;
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            match self.line.first() {
                _ if self.text => (self.text, whole) = (false, whole + 1),
                Some(b'$') => self.text = true,
                Some(b':') => whole += 1,
                _ => bail!("Redis: {}", String::from_utf8_lossy(&self.line)),
            }
            self.line.clear();
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_however_they_are_torn() {
        let bytes = b"$4\r\n17-0\r\n:3\r\n$4\r\n17-1\r\n";
        for cut in 0..bytes.len() {
            let mut replies = Replies::default();
            let first = replies.count(&bytes[..cut]).unwrap();
            assert_eq!(first + replies.count(&bytes[cut..]).unwrap(), 3, "cut at {cut}");
        }
        assert!(Replies::default().count(b"-OOM command not allowed\r\n").is_err());
    }
}
