//! Listening sockets, and the way from a connection's first byte to a parsed request.
//!
//! hyper's buffers (17 KiB) exist for a few connections at a time, because the [`lobby`](super::lobby) lets in a few at
//! a time. A request that is a subscription leaves hyper before hyper has written anything; all others are answered by
//! hyper.

use super::Context;
use super::lobby::{Door, Guest};
use super::route::{Admitted, route};
use super::subscribe;
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
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// For the whole head, once its first byte is there.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a head may stand in a door before it must make do with a side door.
const DOOR_TIME: Duration = Duration::from_millis(100);
/// Slow heads and kept-alive publishers at once; the next one is closed.
pub const SIDE_DOORS: usize = 4096;
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
    // A peer that has gone without a word is found when it does not acknowledge a heartbeat.
    socket.set_tcp_user_timeout(Some(stall_timeout.max(Duration::from_secs(5))))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Reads requests of a connection that has begun to speak; one that subscribes leaves for a courier.
pub async fn receive(
    socket: std::net::TcpStream,
    peer: IpAddr,
    (door, _guest): (Door, Guest),
    context: Arc<Context>,
    side: Arc<Semaphore>,
) {
    let Ok(socket) = TcpStream::from_std(socket) else { return };
    // Boxed one after the other, so that the task is as large as its larger half, not as both.
    let mut serving = Box::pin(serve(socket, peer, context.clone()));
    let (admitted, door) = match timeout(DOOR_TIME, serving.as_mut()).await {
        Ok(admitted) => (admitted, Some(door)),
        Err(_) => {
            drop(door);
            let Ok(_side_door) = side.try_acquire() else { return context.refused("slow_head", peer) };
            (serving.as_mut().await, None)
        }
    };
    drop(serving);
    let Some((socket, admitted)) = admitted else { return };
    // Most joins are done at once; in a storm their number, too, is bounded by the doors.
    let mut beginning = Box::pin(subscribe::begin(socket, admitted, context));
    if door.is_none() || timeout(DOOR_TIME, beginning.as_mut()).await.is_err() {
        drop(door);
        beginning.await;
    }
}

/// Runs hyper until the connection ends or a request subscribes.
async fn serve(socket: TcpStream, peer: IpAddr, context: Arc<Context>) -> Option<(TcpStream, Admitted)> {
    let decision: Mutex<Option<Admitted>> = Mutex::new(None);
    let service = service_fn(|request| route(request, peer, &context, &decision));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service);
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
    let socket = connection.into_parts().io.into_inner();
    Some((socket, admitted))
}

impl Context {
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }
}
