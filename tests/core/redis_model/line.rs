//! A connection to a real server, whose replies are read as they come.

use super::frames::Frame;
use super::played::ConnectionId;
use crate::support::redis::Redis;
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a real server may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// One connection to the real server, and its like at the played one.
pub struct Line {
    pub stream: BufReader<UnixStream>,
    pub id: ConnectionId,
    /// Tokens that it has been asked for.
    pub answered: u64,
    /// What has been read already.
    pub early: Vec<Frame>,
}

impl Line {
    pub fn open(redis: &Redis) -> Line {
        let stream = UnixStream::connect(redis.socket()).expect("the server's socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        let mut line = Line { stream: BufReader::new(stream), id: ConnectionId(0), answered: 0, early: Vec::new() };
        line.send(&[b"CLIENT".to_vec(), b"ID".to_vec()]);
        match line.frame() {
            Frame::Line(b':', id) => line.id = ConnectionId(id.parse().expect("a number")),
            other => panic!("no number of a connection: {other:?}"),
        }
        line
    }

    pub fn send(&mut self, words: &[Vec<u8>]) {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend([format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat());
        }
        self.stream.get_mut().write_all(&bytes).expect("the server takes it");
    }

    pub fn frame(&mut self) -> Frame {
        Frame::read(&mut self.stream).unwrap_or_else(|error| panic!("the real server: {error}"))
    }
}
