//! What a courier writes to: a bare TCP socket, one under TLS, or a pipe to an HTTP/2 stream. All take what fits and
//! report a full socket alike, so that delivery knows no difference.

use super::ending::Ending;
use super::key::{Key, SubscriberId};
#[cfg(feature = "testing")]
use super::memory_socket::MemorySocket;
use super::pipe::{PipeWriter, Watcher};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::ServerConnection;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

/// Plaintext that is encrypted before the socket is asked again: one record (RFC 8446, section 5.1). What a full socket
/// leaves over is no more than that.
const RECORD_BYTES: usize = 16 << 10;
/// Unread bytes that are taken off a socket before it is closed, since they would turn its FIN into a RST.
const UNREAD_BYTES: usize = 16 << 10;

/// The way to one client, which takes what fits and never blocks.
pub enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsSocket>),
    Pipe(Box<PipeWriter>),
    #[cfg(feature = "testing")]
    Memory(MemorySocket),
    #[cfg(test)]
    Scripted(Box<dyn Write + Send>),
}

/// A TCP socket and the TLS session on it. It is never read: a client has nothing to say after its request, and its
/// end shows at the TCP socket.
pub struct TlsSocket {
    socket: TcpStream,
    session: ServerConnection,
}

impl TlsSocket {
    /// Writes what was encrypted; whether all of it is out.
    fn push(&mut self) -> io::Result<bool> {
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
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
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
}

/// A connection whose last bytes are still on their way.
pub struct LingeringClose(Box<TlsSocket>);

impl LingeringClose {
    /// Whether nothing is left to do.
    pub fn is_over(&mut self) -> bool {
        !matches!(self.0.push(), Ok(false))
    }
}

impl Socket {
    /// A socket whose request was read; it must not block.
    pub fn tcp(socket: std::net::TcpStream) -> Socket {
        Socket::Tcp(TcpStream::from_std(socket))
    }

    /// A session whose handshake is done and whose request was read.
    pub fn tls(socket: std::net::TcpStream, session: ServerConnection) -> Socket {
        Socket::Tls(Box::new(TlsSocket { socket: TcpStream::from_std(socket), session }))
    }

    /// Begins to watch for the client's end. For TLS, room is always watched: what a full socket left over of a record
    /// waits for it, even where no more is due. It costs nothing, since only a change is reported. A pipe tells `watcher`.
    pub(super) fn register(&mut self, registry: &Registry, watcher: &Arc<Watcher>, id: SubscriberId) -> io::Result<()> {
        let token = Token(id.key.index());
        match self {
            Socket::Tcp(socket) => registry.register(socket, token, Interest::READABLE),
            Socket::Tls(tls) => registry.register(&mut tls.socket, token, Interest::READABLE | Interest::WRITABLE),
            Socket::Pipe(pipe) if pipe.attach(watcher.clone(), id) => Ok(()),
            Socket::Pipe(_) => Err(ErrorKind::BrokenPipe.into()),
            #[cfg(feature = "testing")]
            Socket::Memory(memory) if memory.attach(watcher.clone(), id) => Ok(()),
            #[cfg(feature = "testing")]
            Socket::Memory(_) => Err(ErrorKind::BrokenPipe.into()),
            #[cfg(test)]
            Socket::Scripted(_) => Ok(()),
        }
    }

    /// Watches for room, too, or no more.
    pub(super) fn watch(&mut self, registry: &Registry, key: Key, room: bool) -> io::Result<()> {
        let token = Token(key.index());
        let interest = if room { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        match self {
            Socket::Tcp(socket) => registry.reregister(socket, token, interest),
            Socket::Tls(tls) if room => registry.reregister(&mut tls.socket, token, interest),
            Socket::Tls(_) | Socket::Pipe(_) => Ok(()),
            #[cfg(feature = "testing")]
            Socket::Memory(_) => Ok(()),
            #[cfg(test)]
            Socket::Scripted(_) => Ok(()),
        }
    }

    /// The socket that takes bytes as they are, if it is one.
    pub(super) fn bare(&self) -> Option<&TcpStream> {
        match self {
            Socket::Tcp(socket) => Some(socket),
            _ => None,
        }
    }

    /// There is room: writes what was left over below; whether none is.
    pub(super) fn push(&mut self) -> io::Result<bool> {
        match self {
            Socket::Tls(tls) => tls.push(),
            _ => Ok(true),
        }
    }

    /// Writes the last bytes, as far as they fit, and ends what has an end of its own.
    pub(super) fn write_last(&mut self, bytes: &[u8], ending: Ending) -> io::Result<usize> {
        match self {
            Socket::Pipe(pipe) => {
                pipe.finish(bytes, ending);
                Ok(bytes.len())
            }
            _ => self.write(bytes),
        }
    }

    /// Closes. `listens`: what is encrypted already may still go out. `notify`: the client of a session is told that no
    /// more comes, so that it knows that nobody cut it off.
    pub(super) fn close(self, registry: &Registry, listens: bool, notify: bool) -> Option<LingeringClose> {
        match self {
            Socket::Tcp(mut socket) => {
                let _ = registry.deregister(&mut socket);
                take_unread(&mut socket);
                None
            }
            Socket::Tls(mut tls) => {
                let _ = registry.deregister(&mut tls.socket);
                if notify {
                    tls.session.send_close_notify();
                }
                let all = !matches!(tls.push(), Ok(false));
                take_unread(&mut tls.socket);
                (!all && listens).then_some(LingeringClose(tls))
            }
            // It was finished, or is cut by being dropped.
            Socket::Pipe(_) => None,
            #[cfg(feature = "testing")]
            Socket::Memory(_) => None,
            #[cfg(test)]
            Socket::Scripted(_) => None,
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write(bytes),
            Socket::Tls(tls) => tls.write(bytes),
            Socket::Pipe(pipe) => pipe.write(bytes),
            #[cfg(feature = "testing")]
            Socket::Memory(memory) => memory.write(bytes),
            #[cfg(test)]
            Socket::Scripted(script) => script.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes what nobody has read, which would turn the FIN of a socket that is closed into a RST.
pub fn take_unread(socket: &mut impl Read) {
    let mut unread = [0u8; 1024];
    for _ in 0..UNREAD_BYTES / unread.len() {
        if !matches!(socket.read(&mut unread), Ok(n) if n > 0) {
            break;
        }
    }
}
