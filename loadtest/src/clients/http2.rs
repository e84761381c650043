//! HTTP/2 as far as clients need it (RFC 9113): one connection, a request on each of its streams.

use anyhow::{Context as _, Result, bail, ensure};

/// Types of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// Flags of them.
const ACK: u8 = 1;
const END_STREAM_AND_HEADERS: u8 = 5;

/// What comes on a connection, until it is an answer.
///
/// The answers on several streams become one: its head is there when all have theirs, and its body has the blocks of all,
/// each whole, in the order in which they ended.
#[derive(Default)]
pub struct Frames {
    unparsed: Vec<u8>,
    streams: Vec<Stream>,
}

#[derive(Default)]
struct Stream {
    has_head: bool,
    /// A block whose end has not come, or all that came before the other streams' heads.
    unended: Vec<u8>,
}

impl Frames {
    /// Preface, windows without end, and requests, given as HTTP/1.1: one a stream.
    pub fn open(&mut self, requests: &[String]) -> Result<Vec<u8>> {
        const WIDEST: u32 = i32::MAX as u32;
        let windows = [&[0, 4][..], &WIDEST.to_be_bytes()].concat();
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &windows));
        bytes.extend(frame(WINDOW_UPDATE, 0, 0, &(WIDEST - 65_535).to_be_bytes()));
        for (place, request) in requests.iter().enumerate() {
            let number = 2 * u32::try_from(place)? + 1;
            bytes.extend(frame(HEADERS, END_STREAM_AND_HEADERS, number, &block_of(request)?));
        }
        self.streams.resize_with(requests.len(), Stream::default);
        Ok(bytes)
    }

    /// Takes what came: adds to what an HTTP/1.1 server would have sent, and to what is to be sent back.
    pub fn take(&mut self, bytes: &[u8], answer: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<()> {
        self.unparsed.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(head) = self.unparsed.get(at..at + 9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let Some(payload) = self.unparsed.get(at + 9..at + 9 + length) else { break };
            match kind {
                DATA if self.streams.len() == 1 => answer.extend_from_slice(payload),
                DATA => place(&mut self.streams, number)?.unended.extend_from_slice(payload),
                HEADERS => {
                    let status = status(payload)?;
                    place(&mut self.streams, number)?.has_head = true;
                    if status != 200 || self.streams.iter().all(|stream| stream.has_head) {
                        answer.extend_from_slice(format!("HTTP/1.1 {status} Answer\r\n\r\n").as_bytes());
                    }
                }
                RST_STREAM | GOAWAY => bail!("the stream was reset, or the server goes"),
                PING if flags & ACK == 0 => reply.extend_from_slice(&frame(PING, ACK, 0, payload)),
                SETTINGS if flags & ACK == 0 => reply.extend_from_slice(&frame(SETTINGS, ACK, 0, &[])),
                _ => {}
            }
            at += 9 + length;
        }
        self.unparsed.drain(..at);
        self.unparsed.shrink_to(4096);
        if self.streams.iter().all(|stream| stream.has_head) {
            self.streams.iter_mut().for_each(|stream| stream.end_blocks(answer));
        }
        Ok(())
    }
}

/// The status that a head begins with: one of the static table (RFC 7541, appendix A), or three digits.
fn status(block: &[u8]) -> Result<u16> {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    Ok(match *block {
        [indexed @ 0x88..=0x8e, ..] => INDEXED[usize::from(indexed - 0x88)],
        // A literal that is indexed, is not, or never is, under the table's first `:status`; not in Huffman's code.
        [0x48 | 0x08 | 0x18, 3, a, b, c, ..] => std::str::from_utf8(&[a, b, c])?.parse()?,
        _ => bail!("a head that does not begin with its status: {:02x?}", &block[..block.len().min(8)]),
    })
}

impl Stream {
    /// Gives away what ends with a blank line.
    fn end_blocks(&mut self, answer: &mut Vec<u8>) {
        if let Some(blank) = memchr::memmem::rfind(&self.unended, b"\n\n") {
            answer.extend(self.unended.drain(..blank + 2));
        }
    }
}

fn place(streams: &mut [Stream], number: u32) -> Result<&mut Stream> {
    streams.get_mut(number as usize / 2).context("a stream that nobody opened")
}

/// The header block of a request that is given as HTTP/1.1.
fn block_of(request: &str) -> Result<Vec<u8>> {
    let mut lines = request.split("\r\n");
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).context("no request line")?;
    let mut block = vec![0x82, 0x86, 0x04];
    text(&mut block, path)?;
    block.push(0x01);
    text(&mut block, "localhost")?;
    for (name, value) in lines.filter_map(|line| line.split_once(": ")).filter(|(name, _)| *name != "Host") {
        block.push(0x00);
        text(&mut block, &name.to_ascii_lowercase())?;
        text(&mut block, value)?;
    }
    Ok(block)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A string literal without Huffman coding (RFC 7541, section 5.2).
fn text(block: &mut Vec<u8>, text: &str) -> Result<()> {
    ensure!(text.len() < 127 + 128, "no string as long as {text:?}");
    match text.len() {
        short @ ..127 => block.push(short as u8),
        long => block.extend([127, (long - 127) as u8]),
    }
    block.extend_from_slice(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(requests: usize) -> Frames {
        let mut frames = Frames::default();
        frames.open(&vec!["GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(); requests]).unwrap();
        frames
    }

    #[test]
    fn frames_become_an_answer_wherever_they_are_cut() {
        let sent = [
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, 4, 1, &[0x88, 0x01]),
            frame(DATA, 0, 1, b"data: 1\n\n"),
            frame(PING, 0, 0, &[7; 8]),
            frame(DATA, 0, 1, b"data: 2\n\n"),
        ]
        .concat();
        for piece in [1, 5, 100] {
            let (mut frames, mut answer, mut reply) = (asked(1), Vec::new(), Vec::new());
            sent.chunks(piece).for_each(|piece| frames.take(piece, &mut answer, &mut reply).unwrap());
            assert_eq!(answer, b"HTTP/1.1 200 Answer\r\n\r\ndata: 1\n\ndata: 2\n\n");
            assert_eq!(reply, [frame(SETTINGS, ACK, 0, &[]), frame(PING, ACK, 0, &[7; 8])].concat());
        }
    }

    #[test]
    fn a_refusal_has_its_own_status() {
        for (block, read) in [(&b"\x88"[..], 200), (b"\x8e\x01", 500), (b"\x48\x03502\x01", 502), (b"\x08\x03429", 429)]
        {
            assert_eq!(status(block).unwrap(), read);
        }
        assert!(status(b"\x48\x82\x68\x41").is_err() && status(b"").is_err());
    }

    #[test]
    fn blocks_of_several_streams_stay_whole() {
        let sent = [
            frame(HEADERS, 4, 3, &[0x88]),
            frame(DATA, 0, 3, b"data: b1\n\nda"),
            frame(HEADERS, 4, 1, &[0x88]),
            frame(DATA, 0, 1, b"data: a1\n"),
            frame(DATA, 0, 3, b"ta: b2\n\n"),
            frame(DATA, 0, 1, b"\n"),
        ]
        .concat();
        let (mut frames, mut answer, mut reply) = (asked(2), Vec::new(), Vec::new());
        sent.chunks(1).for_each(|piece| frames.take(piece, &mut answer, &mut reply).unwrap());
        assert_eq!(answer, b"HTTP/1.1 200 Answer\r\n\r\ndata: b1\n\ndata: b2\n\ndata: a1\n\n");
        assert!(frames.take(&frame(DATA, 0, 5, b"x"), &mut answer, &mut reply).is_err());
    }

    #[test]
    fn long_paths_have_two_bytes_of_length() {
        let request = format!("GET /{} HTTP/1.1\r\nHost: h\r\nLast-Event-ID: 1-0\r\n\r\n", "x".repeat(150));
        let bytes = Frames::default().open(&[request]).unwrap();
        assert!(memchr::memmem::find(&bytes, &[0x04, 127, 24, b'/']).is_some());
        assert!(memchr::memmem::find(&bytes, b"\x0dlast-event-id\x031-0").is_some());
    }
}
