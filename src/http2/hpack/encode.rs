//! Heads of answers as bytes, without a table and without the Huffman code: they are short, and each is sent once.

use super::tables::STATIC;
use hyper::{HeaderMap, StatusCode};

/// A head with its lines.
pub fn head(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut block = Vec::with_capacity(256);
    push(&mut block, ":status", status.as_str().as_bytes());
    for (name, value) in headers {
        push(&mut block, name.as_str(), value.as_bytes());
    }
    block
}

/// Adds a line, of which the other end is to keep nothing.
fn push(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    let same = STATIC.iter().position(|(known, text)| *known == name && text.as_bytes() == value && !value.is_empty());
    if let Some(index) = same {
        return integer(block, 0x80, 7, index + 1);
    }
    match STATIC.iter().position(|(known, _)| *known == name) {
        Some(index) => integer(block, 0, 4, index + 1),
        None => {
            block.push(0);
            string(block, name.as_bytes());
        }
    }
    string(block, value);
}

fn string(block: &mut Vec<u8>, text: &[u8]) {
    integer(block, 0, 7, text.len());
    block.extend_from_slice(text);
}

/// An integer in the last `bits` bits of a byte that begins like `pattern`, and in further bytes.
fn integer(block: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let mask = (1 << bits) - 1;
    if value < mask {
        return block.push(pattern | value as u8);
    }
    block.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        block.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
}
