//! How a client speaks: HTTP/1.1 or HTTP/2, in the clear or under TLS. What comes is turned into an HTTP/1.1 answer,
//! so that the parser behind it knows one form.

use anyhow::{Context as _, Result, bail, ensure};
use mio::net::TcpStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use serde::{Deserialize, Serialize};
use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Way {
    #[default]
    Plain,
    Tls,
    Http2,
    TlsHttp2,
}

impl Way {
    pub fn is_secure(self) -> bool {
        matches!(self, Way::Tls | Way::TlsHttp2)
    }

    pub fn is_http2(self) -> bool {
        matches!(self, Way::Http2 | Way::TlsHttp2)
    }
}

/// A connection's state between socket and parser.
pub struct Wire {
    session: Option<ClientConnection>,
    frames: Option<Frames>,
}

impl Wire {
    /// `None` where bytes go through as they are.
    pub fn new(way: Way) -> Result<Option<Box<Wire>>> {
        if way == Way::Plain {
            return Ok(None);
        }
        let session = match way.is_secure() {
            true => Some(ClientConnection::new(config(way), ServerName::try_from("localhost")?)?),
            false => None,
        };
        Ok(Some(Box::new(Wire { session, frames: way.is_http2().then(Frames::default) })))
    }

    /// Sends a request, given as HTTP/1.1.
    pub fn ask(&mut self, request: &str, stream: &mut TcpStream) -> Result<()> {
        let bytes = if self.frames.is_some() { open(request)? } else { request.as_bytes().to_vec() };
        self.send(&bytes, stream)
    }

    fn send(&mut self, bytes: &[u8], stream: &mut TcpStream) -> Result<()> {
        let Some(session) = &mut self.session else {
            return stream.write_all(bytes).context("a fresh socket takes a few hundred bytes");
        };
        session.writer().write_all(bytes)?;
        self.flush(stream)
    }

    fn flush(&mut self, stream: &mut TcpStream) -> Result<()> {
        while let Some(session) = self.session.as_mut().filter(|session| session.wants_write()) {
            session.write_tls(stream).context("a socket takes a handshake")?;
        }
        Ok(())
    }

    /// What an HTTP/1.1 server would have sent instead of these bytes.
    pub fn receive(&mut self, bytes: &[u8], stream: &mut TcpStream) -> Result<Vec<u8>> {
        let mut plain = bytes.to_vec();
        if let Some(session) = &mut self.session {
            plain.clear();
            let mut rest = bytes;
            while !rest.is_empty() {
                session.read_tls(&mut rest)?;
                let state = session.process_new_packets()?;
                let from = plain.len();
                plain.resize(from + state.plaintext_bytes_to_read(), 0);
                session.reader().read_exact(&mut plain[from..])?;
            }
            self.flush(stream)?;
        }
        let Some(frames) = &mut self.frames else { return Ok(plain) };
        let (mut answer, mut reply) = (Vec::new(), Vec::new());
        frames.take(&plain, &mut answer, &mut reply)?;
        if !reply.is_empty() {
            self.send(&reply, stream)?;
        }
        Ok(answer)
    }
}

/// HTTP/2 frames (RFC 9113, section 4.1), of one request.
#[derive(Default)]
struct Frames {
    unparsed: Vec<u8>,
}

impl Frames {
    fn take(&mut self, bytes: &[u8], answer: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<()> {
        self.unparsed.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(head) = self.unparsed.get(at..at + 9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let Some(payload) = self.unparsed.get(at + 9..at + 9 + length) else { break };
            match kind {
                0 => answer.extend_from_slice(payload),
                1 => {
                    // `:status 200` is the eighth of the static table (RFC 7541, appendix A).
                    let status = if payload.first() == Some(&0x88) { "200 OK" } else { "503 Other" };
                    answer.extend_from_slice(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes());
                }
                3 | 7 => bail!("the stream was reset, or the server goes"),
                6 if flags & 1 == 0 => reply.extend_from_slice(&frame(6, 1, 0, payload)),
                4 if flags & 1 == 0 => reply.extend_from_slice(&frame(4, 1, 0, &[])),
                _ => {}
            }
            at += 9 + length;
        }
        self.unparsed.drain(..at);
        self.unparsed.shrink_to(4096);
        Ok(())
    }
}

/// Preface, windows without end, and the request.
fn open(request: &str) -> Result<Vec<u8>> {
    const WIDEST: u32 = i32::MAX as u32;
    let mut lines = request.split("\r\n");
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).context("no request line")?;
    let mut block = vec![0x82, 0x86, 0x04];
    text(&mut block, path)?;
    block.push(0x01);
    text(&mut block, "localhost")?;
    for (name, value) in lines.filter_map(|line| line.split_once(": ")).filter(|(name, _)| *name != "Host") {
        block.push(0x00);
        text(&mut block, &name.to_ascii_lowercase())?;
        text(&mut block, value)?;
    }
    let windows = [&[0, 4][..], &WIDEST.to_be_bytes()].concat();
    Ok([
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &windows),
        frame(8, 0, 0, &(WIDEST - 65_535).to_be_bytes()),
        frame(1, 5, 1, &block),
    ]
    .concat())
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A string literal without Huffman coding (RFC 7541, section 5.2).
fn text(block: &mut Vec<u8>, text: &str) -> Result<()> {
    ensure!(text.len() < 127 + 128, "no string as long as {text:?}");
    match text.len() {
        short @ ..127 => block.push(short as u8),
        long => block.extend([127, (long - 127) as u8]),
    }
    block.extend_from_slice(text.as_bytes());
    Ok(())
}

/// One for all connections of a way, so that its tables are not theirs.
fn config(way: Way) -> Arc<ClientConfig> {
    static CONFIGS: [OnceLock<Arc<ClientConfig>>; 2] = [const { OnceLock::new() }; 2];
    let make = || {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("ring has them");
        let trust = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody));
        let mut config = trust.with_no_client_auth();
        let protocol: &[u8] = if way.is_http2() { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    };
    CONFIGS[usize::from(way.is_http2())].get_or_init(make).clone()
}

/// Whose certificate it is does not matter to what it costs.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &default_provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &default_provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_become_an_answer_wherever_they_are_cut() {
        let sent = [
            frame(4, 0, 0, &[]),
            frame(1, 4, 1, &[0x88, 0x01]),
            frame(0, 0, 1, b"data: 1\n\n"),
            frame(6, 0, 0, &[7; 8]),
            frame(0, 0, 1, b"data: 2\n\n"),
        ]
        .concat();
        for piece in [1, 5, 100] {
            let (mut frames, mut answer, mut reply) = (Frames::default(), Vec::new(), Vec::new());
            sent.chunks(piece).for_each(|piece| frames.take(piece, &mut answer, &mut reply).unwrap());
            assert_eq!(answer, b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\ndata: 2\n\n");
            assert_eq!(reply, [frame(4, 1, 0, &[]), frame(6, 1, 0, &[7; 8])].concat());
        }
    }

    #[test]
    fn long_paths_have_two_bytes_of_length() {
        let request = format!("GET /{} HTTP/1.1\r\nHost: h\r\nLast-Event-ID: 1-0\r\n\r\n", "x".repeat(150));
        let bytes = open(&request).unwrap();
        assert!(memchr::memmem::find(&bytes, &[0x04, 127, 24, b'/']).is_some());
        assert!(memchr::memmem::find(&bytes, b"\x0dlast-event-id\x031-0").is_some());
    }
}
