//! Whatever the headers say, a peer that is not trusted keeps its own address, and a trusted one cannot be made to crash.
#![no_main]

use fantail::config::ForwardedHeader;
use fantail::http::client_address::Proxies;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

fuzz_target!(|input: (Vec<(bool, &[u8])>, [u8; 4])| {
    let (lines, peer) = input;
    let mut headers = HeaderMap::new();
    for (forwarded, value) in lines {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(if forwarded { "forwarded" } else { "x-forwarded-for" }, value);
        }
    }
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network")).to_vec();
    for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
        let proxies = Proxies::new(trusted.clone(), header);
        let peer = IpAddr::from(peer);
        let client = proxies.client(peer, &headers);
        assert_eq!(client, client.to_canonical());
        if peer.to_string().split('.').next() != Some("10") {
            assert_eq!(client, peer);
        }
        let _ = proxies.client([10, 0, 0, 1].into(), &headers);
    }
});
