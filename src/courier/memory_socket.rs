//! A connection in memory, as a simulation has it in place of TCP: bytes of both directions, and how many of those to the
//! client are taken before somebody reads them. The node's end is read and written as a socket is.

use super::key::SubscriberId;
use super::pipe::Watcher;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The node's end. Dropping it ends the connection behind what was written.
pub struct MemorySocket(Arc<Mutex<Line>>);

/// The client's end, which a client reads and writes as a socket, too. Dropping it hangs up: what was not read is lost.
pub struct MemoryClient(Arc<Mutex<Line>>);

#[derive(Default)]
struct Line {
    to_node: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// Bytes that `to_client` holds at most.
    room: usize,
    node_gone: bool,
    client_gone: bool,
    /// A write did not fit.
    wanted: bool,
    /// The courier that writes, once one does, and how it knows the subscriber.
    writer: Option<(Arc<Watcher>, SubscriberId)>,
    node: Option<Waker>,
    client: Option<Waker>,
}

/// Makes a connection; `room`: bytes on their way to the client at most.
pub fn memory_socket(room: usize) -> (MemorySocket, MemoryClient) {
    let line = Arc::new(Mutex::new(Line { room, ..Line::default() }));
    (MemorySocket(line.clone()), MemoryClient(line))
}

fn wake(waker: &mut Option<Waker>) {
    waker.take().into_iter().for_each(Waker::wake);
}

impl MemorySocket {
    /// Says whom to tell of room; whether the client is still there.
    pub(super) fn attach(&self, watcher: Arc<Watcher>, id: SubscriberId) -> bool {
        let mut line = self.0.lock();
        line.writer = Some((watcher, id));
        !line.client_gone
    }

    /// Takes what fits; [`ErrorKind::WouldBlock`] where nothing does, [`ErrorKind::BrokenPipe`] where nobody reads.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut line = self.0.lock();
        if line.client_gone {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(line.room.saturating_sub(line.to_client.len()));
        line.wanted = n < bytes.len();
        if n == 0 && line.wanted {
            return Err(ErrorKind::WouldBlock.into());
        }
        line.to_client.extend(&bytes[..n]);
        wake(&mut line.client);
        Ok(n)
    }
}

impl Drop for MemorySocket {
    fn drop(&mut self) {
        let mut line = self.0.lock();
        line.node_gone = true;
        line.writer = None;
        wake(&mut line.client);
    }
}

impl AsyncRead for MemorySocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut line = self.0.lock();
        if line.to_node.is_empty() && !line.client_gone {
            line.node = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = into.remaining().min(line.to_node.len());
        line.to_node.drain(..n).for_each(|byte| into.put_slice(&[byte]));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MemorySocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.0.lock().node = Some(cx.waker().clone());
                Poll::Pending
            }
            done => Poll::Ready(done),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl MemoryClient {
    /// Sends bytes of a request; whether the node is there to read them.
    pub fn send(&self, bytes: &[u8]) -> bool {
        let mut line = self.0.lock();
        line.to_node.extend(bytes);
        wake(&mut line.node);
        !line.node_gone
    }

    /// Takes what has come, `most` bytes at most, and waits for the first; `None` where the connection has ended.
    pub async fn read(&mut self, most: usize) -> Option<Vec<u8>> {
        poll_fn(|cx| self.poll_take(cx, most)).await
    }

    fn poll_take(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Option<Vec<u8>>> {
        let mut line = self.0.lock();
        if line.to_client.is_empty() {
            if line.node_gone {
                return Poll::Ready(None);
            }
            line.client = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = most.min(line.to_client.len());
        let (front, back) = line.to_client.as_slices();
        let split = n.min(front.len());
        let bytes = [&front[..split], &back[..n - split]].concat();
        line.to_client.drain(..n);
        let told = if std::mem::take(&mut line.wanted) { line.writer.clone() } else { None };
        wake(&mut line.node);
        drop(line);
        if let Some((watcher, id)) = told {
            watcher.writable(id);
        }
        Poll::Ready(Some(bytes))
    }
}

impl AsyncRead for MemoryClient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = into.remaining();
        self.poll_take(cx, most).map(|bytes| {
            into.put_slice(&bytes.unwrap_or_default());
            Ok(())
        })
    }
}

impl AsyncWrite for MemoryClient {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(if self.send(bytes) { Ok(bytes.len()) } else { Err(ErrorKind::BrokenPipe.into()) })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for MemoryClient {
    fn drop(&mut self) {
        let mut line = self.0.lock();
        line.client_gone = true;
        line.to_client.clear();
        let told = line.writer.take();
        wake(&mut line.node);
        drop(line);
        if let Some((watcher, id)) = told {
            watcher.peer_gone(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_waits_and_an_end_comes_behind_the_bytes() {
        let (node, mut client) = memory_socket(4);
        assert_eq!(node.write(b"abcdef").unwrap(), 4);
        assert_eq!(node.write(b"ef").unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(client.read(3).await.unwrap(), b"abc");
        assert_eq!(node.write(b"ef").unwrap(), 2);
        drop(node);
        assert_eq!(client.read(9).await.unwrap(), b"def");
        assert_eq!(client.read(9).await, None);
        let (node, client) = memory_socket(4);
        drop(client);
        assert_eq!(node.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
