//! The socket below a session of rustls', which can be taken out of it: what a courier goes on with is noted here.

use crate::courier::Socket;
use crate::records::{Edge, KeptSecrets, Session};
use rustls::ProtocolVersion::TLSv1_3;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A socket that rustls reads and writes.
pub struct Tapped {
    socket: TcpStream,
    /// Of the records that came. What rustls has of one that has not come whole cannot be asked back from it.
    edge: Edge,
    /// `None`: the session stays with rustls.
    secrets: Option<Arc<KeptSecrets>>,
}

impl Tapped {
    /// A socket of which nothing has been read. `secrets`: what its handshake tells to.
    pub fn new(socket: TcpStream, secrets: Option<Arc<KeptSecrets>>) -> Tapped {
        Tapped { socket, edge: Edge::default(), secrets }
    }

    /// Waits until something can be read of the socket.
    pub async fn readable(&self) {
        let _ = self.socket.readable().await;
    }

    /// The socket alone.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        self.socket.into_std()
    }
}

/// What a courier writes to, once everything of the session is out. It makes the records itself where it is TLS 1.3 and
/// the client is not amid one; what of another request lies in the session is dropped, as it is without TLS.
pub fn into_socket(stream: TlsStream<Tapped>) -> Option<Socket> {
    let (tapped, session) = stream.into_inner();
    let hands_over =
        tapped.edge.is_between_records() && session.protocol_version() == Some(TLSv1_3) && !session.wants_write();
    let secrets = tapped.secrets.clone().filter(|_| hands_over);
    let socket = tapped.into_std().ok()?;
    let Some(secrets) = secrets else { return Some(Socket::rustls(socket, session)) };
    let extracted = session.dangerous_extract_secrets().ok()?;
    Some(Socket::tls(socket, Session::adopt(secrets.take(), extracted)?))
}

impl AsyncRead for Tapped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, into);
        self.edge.pass(&into.filled()[before..]);
        polled
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
