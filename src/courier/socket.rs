//! What a courier writes to: a bare TCP socket, one under TLS, whose records are the courier's own or those of a session
//! of rustls', a stream of an HTTP/2 connection, or a pipe to one. All take what fits and report a full socket alike, so that
//! delivery knows no difference.

use super::carrier::Carrier;
use super::ending::Ending;
use super::key::{Key, SubscriberId};
use super::leftover::Ledger;
#[cfg(feature = "testing")]
use super::memory_socket::MemorySocket;
use super::pipe::{PipeWriter, Watcher};
use super::rustls_socket::RustlsSocket;
use super::stream_way::StreamWay;
use super::tls_socket::TlsSocket;
use crate::records::Session;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::ServerConnection;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

/// Unread bytes that are taken off a socket before it is closed, since they would turn its FIN into a RST.
const UNREAD_BYTES: usize = 16 << 10;

/// The way to one client, which takes what fits and never blocks.
pub enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsSocket>),
    Rustls(Box<RustlsSocket>),
    Pipe(Box<PipeWriter>),
    /// A stream of a connection of HTTP/2, by its number.
    Stream(Arc<Carrier>, u32),
    #[cfg(feature = "testing")]
    Memory(MemorySocket),
    #[cfg(test)]
    Scripted(Box<dyn Write + Send>),
}

/// A connection whose last bytes are still on their way.
pub enum LingeringClose {
    Tls(Box<TlsSocket>),
    Rustls(Box<RustlsSocket>),
}

impl LingeringClose {
    /// Whether nothing is left to do.
    pub fn is_over(&mut self) -> bool {
        let pushed = match self {
            LingeringClose::Tls(tls) => tls.push(),
            LingeringClose::Rustls(tls) => tls.push(),
        };
        !matches!(pushed, Ok(false))
    }
}

impl Socket {
    /// A socket whose request was read; it must not block.
    pub fn tcp(socket: std::net::TcpStream) -> Socket {
        Socket::Tcp(TcpStream::from_std(socket))
    }

    /// A session of TLS 1.3 that rustls has handed over, and whose request was read.
    pub fn tls(socket: std::net::TcpStream, session: Session) -> Socket {
        Socket::Tls(Box::new(TlsSocket::new(TcpStream::from_std(socket), session)))
    }

    /// A session of rustls' whose handshake is done and whose request was read.
    pub fn rustls(socket: std::net::TcpStream, session: ServerConnection) -> Socket {
        Socket::Rustls(Box::new(RustlsSocket::new(TcpStream::from_std(socket), session)))
    }

    /// The stream of a request, behind the head of its answer.
    pub fn stream(way: StreamWay) -> Socket {
        let (carrier, stream) = way.into_parts();
        Socket::Stream(carrier, stream)
    }

    /// Begins to watch for the client's end. For TLS, room is always watched: what a full socket left over of a record
    /// waits for it, even where no more is due. It costs nothing, since only a change is reported; what it left is counted
    /// in `ledger`. A pipe tells `watcher`.
    pub(super) fn register(
        &mut self,
        registry: &Registry,
        watcher: &Arc<Watcher>,
        ledger: &Arc<Ledger>,
        id: SubscriberId,
    ) -> io::Result<()> {
        let token = Token(id.key.index());
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Socket::Tcp(socket) => registry.register(socket, token, Interest::READABLE),
            Socket::Tls(tls) => {
                tls.count_in(ledger);
                registry.register(&mut tls.socket, token, both)
            }
            Socket::Rustls(tls) => registry.register(&mut tls.socket, token, both),
            Socket::Pipe(pipe) if pipe.attach(watcher.clone(), id) => Ok(()),
            Socket::Pipe(_) => Err(ErrorKind::BrokenPipe.into()),
            Socket::Stream(carrier, stream) if carrier.attach(*stream, id) => Ok(()),
            Socket::Stream(..) => Err(ErrorKind::BrokenPipe.into()),
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
            Socket::Rustls(tls) if room => registry.reregister(&mut tls.socket, token, interest),
            Socket::Tls(_) | Socket::Rustls(_) | Socket::Pipe(_) | Socket::Stream(..) => Ok(()),
            #[cfg(feature = "testing")]
            Socket::Memory(_) => Ok(()),
            #[cfg(test)]
            Socket::Scripted(_) => Ok(()),
        }
    }

    /// The courier that must have it, if that is not free.
    pub(super) fn courier(&self) -> Option<usize> {
        match self {
            Socket::Stream(carrier, _) => Some(carrier.courier),
            _ => None,
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
            Socket::Rustls(tls) => tls.push(),
            _ => Ok(true),
        }
    }

    /// Something has come from the client: looks at it where it concerns the way itself. False where that has ended.
    pub(super) fn hear(&mut self) -> bool {
        match self {
            Socket::Tls(tls) => tls.hear(),
            // What else a client says stays where it is.
            _ => true,
        }
    }

    /// Whether a full socket left something over below.
    pub(super) fn has_leftover(&self) -> bool {
        matches!(self, Socket::Tls(tls) if tls.has_leftover())
    }

    /// Bytes that a full socket left over below.
    pub(super) fn leftover_bytes(&self) -> usize {
        match self {
            Socket::Tls(tls) => tls.leftover_bytes(),
            _ => 0,
        }
    }

    /// How its client speaks, for people. Of a pipe only its other end knows whether TLS is below.
    pub(super) fn transport(&self) -> &'static str {
        match self {
            Socket::Tcp(_) => "HTTP/1",
            Socket::Tls(_) | Socket::Rustls(_) => "HTTP/1, TLS",
            Socket::Stream(carrier, _) if carrier.sealed => "HTTP/2, TLS",
            Socket::Stream(..) | Socket::Pipe(_) => "HTTP/2",
            #[cfg(feature = "testing")]
            Socket::Memory(_) => "memory",
            #[cfg(test)]
            Socket::Scripted(_) => "script",
        }
    }

    /// Writes the last bytes, as far as they fit, and ends what has an end of its own.
    pub(super) fn write_last(&mut self, bytes: &[u8], ending: Ending) -> io::Result<usize> {
        match self {
            Socket::Pipe(pipe) => {
                pipe.finish(bytes, ending);
                Ok(bytes.len())
            }
            Socket::Stream(carrier, stream) => {
                carrier.finish(*stream, bytes, ending);
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
                    tls.notify();
                }
                let all = !matches!(tls.push(), Ok(false));
                take_unread(&mut tls.socket);
                (!all && listens).then_some(LingeringClose::Tls(tls))
            }
            Socket::Rustls(mut tls) => {
                let _ = registry.deregister(&mut tls.socket);
                if notify {
                    tls.notify();
                }
                let all = !matches!(tls.push(), Ok(false));
                take_unread(&mut tls.socket);
                (!all && listens).then_some(LingeringClose::Rustls(tls))
            }
            // It was finished, or is cut by being dropped.
            Socket::Pipe(_) => None,
            Socket::Stream(carrier, stream) => {
                carrier.leave(stream);
                None
            }
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
            Socket::Rustls(tls) => tls.write(bytes),
            Socket::Pipe(pipe) => pipe.write(bytes),
            Socket::Stream(carrier, stream) => carrier.write(*stream, bytes),
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
