//! Carriers: connections of HTTP/2, each with its socket and its state, shared by those who write on its streams.
//!
//! A courier reads its carriers. Subscribers write on streams as on sockets of their own. Tasks that answer other requests
//! write there as well (`stream_way`), and wait for room. One lock per connection is between them, which mostly nobody
//! else wants.

use super::carrier_socket::CarrierSocket;
use super::ending::Ending;
use super::key::SubscriberId;
use super::leftover::{Held, Ledger};
use super::tick::Tick;
use crate::http2::connection::{Connection, Event};
use crate::http2::error_code::ErrorCode;
use crate::http2::frame::{HEAD_BYTES, data_head};
use hyper::Request;
use mio::net::TcpStream;
use mio::{Registry, Token};
use parking_lot::{Mutex, MutexGuard};
use prometheus::IntGauge;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::task::Waker;

/// What several streams have to send is put together for one write, up to so much.
const GATHER_BYTES: usize = 16 << 10;
/// Answers that a client does not read: beyond so many bytes nothing more of it is read.
const UNREAD_ANSWERS: usize = 64 << 10;
/// Reads of one connection before others have their turn.
const READS_PER_TURN: usize = 2;

/// Tokens of carriers, above all keys of subscribers.
pub const CARRIERS: usize = 1 << 32;

/// Where a carrier is.
pub struct Home {
    pub courier: usize,
    pub place: usize,
    pub unsent: Unsent,
    /// Counts subscribers that are streams.
    pub streams: IntGauge,
    /// Counts what a full socket leaves.
    pub ledger: Arc<Ledger>,
}

/// One connection.
pub struct Carrier {
    /// The courier that reads it.
    pub courier: usize,
    /// It is under TLS.
    pub sealed: bool,
    /// Counts subscribers that are streams.
    streams: IntGauge,
    state: Mutex<State>,
}

/// What is behind a carrier's lock.
pub(super) struct State {
    pub connection: Connection<Owner>,
    /// `None`: it has ended.
    socket: Option<CarrierSocket>,
    /// The socket did not take all that was to be sent.
    full: bool,
    /// It is among those that have something unsent.
    noted: bool,
    place: usize,
    unsent: Unsent,
    /// What is to be sent, as far as it was counted.
    held: Held,
    /// The tick that the courier was in when it looked here last, and the one in which the socket took something last.
    now: Tick,
    took: Tick,
}

/// Places of a courier's carriers that have something to send at the end of its turn.
pub type Unsent = Arc<Mutex<Vec<usize>>>;

/// Whose a stream is: a task's that answers its request, then perhaps a subscriber's.
#[derive(Debug, Default)]
pub struct Owner {
    pub(super) task: Option<Box<Task>>,
    subscriber: Option<SubscriberId>,
}

/// What a task has of its stream.
#[derive(Debug, Default)]
pub(super) struct Task {
    /// Of the request's body what has come and was not taken.
    pub received: VecDeque<Vec<u8>>,
    /// All of it has come.
    pub ended: bool,
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
}

impl Task {
    /// Has it look again, once the lock is given back.
    fn hurry(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend([self.reader.take(), self.writer.take()].into_iter().flatten());
    }
}

/// What a courier learns by reading a carrier.
#[derive(Default)]
pub struct News {
    /// Requests by their streams.
    pub requests: Vec<(u32, Box<Request<()>>)>,
    /// Subscribers whose streams are gone.
    pub gone: Vec<SubscriberId>,
    /// Subscribers that were blocked and have room.
    pub ready: Vec<SubscriberId>,
    /// Tasks that are to look again.
    wakers: Vec<Waker>,
}

/// How far a carrier was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// All that there was, or as much as makes sense before its client reads.
    All,
    /// There is more.
    More,
    /// It has ended: its client has gone.
    Ended,
    /// It ends for an error of its client's.
    Failed(ErrorCode),
}

impl Carrier {
    /// A connection whose client has said nothing yet, which begins to be watched.
    pub(super) fn new(mut socket: CarrierSocket, most: u32, home: Home, registry: &Registry) -> io::Result<Carrier> {
        let Home { courier, place, unsent, streams, ledger } = home;
        socket.register(registry, Token(CARRIERS + place))?;
        let sealed = socket.is_sealed();
        let (connection, socket) = (Connection::new(most), Some(socket));
        let (held, now, took) = (Held::new(ledger), Tick::default(), Tick::default());
        let state = State { connection, socket, full: false, noted: false, place, unsent, held, now, took };
        Ok(Carrier { courier, sealed, streams, state: Mutex::new(state) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Reads what has come, behind what was read `ahead`, and sends what that demands.
    pub(super) fn read(&self, ahead: &[u8], buffer: &mut [u8], now: Tick, news: &mut News) -> Heard {
        let mut state = self.state.lock();
        state.now = now;
        let (now_ms, mut events) = (now.ms(), Vec::new());
        let mut heard = match state.connection.receive(ahead, now_ms, &mut events) {
            Ok(()) => Heard::More,
            Err(code) => Heard::Failed(code),
        };
        for _ in 0..READS_PER_TURN {
            if heard != Heard::More {
                break;
            }
            if state.flush().is_err() {
                heard = Heard::Ended;
                break;
            }
            if state.connection.out.len() > UNREAD_ANSWERS {
                // It is looked at again when there is room.
                heard = Heard::All;
                break;
            }
            let Some(socket) = &mut state.socket else { return Heard::Ended };
            match socket.read(buffer) {
                Ok(0) => heard = Heard::Ended,
                Ok(n) => {
                    if let Err(code) = state.connection.receive(&buffer[..n], now_ms, &mut events) {
                        heard = Heard::Failed(code);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => heard = Heard::All,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => heard = Heard::Ended,
            }
        }
        events.into_iter().for_each(|event| state.heed(event, news));
        if state.flush().is_err() && heard != Heard::Ended {
            heard = Heard::Ended;
        }
        state.resume(news);
        drop(state);
        news.wakers.drain(..).for_each(Waker::wake);
        heard
    }

    /// Sends what is to be sent, as far as the socket takes it. An error shows when it is read.
    pub(super) fn send(&self, now: Tick) {
        let mut state = self.state.lock();
        (state.noted, state.now) = (false, now);
        let _ = state.flush();
    }

    /// Says that no further streams are taken.
    pub(super) fn go_away(&self) {
        let mut state = self.state.lock();
        state.connection.go_away();
        let _ = state.flush();
    }

    /// Says that nothing more comes.
    pub(super) fn say_farewell(&self) {
        self.go_away();
        let mut state = self.state.lock();
        let all = state.connection.out.is_empty();
        if let Some(socket) = state.socket.as_mut().filter(|_| all) {
            socket.say_last();
        }
    }

    /// Since when the socket has taken nothing, where it has left something.
    pub(super) fn full_since(&self) -> Option<Tick> {
        let state = self.state.lock();
        let sealed = state.socket.as_ref().is_some_and(CarrierSocket::has_leftover);
        (sealed || state.held.bytes() > 0).then_some(state.took)
    }

    /// Whether nobody has a stream.
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().connection.is_idle()
    }

    /// How many streams are subscribers'.
    pub(super) fn subscribers(&self) -> usize {
        self.state.lock().connection.owners().filter(|owner| owner.subscriber.is_some()).count()
    }

    /// Ends it, behind what is done to its socket `before`; which subscribers had streams on it.
    pub(super) fn close(&self, registry: &Registry, before: impl FnOnce(&mut TcpStream)) -> Vec<SubscriberId> {
        let mut state = self.state.lock();
        if let Some(socket) = state.socket.take() {
            socket.close(registry, before);
        }
        state.connection.out = Vec::new();
        state.held.set(0);
        let owners: Vec<(u32, Owner)> = state.connection.take_streams().collect();
        let mut news = News::default();
        owners.into_iter().for_each(|(_, owner)| state.let_go(owner, &mut news));
        drop(state);
        news.wakers.drain(..).for_each(Waker::wake);
        news.gone
    }

    /// A stream becomes a subscriber's; whether it is there.
    pub(super) fn attach(&self, stream: u32, id: SubscriberId) -> bool {
        self.streams.inc();
        let mut state = self.state.lock();
        state.note();
        match state.connection.owner(stream) {
            Some(owner) => {
                *owner = Owner { task: None, subscriber: Some(id) };
                true
            }
            None => false,
        }
    }

    /// Writes on a subscriber's stream what fits; [`ErrorKind::WouldBlock`] where nothing does, [`ErrorKind::BrokenPipe`]
    /// where the stream is gone.
    pub(super) fn write(&self, stream: u32, bytes: &[u8]) -> io::Result<usize> {
        self.state.lock().write(stream, bytes)
    }

    /// Ends a stream, behind these last bytes as far as there is room.
    pub(super) fn finish(&self, stream: u32, last: &[u8], ending: Ending) {
        let mut state = self.state.lock();
        state.finish(stream, last, ending);
        state.note();
    }

    /// A subscriber leaves its stream, which is cut unless it has ended.
    pub(super) fn leave(&self, stream: u32) {
        self.streams.dec();
        let mut state = self.state.lock();
        if state.connection.reset(stream, ErrorCode::Internal).is_some() {
            state.note();
        }
    }
}

impl State {
    /// Does what an event asks for.
    fn heed(&mut self, event: Event<Owner>, news: &mut News) {
        match event {
            Event::Request { stream, request, ends } => {
                if let Some(owner) = self.connection.owner(stream) {
                    owner.task = Some(Box::new(Task { ended: ends, ..Task::default() }));
                    news.requests.push((stream, request));
                }
            }
            Event::Data { stream, bytes, ends } => {
                let length = bytes.len();
                match self.connection.owner(stream).and_then(|owner| owner.task.as_mut()) {
                    Some(task) => {
                        task.received.push_back(bytes);
                        task.ended |= ends;
                        task.hurry(&mut news.wakers);
                    }
                    // Nobody reads it any more.
                    None => self.connection.taken(stream, length),
                }
            }
            Event::Gone { owner, .. } => self.let_go(owner, news),
        }
    }

    /// A stream is gone. A task that works for it counts until it has ended.
    fn let_go(&mut self, owner: Owner, news: &mut News) {
        if let Some(mut task) = owner.task {
            let left = task.received.iter().map(Vec::len).sum();
            self.connection.taken(0, left);
            self.connection.works_on();
            task.hurry(&mut news.wakers);
        }
        news.gone.extend(owner.subscriber);
    }

    /// Has those go on that waited for room.
    fn resume(&mut self, news: &mut News) {
        if self.full {
            return;
        }
        for stream in self.connection.ready() {
            let Some(owner) = self.connection.owner(stream) else { continue };
            news.ready.extend(owner.subscriber);
            if let Some(task) = &mut owner.task {
                task.hurry(&mut news.wakers);
            }
        }
    }

    /// Writes on a stream what fits.
    pub fn write(&mut self, stream: u32, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while taken < bytes.len() {
            let Some(n) = self.connection.allowance(stream, bytes.len() - taken) else {
                return Err(ErrorKind::BrokenPipe.into());
            };
            if n == 0 {
                break;
            }
            if self.full || !self.put(&data_head(stream, n, false), &bytes[taken..taken + n])? {
                self.connection.wait(stream);
                break;
            }
            self.connection.spend(stream, n);
            taken += n;
        }
        if taken == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// Sends a frame, at once where it is the only stream's; whether it was taken, of which a full socket leaves the rest in
    /// what is to be sent.
    fn put(&mut self, head: &[u8; HEAD_BYTES], piece: &[u8]) -> io::Result<bool> {
        let Some(socket) = &mut self.socket else { return Err(ErrorKind::BrokenPipe.into()) };
        let others = self.connection.streams() > 1;
        let out = &mut self.connection.out;
        if others || !out.is_empty() {
            out.extend_from_slice(head);
            out.extend_from_slice(piece);
            let much = out.len() >= GATHER_BYTES;
            self.note();
            if much {
                self.flush()?;
            }
            return Ok(true);
        }
        let sent = socket.write_frame(head, piece)?;
        self.full = sent < HEAD_BYTES + piece.len() || socket.has_leftover();
        if sent > 0 {
            self.took = self.now;
            out.extend_from_slice(&head[sent.min(HEAD_BYTES)..]);
            out.extend_from_slice(&piece[sent.saturating_sub(HEAD_BYTES).min(piece.len())..]);
        }
        Ok(sent > 0)
    }

    /// Sends what is to be sent, as far as the socket takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Err(ErrorKind::BrokenPipe.into()) };
        let out = &mut self.connection.out;
        let mut sent = 0;
        self.full = !socket.push()?;
        while sent < out.len() && !self.full {
            let n = socket.write(&out[sent..])?;
            sent += n;
            self.full = n == 0 || socket.has_leftover();
        }
        match sent == out.len() {
            true => *out = Vec::new(),
            false => drop(out.drain(..sent)),
        }
        if sent > 0 {
            self.took = self.now;
        }
        self.held.set(self.connection.out.capacity());
        Ok(())
    }

    /// Ends a stream; whether it was there.
    pub fn finish(&mut self, stream: u32, last: &[u8], ending: Ending) -> bool {
        let Some(n) = self.connection.allowance(stream, last.len()) else { return false };
        if n > 0 {
            self.connection.spend(stream, n);
            self.connection.out.extend_from_slice(&data_head(stream, n, false));
            self.connection.out.extend_from_slice(&last[..n]);
        }
        let owner = match ending {
            Ending::Complete if n == last.len() => self.connection.finish(stream),
            _ => self.connection.reset(stream, ErrorCode::Internal),
        };
        let unread = owner.as_ref().and_then(|owner| owner.task.as_ref()).map(|task| &task.received);
        // What came of a body that nobody takes any more makes room for others.
        self.connection.taken(0, unread.map_or(0, |pieces| pieces.iter().map(Vec::len).sum()));
        owner.is_some()
    }

    /// It has something to send at the end of the courier's turn.
    fn note(&mut self) {
        if !self.noted {
            self.noted = true;
            self.unsent.lock().push(self.place);
        }
    }
}
