//! A client's reading of one answer: from bytes of a body to messages.

use super::answer::Head;
use super::event_stream::{Message, Parser};
use super::gunzip::Gunzip;

/// What came of one answer.
pub struct Reading {
    gunzip: Option<Gunzip>,
    parser: Parser,
    /// Nothing has said yet where it begins.
    pub first: bool,
    /// Of an answer that is no stream.
    pub body: String,
    /// It has a stream.
    pub admitted: bool,
    /// The last bytes, unpacked.
    tail: Vec<u8>,
}

impl Reading {
    /// `first`: the client has no id yet.
    pub fn new(first: bool) -> Reading {
        let (gunzip, parser, tail) = (None, Parser::new(), Vec::new());
        Reading { gunzip, parser, first, body: String::new(), admitted: false, tail }
    }

    /// Undoes the coding of a body.
    pub fn unpack(&mut self, head: Head, body: Vec<u8>) -> Result<Vec<u8>, String> {
        if !head.gzip {
            self.remember(&body);
            return Ok(body);
        }
        let plain = self.gunzip.get_or_insert_with(Gunzip::new).feed(&body)?;
        self.remember(&plain);
        Ok(plain)
    }

    fn remember(&mut self, plain: &[u8]) {
        self.tail.extend_from_slice(&plain[plain.len().saturating_sub(2)..]);
        let surplus = self.tail.len().saturating_sub(2);
        self.tail.drain(..surplus);
    }

    /// What plain bytes complete.
    pub fn parse(&mut self, plain: &[u8]) -> Vec<Message> {
        self.parser.feed(plain)
    }

    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// Whether what has come is whole blocks.
    pub fn is_between_blocks(&self) -> bool {
        self.tail.is_empty() || self.tail == b"\n\n"
    }

    /// Whether a compressed body has its checksum; `None`: it is not compressed.
    pub fn is_packed_whole(&self) -> Option<bool> {
        self.gunzip.as_ref().map(Gunzip::is_complete)
    }
}
