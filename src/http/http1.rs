//! HTTP/1 connections: hyper reads and answers, until a request subscribes. That one leaves before hyper has written
//! anything of its answer.

use super::Context;
use super::route::{Decision, route};
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

/// Runs hyper until the connection ends or a request subscribes.
pub async fn serve<I>(io: I, peer: IpAddr, context: &Arc<Context>) -> Option<(I, Decision)>
where
    I: AsyncRead + AsyncWrite + Unpin + Send,
{
    let decision: Mutex<Option<Decision>> = Mutex::new(None);
    let (first, pausing) = (AtomicBool::new(true), AtomicBool::new(false));
    let service = service_fn(|request| {
        pausing.store(first.swap(false, Ordering::Relaxed), Ordering::Relaxed);
        route(request, peer, context, &decision)
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Pausing { io, pausing: &pausing }), service);
    let decided = poll_fn(|cx| {
        loop {
            let polled = Pin::new(&mut connection).poll(cx);
            if let Some(decided) = decision.lock().take() {
                return Poll::Ready(Some(decided));
            }
            if let Poll::Ready(Err(error)) = &polled
                && error.is_timeout()
            {
                context.refused("slow_head", peer);
            }
            if polled.is_ready() || !pausing.swap(false, Ordering::Relaxed) {
                return polled.map(|_| None);
            }
        }
    })
    .await?;
    // The service is still pending, so hyper has written nothing of its answer.
    let io = connection.into_parts().io.into_inner().io;
    Some((io, decided))
}

/// What hyper reads and writes. Behind a request hyper looks at once for more, and would have the socket registered for
/// that; it is put off until the first request is known not to subscribe.
struct Pausing<'a, I> {
    io: I,
    pausing: &'a AtomicBool,
}

impl<I: AsyncRead + Unpin> AsyncRead for Pausing<'_, I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.pausing.load(Ordering::Relaxed) {
            true => Poll::Pending,
            false => Pin::new(&mut self.io).poll_read(cx, into),
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Pausing<'_, I> {
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
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
