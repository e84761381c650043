//! Listening sockets, and the way from a connection's first byte to a parsed request.
//!
//! A trusted proxy's header and TLS come first, where they are on. HTTP/2 goes to [`http2`]. hyper's
//! buffers for HTTP/1 (17 KiB) exist for a few connections at a time, because the [`acceptor`](super::acceptor) lets in
//! a few at a time: a request that is a subscription leaves hyper before hyper has written anything; all others are answered
//! by hyper, and give their permit back when the answer is written. A connection that may ask for more waits for it at the
//! acceptor, or, under TLS, without hyper.

use super::Context;
use super::acceptor::{Accepted, ConnectionGuard, RequestPermit};
use super::carried::{self, Begun};
use super::client_socket::ClientSocket;
use super::decision::Decision;
use super::exchange::Exchange;
use super::http1::{Served, serve};
use super::http2;
use super::intake::Intake;
use super::metrics::Dropped;
use super::proxy_header;
use super::subscribe;
use super::tls::{self, Secure, Tls, tapped};
use super::wire::Wire;
use crate::config::values::Http2;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{self, Poll, Waker};
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::Instrument as _;

/// For a proxy's header, and for the first bytes behind it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a head may be read by a permit before it must make do with a place for slow requests.
const PERMIT_TIME: Duration = Duration::from_millis(100);
/// Kernel memory for what a subscriber has not read; Linux doubles it for its own bookkeeping (socket(7)).
const SEND_BUFFER: usize = 128 << 10;
const BACKLOG: i32 = 4096;
/// When a connection that nobody writes to is probed.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Binds a listening socket whose options accepted sockets inherit, so that none costs a call per connection.
pub fn bind(address: SocketAddr, stall_timeout: Duration, heartbeat: Duration) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    // Never for subscribers, whose heartbeats say as much: an event to all of them lets all their timers end in one
    // moment, and that many probes at once overrun the kernel's queues, whose losses would pass for dead peers.
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE.max(heartbeat * 2))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    socket.set_tcp_keepalive(&keepalive)?;
    // A peer that has gone without a word is found when it does not acknowledge a heartbeat. Later than the stall timeout:
    // the kernel counts a closed window as silence, too, and who does not read is to be evicted as such.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some((stall_timeout * 2).max(Duration::from_secs(5))))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A connection whose first request, or protocol, is known.
enum Arrival {
    /// It subscribes by HTTP/1.
    Subscriber(Box<(Wire, Decision)>),
    /// Its requests are answered.
    Over(ClientSocket, IpAddr),
    /// HTTP/2 that hyper is to keep.
    Http2(ClientSocket, IpAddr),
    TlsHttp2(Secure, IpAddr),
    /// HTTP/2 that a courier is to keep.
    Carried(Box<Begun>, IpAddr),
}

/// Where a connection is, and the permit it came by, unless it was slow.
type Arrived = Option<(Arrival, Option<RequestPermit>)>;

impl Intake {
    /// Receives a connection that has begun to speak. A plain `GET` is answered here and now, as far as it needs to wait
    /// for nobody: waking another thread costs more than that. All else is work of the runtime's.
    pub fn enter(self: &Arc<Intake>, runtime: &Handle, accepted: Accepted) {
        let at_once = accepted.gets && self.tls.is_none() && self.context.auth.decides_at_once();
        let mut receiving = Box::pin(self.clone().receive(accepted));
        if at_once {
            let _inside = runtime.enter();
            // Who waits is polled again, and then says where to be found.
            if receiving.as_mut().poll(&mut task::Context::from_waker(Waker::noop())).is_ready() {
                return;
            }
        }
        runtime.spawn(receiving);
    }

    /// Reads requests of a connection; one that subscribes leaves for a courier.
    async fn receive(self: Arc<Intake>, accepted: Accepted) {
        let Accepted { socket, peer, permit, guard, gets, known } = accepted;
        // Boxed one after the other, so that the task is as small as can be while its client is waited for.
        let arrived = match &self.tls {
            None => {
                let exchange = Arc::new(Exchange::default());
                let arriving = self.arrive(ClientSocket::new(socket), peer, gets, known, &exchange);
                Box::pin(self.hurried(arriving, permit, peer, &exchange)).await.and_then(whole)
            }
            Some(tls) => {
                let Ok(socket) = TcpStream::from_std(socket) else { return };
                Box::pin(self.arrive_secure(tls, socket, peer, permit, &guard)).await
            }
        };
        match arrived {
            None => {}
            Some((Arrival::Subscriber(subscriber), permit)) => {
                let (wire, decided) = *subscriber;
                // Who is turned away may be held for a while, which must not keep others out.
                let permit = permit.filter(|_| decided.admits());
                let _guard = decided.admits().then_some(guard);
                Box::pin(self.begin(wire, decided, permit)).await;
            }
            Some((Arrival::Over(socket, peer), permit)) => {
                drop(permit);
                if let Ok(socket) = socket.into_std() {
                    guard.wait_for_more(socket, peer);
                }
            }
            Some((Arrival::Http2(socket, peer), permit)) => {
                drop(permit);
                Box::pin(http2::serve(socket, peer, self, guard.closing())).await;
            }
            Some((Arrival::TlsHttp2(stream, peer), permit)) => {
                drop(permit);
                Box::pin(http2::serve(stream, peer, self, guard.closing())).await;
            }
            Some((Arrival::Carried(begun, peer), permit)) => {
                drop(permit);
                carried::hand_over(*begun, peer, &self, guard);
            }
        }
    }

    /// Does work that has a permit for a moment, or until its request is answered, and must make do with one of the places
    /// for slow requests after it.
    async fn hurried<F: Future>(
        &self,
        work: F,
        permit: RequestPermit,
        peer: IpAddr,
        exchange: &Exchange,
    ) -> Option<(F::Output, Option<RequestPermit>)> {
        let mut work = pin!(work);
        let until_answered = poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if exchange.is_answered() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        let answered = match timeout(PERMIT_TIME, until_answered).await {
            Ok(Some(done)) => return Some((done, Some(permit))),
            Ok(None) => true,
            Err(_) => false,
        };
        drop(permit);
        if !answered {
            self.context.metrics.slow_requests.inc();
        }
        let Ok(_slow) = self.slow.try_acquire() else {
            // Who has its answer is refused nothing.
            if !answered {
                self.context.dropped(Dropped::SlowHead, peer);
            }
            return None;
        };
        Some((work.await, None))
    }

    /// Most joins are done at once; in a storm their number, too, is bounded by the permits.
    async fn begin(&self, wire: Wire, decided: Decision, permit: Option<RequestPermit>) {
        let trace = decided.trace();
        let mut beginning = Box::pin(subscribe::begin(wire, decided, self.context.clone()).instrument(trace));
        if permit.is_none() || timeout(PERMIT_TIME, beginning.as_mut()).await.is_err() {
            drop(permit);
            beginning.await;
        }
    }

    /// Reads what comes before a request, and finds out what is spoken, unless it is known to be a `GET` of HTTP/1. Whose
    /// client is known has no proxy's header before it.
    async fn arrive(
        &self,
        mut socket: ClientSocket,
        peer: IpAddr,
        gets: bool,
        known: bool,
        exchange: &Arc<Exchange>,
    ) -> Option<Arrival> {
        let peer = if known { peer } else { self.client(&mut socket, peer).await? };
        if !gets {
            // Behind a proxy's header nothing may come.
            let Ok(speaks_http2) = timeout(HEAD_TIMEOUT, speaks_http2(&mut socket)).await else {
                self.context.dropped(Dropped::SlowHead, peer);
                return None;
            };
            if speaks_http2 && !known {
                return match self.context.settings.http2 {
                    Http2::Courier => Some(Arrival::Carried(Box::new(Begun::clear(socket.into_std().ok()?)), peer)),
                    Http2::Hyper => Some(Arrival::Http2(socket, peer)),
                };
            }
        }
        match serve(socket, peer, &self.context, exchange).await {
            Served::Ended => None,
            Served::Over(socket) => Some(Arrival::Over(socket, peer)),
            Served::Subscribes(socket, decided) => Some(Arrival::Subscriber(Box::new((Wire::Tcp(socket), decided)))),
        }
    }

    /// Reads the first request under TLS, whose handshake needs a permit only while the node works on it.
    async fn arrive_secure(
        &self,
        tls: &Tls,
        mut socket: TcpStream,
        peer: IpAddr,
        permit: RequestPermit,
        guard: &ConnectionGuard,
    ) -> Arrived {
        let exchange = Arc::new(Exchange::default());
        let (client, permit) = Box::pin(self.hurried(self.client(&mut socket, peer), permit, peer, &exchange)).await?;
        let peer = client?;
        let permit = match permit {
            Some(permit) => permit,
            None => guard.permit().await?,
        };
        let mut stream = Box::pin(tls.accept(socket, peer, permit, &self.context)).await?;
        let mut permit = guard.permit().await?;
        if stream.get_ref().1.alpn_protocol() == Some(tls::H2) {
            return match self.context.settings.http2 == Http2::Courier && tapped::may_leave(&stream) {
                true => self.take_over(stream, peer, permit).await,
                false => Some((Arrival::TlsHttp2(stream, peer), Some(permit))),
            };
        }
        loop {
            let exchange = Arc::new(Exchange::default());
            let serving =
                Box::pin(self.hurried(serve(stream, peer, &self.context, &exchange), permit, peer, &exchange));
            match serving.await? {
                (Served::Ended, _) => return None,
                (Served::Subscribes(stream, decided), permit) => {
                    return Some((Arrival::Subscriber(Box::new((Wire::Tls(stream), decided))), permit));
                }
                (Served::Over(answered), served_by) => {
                    stream = answered;
                    drop(served_by);
                    let _slow = self.slow.try_acquire().ok()?;
                    Box::pin(timeout(HEAD_TIMEOUT, tls::readable(&mut stream))).await.ok()?;
                    permit = guard.permit().await?;
                }
            }
        }
    }

    /// Takes a session out of rustls, once its client is not amid a record.
    async fn take_over(&self, stream: Secure, peer: IpAddr, permit: RequestPermit) -> Arrived {
        let exchange = Exchange::default();
        let taking = Box::pin(timeout(HEAD_TIMEOUT, Begun::sealed(stream)));
        match self.hurried(taking, permit, peer, &exchange).await? {
            (Ok(begun), permit) => Some((Arrival::Carried(Box::new(begun.ok()?), peer), permit)),
            (Err(_), _) => {
                self.context.dropped(Dropped::SlowHead, peer);
                None
            }
        }
    }

    /// Who is at the other end: whom a trusted proxy speaks for, or whose socket it is.
    async fn client(&self, socket: &mut (impl AsyncRead + Unpin), peer: IpAddr) -> Option<IpAddr> {
        if !self.context.settings.proxy_protocol || !self.context.proxies.trusts(peer) {
            return Some(peer);
        }
        match timeout(HEAD_TIMEOUT, proxy_header::read(socket)).await {
            Ok(Ok(client)) => Some(client.unwrap_or(peer)),
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "no PROXY header");
                self.context.dropped(Dropped::ProxyHeader, peer);
                None
            }
            Err(_) => {
                self.context.dropped(Dropped::ProxyHeader, peer);
                None
            }
        }
    }
}

fn whole((arrival, permit): (Option<Arrival>, Option<RequestPermit>)) -> Arrived {
    Some((arrival?, permit))
}

/// Whether the connection begins with HTTP/2's preface (RFC 9113, section 3.4); no method of HTTP/1 begins like it.
async fn speaks_http2(socket: &mut ClientSocket) -> bool {
    let mut first = [0; 3];
    matches!(socket.peek(&mut first).await, Ok(n) if n > 1 && b"PRI".starts_with(&first[..n]))
}

impl Context {
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;

    #[test]
    fn heartbeats_come_before_probes() {
        for (heartbeat, probe) in [(15, 60), (30, 60), (200, 400)] {
            let local = SocketAddr::from(([127, 0, 0, 1], 0));
            let (stall, heartbeat) = (Duration::from_secs(30), Duration::from_secs(heartbeat));
            let listener = bind(local, stall, heartbeat).expect("a port");
            let _client = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("a listener");
            listener.set_nonblocking(false).expect("a socket");
            let (accepted, _) = listener.accept().expect("a client");
            assert_eq!(SockRef::from(&accepted).tcp_keepalive_time().expect("inherited"), Duration::from_secs(probe));
        }
    }
}
