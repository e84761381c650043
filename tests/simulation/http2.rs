//! Clients that speak HTTP/2: connections that those of one browser share, and one answer on such a connection.

use super::answer::Head;
use super::carrier::Taken;
use super::request::Request;
use bytes::Bytes;
use fantail::courier::memory_socket::MemoryClient;
use fastrand::Rng;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Error, Reason, RecvStream};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a browser takes of all streams of a connection before one of them is read.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Connections of all browsers, each of which several clients share.
#[derive(Default)]
pub struct Browsers(Mutex<BTreeMap<usize, Vec<Shared>>>);

impl Browsers {
    /// A connection of a browser's that takes requests, if it has one.
    pub fn any(&self, browser: usize, rng: &mut Rng) -> Option<Shared> {
        let mut browsers = self.0.lock().expect("nobody panics");
        let open = browsers.entry(browser).or_default();
        open.retain_mut(|shared| !shared.is_over());
        rng.choice(&*open).cloned()
    }

    /// A browser has one more.
    pub fn add(&self, browser: usize, shared: Shared) {
        self.0.lock().expect("nobody panics").entry(browser).or_default().push(shared);
    }
}

/// A connection that a browser has.
#[derive(Clone)]
pub struct Shared {
    pub node: usize,
    requests: SendRequest<Bytes>,
}

impl Shared {
    /// Begins to speak HTTP/2, and takes so many bytes of a stream ahead; `None` where the node has gone. Reads are of `sips` bytes at most.
    pub async fn open(node: usize, socket: MemoryClient, window: usize, (sips, rng): (usize, Rng)) -> Option<Shared> {
        let socket = Torn { socket, piece: vec![0; sips], rng };
        let (requests, connection) = Builder::new()
            .initial_window_size(window as u32)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake(socket)
            .await
            .ok()?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Some(Shared { node, requests })
    }

    fn is_over(&mut self) -> bool {
        matches!(self.requests.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    /// Asks; `None` where the connection takes no more requests.
    pub async fn ask(self, request: &Request) -> Option<Stream> {
        let mut ready = self.requests.ready().await.ok()?;
        let mut asked = hyper::Request::get(format!("http://node{}", request.target));
        for (name, value) in &request.headers {
            asked = asked.header(*name, value);
        }
        let (answer, _) = ready.send_request(asked.body(()).expect("a good request"), true).ok()?;
        Some(Stream { answer: Some(answer), body: None, head: None, came: Bytes::new() })
    }
}

/// One answer. Dropping it resets its stream.
pub struct Stream {
    answer: Option<ResponseFuture>,
    body: Option<RecvStream>,
    pub head: Option<Head>,
    /// What has come and was not read.
    came: Bytes,
}

impl Stream {
    /// Waits for the next bytes, `most` at most. Cancel safe.
    pub async fn read(&mut self, most: usize) -> Result<Taken, String> {
        if let Some(answer) = &mut self.answer {
            let answer = match answer.await {
                Ok(answer) => answer,
                Err(error) => return self.broken(&error),
            };
            let has = |name: &str, value: &str| {
                let values = answer.headers().get_all(name).iter().filter_map(|values| values.to_str().ok());
                values.flat_map(|values| values.split(", ")).any(|one| one == value)
            };
            let (gzip, no_store) = (has("content-encoding", "gzip"), has("cache-control", "no-store"));
            self.head = Some(Head { status: answer.status().as_u16(), gzip, no_store });
            (self.answer, self.body) = (None, Some(answer.into_body()));
            return Ok(Taken::Bytes(Vec::new()));
        }
        let body = self.body.as_mut().expect("it has been answered");
        if self.came.is_empty() {
            match poll_fn(|cx| body.poll_data(cx)).await {
                Some(Ok(bytes)) => self.came = bytes,
                Some(Err(error)) => return self.broken(&error),
                None => return Ok(Taken::End { complete: true }),
            }
        }
        let taken = self.came.split_to(most.min(self.came.len()));
        let _ = body.flow_control().release_capacity(taken.len());
        Ok(Taken::Bytes(taken.to_vec()))
    }

    /// "`RST_STREAM` with `INTERNAL_ERROR`": clients are not told by other reasons.
    fn broken(&self, error: &Error) -> Result<Taken, String> {
        let told = error.is_reset() && error.is_remote();
        match error.reason() {
            Some(reason) if told && self.head.is_some() && reason != Reason::INTERNAL_ERROR => {
                Err(format!("the stream is reset with {reason:?}"))
            }
            _ => Ok(Taken::End { complete: false }),
        }
    }
}

/// A socket whose bytes come in pieces of any size.
struct Torn {
    socket: MemoryClient,
    /// Room for the largest piece.
    piece: Vec<u8>,
    rng: Rng,
}

impl AsyncRead for Torn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Torn { socket, piece, rng } = &mut *self;
        let most = rng.usize(1..=piece.len()).min(into.remaining());
        let mut piece = ReadBuf::new(&mut piece[..most]);
        ready!(Pin::new(socket).poll_read(cx, &mut piece))?;
        into.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Torn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
