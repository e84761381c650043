//! An incremental HTTP/1.1 response and event-stream parser, written apart from the node's encoder.
//!
//! RFC 9112 section 7.1 for chunks, WHATWG HTML section 9.2.5 and 9.2.6 for the stream. It keeps a few words per
//! connection and copies only what a read cut in two.

use flate2::write::GzDecoder;
use std::borrow::Cow;
use std::io::Write as _;

/// Longest response head, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// Longest event that is waited for, in bytes.
const MAX_BLOCK: usize = 4 * 1024 * 1024;

/// What the parser found.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Head { status: u16 },
    Block(Block<'a>),
    End,
}

/// Everything up to a blank line; a comment between two blocks is one by itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Block<'a> {
    /// The last `id` field; an empty one resets the last event id.
    pub id: Option<&'a [u8]>,
    pub kind: Option<&'a [u8]>,
    /// `None`: nothing is dispatched.
    pub data: Option<Cow<'a, [u8]>>,
    pub comment: bool,
}

/// Bytes that no conforming server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    Head,
    Chunk,
    TooLong,
    /// Not the compression that the head names.
    Gzip,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Head,
    /// A body that ends with the connection.
    Plain,
    Size,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// Behind the last chunk; trailers are not read.
    Ended,
}

/// One response.
pub struct Parser {
    state: State,
    /// Bytes left of the chunk, or its size so far.
    chunk: u32,
    /// The start of a head or block whose end has not arrived.
    carry: Vec<u8>,
    /// Where the body is compressed.
    gzip: Option<Box<GzDecoder<Vec<u8>>>>,
}

impl Default for Parser {
    fn default() -> Parser {
        Parser { state: State::Head, chunk: 0, carry: Vec::new(), gzip: None }
    }
}

impl Parser {
    /// Takes bytes as they arrived and calls `found` for everything that is complete.
    pub fn feed(&mut self, mut bytes: &[u8], found: &mut impl FnMut(Item<'_>)) -> Result<(), Violation> {
        if self.state == State::Head {
            match self.head(bytes, found)? {
                Some(used) => bytes = &bytes[used..],
                None => return Ok(()),
            }
        }
        if self.state == State::Plain { self.body(bytes, found) } else { self.chunks(bytes, found) }
    }

    /// Looks for the end of the head; returns how many of the new bytes belong to it.
    fn head(&mut self, bytes: &[u8], found: &mut impl FnMut(Item<'_>)) -> Result<Option<usize>, Violation> {
        let before = self.carry.len();
        self.carry.extend_from_slice(bytes);
        let Some(end) = memchr::memmem::find(&self.carry, b"\r\n\r\n") else {
            return if self.carry.len() > MAX_HEAD { Err(Violation::TooLong) } else { Ok(None) };
        };
        let head = std::mem::take(&mut self.carry);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&head[..end + 4]) {
            Ok(httparse::Status::Complete(_)) => {}
            _ => return Err(Violation::Head),
        }
        let chunked = response.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case("transfer-encoding") && header.value.eq_ignore_ascii_case(b"chunked")
        });
        let gzip = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-encoding"));
        self.gzip = match gzip.map(|header| header.value) {
            None => None,
            Some(b"gzip") => Some(Box::new(GzDecoder::new(Vec::new()))),
            Some(_) => return Err(Violation::Head),
        };
        self.state = if chunked { State::Size } else { State::Plain };
        found(Item::Head { status: response.code.ok_or(Violation::Head)? });
        Ok(Some(end + 4 - before))
    }

    fn chunks(&mut self, mut bytes: &[u8], found: &mut impl FnMut(Item<'_>)) -> Result<(), Violation> {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.state {
                State::Data => {
                    let part = bytes.len().min(self.chunk as usize);
                    self.body(&bytes[..part], found)?;
                    self.chunk -= part as u32;
                    if self.chunk == 0 {
                        self.state = State::DataCr;
                    }
                    bytes = &bytes[part..];
                    continue;
                }
                State::Size => match (byte as char).to_digit(16) {
                    Some(_) if self.chunk >> 28 != 0 => return Err(Violation::Chunk),
                    Some(digit) => self.chunk = self.chunk << 4 | digit,
                    None if byte == b'\r' => self.state = State::SizeEnd,
                    None if byte == b';' => self.state = State::Extension,
                    None => return Err(Violation::Chunk),
                },
                State::Extension if byte == b'\r' => self.state = State::SizeEnd,
                State::Extension => {}
                State::SizeEnd if byte == b'\n' && self.chunk == 0 => {
                    self.state = State::Ended;
                    found(Item::End);
                }
                State::SizeEnd if byte == b'\n' => self.state = State::Data,
                State::DataCr if byte == b'\r' => self.state = State::DataLf,
                State::DataLf if byte == b'\n' => self.state = State::Size,
                State::Ended => return Ok(()),
                _ => return Err(Violation::Chunk),
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Bytes of the body; compressed ones are decoded as far as they go.
    fn body(&mut self, bytes: &[u8], found: &mut impl FnMut(Item<'_>)) -> Result<(), Violation> {
        let Some(mut gzip) = self.gzip.take() else { return self.stream(bytes, found) };
        gzip.write_all(bytes).and_then(|()| gzip.flush()).map_err(|_| Violation::Gzip)?;
        let result = self.stream(gzip.get_ref(), found);
        gzip.get_mut().clear();
        self.gzip = Some(gzip);
        result
    }

    /// Bytes of the event stream itself.
    fn stream(&mut self, bytes: &[u8], found: &mut impl FnMut(Item<'_>)) -> Result<(), Violation> {
        if self.carry.is_empty() {
            let used = blocks(bytes, found);
            self.carry.extend_from_slice(&bytes[used..]);
        } else {
            let mut carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(bytes);
            let used = blocks(&carry, found);
            // Given back where nothing is left: most connections rest between events.
            if used < carry.len() {
                carry.drain(..used);
                self.carry = carry;
            }
        }
        if self.carry.len() > MAX_BLOCK { Err(Violation::TooLong) } else { Ok(()) }
    }
}

/// Emits the complete blocks and returns how many bytes they took.
fn blocks(bytes: &[u8], found: &mut impl FnMut(Item<'_>)) -> usize {
    let (mut used, mut at) = (0, 0);
    let mut block = Block::default();
    while let Some((line, next)) = line(bytes, at) {
        let between = used == at;
        at = next;
        if line.is_empty() || between && line.starts_with(b":") {
            block.comment |= !line.is_empty();
            found(Item::Block(std::mem::take(&mut block)));
            used = at;
        } else if between && line.starts_with(b"retry:") {
            used = at;
        } else {
            field(&mut block, line);
        }
    }
    used
}

/// The line at a place and where the next begins; `None` if its end has not arrived.
///
/// A CR at the very end waits for the next byte, which may be the LF that belongs to it.
fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let end = at + memchr::memchr2(b'\r', b'\n', &bytes[at..])?;
    let width = match bytes[end] {
        b'\n' => 1,
        _ => 1 + usize::from(*bytes.get(end + 1)? == b'\n'),
    };
    Some((&bytes[at..end], end + width))
}

fn field<'a>(block: &mut Block<'a>, line: &'a [u8]) {
    let (name, value) = match memchr::memchr(b':', line) {
        Some(0) => return block.comment = true,
        Some(colon) => (&line[..colon], &line[colon + 1..]),
        None => (line, &b""[..]),
    };
    let value = value.strip_prefix(b" ").unwrap_or(value);
    match name {
        b"id" if !value.contains(&0) => block.id = Some(value),
        b"event" => block.kind = Some(value),
        b"data" => match &mut block.data {
            None => block.data = Some(Cow::Borrowed(value)),
            Some(data) => {
                let data = data.to_mut();
                data.push(b'\n');
                data.extend_from_slice(value);
            }
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nid: 1-0\n\r\n14;x=y\r\n\nevent: a\ndata: x\n\n:\r\n1\r\n\n\r\n0\r\n\r\n";

    fn seen(pieces: &[&[u8]]) -> Result<Vec<String>, Violation> {
        let (mut parser, mut items) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.feed(piece, &mut |item| items.push(format!("{item:?}")))?;
        }
        Ok(items)
    }

    #[test]
    fn compressed_bodies_give_the_same_items() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"id: 1-0\n\nevent: a\ndata: x\n\n:\n").expect("into memory");
        packed.flush().expect("into memory");
        let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n".to_vec();
        bytes.extend_from_slice(packed.get_ref());
        let plain = seen(&[CHUNKED]).unwrap_or_default();
        let items = seen(&bytes.chunks(3).collect::<Vec<_>>()).unwrap_or_default();
        assert_eq!(items[..], plain[..4]);
        assert_eq!(
            seen(&[b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nplain text, not compressed"]),
            Err(Violation::Gzip)
        );
    }

    #[test]
    fn however_the_bytes_are_cut_the_items_are_the_same() {
        let whole = seen(&[CHUNKED, b""]);
        let items = whole.clone().unwrap_or_default();
        assert_eq!(items.len(), 5, "{items:?}");
        for cut in 0..CHUNKED.len() {
            assert_eq!(seen(&[&CHUNKED[..cut], &CHUNKED[cut..]]), whole, "cut at {cut}");
        }
        assert_eq!(seen(&CHUNKED.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn line_ends_and_fields() {
        let mut found = Vec::new();
        let text = b"retry: 1\nid:1\r\n:\ndata: a\rdata\ndata:  b\r\n\r\n: hi\nretry: 2\ndata: cut";
        let used = blocks(text, &mut |item| {
            if let Item::Block(block) = item {
                found.push((block.id.map(<[u8]>::to_vec), block.data.map(Cow::into_owned), block.comment));
            }
        });
        assert_eq!(used, text.len() - b"data: cut".len());
        assert_eq!(found, [(Some(b"1".to_vec()), Some(b"a\n\n b".to_vec()), true), (None, None, true)]);
    }

    #[test]
    fn a_plain_body_and_violations() {
        let plain = seen(&[b"HTTP/1.1 200 OK\r\n\r\ndata: x\n\n"]);
        assert_eq!(plain.unwrap_or_default().len(), 2);
        assert_eq!(seen(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]), Err(Violation::Chunk));
        assert_eq!(seen(&[b"SMTP\r\n\r\n"]), Err(Violation::Head));
        assert_eq!(seen(&[&vec![b'x'; MAX_HEAD + 1]]), Err(Violation::TooLong));
    }
}
