//! Any bytes before a request are a PROXY header or none; no byte behind a header is taken, and nobody comes from an
//! address that the header does not name.
#![no_main]

use fantail::http::proxy_header::{client_of, read};
use futures_util::FutureExt as _;
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fuzz_target!(|bytes: &[u8]| {
    let mut left = bytes;
    // Bytes in memory are always there, so it ends at once.
    let found = read(&mut left).now_or_never().expect("nothing to wait for");
    let taken = &bytes[..bytes.len() - left.len()];
    assert!(taken.len() <= 16 + 2048, "{}", taken.len());
    let Ok(client) = found else { return };
    if taken.starts_with(V2) {
        let rest = usize::from(u16::from_be_bytes([taken[14], taken[15]]));
        assert_eq!(taken.len(), 16 + rest, "all of it, and no more");
        let named = match (taken[12], taken[13] >> 4) {
            (0x21, 1) => <[u8; 4]>::try_from(&taken[16..20]).ok().map(IpAddr::from),
            (0x21, 2) => <[u8; 16]>::try_from(&taken[16..32]).ok().map(|ip| IpAddr::from(ip).to_canonical()),
            _ => None,
        };
        assert_eq!(client, named);
    } else {
        assert_eq!(taken.iter().position(|byte| *byte == b'\n'), Some(taken.len() - 1), "one line, and no more");
        let line = std::str::from_utf8(taken).expect("ASCII");
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        assert_eq!(words[0], "PROXY");
        let named = matches!(words[1], "TCP4" | "TCP6").then(|| words[2].parse::<IpAddr>().expect("an address"));
        assert_eq!(client, named.map(|ip| ip.to_canonical()));
    }
    // What is behind a header changes nothing.
    assert_eq!(client_of(taken).expect("the same"), client);
});
