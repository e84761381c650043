//! A socket under a session of rustls': TLS 1.2, and what cannot be taken out of its session.

use mio::net::TcpStream;
use rustls::ServerConnection;
use std::io::{self, ErrorKind, Write};

/// Plaintext that is encrypted before the socket is asked again: one record (RFC 5246, section 6.2.1). What a full socket
/// leaves over is no more than that.
const RECORD_BYTES: usize = 16 << 10;

/// A TCP socket and the TLS session on it. It is never read: a client has nothing to say after its request, and its
/// end shows at the TCP socket.
pub struct RustlsSocket {
    pub(super) socket: TcpStream,
    session: ServerConnection,
}

impl RustlsSocket {
    /// A session whose handshake is done and whose request was read.
    pub fn new(socket: TcpStream, session: ServerConnection) -> RustlsSocket {
        RustlsSocket { socket, session }
    }

    /// Writes what was encrypted; whether all of it is out.
    pub fn push(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Encrypts and writes record by record. A record that is begun counts as taken: the rest of it goes out first
    /// when there is room again.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.push()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        while taken < bytes.len() {
            let end = bytes.len().min(taken + RECORD_BYTES);
            taken += self.session.writer().write(&bytes[taken..end])?;
            if !self.push()? {
                break;
            }
        }
        Ok(taken)
    }

    /// Says that no more comes, behind what is still to go out.
    pub fn notify(&mut self) {
        self.session.send_close_notify();
    }
}
