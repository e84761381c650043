//! Who the client is: the connection's peer, or whom a trusted proxy says that it speaks for.
//!
//! Only one header is looked at, the one that the proxies write: the other would be the client's own to choose. It is
//! read from its end, where the nearest proxy wrote, up to the first address that is no trusted proxy.

use crate::config::ForwardedHeader;
use hyper::HeaderMap;
use hyper::header::FORWARDED;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// Hops that are looked at.
const MAX_HOPS: usize = 32;

/// Whose word is taken.
#[derive(Clone, Debug)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    header: ForwardedHeader,
}

impl Proxies {
    pub fn new(trusted: Vec<IpNet>, header: ForwardedHeader) -> Proxies {
        Proxies { trusted, header }
    }

    /// The client's address. A hop that cannot be read ends the search: what is behind it, nobody vouches for.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        for hop in self.hops(headers).into_iter().rev().take(MAX_HOPS) {
            let Some(address) = hop else { break };
            client = address.to_canonical();
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    /// Whether an address is that of a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Whether a trusted proxy says that the client came by TLS.
    pub fn says_https(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let is_https = |text: &str| text.trim().trim_matches('"').eq_ignore_ascii_case("https");
        let says = |line: &str| match self.header {
            ForwardedHeader::XForwardedFor => line.split(',').any(is_https),
            ForwardedHeader::Forwarded => line.split([',', ';']).filter_map(proto).any(is_https),
        };
        let name = match self.header {
            ForwardedHeader::XForwardedFor => "x-forwarded-proto",
            ForwardedHeader::Forwarded => FORWARDED.as_str(),
        };
        self.trusts(peer.to_canonical()) && headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).any(says)
    }

    /// All hops in order; `None` for one that cannot be read.
    fn hops(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        let (name, read): (_, fn(&str) -> Option<IpAddr>) = match self.header {
            ForwardedHeader::XForwardedFor => ("x-forwarded-for", address),
            ForwardedHeader::Forwarded => (FORWARDED.as_str(), forwarded),
        };
        let lines = headers.get_all(name).iter();
        lines
            .flat_map(|line| match line.to_str() {
                Ok(text) => text.split(',').map(read).collect::<Vec<_>>(),
                Err(_) => vec![None],
            })
            .collect()
    }
}

/// An address, in brackets or with a port where proxies write it so.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// The value of `proto=` (RFC 7239, section 5.4).
fn proto(pair: &str) -> Option<&str> {
    let (name, value) = pair.split_once('=')?;
    name.trim().eq_ignore_ascii_case("proto").then_some(value)
}

/// `for=` of one element (RFC 7239, section 4); an obfuscated name is nobody's address.
fn forwarded(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let node = node.trim();
    address(node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(header: ForwardedHeader, peer: &str, lines: &[(&'static str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec();
        let mut headers = HeaderMap::new();
        lines.iter().for_each(|(name, value)| {
            headers.append(*name, value.parse().unwrap());
        });
        Proxies::new(trusted, header).client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn x_forwarded_for_is_read_from_its_end() {
        for (peer, value, expected) in [
            ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
            ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
            ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("::ffff:10.0.0.1", "1.2.3.4:5678", "1.2.3.4"),
            ("fd00::1", "[2001:db8::1]:443", "2001:db8::1"),
            ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
            ("10.0.0.1", "::ffff:1.2.3.4", "1.2.3.4"),
            ("10.0.0.1", "1.2.3.4, nonsense", "10.0.0.1"),
            ("10.0.0.1", "1.2.3.4, nonsense, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("9.9.9.9", "1.2.3.4", "9.9.9.9"),
        ] {
            assert_eq!(
                client(ForwardedHeader::XForwardedFor, peer, &[("x-forwarded-for", value)]),
                expected,
                "{value}"
            );
        }
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.2.3.4, 10.0.0.2")];
        assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines), "1.2.3.4");
        assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &[("forwarded", "for=6.6.6.6")]), "10.0.0.1");
    }

    #[test]
    fn only_a_trusted_proxy_says_that_a_client_came_by_tls() {
        let says = |header, peer: &str, name: &'static str, value: &str| {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            Proxies::new(vec!["10.0.0.0/8".parse().unwrap()], header).says_https(peer.parse().unwrap(), &headers)
        };
        let (x, standard) = (ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded);
        assert!(says(x, "10.0.0.1", "x-forwarded-proto", "https"));
        assert!(says(x, "::ffff:10.0.0.1", "x-forwarded-proto", "HTTPS, http"));
        assert!(says(standard, "10.0.0.1", "forwarded", "for=1.2.3.4;Proto=\"https\", for=10.0.0.2;proto=http"));
        for (header, peer, name, value) in [
            (x, "1.2.3.4", "x-forwarded-proto", "https"),
            (x, "10.0.0.1", "x-forwarded-proto", "http"),
            (x, "10.0.0.1", "forwarded", "proto=https"),
            (standard, "10.0.0.1", "x-forwarded-proto", "https"),
            (standard, "10.0.0.1", "forwarded", "for=https;by=https"),
        ] {
            assert!(!says(header, peer, name, value), "{peer} {name}: {value}");
        }
    }

    #[test]
    fn forwarded_is_read_from_its_end() {
        for (value, expected) in [
            ("for=1.2.3.4;proto=https", "1.2.3.4"),
            ("for=6.6.6.6, By=10.0.0.1; For=\"1.2.3.4:5\"", "1.2.3.4"),
            ("for=\"[2001:db8::1]:443\", for=10.0.0.9", "2001:db8::1"),
            ("for=6.6.6.6, for=_hidden", "10.0.0.1"),
            ("for=6.6.6.6, proto=https", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
        ] {
            assert_eq!(client(ForwardedHeader::Forwarded, "10.0.0.1", &[("forwarded", value)]), expected, "{value}");
        }
    }
}
