//! The socket below a session of rustls', which can be taken out of it: what a courier goes on with is noted here.

use crate::courier::Socket;
use crate::records::{Edge, KeptSecrets, Session};
use rustls::ProtocolVersion::TLSv1_3;
use rustls::ServerConnection;
use std::io::{self, ErrorKind, IoSlice, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
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
    let hands_over = leaves(&tapped, &session) && tapped.edge.is_between_records() && !session.wants_write();
    match hands_over {
        true => hand_over(tapped, session).map(|(socket, records)| Socket::tls(socket, records)),
        false => Some(Socket::rustls(tapped.into_std().ok()?, session)),
    }
}

/// Whether a courier may make the records of a session, between two of them.
pub fn may_leave(stream: &TlsStream<Tapped>) -> bool {
    let (tapped, session) = stream.get_ref();
    leaves(tapped, session)
}

/// Takes a session that [may leave](may_leave) out of rustls, and what has come on it so far. The end of a record that has
/// begun is waited for.
pub async fn take_over(mut stream: TlsStream<Tapped>) -> io::Result<(std::net::TcpStream, Session, Vec<u8>)> {
    stream.flush().await?;
    let (mut tapped, mut session) = stream.into_inner();
    let mut ahead = Vec::new();
    take_plain(&mut session, &mut ahead)?;
    loop {
        let missing = tapped.edge.missing();
        if missing == 0 {
            break;
        }
        let mut piece = vec![0; missing];
        let n = tapped.read(&mut piece).await?;
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        // rustls takes some KiB at a time.
        let mut rest = &piece[..n];
        while !rest.is_empty() {
            session.read_tls(&mut rest)?;
            take_plain(&mut session, &mut ahead)?;
        }
    }
    // An answer to what came in between is little, and the socket is fresh.
    let mut answers = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut answers)?;
    }
    tapped.write_all(&answers).await?;
    let (socket, records) = hand_over(tapped, session).ok_or(ErrorKind::InvalidData)?;
    Ok((socket, records, ahead))
}

/// Opens what rustls has read, and adds what it had.
fn take_plain(session: &mut ServerConnection, ahead: &mut Vec<u8>) -> io::Result<()> {
    let state = session.process_new_packets().map_err(io::Error::other)?;
    let come = ahead.len();
    ahead.resize(come + state.plaintext_bytes_to_read(), 0);
    session.reader().read_exact(&mut ahead[come..])
}

fn leaves(tapped: &Tapped, session: &ServerConnection) -> bool {
    tapped.secrets.is_some() && session.protocol_version() == Some(TLSv1_3)
}

fn hand_over(tapped: Tapped, session: ServerConnection) -> Option<(std::net::TcpStream, Session)> {
    let secrets = tapped.secrets.clone()?;
    let socket = tapped.into_std().ok()?;
    let extracted = session.dangerous_extract_secrets().ok()?;
    Some((socket, Session::adopt(secrets.take(), extracted)?))
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
