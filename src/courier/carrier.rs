//! Carriers: connections of HTTP/2, each with its socket and its state, shared by those who write on its streams.
//!
//! A courier reads its carriers. Subscribers write on streams as on sockets of their own. Tasks that answer other requests
//! write there as well (`stream_way`), and wait for room. One lock per connection is between them, which mostly nobody
//! else wants.

use super::ending::Ending;
use super::key::SubscriberId;
use crate::http2::connection::{Connection, Event};
use crate::http2::error_code::ErrorCode;
use crate::http2::frame::{HEAD_BYTES, data_head};
use hyper::Request;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use parking_lot::{Mutex, MutexGuard};
use prometheus::IntGauge;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
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
}

/// One connection.
pub struct Carrier {
    /// The courier that reads it.
    pub courier: usize,
    /// Counts subscribers that are streams.
    streams: IntGauge,
    state: Mutex<State>,
}

/// What is behind a carrier's lock.
pub(super) struct State {
    pub connection: Connection<Owner>,
    /// `None`: it has ended.
    socket: Option<TcpStream>,
    /// The socket did not take all that was to be sent.
    full: bool,
    /// It is among those that have something unsent.
    noted: bool,
    place: usize,
    unsent: Unsent,
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
    /// A connection of which nothing was read yet, which begins to be watched.
    pub(super) fn new(mut socket: TcpStream, most: u32, home: Home, registry: &Registry) -> io::Result<Carrier> {
        let Home { courier, place, unsent, streams } = home;
        let token = Token(CARRIERS + place);
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let (connection, socket) = (Connection::new(most), Some(socket));
        let state = State { connection, socket, full: false, noted: false, place, unsent };
        Ok(Carrier { courier, streams, state: Mutex::new(state) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Reads what has come, and sends what that demands.
    pub(super) fn read(&self, buffer: &mut [u8], now_ms: u64, news: &mut News) -> Heard {
        let mut state = self.state.lock();
        let mut events = Vec::new();
        let mut heard = Heard::More;
        for _ in 0..READS_PER_TURN {
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
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => heard = Heard::Ended,
            }
            if heard != Heard::More {
                break;
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
    pub(super) fn send(&self) {
        let mut state = self.state.lock();
        state.noted = false;
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
        if let Some(socket) = &self.state.lock().socket {
            let _ = socket.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Whether nobody has a stream.
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().connection.is_idle()
    }

    /// Ends it, behind what is done to its socket `before`; which subscribers had streams on it.
    pub(super) fn close(&self, registry: &Registry, before: impl FnOnce(&mut TcpStream)) -> Vec<SubscriberId> {
        let mut state = self.state.lock();
        if let Some(mut socket) = state.socket.take() {
            let _ = registry.deregister(&mut socket);
            before(&mut socket);
        }
        state.connection.out = Vec::new();
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
        let sent = loop {
            match socket.write_vectored(&[IoSlice::new(head), IoSlice::new(piece)]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break 0,
                sent => break sent?,
            }
        };
        if sent < HEAD_BYTES + piece.len() {
            self.full = true;
            if sent > 0 {
                out.extend_from_slice(&head[sent.min(HEAD_BYTES)..]);
                out.extend_from_slice(&piece[sent.saturating_sub(HEAD_BYTES)..]);
            }
        }
        Ok(sent > 0)
    }

    /// Sends what is to be sent, as far as the socket takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Err(ErrorKind::BrokenPipe.into()) };
        let out = &mut self.connection.out;
        let mut sent = 0;
        self.full = false;
        while sent < out.len() {
            match socket.write(&out[sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.full = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        match sent == out.len() {
            true => *out = Vec::new(),
            false => drop(out.drain(..sent)),
        }
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
