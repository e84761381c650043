//! A gzip stream, unpacked as its bytes come (RFC 1952), with the checksum at its end.

use flate2::{Decompress, FlushDecompress, Status};

/// Bytes of a header without optional parts, and of the trailer.
const HEADER: usize = 10;
const TRAILER: usize = 8;
/// Room for what one call gives.
const ROOM: usize = 4 << 10;

/// See the module.
pub struct Gunzip {
    header: usize,
    inflate: Decompress,
    crc: crc32fast::Hasher,
    over: bool,
    trailer: Vec<u8>,
}

impl Gunzip {
    pub fn new() -> Gunzip {
        let (inflate, crc) = (Decompress::new(false), crc32fast::Hasher::new());
        Gunzip { header: 0, inflate, crc, over: false, trailer: Vec::new() }
    }

    /// Takes the next bytes; all that they complete.
    pub fn feed(&mut self, mut packed: &[u8]) -> Result<Vec<u8>, String> {
        let skipped = packed.len().min(HEADER - self.header);
        self.header += skipped;
        packed = &packed[skipped..];
        let mut plain = Vec::new();
        while !self.over {
            let (before, had) = (self.inflate.total_in(), plain.len());
            plain.reserve(ROOM);
            let status = self.inflate.decompress_vec(packed, &mut plain, FlushDecompress::Sync);
            packed = &packed[(self.inflate.total_in() - before) as usize..];
            self.over = match status {
                Ok(status) => status == Status::StreamEnd,
                Err(error) => return Err(format!("not deflate: {error}")),
            };
            if packed.is_empty() && plain.len() - had < ROOM {
                break;
            }
        }
        self.crc.update(&plain);
        self.trailer.extend_from_slice(packed);
        if self.trailer.len() > TRAILER {
            return Err("bytes behind the end of gzip".into());
        }
        if self.is_complete() {
            let (sum, length) = (self.crc.clone().finalize(), self.inflate.total_out() as u32);
            if self.trailer != [sum.to_le_bytes(), length.to_le_bytes()].concat() {
                return Err("gzip's checksum is another one".into());
            }
        }
        Ok(plain)
    }

    /// Whether it has come to its end, with the checksum.
    pub fn is_complete(&self) -> bool {
        self.trailer.len() == TRAILER
    }
}
