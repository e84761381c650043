//! Replies as they come, byte for byte, in either version of the protocol.

use std::fmt;
use std::io::{self, BufRead, Error};

/// One reply or push, with the sign that it began with.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// What fits a line; a list or a string that is none, too.
    Line(u8, String),
    Text(u8, Vec<u8>),
    List(u8, Vec<Frame>),
}

impl Frame {
    pub fn read(from: &mut impl BufRead) -> io::Result<Frame> {
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line)?;
        let line = line.strip_suffix(b"\r\n").ok_or_else(|| Error::other("the connection has ended"))?;
        let (&kind, rest) = line.split_first().ok_or_else(|| Error::other("an empty line"))?;
        let text = String::from_utf8_lossy(rest).into_owned();
        let length = text.parse::<usize>();
        Ok(match (kind, length) {
            (b'$' | b'=', Ok(length)) => {
                let mut bytes = vec![0; length + 2];
                from.read_exact(&mut bytes)?;
                assert!(bytes.ends_with(b"\r\n"), "a string ends where it says");
                bytes.truncate(length);
                Frame::Text(kind, bytes)
            }
            (b'*' | b'>' | b'~' | b'%', Ok(length)) => {
                let items = if kind == b'%' { length * 2 } else { length };
                Frame::List(kind, (0..items).map(|_| Frame::read(from)).collect::<Result<_, _>>()?)
            }
            (b'+' | b'-' | b':' | b'_' | b'$' | b'*', _) => Frame::Line(kind, text),
            _ => return Err(Error::other(format!("no reply: {text}"))),
        })
    }

    pub fn is_push(&self) -> bool {
        matches!(self, Frame::List(b'>', _))
    }

    /// Takes the value behind a name out.
    pub fn blank(&mut self, name: &str) {
        let Frame::List(_, frames) = self else { return };
        frames.iter_mut().for_each(|frame| frame.blank(name));
        let is_name = |frame: &Frame| matches!(frame, Frame::Text(_, text) if text == name.as_bytes());
        if let Some(value) = frames.iter().position(is_name).and_then(|at| frames.get_mut(at + 1)) {
            *value = Frame::Line(b'_', String::new());
        }
    }

    /// All frames of some bytes.
    pub fn all(mut bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            frames.push(Frame::read(&mut bytes).expect("whole replies"));
        }
        frames
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frame::Line(kind, text) => write!(f, "{}{text}", char::from(*kind)),
            Frame::Text(kind, bytes) => write!(f, "{}{:?}", char::from(*kind), String::from_utf8_lossy(bytes)),
            Frame::List(kind, frames) => {
                write!(f, "{}", char::from(*kind))?;
                f.debug_list().entries(frames).finish()
            }
        }
    }
}
