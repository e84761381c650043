//! HTTP/1 connections: hyper reads and answers, until a request subscribes, or all are answered. A subscription leaves
//! before hyper has written anything of its answer; a connection whose requests are answered leaves, so that it is waited
//! for without hyper's buffers.

use super::Context;
use super::decision::Decision;
use super::exchange::Exchange;
use super::metrics::Dropped;
use super::request_body::RequestBody;
use super::route::route;
use super::unread;
use bytes::Bytes;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// For the whole head, once its first byte is there.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest request head; EventSource cannot send bodies, so URLs carry all.
const HEAD_BYTES: usize = 64 << 10;

/// How a connection goes on.
#[expect(clippy::large_enum_variant, reason = "most are the large one")]
pub enum Served<I> {
    /// It has ended.
    Ended,
    /// A request subscribes, of whose answer nothing has been written.
    Subscribes(I, Decision),
    /// Its requests are answered, and nothing of another one has been read.
    Over(I),
}

/// Runs hyper until the connection ends, a request subscribes, or all requests are answered.
pub async fn serve<I>(io: I, peer: IpAddr, context: &Arc<Context>, exchange: &Arc<Exchange>) -> Served<I>
where
    I: AsyncRead + AsyncWrite + Unpin + Send,
{
    let decision: Mutex<Option<Decision>> = Mutex::new(None);
    let (first, pausing) = (AtomicBool::new(true), AtomicBool::new(false));
    let (mut io, mut ahead) = (io, Bytes::new());
    loop {
        let service = service_fn(|request| {
            pausing.store(first.swap(false, Ordering::Relaxed), Ordering::Relaxed);
            let request = exchange.begin(request).map(RequestBody::Http1);
            let answering = route(request, peer, context, &decision);
            async {
                answering.await.map(|mut answer| {
                    if context.is_closing() {
                        // So that it is not asked again.
                        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    exchange.answer(answer)
                })
            }
        });
        let socket = Watched { io, ahead, pausing: &pausing, exchange };
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(socket), service);
        let end = poll_fn(|cx| {
            loop {
                let polled = Pin::new(&mut connection).poll(cx);
                if let Some(decided) = decision.lock().take() {
                    return Poll::Ready(End::Subscribes(decided));
                }
                if let Poll::Ready(Err(error)) = &polled
                    && error.is_timeout()
                    && !exchange.is_answered()
                {
                    context.dropped(Dropped::SlowHead, peer);
                }
                if polled.is_ready() {
                    return Poll::Ready(End::Ended);
                }
                if exchange.is_over() {
                    return Poll::Ready(End::Over);
                }
                if !pausing.swap(false, Ordering::Relaxed) {
                    return Poll::Pending;
                }
            }
        })
        .await;
        // Where the service is still pending, hyper has written nothing of its answer.
        match end {
            End::Ended => {
                if exchange.leaves_unread() {
                    let io = connection.into_parts().io.into_inner().io;
                    unread::take(io, context.metrics.unread_bodies.clone()).await;
                }
                return Served::Ended;
            }
            End::Subscribes(decided) => {
                return Served::Subscribes(connection.into_parts().io.into_inner().io, decided);
            }
            End::Over => {
                let parts = connection.into_parts();
                let watched = parts.io.into_inner();
                if parts.read_buf.is_empty() && watched.ahead.is_empty() {
                    return Served::Over(watched.io);
                }
                // The beginning of the next request, behind which nothing may come for a while.
                (io, ahead) = (watched.io, parts.read_buf);
                exchange.goes_on();
            }
        }
    }
}

/// Why hyper is left.
#[expect(clippy::large_enum_variant, reason = "most are the large one")]
enum End {
    Ended,
    Subscribes(Decision),
    Over,
}

/// What hyper reads and writes. Behind a request hyper looks at once for more, and would have the socket registered for
/// that; it is put off until the first request is known not to subscribe.
struct Watched<'a, I> {
    io: I,
    /// What was read of it before.
    ahead: Bytes,
    pausing: &'a AtomicBool,
    exchange: &'a Exchange,
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<'_, I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let n = self.ahead.len().min(into.remaining());
            into.put_slice(&self.ahead.split_to(n));
            return Poll::Ready(Ok(()));
        }
        match self.pausing.load(Ordering::Relaxed) {
            true => Poll::Pending,
            false => Pin::new(&mut self.io).poll_read(cx, into),
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<'_, I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.exchange.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
