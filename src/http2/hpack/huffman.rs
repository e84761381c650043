//! The Huffman code of strings (RFC 7541, appendix B).
//!
//! It is canonical: codes of one length are consecutive numbers in the order of their symbols, and those of the next length
//! go on from there. So the lengths say all, and a code is found by comparing it with the first one of each length.

use super::super::error_code::ErrorCode;

/// Bits of each byte's code. The end of a string has 30, and is never sent.
#[rustfmt::skip]
const BITS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
const SHORTEST: usize = 5;
const LONGEST: usize = 30;

/// The code by its lengths.
struct Codes {
    /// Of each length one more than its greatest code, left-aligned in 32 bits.
    above: [u64; LONGEST + 1],
    /// Of each length where the number of its first symbol and its first code are apart.
    offset: [i64; LONGEST + 1],
    /// Bytes by the order of their codes.
    symbols: [u8; 256],
}

static CODES: Codes = Codes::new();

impl Codes {
    const fn new() -> Codes {
        let mut codes = Codes { above: [0; LONGEST + 1], offset: [0; LONGEST + 1], symbols: [0; 256] };
        let (mut code, mut count, mut bits) = (0_u64, 0_usize, 1_usize);
        while bits <= LONGEST {
            code <<= 1;
            codes.offset[bits] = count as i64 - code as i64;
            let mut byte = 0;
            while byte < 256 {
                if BITS[byte] as usize == bits {
                    codes.symbols[count] = byte as u8;
                    count += 1;
                    code += 1;
                }
                byte += 1;
            }
            codes.above[bits] = code << (32 - bits);
            bits += 1;
        }
        codes
    }

    /// The byte whose code these 32 bits begin with, and how many bits that is. `None`: they begin with the end.
    fn find(&self, bits: u32) -> Option<(u8, usize)> {
        let length = (SHORTEST..=LONGEST).find(|length| u64::from(bits) < self.above[*length])?;
        let symbol = i64::from(bits >> (32 - length)) + self.offset[length];
        Some((self.symbols[symbol as usize], length))
    }
}

/// Unpacks a string.
pub fn unpack(packed: &[u8], into: &mut Vec<u8>) -> Result<(), ErrorCode> {
    into.reserve(packed.len() * 8 / SHORTEST);
    // The next bits, left-aligned, and how many there are.
    let (mut bits, mut have) = (0_u64, 0);
    let mut packed = packed.iter();
    loop {
        while have <= 56
            && let Some(byte) = packed.next()
        {
            bits |= u64::from(*byte) << (56 - have);
            have += 8;
        }
        if have == 0 {
            return Ok(());
        }
        match CODES.find((bits >> 32) as u32) {
            Some((byte, length)) if length <= have => {
                into.push(byte);
                (bits, have) = (bits << length, have - length);
            }
            // Less than a byte of ones, the beginning of the end, fills up the last byte (section 5.2).
            _ if have < 8 && bits >> (64 - have) == (1 << have) - 1 => return Ok(()),
            _ => return Err(ErrorCode::Compression),
        }
    }
}
