//! Accepting: from a listening socket to a parsed request.
//!
//! A connection first waits, in a small task, for its first byte; only then hyper is built around it, so hyper's
//! buffers (17 KiB) exist for a few connections at a time. A request that is a subscription leaves hyper before hyper
//! has written anything; all others are answered by hyper.

use super::Context;
use super::route::{Admitted, route};
use super::subscribe;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

/// For the first byte, and again for the whole head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Heads that are being read at once by right; a whole head needs one poll.
const DOORS: usize = 64;
/// How long a head may stand in a door before it must make do with a side door.
const DOOR_TIME: Duration = Duration::from_millis(100);
/// Slow heads and kept-alive publishers at once; the next one is closed.
const SIDE_DOORS: usize = 4096;
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
    TcpListener::from_std(socket.into())
}

/// Accepts until told to stop.
pub async fn accept(listener: TcpListener, context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    let doors = Arc::new(Doors { main: Semaphore::new(DOORS), side: Semaphore::new(SIDE_DOORS) });
    let mut pace = Pace::new(context.settings.accept_rate);
    loop {
        pace.wait().await;
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (socket, peer) = match accepted {
            Ok((socket, peer)) => (socket, peer.ip().to_canonical()),
            Err(error) => {
                context.refused("accept_error", listener.local_addr().map_or(IpAddr::from([0; 4]), |a| a.ip()));
                tracing::debug!(%error, "accept failed");
                // Out of descriptors most likely: somebody must leave first.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let waiting = context.metrics.waiting.get() as usize;
        if waiting + context.limits.taken() >= context.limits.max() + crate::limits::SPARE_CONNECTIONS {
            // Nothing can be said before the request is read; a closed connection makes EventSource come back.
            context.refused("descriptors", peer);
            continue;
        }
        tokio::spawn(greet(socket, peer, context.clone(), doors.clone()));
    }
}

/// Bounds on hyper connections.
struct Doors {
    main: Semaphore,
    side: Semaphore,
}

/// One less waiting when it is dropped.
struct WaitingGuard(Arc<Context>);

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        self.0.metrics.waiting.dec();
    }
}

/// Waits for the first byte, then for a door.
async fn greet(socket: TcpStream, peer: IpAddr, context: Arc<Context>, doors: Arc<Doors>) {
    context.metrics.waiting.inc();
    let waiting = WaitingGuard(context.clone());
    // Not readable(): tokio answers it at once for a fresh socket.
    let first = timeout(HEAD_TIMEOUT, socket.peek(&mut [0u8; 1])).await;
    match first {
        Ok(Ok(1)) => {}
        Ok(_) => return,
        Err(_) => return context.refused("slow_head", peer),
    }
    let Ok(door) = doors.main.acquire().await else { return };
    // Boxed here, so that waiting tasks stay small.
    let mut serving = Box::pin(serve(socket, peer, context.clone()));
    let quick = timeout(DOOR_TIME, serving.as_mut()).await;
    drop(door);
    let admitted = match quick {
        Ok(admitted) => admitted,
        Err(_) => {
            let Ok(_side_door) = doors.side.try_acquire() else { return context.refused("slow_head", peer) };
            serving.await
        }
    };
    drop(waiting);
    if let Some((socket, admitted)) = admitted {
        subscribe::begin(socket, peer, admitted, context).await;
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
        polled.map(|_| None)
    })
    .await?;
    // The service is still pending, so hyper has written nothing of its answer.
    let socket = connection.into_parts().io.into_inner();
    Some((socket, admitted))
}

use std::future::Future;

/// Spreads accepts: `rate` a second, in batches of at most a tenth of a second.
struct Pace {
    rate: u32,
    left: u32,
    refill: Instant,
}

impl Pace {
    fn new(rate: u32) -> Pace {
        Pace { rate, left: 0, refill: Instant::now() }
    }

    async fn wait(&mut self) {
        if self.rate == 0 {
            return;
        }
        if self.left == 0 {
            tokio::time::sleep_until(self.refill).await;
            self.left = (self.rate / 10).max(1);
            self.refill = Instant::now() + Duration::from_secs_f64(f64::from(self.left) / f64::from(self.rate));
        }
        self.left -= 1;
    }
}

impl Context {
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }
}
