//! Bytes: replies in either version of the protocol, and commands that come in pieces.

use super::reply::{Reply, Resp};
use bytes::{Buf, Bytes, BytesMut};

/// Words of one command at most.
const MOST_WORDS: i64 = 1024 * 1024;
/// Bytes of one word at most (`proto-max-bulk-len`).
const MOST_BYTES: i64 = 512 << 20;
/// Bytes of a line at most.
const LINE: usize = 64 << 10;

/// Writes a reply.
pub fn encode(reply: &Reply, resp: Resp, into: &mut Vec<u8>) {
    let is_three = resp == Resp::Three;
    match reply {
        Reply::Status(text) => line(into, b'+', text),
        Reply::Error(text) => line(into, b'-', text),
        Reply::Number(number) => line(into, b':', &number.to_string()),
        Reply::Text(text) => string(into, b'$', text),
        Reply::Lines(text) if is_three => string(into, b'=', format!("txt:{text}").as_bytes()),
        Reply::Lines(text) => string(into, b'$', text.as_bytes()),
        Reply::Nil | Reply::NilList if is_three => line(into, b'_', ""),
        Reply::Nil | Reply::OldNil => line(into, b'$', "-1"),
        Reply::NilList => line(into, b'*', "-1"),
        Reply::List(list) => all(list, b'*', resp, into),
        Reply::Set(list) => all(list, if is_three { b'~' } else { b'*' }, resp, into),
        Reply::Push(list) => all(list, if is_three { b'>' } else { b'*' }, resp, into),
        Reply::Map(pairs) => {
            match is_three {
                true => line(into, b'%', &pairs.len().to_string()),
                false => line(into, b'*', &(pairs.len() * 2).to_string()),
            }
            for (name, value) in pairs {
                encode(name, resp, into);
                encode(value, resp, into);
            }
        }
        Reply::Later => {}
    }
}

fn all(list: &[Reply], kind: u8, resp: Resp, into: &mut Vec<u8>) {
    line(into, kind, &list.len().to_string());
    list.iter().for_each(|reply| encode(reply, resp, into));
}

fn line(into: &mut Vec<u8>, kind: u8, text: &str) {
    into.push(kind);
    into.extend(text.as_bytes());
    into.extend(b"\r\n");
}

fn string(into: &mut Vec<u8>, kind: u8, text: &[u8]) {
    line(into, kind, &text.len().to_string());
    into.extend(text);
    into.extend(b"\r\n");
}

/// What came is no command; the text is what Redis says before it closes the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError(pub String);

/// Puts commands together of what comes, wherever it is torn.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// Words that are still to come of the command that has begun.
    left: usize,
    words: Vec<Bytes>,
    /// The length of the word that comes next.
    length: Option<usize>,
}

impl Decoder {
    /// Takes in what has come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next command, once all of it is there.
    pub fn next_command(&mut self) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        loop {
            if self.left > 0 {
                match self.word()? {
                    Some(word) => self.words.push(word),
                    None => return Ok(None),
                }
                self.left -= 1;
                if self.left == 0 {
                    return Ok(Some(std::mem::take(&mut self.words)));
                }
                continue;
            }
            let Some(line) = self.line()? else { return Ok(None) };
            match line.split_first() {
                Some((b'*', number)) => {
                    // None at all is no command, and no error.
                    self.left = self.number(number, MOST_WORDS, "multibulk")?.unwrap_or(0);
                }
                Some(_) => {
                    let words = line.as_ref().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
                    let words: Vec<Bytes> = words.map(Bytes::copy_from_slice).collect();
                    if !words.is_empty() {
                        return Ok(Some(words));
                    }
                }
                None => {}
            }
        }
    }

    fn word(&mut self) -> Result<Option<Bytes>, ProtocolError> {
        if self.length.is_none() {
            let Some(line) = self.line()? else { return Ok(None) };
            let number = match line.split_first() {
                Some((b'$', number)) => number.to_vec(),
                other => {
                    let got = other.map_or('\r', |(kind, _)| char::from(*kind));
                    return Err(ProtocolError(format!("ERR Protocol error: expected '$', got '{got}'")));
                }
            };
            let length = self.number(&number, MOST_BYTES, "bulk")?;
            self.length = Some(length.ok_or_else(|| invalid("bulk"))?);
        }
        let Some(length) = self.length.filter(|length| self.buffer.len() >= length + 2) else { return Ok(None) };
        self.length = None;
        let word = self.buffer.split_to(length).freeze();
        self.buffer.advance(2);
        Ok(Some(word))
    }

    /// A length; `None` for a negative one.
    fn number(&self, text: &[u8], most: i64, what: &str) -> Result<Option<usize>, ProtocolError> {
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
        match number {
            Some(number) if number <= most => Ok(usize::try_from(number).ok()),
            _ => Err(invalid(what)),
        }
    }

    fn line(&mut self) -> Result<Option<BytesMut>, ProtocolError> {
        match self.buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let mut line = self.buffer.split_to(at + 1);
                line.truncate(at);
                if line.last() == Some(&b'\r') {
                    line.truncate(at - 1);
                }
                Ok(Some(line))
            }
            None if self.buffer.len() > LINE => {
                let what = if self.buffer.starts_with(b"*") { "mbulk count" } else { "inline request" };
                Err(ProtocolError(format!("ERR Protocol error: too big {what} string")))
            }
            None => Ok(None),
        }
    }
}

fn invalid(what: &str) -> ProtocolError {
    ProtocolError(format!("ERR Protocol error: invalid {what} length"))
}
