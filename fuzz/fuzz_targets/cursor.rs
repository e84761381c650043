//! Any text is read or refused; what is written is found again.
#![no_main]

use fantail::channel::Channel;
use fantail::cursor::{Cursor, Form, Place, name_hash, write_cursor};
use fantail::position::Position;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|input: (&str, Vec<(u16, u64, u64)>)| {
    let (text, legs) = input;
    read(text);
    // The compact form is hard to guess as text, so its bytes are also made of the input's.
    let bytes: Vec<u8> = legs.iter().flat_map(|(n, ms, seq)| [*n as u8, *ms as u8, *seq as u8]).collect();
    read(&base64(&[&[1], &bytes[..]].concat()));

    let legs: BTreeMap<Channel, Position> =
        legs.into_iter().map(|(n, ms, seq)| (name(n), Position::new(ms, seq))).collect();
    if legs.is_empty() {
        return;
    }
    let form = Form::of(legs.keys().map(name_hash));
    let mut written = Vec::new();
    write_cursor(
        &mut written,
        form,
        legs.iter().map(|(channel, at)| Place { channel, hash: name_hash(channel), at: *at }),
    );
    let cursor = Cursor::parse(std::str::from_utf8(&written).expect("text")).expect("our own");
    for (channel, at) in &legs {
        assert_eq!(cursor.position_of(channel, false), Some(*at));
    }
});

fn name(n: u16) -> Channel {
    Channel::new(&format!("c.{n}")).expect("a name")
}

fn read(text: &str) {
    if let Some(cursor) = Cursor::parse(text) {
        let _ = cursor.position_of(&name(1), true);
        assert!(!text.contains(['\r', '\n', '\0']));
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        (0..=group.len()).for_each(|i| text.push(DIGITS[(bits >> (18 - 6 * i) & 63) as usize] as char));
    }
    text
}
