//! The acceptor: accepts connections, and keeps them until they have said enough to be worth reading: a request's whole
//! head, or the first message of a handshake.
//!
//! One thread and one mio poll. A connection that has sent nothing costs a few dozen bytes here, while a task and
//! hyper's buffers cost kilobytes; so a storm of connects leaves no memory behind, and silent clients hold nothing
//! that others need; nor do those who speak slowly, whose bytes stay in the kernel. Connections that have spoken go to
//! [`accept`](super::accept), a bounded number at once. Those whose request was answered come back here until they ask
//! for more.
//!
//! What is kept here, or read, counts for its peer; where the node has no room, whoever has been silent for longest
//! gives way to a newcomer.

mod glance;
mod silent;

use self::glance::{GLANCE_BYTES, Seen};
use self::silent::Silents;
use super::Context;
use super::metrics::Dropped;
use crate::limits::Presence;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Requests that are being read at once; most need a single poll of their task.
const PERMITS: usize = 64;
/// Requests that are read one after the other before couriers are woken for their subscribers.
const TOGETHER: usize = 64;
/// Connections accepted before those that speak have their turn.
const ACCEPTS_PER_TURN: usize = 256;
/// After an accept that failed, most likely for want of descriptors.
const PAUSE: Duration = Duration::from_millis(20);
/// How often silent connections are looked through.
const TICK: Duration = Duration::from_millis(500);
const WAKE: Token = Token(usize::MAX);
/// Tokens of listeners, above all keys of connections.
const LISTENERS: usize = usize::MAX / 2;

/// How others reach the acceptor.
pub struct AcceptorHandle {
    waker: Waker,
    stopped: watch::Sender<bool>,
    /// For requests that are read at once.
    permits: Arc<Semaphore>,
    /// The acceptor has somebody who waits for a permit.
    wants: AtomicBool,
    /// Connections that are no subscribers yet, slow ones and kept-alive ones among them.
    connections: AtomicUsize,
    /// Their requests were answered, and they may have another one.
    answered: Mutex<Vec<Connection>>,
}

/// Counts a connection that was accepted, until it ends or subscribes.
pub struct ConnectionGuard {
    handle: Arc<AcceptorHandle>,
    /// Counts for its peer.
    _presence: Option<Presence>,
}

impl ConnectionGuard {
    fn new(handle: &Arc<AcceptorHandle>, presence: Option<Presence>) -> ConnectionGuard {
        handle.connections.fetch_add(1, Ordering::Relaxed);
        ConnectionGuard { handle: handle.clone(), _presence: presence }
    }

    /// Sends a connection whose request was answered back to the acceptor, to wait for its next request. `peer` is whom a
    /// proxy has named, if one has.
    pub fn wait_for_more(self, socket: std::net::TcpStream, peer: IpAddr) {
        let handle = self.handle.clone();
        let connection = Connection { socket: TcpStream::from_std(socket), peer, guard: self, known: true };
        let mut answered = handle.answered.lock();
        answered.push(connection);
        if answered.len() == 1 {
            let _ = handle.waker.wake();
        }
    }

    /// Waits until no connection is accepted any more.
    pub async fn closing(&self) {
        let mut stopped = self.handle.stopped.subscribe();
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending().await
        }
    }

    /// A permit for a connection that gave its own back while its client was waited for. These come before those who wait
    /// in the acceptor's queue.
    pub async fn permit(&self) -> Option<RequestPermit> {
        let place = self.handle.permits.clone().acquire_owned().await.ok()?;
        Some(RequestPermit { place: Some(place), handle: self.handle.clone() })
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.handle.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that speaks, and the permit by which it is read.
pub struct Accepted {
    pub socket: std::net::TcpStream,
    pub peer: IpAddr,
    pub permit: RequestPermit,
    pub guard: ConnectionGuard,
    /// It begins with a `GET` of HTTP/1, whose head is there.
    pub gets: bool,
    /// It has been answered before, so nothing comes before its request, and `peer` is the client.
    pub known: bool,
}

/// A place among the requests that are read at once; dropping it lets the next one in.
pub struct RequestPermit {
    place: Option<OwnedSemaphorePermit>,
    handle: Arc<AcceptorHandle>,
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        drop(self.place.take());
        // Either this sees that the acceptor wants a permit, or the acceptor sees the one that was given back.
        fence(Ordering::SeqCst);
        if self.handle.wants.load(Ordering::Relaxed) {
            let _ = self.handle.waker.wake();
        }
    }
}

impl AcceptorHandle {
    /// No connection is accepted from now on.
    pub fn close(&self) {
        self.stopped.send_replace(true);
        let _ = self.waker.wake();
    }
}

/// A connection that the acceptor keeps.
struct Connection {
    socket: TcpStream,
    peer: IpAddr,
    guard: ConnectionGuard,
    /// See [`Accepted::known`].
    known: bool,
}

/// A connection that has said enough.
struct Speaking {
    connection: Connection,
    gets: bool,
}

struct Acceptor {
    poll: Poll,
    handle: Arc<AcceptorHandle>,
    context: Arc<Context>,
    listeners: Vec<TcpListener>,
    /// A listener may have more: its readiness was not used up.
    pending: bool,
    silent: Silents<Connection>,
    /// They speak, and wait for a permit.
    speaking: VecDeque<Speaking>,
    pace: Pace,
    swept: Instant,
    /// Where first bytes are looked at.
    glance: Box<[u8]>,
}

/// Starts the acceptor's thread. `enter` is called on it for every connection that speaks.
pub fn open(
    listeners: Vec<std::net::TcpListener>,
    context: Arc<Context>,
    enter: impl Fn(Accepted) + Send + 'static,
) -> io::Result<Arc<AcceptorHandle>> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKE)?;
    let handle = Arc::new(AcceptorHandle {
        waker,
        stopped: watch::Sender::new(false),
        permits: Arc::new(Semaphore::new(PERMITS)),
        wants: AtomicBool::new(false),
        connections: AtomicUsize::new(0),
        answered: Mutex::default(),
    });
    let mut listeners: Vec<TcpListener> = listeners.into_iter().map(TcpListener::from_std).collect();
    for (number, listener) in listeners.iter_mut().enumerate() {
        poll.registry().register(listener, Token(LISTENERS + number), Interest::READABLE)?;
    }
    let pace = Pace::new(context.settings.accept_rate);
    let acceptor = Acceptor {
        poll,
        handle: handle.clone(),
        context,
        listeners,
        pending: true,
        silent: Silents::default(),
        speaking: VecDeque::new(),
        pace,
        swept: Instant::now(),
        glance: vec![0; GLANCE_BYTES].into(),
    };
    std::thread::Builder::new().name("acceptor".into()).spawn(move || acceptor.run(enter))?;
    Ok(handle)
}

impl Acceptor {
    fn run(mut self, enter: impl Fn(Accepted)) {
        let mut events = Events::with_capacity(1024);
        loop {
            let wait = self.wait();
            if let Err(error) = self.poll.poll(&mut events, Some(wait))
                && error.kind() != ErrorKind::Interrupted
            {
                panic!("epoll_wait failed: {error}");
            }
            for event in &events {
                match event.token() {
                    WAKE => {}
                    Token(token) if token >= LISTENERS => self.pending = true,
                    Token(key) => self.speaks(key, event.is_read_closed() || event.is_error()),
                }
            }
            if *self.handle.stopped.borrow() && self.has_stopped() {
                return;
            }
            if self.pending {
                self.accept_some();
            }
            self.let_in(&enter);
            self.take_back();
            self.sweep();
            self.context.metrics.waiting.set(self.waiting() as i64);
        }
    }

    /// Accepts nobody any more; whether nobody is left who was answered before, and may have a request on its way.
    fn has_stopped(&mut self) -> bool {
        self.listeners.clear();
        self.pending = false;
        // Whoever is still silent was not promised anything: it comes back to another node.
        self.silent.retain(|connection| connection.known);
        self.waiting() == 0
    }

    /// Connections that are no subscribers yet.
    fn waiting(&self) -> usize {
        self.handle.connections.load(Ordering::Relaxed)
    }

    fn wait(&self) -> Duration {
        match self.pending {
            true => self.pace.delay(),
            false => TICK,
        }
    }

    fn accept_some(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.pace.take() {
                return;
            }
            match self.accept_one() {
                Some(Ok((socket, peer))) => self.greet(socket, peer),
                Some(Err(error)) => {
                    self.context.dropped(Dropped::AcceptError, IpAddr::from([0; 4]));
                    tracing::debug!(%error, "accept failed");
                    std::thread::sleep(PAUSE);
                    return;
                }
                None => {
                    self.pending = false;
                    return;
                }
            }
        }
    }

    /// From any listener; `None` where none has more.
    fn accept_one(&self) -> Option<io::Result<(TcpStream, IpAddr)>> {
        for listener in &self.listeners {
            loop {
                match listener.accept() {
                    Ok((socket, peer)) => return Some(Ok((socket, peer.ip().to_canonical()))),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // The client gave up between its SYN and here; others may wait behind it.
                    Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                    Err(error) => return Some(Err(error)),
                }
            }
        }
        None
    }

    fn greet(&mut self, socket: TcpStream, peer: IpAddr) {
        // Streams of HTTP/2 are subscribers without a descriptor of their own; their connection has a guard.
        let streams = self.context.metrics.http2_streams.get().max(0) as usize;
        let (taken, held) = (self.context.limits.taken(), self.context.turned_away.held());
        let present = self.waiting() + held + taken.saturating_sub(streams);
        if present >= self.context.limits.present_max() {
            // Nothing can be said before the request is read; a closed connection makes EventSource come back.
            match self.silent.longest() {
                Some(displaced) => self.context.dropped(Dropped::Displaced, displaced.peer),
                None => return self.context.dropped(Dropped::Descriptors, peer),
            }
        }
        let presence = match self.context.proxies.trusts(peer) {
            true => None,
            false => match self.context.presences.enter(peer) {
                Ok(presence) => presence,
                Err(_) => return self.context.dropped(Dropped::AddressConnections, peer),
            },
        };
        self.seat(Connection { socket, peer, guard: ConnectionGuard::new(&self.handle, presence), known: false });
    }

    /// Those whose requests were answered.
    fn take_back(&mut self) {
        let answered = std::mem::take(&mut *self.handle.answered.lock());
        answered.into_iter().for_each(|connection| self.seat(connection));
    }

    /// Waits for what it says.
    fn seat(&mut self, mut connection: Connection) {
        // In a storm its request is here before its turn.
        match Seen::of(connection.socket.peek(&mut self.glance), &self.glance) {
            Seen::Little => {}
            seen => return self.speaking.push_back(Speaking { connection, gets: seen == Seen::Get }),
        }
        let key = self.silent.vacant_key();
        // Registering looks once: what came before it is reported too.
        if self.poll.registry().register(&mut connection.socket, Token(key), Interest::READABLE).is_ok() {
            self.silent.insert(connection);
        }
    }

    /// Something came. What is not enough yet waits in the kernel, and each further piece is reported.
    fn speaks(&mut self, key: usize, ended: bool) {
        let Some(connection) = self.silent.get(key) else { return };
        let seen = Seen::of(connection.socket.peek(&mut self.glance), &self.glance);
        if seen == Seen::Little && !ended {
            return;
        }
        let Some(mut connection) = self.silent.remove(key) else { return };
        if self.poll.registry().deregister(&mut connection.socket).is_ok() {
            self.speaking.push_back(Speaking { connection, gets: seen == Seen::Get });
        }
    }

    fn let_in(&mut self, enter: impl Fn(Accepted)) {
        self.handle.wants.store(false, Ordering::Relaxed);
        while !self.speaking.is_empty() {
            let _together = self.context.couriers.gather();
            for _ in 0..TOGETHER {
                let Some(accepted) = self.next_accepted() else { return };
                enter(accepted);
            }
        }
    }

    /// Who is next, if there is a permit.
    fn next_accepted(&mut self) -> Option<Accepted> {
        if self.speaking.is_empty() {
            return None;
        }
        let place = self.free_place()?;
        let Speaking { connection: Connection { socket, peer, guard, known }, gets } = self.speaking.pop_front()?;
        let permit = RequestPermit { place: Some(place), handle: self.handle.clone() };
        Some(Accepted { socket: socket.into(), peer, permit, guard, gets, known })
    }

    fn free_place(&self) -> Option<OwnedSemaphorePermit> {
        let free = || self.handle.permits.clone().try_acquire_owned().ok();
        if let Some(place) = free() {
            return Some(place);
        }
        // Said before the second look, so that a permit that is given back from now on wakes us.
        self.handle.wants.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let place = free()?;
        self.handle.wants.store(false, Ordering::Relaxed);
        Some(place)
    }

    /// Closes who has been silent too long.
    fn sweep(&mut self) {
        if self.swept.elapsed() < TICK {
            return;
        }
        self.swept = Instant::now();
        let context = &self.context;
        self.silent.look(|connection| {
            // Whoever was answered owes nothing.
            if !connection.known {
                context.dropped(Dropped::SlowHead, connection.peer);
            }
        });
        if self.silent.is_empty() {
            self.speaking.shrink_to(PERMITS);
        }
    }
}

/// Spreads accepts: `rate` a second, in batches of at most a tenth of a second. 0: no limit.
struct Pace {
    rate: u32,
    left: u32,
    refill: Instant,
}

impl Pace {
    fn new(rate: u32) -> Pace {
        Pace { rate, left: 0, refill: Instant::now() }
    }

    /// Whether one more may be accepted now.
    fn take(&mut self) -> bool {
        if self.rate == 0 {
            return true;
        }
        if self.left == 0 && Instant::now() >= self.refill {
            self.left = (self.rate / 10).max(1);
            self.refill = Instant::now() + Duration::from_secs_f64(f64::from(self.left) / f64::from(self.rate));
        }
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        any
    }

    /// Until the next one may be.
    fn delay(&self) -> Duration {
        match self.rate > 0 && self.left == 0 {
            true => self.refill.saturating_duration_since(Instant::now()).min(TICK),
            false => Duration::ZERO,
        }
    }
}
