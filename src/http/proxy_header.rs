//! The PROXY protocol, versions 1 and 2: a trusted proxy says before the first byte of a connection for whom it speaks.
//!
//! Whom to trust is decided before; here a header is read, no byte more, and what it says is taken for the peer.

use ppp::{HeaderResult, PartialResult, v1, v2};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What both versions have at least: the shortest is `PROXY UNKNOWN` with its line end.
const FIRST_BYTES: usize = 12;
/// Version 1, its line end included (section 2.1 of the specification).
const MOST_V1_BYTES: usize = 107;
/// Version 2 before the addresses, and the most that may follow: addresses and what others add to them.
const V2_HEAD_BYTES: usize = 16;
const MOST_V2_REST: usize = 2048;

/// Why a connection is not what a proxy sends.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    #[error("the connection ended: {0}")]
    Io(#[from] io::Error),
    #[error("no PROXY header")]
    Missing,
    #[error("a PROXY header of {0} bytes")]
    TooLong(usize),
    #[error("not a PROXY header: {0}")]
    Wrong(String),
}

/// Reads the header; the client's address, or `None` where the proxy speaks for itself or does not know.
///
/// Not cancel safe: what was read is gone.
pub async fn read<I: AsyncRead + Unpin>(io: &mut I) -> Result<Option<IpAddr>, ProxyHeaderError> {
    let mut bytes = vec![0; FIRST_BYTES];
    io.read_exact(&mut bytes).await?;
    if bytes == v2::PROTOCOL_PREFIX {
        read_v2(io, &mut bytes).await?;
    } else if bytes.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        read_v1(io, &mut bytes).await?;
    } else {
        return Err(ProxyHeaderError::Missing);
    }
    client_of(&bytes)
}

/// Byte by byte, for what follows the line is the request's.
async fn read_v1<I: AsyncRead + Unpin>(io: &mut I, bytes: &mut Vec<u8>) -> Result<(), ProxyHeaderError> {
    while bytes.last() != Some(&b'\n') {
        if bytes.len() == MOST_V1_BYTES {
            return Err(ProxyHeaderError::TooLong(bytes.len()));
        }
        bytes.push(io.read_u8().await?);
    }
    Ok(())
}

async fn read_v2<I: AsyncRead + Unpin>(io: &mut I, bytes: &mut Vec<u8>) -> Result<(), ProxyHeaderError> {
    bytes.resize(V2_HEAD_BYTES, 0);
    io.read_exact(&mut bytes[FIRST_BYTES..]).await?;
    let rest = usize::from(u16::from_be_bytes([bytes[V2_HEAD_BYTES - 2], bytes[V2_HEAD_BYTES - 1]]));
    if rest > MOST_V2_REST {
        return Err(ProxyHeaderError::TooLong(V2_HEAD_BYTES + rest));
    }
    bytes.resize(V2_HEAD_BYTES + rest, 0);
    io.read_exact(&mut bytes[V2_HEAD_BYTES..]).await?;
    Ok(())
}

/// What a whole header says. Also the target of a fuzz test.
pub fn client_of(header: &[u8]) -> Result<Option<IpAddr>, ProxyHeaderError> {
    let parsed = HeaderResult::parse(header);
    if parsed.is_incomplete() {
        return Err(ProxyHeaderError::Missing);
    }
    match parsed {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(addresses) => Some(v4(addresses.source_address)),
            v1::Addresses::Tcp6(addresses) => Some(v6(addresses.source_address)),
            v1::Addresses::Unknown => None,
        }),
        // A connection of the proxy's own, such as a health check.
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => Ok(None),
        HeaderResult::V2(Ok(header)) => Ok(match header.addresses {
            v2::Addresses::IPv4(addresses) => Some(v4(addresses.source_address)),
            v2::Addresses::IPv6(addresses) => Some(v6(addresses.source_address)),
            v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        }),
        HeaderResult::V1(Err(error)) => Err(ProxyHeaderError::Wrong(error.to_string())),
        HeaderResult::V2(Err(error)) => Err(ProxyHeaderError::Wrong(error.to_string())),
    }
}

fn v4(address: Ipv4Addr) -> IpAddr {
    IpAddr::V4(address)
}

fn v6(address: Ipv6Addr) -> IpAddr {
    IpAddr::V6(address).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn client(mut bytes: &[u8]) -> (Result<Option<IpAddr>, String>, usize) {
        let read = read(&mut bytes).await.map_err(|error| error.to_string());
        (read, bytes.len())
    }

    fn v2_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, rest, b"GET /"].concat()
    }

    #[tokio::test]
    async fn version_1() {
        let ip = |text: &str| Some(text.parse().unwrap());
        let good: &[(&str, Option<IpAddr>)] = &[
            ("PROXY TCP4 203.0.113.7 10.0.0.1 51000 443\r\nGET /", ip("203.0.113.7")),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 51000 443\r\nGET /", ip("2001:db8::7")),
            ("PROXY TCP6 ::ffff:203.0.113.7 ::1 51000 443\r\nGET /", ip("203.0.113.7")),
            ("PROXY UNKNOWN\r\nGET /", None),
        ];
        for (text, address) in good {
            assert_eq!(client(text.as_bytes()).await, (Ok(*address), "GET /".len()), "{text}");
        }
        let long = format!("PROXY TCP4 {}", "1".repeat(200));
        for text in
            ["GET /events HTTP/1.1\r\n\r\n", "PROXY TCP4 203.0.113.7\r\n", "PROXY TCP4 a b c d\r\n", "PROXY\r\n", &long]
        {
            assert!(client(text.as_bytes()).await.0.is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn version_2() {
        let (from, to, ports) = ([203, 0, 113, 7], [10, 0, 0, 1], [1, 2, 3, 4]);
        let rest = [&from[..], &to, &ports].concat();
        let left = "GET /".len();
        assert_eq!(client(&v2_header(1, 0x11, &rest)).await, (Ok(Some(IpAddr::from(from))), left));
        // What others add is passed over.
        let longer = [&rest[..], &[0x04, 0, 1, 0]].concat();
        assert_eq!(client(&v2_header(1, 0x11, &longer)).await, (Ok(Some(IpAddr::from(from))), left));
        assert_eq!(client(&v2_header(0, 0, &[])).await, (Ok(None), left), "a health check");
        assert_eq!(client(&v2_header(1, 0, &[])).await, (Ok(None), left));
        for (command, family, rest) in [(1, 0x11, &rest[..3]), (7, 0x11, &rest[..]), (1, 0x11, &[0; 5000][..])] {
            assert!(client(&v2_header(command, family, rest)).await.0.is_err(), "{command} {family}");
        }
    }
}
