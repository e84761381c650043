//! How a client speaks: HTTP/1.1 or HTTP/2, in the clear or under TLS. What comes is turned into an HTTP/1.1 answer,
//! so that the parser behind it knows one form.

use super::http2::Frames;
use super::sessions::Sessions;
use anyhow::{Context as _, Result};
use mio::net::TcpStream;
use rustls::{ClientConnection, HandshakeKind};
use serde::{Deserialize, Serialize};
use std::io::{Read as _, Write as _};

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
    /// Of a client's; `None` where bytes go through as they are.
    pub fn new(way: Way, sessions: &Sessions, client: u32) -> Result<Option<Box<Wire>>> {
        if way == Way::Plain {
            return Ok(None);
        }
        let session = way.is_secure().then(|| sessions.begin(client)).transpose()?;
        Ok(Some(Box::new(Wire { session, frames: way.is_http2().then(Frames::default) })))
    }

    /// Whether the handshake went by the ticket of an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.session.as_ref().and_then(|session| session.handshake_kind()) == Some(HandshakeKind::Resumed)
    }

    /// Sends requests, given as HTTP/1.1; more than one need streams.
    pub fn ask(&mut self, requests: &[String], stream: &mut TcpStream) -> Result<()> {
        let bytes = match &mut self.frames {
            Some(frames) => frames.open(requests)?,
            None => requests.concat().into_bytes(),
        };
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
