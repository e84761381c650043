//! A client's socket, of which the runtime learns only when it has to be waited for.
//!
//! A request's head is there when the acceptor lets it in, and a fresh socket takes the answer: for most subscribers it
//! would be registered only to be taken out again, at the price of two calls and a wake.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A client's connection outside of hyper. Its socket does not block.
pub struct ClientSocket(State);

enum State {
    Unwatched(std::net::TcpStream),
    Watched(TcpStream),
    /// The runtime would not have it.
    Lost,
}

impl ClientSocket {
    pub fn new(socket: std::net::TcpStream) -> ClientSocket {
        ClientSocket(State::Unwatched(socket))
    }

    /// What has come, without taking it; waits for the first byte.
    pub async fn peek(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let State::Unwatched(socket) = &self.0 {
            match socket.peek(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                seen => return seen,
            }
        }
        self.watched()?.peek(into).await
    }

    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        match self.0 {
            State::Unwatched(socket) => Ok(socket),
            State::Watched(socket) => socket.into_std(),
            State::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// It must be waited for. Needs a runtime around it.
    fn watched(&mut self) -> io::Result<&mut TcpStream> {
        self.0 = match std::mem::replace(&mut self.0, State::Lost) {
            State::Unwatched(socket) => State::Watched(TcpStream::from_std(socket)?),
            state => state,
        };
        match &mut self.0 {
            State::Watched(socket) => Ok(socket),
            _ => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// What the socket does at once; `None` where it must be waited for.
    fn at_once<T>(&self, mut work: impl FnMut(&std::net::TcpStream) -> io::Result<T>) -> Option<io::Result<T>> {
        let State::Unwatched(socket) = &self.0 else { return None };
        loop {
            match work(socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return Some(done),
            }
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.at_once(|mut socket| socket.read(into.initialize_unfilled())) {
            Some(read) => Poll::Ready(read.map(|n| into.advance(n))),
            None => Pin::new(self.watched()?).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.at_once(|mut socket| socket.write(bytes)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(self.watched()?).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.at_once(|mut socket| socket.write_vectored(parts)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(self.watched()?).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// A socket keeps nothing back.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Unwatched(socket) => Poll::Ready(socket.shutdown(std::net::Shutdown::Write)),
            State::Watched(socket) => Pin::new(socket).poll_shutdown(cx),
            State::Lost => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream as Client};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn pair() -> (Client, ClientSocket) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = Client::connect(listener.local_addr().expect("bound")).expect("a listener");
        let (socket, _) = listener.accept().expect("a client");
        socket.set_nonblocking(true).expect("a socket");
        (client, ClientSocket::new(socket))
    }

    #[tokio::test]
    async fn the_runtime_learns_of_a_socket_when_it_must_be_waited_for() {
        let (mut client, mut socket) = pair();
        client.write_all(b"one").expect("room");
        let mut seen = [0; 3];
        assert_eq!((socket.peek(&mut seen).await.expect("bytes"), &seen), (3, b"one"));
        socket.read_exact(&mut seen).await.expect("bytes");
        socket.write_all(b"answer").await.expect("room");
        assert!(matches!(socket.0, State::Unwatched(_)), "nothing was waited for");

        let waiting = tokio::spawn(async move {
            let read = socket.read_exact(&mut seen).await;
            (read.map(|_| seen), socket)
        });
        tokio::task::yield_now().await;
        client.write_all(b"two").expect("room");
        let (read, mut socket) = timeout(PATIENCE, waiting).await.expect("a wake").expect("no panic");
        assert!(matches!(socket.0, State::Watched(_)) && read.expect("bytes") == *b"two");

        socket.shutdown().await.expect("a socket");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("an end");
        assert_eq!(answer, b"answer");
        drop(client);
        assert_eq!(socket.peek(&mut seen).await.expect("an end"), 0);
        assert!(socket.into_std().is_ok());
    }
}
