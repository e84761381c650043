//! The socket of a carrier: bare TCP, or under TLS 1.3 behind its handshake, whose records the carrier makes itself. Both
//! take what fits and never block.

use super::leftover::Ledger;
use super::tls_socket::{TlsSocket, put};
use crate::records::{Alert, HEADER_BYTES, Opened, Session, record_length};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Records without a byte for HTTP/2 that may follow each other. A client that says nothing in so many has no reason to.
const MOST_EMPTY: u8 = 32;

/// What a connection of HTTP/2 is read from and written to.
pub enum CarrierSocket {
    Tcp(TcpStream),
    Tls(Box<Sealed>),
}

/// A TLS socket of which all is read, as it comes.
pub struct Sealed {
    tls: TlsSocket,
    /// The beginning of a record whose end has not come.
    partial: Vec<u8>,
    /// Records without a byte since the last one that had some.
    empty: u8,
}

impl CarrierSocket {
    /// A connection of which nothing was read, or whose session has been handed over. What full sockets leave sealed is
    /// counted in `ledger`.
    pub fn new(socket: std::net::TcpStream, session: Option<Session>, ledger: &Arc<Ledger>) -> CarrierSocket {
        let socket = TcpStream::from_std(socket);
        let Some(session) = session else { return CarrierSocket::Tcp(socket) };
        let mut tls = TlsSocket::new(socket, session);
        tls.count_in(ledger);
        CarrierSocket::Tls(Box::new(Sealed { tls, partial: Vec::new(), empty: 0 }))
    }

    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            CarrierSocket::Tcp(socket) => socket,
            CarrierSocket::Tls(sealed) => &mut sealed.tls.socket,
        }
    }

    /// Begins to be watched for whatever happens.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self.tcp(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Whether it is under TLS.
    pub fn is_sealed(&self) -> bool {
        matches!(self, CarrierSocket::Tls(_))
    }

    /// Whether a full socket has left something of a record.
    pub fn has_leftover(&self) -> bool {
        matches!(self, CarrierSocket::Tls(sealed) if sealed.tls.has_leftover())
    }

    /// Reads what has come, as far as it means something yet: nothing where the client says no more. `into` has room for the
    /// longest record.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            CarrierSocket::Tcp(socket) => socket.read(into),
            CarrierSocket::Tls(sealed) => sealed.read(into),
        }
    }

    /// Writes what a full socket had left of a record; whether all of it is out.
    pub fn push(&mut self) -> io::Result<bool> {
        match self {
            CarrierSocket::Tcp(_) => Ok(true),
            CarrierSocket::Tls(sealed) => sealed.tls.push(),
        }
    }

    /// Writes what fits; how many bytes that is.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            CarrierSocket::Tcp(socket) => put(socket, bytes),
            CarrierSocket::Tls(sealed) => or_full(sealed.tls.write(bytes)),
        }
    }

    /// Writes what fits of a frame, which lies in two pieces; how many bytes of both that is.
    pub fn write_frame(&mut self, head: &[u8], piece: &[u8]) -> io::Result<usize> {
        match self {
            CarrierSocket::Tcp(socket) => loop {
                match or_full(socket.write_vectored(&[IoSlice::new(head), IoSlice::new(piece)])) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    sent => return sent,
                }
            },
            CarrierSocket::Tls(sealed) => or_full(sealed.tls.write_parts(head, piece)),
        }
    }

    /// Says that nothing more is written, where all has gone out.
    pub fn say_last(&mut self) {
        if let CarrierSocket::Tls(sealed) = self {
            sealed.tls.notify();
        }
        if !self.has_leftover() {
            let _ = self.tcp().shutdown(Shutdown::Write);
        }
    }

    /// Closes it, behind what is done to its socket `before`. Under TLS the client is told first that no more comes.
    pub fn close(mut self, registry: &Registry, before: impl FnOnce(&mut TcpStream)) {
        let _ = registry.deregister(self.tcp());
        if let CarrierSocket::Tls(sealed) = &mut self {
            sealed.tls.notify();
        }
        before(self.tcp());
    }
}

impl Sealed {
    /// Opens what has come whole, where it was read.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let begun = self.partial.len();
            into[..begun].copy_from_slice(&self.partial);
            let come = begun
                + match self.tls.socket.read(&mut into[begun..])? {
                    0 => return Ok(0),
                    n => n,
                };
            match self.open(&mut into[..come]) {
                Ok(Some(0)) => {}
                Ok(opened) => return Ok(opened.unwrap_or(0)),
                Err(alert) => {
                    self.tls.alert(alert);
                    return Err(ErrorKind::InvalidData.into());
                }
            }
        }
    }

    /// Opens all whole records: what they had is at the beginning then. `None`: the client says no more.
    fn open(&mut self, come: &mut [u8]) -> Result<Option<usize>, Alert> {
        let (mut at, mut had) = (0, 0);
        while let Some(length) = record_length(&come[at..])?.filter(|length| *length <= come.len() - at) {
            let record = &mut come[at..at + length];
            let plain = match self.tls.open(record)? {
                Opened::Data(bytes) => bytes.len(),
                Opened::Nothing => 0,
                Opened::End => return Ok(None),
            };
            self.empty = if plain > 0 { 0 } else { self.empty + 1 };
            if self.empty > MOST_EMPTY {
                return Err(Alert::UnexpectedMessage);
            }
            let begins = at + HEADER_BYTES;
            come.copy_within(begins..begins + plain, had);
            (at, had) = (at + length, had + plain);
        }
        self.partial = come[at..].to_vec();
        Ok(Some(had))
    }
}

/// A full socket has taken nothing.
fn or_full(sent: io::Result<usize>) -> io::Result<usize> {
    match sent {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        sent => sent,
    }
}
