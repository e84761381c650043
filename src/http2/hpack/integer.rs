//! Integers and strings (RFC 7541, section 5).

use super::super::error_code::ErrorCode;
use super::huffman;

/// Where in a head a reader is.
pub struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Before the first byte.
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor(bytes)
    }

    /// The next byte, which is not taken.
    pub fn first(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn byte(&mut self) -> Result<u8, ErrorCode> {
        let (first, rest) = self.0.split_first().ok_or(ErrorCode::Compression)?;
        self.0 = rest;
        Ok(*first)
    }

    /// Takes an integer that begins in the last `bits` bits of the next byte. None here is greater than a head may be long.
    pub fn integer(&mut self, bits: u32) -> Result<usize, ErrorCode> {
        let mask = (1_usize << bits) - 1;
        let mut value = usize::from(self.byte()?) & mask;
        if value < mask {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ErrorCode::Compression)
    }

    /// Takes a string, and adds it to what is there.
    pub fn string(&mut self, into: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let packed = self.first().is_some_and(|first| first & 0x80 != 0);
        let length = self.integer(7)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(ErrorCode::Compression)?;
        self.0 = rest;
        match packed {
            true => huffman::unpack(text, into),
            false => {
                into.extend_from_slice(text);
                Ok(())
            }
        }
    }
}
