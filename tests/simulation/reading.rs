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
}

impl Reading {
    /// `first`: the client has no id yet.
    pub fn new(first: bool) -> Reading {
        Reading { gunzip: None, parser: Parser::new(), first, body: String::new(), admitted: false }
    }

    /// Undoes the coding of a body.
    pub fn unpack(&mut self, head: Head, body: Vec<u8>) -> Result<Vec<u8>, String> {
        match head.gzip {
            false => Ok(body),
            true => self.gunzip.get_or_insert_with(Gunzip::new).feed(&body),
        }
    }

    /// What plain bytes complete.
    pub fn parse(&mut self, plain: &[u8]) -> Vec<Message> {
        self.parser.feed(plain)
    }

    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// Whether what has come, which was parsed, is whole blocks, comments and delays.
    pub fn is_between_blocks(&self) -> bool {
        self.parser.is_between_events()
    }

    /// Whether a compressed body has its checksum; `None`: it is not compressed.
    pub fn is_packed_whole(&self) -> Option<bool> {
        self.gunzip.as_ref().map(Gunzip::is_complete)
    }
}
