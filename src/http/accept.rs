//! Listening sockets, and the way from a connection's first byte to a parsed request.
//!
//! A trusted proxy's header and TLS come first, where they are on. HTTP/2 goes to [`http2`]. hyper's
//! buffers for HTTP/1 (17 KiB) exist for a few connections at a time, because the [`lobby`](super::lobby) lets in a few
//! at a time: a request that is a subscription leaves hyper before hyper has written anything; all others are answered
//! by hyper.

use super::Context;
use super::http2;
use super::lobby::{Door, Guest};
use super::proxy_header;
use super::route::{Admitted, route};
use super::subscribe;
use super::tls::{self, Tls};
use super::wire::Wire;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tracing::Instrument as _;

/// For the whole head, once its first byte is there; and for a proxy's header before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a head may stand in a door before it must make do with a side door.
const DOOR_TIME: Duration = Duration::from_millis(100);
/// Slow heads and handshakes and kept-alive publishers at once; the next one is closed.
const SIDE_DOORS: usize = 4096;
/// Joins of HTTP/2 streams that are worked on at once.
const JOINS: usize = 64;
/// The largest request head; EventSource cannot send bodies, so URLs carry all.
const HEAD_BYTES: usize = 64 << 10;
/// Kernel memory for what a subscriber has not read.
const SEND_BUFFER: usize = 128 << 10;
const BACKLOG: i32 = 4096;

/// Binds a listening socket whose options accepted sockets inherit, so that none costs a call per connection.
pub fn bind(address: SocketAddr, stall_timeout: Duration) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4);
    socket.set_tcp_keepalive(&keepalive)?;
    // A peer that has gone without a word is found when it does not acknowledge a heartbeat. Later than the stall timeout:
    // the kernel counts a closed window as silence, too, and who does not read is to be evicted as such.
    socket.set_tcp_user_timeout(Some((stall_timeout * 2).max(Duration::from_secs(5))))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What receiving connections needs, shared by all.
pub struct Reception {
    pub context: Arc<Context>,
    /// `None`: clients speak without TLS.
    tls: Option<Tls>,
    side: Semaphore,
    /// Places for joins of HTTP/2 streams.
    pub joins: Semaphore,
}

/// A connection whose first request, or protocol, is known.
enum Arrival {
    /// It subscribes by HTTP/1.
    Subscriber(Box<(Wire, Admitted)>),
    Http2(TcpStream, IpAddr),
    TlsHttp2(Box<TlsStream<TcpStream>>, IpAddr),
}

impl Reception {
    pub fn new(context: Arc<Context>, tls: Option<Tls>) -> Arc<Reception> {
        let (side, joins) = (Semaphore::new(SIDE_DOORS), Semaphore::new(JOINS));
        Arc::new(Reception { context, tls, side, joins })
    }

    /// Reads requests of a connection that has begun to speak; one that subscribes leaves for a courier.
    pub async fn receive(
        self: Arc<Reception>,
        socket: std::net::TcpStream,
        peer: IpAddr,
        (door, guest): (Door, Guest),
    ) {
        let Ok(socket) = TcpStream::from_std(socket) else { return };
        // Boxed one after the other, so that the task is as large as its larger half, not as both.
        let mut arriving = Box::pin(self.arrive(socket, peer));
        let (arrival, door) = match timeout(DOOR_TIME, arriving.as_mut()).await {
            Ok(arrival) => (arrival, Some(door)),
            Err(_) => {
                drop(door);
                let Ok(_side_door) = self.side.try_acquire() else { return self.context.refused("slow_head", peer) };
                (arriving.as_mut().await, None)
            }
        };
        drop(arriving);
        match arrival {
            None => {}
            Some(Arrival::Subscriber(subscriber)) => {
                let (wire, admitted) = *subscriber;
                self.begin(wire, admitted, door).await;
            }
            Some(Arrival::Http2(socket, peer)) => {
                drop(door);
                Box::pin(http2::serve(socket, peer, self, guest)).await;
            }
            Some(Arrival::TlsHttp2(stream, peer)) => {
                drop(door);
                Box::pin(http2::serve(*stream, peer, self, guest)).await;
            }
        }
    }

    /// Most joins are done at once; in a storm their number, too, is bounded by the doors.
    async fn begin(&self, wire: Wire, admitted: Admitted, door: Option<Door>) {
        let trace = admitted.trace.clone();
        let mut beginning = Box::pin(subscribe::begin(wire, admitted, self.context.clone()).instrument(trace));
        if door.is_none() || timeout(DOOR_TIME, beginning.as_mut()).await.is_err() {
            drop(door);
            beginning.await;
        }
    }

    /// Reads what comes before a request, and finds out what is spoken.
    async fn arrive(&self, mut socket: TcpStream, peer: IpAddr) -> Option<Arrival> {
        let peer = self.client(&mut socket, peer).await?;
        if let Some(tls) = &self.tls {
            // Boxed, for its size would be that of every connection's task.
            let stream = Box::pin(tls.accept(socket, peer, &self.context)).await?;
            if stream.get_ref().1.alpn_protocol() == Some(tls::H2) {
                return Some(Arrival::TlsHttp2(Box::new(stream), peer));
            }
            let (stream, admitted) = Box::pin(serve(stream, peer, &self.context)).await?;
            return Some(Arrival::Subscriber(Box::new((Wire::Tls(Box::new(stream)), admitted))));
        }
        if speaks_http2(&socket).await {
            return Some(Arrival::Http2(socket, peer));
        }
        let (socket, admitted) = serve(socket, peer, &self.context).await?;
        Some(Arrival::Subscriber(Box::new((Wire::Tcp(socket), admitted))))
    }

    /// Who is at the other end: whom a trusted proxy speaks for, or whose socket it is.
    async fn client(&self, socket: &mut TcpStream, peer: IpAddr) -> Option<IpAddr> {
        let settings = &self.context.settings;
        if !settings.transport.proxy_protocol || !settings.trusts(peer) {
            return Some(peer);
        }
        match timeout(HEAD_TIMEOUT, proxy_header::read(socket)).await {
            Ok(Ok(client)) => Some(client.unwrap_or(peer)),
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "no PROXY header");
                self.context.refused("proxy_header", peer);
                None
            }
            Err(_) => {
                self.context.refused("proxy_header", peer);
                None
            }
        }
    }
}

/// Whether the connection begins with HTTP/2's preface (RFC 9113, section 3.4); no method of HTTP/1 begins like it.
async fn speaks_http2(socket: &TcpStream) -> bool {
    let mut first = [0; 3];
    matches!(socket.peek(&mut first).await, Ok(n) if n > 1 && b"PRI".starts_with(&first[..n]))
}

/// Runs hyper until the connection ends or a request subscribes.
async fn serve<I>(io: I, peer: IpAddr, context: &Arc<Context>) -> Option<(I, Admitted)>
where
    I: AsyncRead + AsyncWrite + Unpin + Send,
{
    let decision: Mutex<Option<Admitted>> = Mutex::new(None);
    let service = service_fn(|request| route(request, peer, context, &decision));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(io), service);
    let admitted = poll_fn(|cx| {
        let polled = Pin::new(&mut connection).poll(cx);
        if let Some(admitted) = decision.lock().take() {
            return Poll::Ready(Some(admitted));
        }
        if let Poll::Ready(Err(error)) = &polled
            && error.is_timeout()
        {
            context.refused("slow_head", peer);
        }
        polled.map(|_| None)
    })
    .await?;
    // The service is still pending, so hyper has written nothing of its answer.
    let io = connection.into_parts().io.into_inner();
    Some((io, admitted))
}

impl Context {
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }
}
