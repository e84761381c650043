//! gzip for event streams (RFC 1951, RFC 1952), such that an event is compressed once for all who receive it. Pure.
//!
//! A body is made of pieces. Each is whole deflate blocks that refer to nothing before them and end on a byte, so the
//! piece of an event stands unchanged in everybody's body, wherever it comes there. What is one subscriber's alone (a
//! cursor over several channels, a comment) is a stored block. Only the checksum at the end is each stream's own.
//!
//! What a client is to see at once ends with an empty stored block, as zlib's flush does: some decoders (Go's
//! `compress/flate`, which `net/http` uses unasked) keep what they have until they come to such a one.
//!
//! No piece refers to an earlier one: what one event contains never shows in the size of another. Within an event it
//! does, as with any compression.

use flate2::{Compress, Compression, FlushCompress};
use std::cell::RefCell;

/// The member header: deflate, no name, no time, unknown system (RFC 1952, section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Block header of a stored block, on a byte's edge: not the last, type 00 (RFC 1951, section 3.2.4).
const STORED: u8 = 0;
/// The header of a stored block: that byte, the length and its complement.
const STORED_HEADER: usize = 5;
/// A stored block of nothing.
const FLUSH: [u8; STORED_HEADER] = [STORED, 0, 0, 0xff, 0xff];
/// The most that one stored block holds.
const STORED_MOST: usize = u16::MAX as usize;
/// What a flush to the edge of a byte adds at most, and room for blocks that do not compress.
const SLACK: usize = 64;

thread_local! {
    /// Its tables take a quarter of a megabyte, so each thread that compresses keeps one.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(6), false));
}

/// Compresses one piece for all streams.
pub fn pack(plain: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(plain.len() + plain.len() / 1000 + SLACK);
    let done = DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        deflate_into(deflate, plain, &mut packed)
    });
    if !done || packed.len() >= plain.len() + STORED_HEADER + FLUSH.len() {
        packed.clear();
        store(plain, &mut packed);
        packed.extend_from_slice(&FLUSH);
    }
    packed
}

/// Compresses until all of `plain` is out, up to the edge of a byte; whether that went well.
fn deflate_into(deflate: &mut Compress, plain: &[u8], packed: &mut Vec<u8>) -> bool {
    loop {
        let from = deflate.total_in() as usize;
        match deflate.compress_vec(&plain[from..], packed, FlushCompress::Sync) {
            // Spare room tells that the flush has come to its end.
            Ok(_) if packed.len() < packed.capacity() => return deflate.total_in() as usize == plain.len(),
            Ok(_) => packed.reserve(packed.capacity() / 2 + SLACK),
            Err(_) => return false,
        }
    }
}

/// Stored blocks of some bytes.
fn store(plain: &[u8], into: &mut Vec<u8>) {
    for part in plain.chunks(STORED_MOST) {
        into.extend_from_slice(&stored_header(part.len()));
        into.extend_from_slice(part);
    }
}

fn stored_header(length: usize) -> [u8; STORED_HEADER] {
    let [low, high] = (length as u16).to_le_bytes();
    [STORED, low, high, !low, !high]
}

/// One stream's checksum so far: of the plain bytes, and how many there were (both modulo 2^32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gzip {
    crc: u32,
    length: u32,
}

impl Gzip {
    /// Begins a stream; the header goes into `into`.
    pub fn begin(into: &mut Vec<u8>) -> Gzip {
        into.extend_from_slice(&HEADER);
        Gzip::default()
    }

    /// Plain bytes so far, modulo 2^32.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Appends bytes that are this stream's alone.
    pub fn stored(&mut self, plain: &[u8], into: &mut Vec<u8>) {
        self.count(plain);
        store(plain, into);
        into.extend_from_slice(&FLUSH);
    }

    /// Makes a stored block of all that follows `mark`, where [`Gzip::room`] was called. Another piece has to follow.
    pub fn stored_from(&mut self, mark: usize, into: &mut Vec<u8>) {
        let plain = &into[mark + STORED_HEADER..];
        self.count(plain);
        match plain.len() {
            length @ ..=STORED_MOST => into[mark..mark + STORED_HEADER].copy_from_slice(&stored_header(length)),
            _ => {
                let plain = into.split_off(mark);
                store(&plain[STORED_HEADER..], into);
            }
        }
    }

    /// Leaves room for the header of a block that is written in place; returns the mark for it.
    pub fn room(into: &mut Vec<u8>) -> usize {
        let mark = into.len();
        into.extend_from_slice(&[0; STORED_HEADER]);
        mark
    }

    /// Ends the stream: an empty last block, checksum and length.
    pub fn end(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&[STORED | 1, 0, 0, 0xff, 0xff]);
        into.extend_from_slice(&self.crc.to_le_bytes());
        into.extend_from_slice(&self.length.to_le_bytes());
    }

    /// What [`pack`] made of these bytes is the stream's next piece.
    pub fn count(&mut self, plain: &[u8]) {
        let mut crc = crc32fast::Hasher::new_with_initial_len(self.crc, u64::from(self.length));
        crc.update(plain);
        self.crc = crc.finalize();
        self.length = self.length.wrapping_add(plain.len() as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use proptest::prelude::*;
    use std::io::Read;

    fn unpacked(body: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        GzDecoder::new(body).read_to_end(&mut plain).expect("a whole gzip stream");
        plain
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_are_one_valid_stream(
            events in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..5),
            order in prop::collection::vec((any::<prop::sample::Index>(), 0..3), 0..12),
        ) {
            let packed: Vec<_> = events.iter().map(|event| pack(event)).collect();
            let (mut body, mut plain) = (Vec::new(), Vec::new());
            let mut gzip = Gzip::begin(&mut body);
            for (index, way) in order {
                let index = index.index(events.len());
                match way {
                    0 => gzip.stored(&events[index], &mut body),
                    1 => {
                        gzip.count(&events[index]);
                        body.extend_from_slice(&packed[index]);
                    }
                    _ => {
                        let mark = Gzip::room(&mut body);
                        body.extend_from_slice(&events[index]);
                        gzip.stored_from(mark, &mut body);
                    }
                }
                plain.extend_from_slice(&events[index]);
            }
            gzip.end(&mut body);
            prop_assert_eq!(unpacked(&body), plain);
        }
    }

    #[test]
    fn whatever_does_not_compress_is_stored() {
        let noise: Vec<u8> = (0..200_000).map(|_| fastrand::u8(..)).collect();
        let mut body = Vec::new();
        let mut gzip = Gzip::begin(&mut body);
        let packed = pack(&noise);
        assert!(packed.len() <= noise.len() + noise.len() / 1000 + SLACK);
        gzip.count(&noise);
        body.extend_from_slice(&packed);
        let mark = Gzip::room(&mut body);
        body.extend_from_slice(&noise);
        gzip.stored_from(mark, &mut body);
        gzip.end(&mut body);
        assert_eq!(unpacked(&body), [&noise[..], &noise].concat());
    }

    #[test]
    fn text_shrinks() {
        let text = r#"{"id":17,"name":"a name","state":"open"},"#.repeat(50);
        assert!(pack(text.as_bytes()).len() < text.len() / 5);
    }

    #[test]
    fn each_piece_ends_with_an_empty_block_that_makes_decoders_give_out_what_they_have() {
        let noise: Vec<u8> = (0..2_000).map(|_| fastrand::u8(..)).collect();
        for plain in [&b"data: 1\n\n"[..], &[b'x'; 2_000], &noise, b""] {
            assert!(pack(plain).ends_with(&FLUSH), "{} bytes", plain.len());
            let mut body = Vec::new();
            Gzip::begin(&mut body).stored(plain, &mut body);
            assert!(body.ends_with(&FLUSH), "{} bytes", plain.len());
        }
    }

    #[test]
    fn a_reader_sees_each_piece_before_the_next_one_comes() {
        let mut body = Vec::new();
        let mut gzip = Gzip::begin(&mut body);
        let text = "data: the same words, the same words\n\n";
        gzip.count(text.as_bytes());
        body.extend_from_slice(&pack(text.as_bytes()));
        let mut seen = vec![0; text.len()];
        GzDecoder::new(&body[..]).read_exact(&mut seen).expect("all of it, without an end");
        assert_eq!(seen, text.as_bytes());
    }
}
