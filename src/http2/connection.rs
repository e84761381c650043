//! The state of one connection at the node's end.
//!
//! `reading` takes a client's bytes and tells what happened; answers that the protocol demands, and what is
//! sent by the methods of `sending`, is collected in [`Connection::out`]. Nothing is kept of frames that are whole, so a
//! connection on which nothing is under way has no buffer.

use super::budget::Budget;
use super::error_code::ErrorCode;
use super::frame;
use super::head::HEAD_BYTES;
use super::hpack::Decoder;
use super::settings::{self, FIRST_WINDOW};
use super::streams::Streams;
use hyper::Request;

/// What clients may send on a connection before they are told of more room: bodies of publications, read as they come.
const RECEIVE_WINDOW: i32 = 1 << 20;
/// Cheap frames: pings, settings, priorities, pieces of heads, empty data. Browsers send some dozens in the life of a
/// connection; a proxy may probe each second.
const CHEAP: Budget = Budget::new(1_000.0, 50.0);
/// Streams that a client resets before they are answered (CVE-2023-44487).
const RAPID: Budget = Budget::new(200.0, 10.0);
/// Streams that its errors have the node reset (CVE-2025-8671).
const ERRORS: Budget = Budget::new(128.0, 1.0);

/// What happened on a connection.
#[derive(Debug)]
pub enum Event<O> {
    /// A request came; `ends`: it has no body.
    Request { stream: u32, request: Box<Request<()>>, ends: bool },
    /// A piece of a body came; it counts until [`Connection::taken`] says otherwise. `ends`: the last one.
    Data { stream: u32, bytes: Vec<u8>, ends: bool },
    /// A stream is gone, by the client's will or by its errors.
    Gone { stream: u32, owner: O },
}

/// One connection. `O` is whose a stream is, which is for the caller to say.
#[derive(Debug)]
pub struct Connection<O> {
    pub(super) phase: Phase,
    /// The beginning of a frame whose end has not come.
    pub(super) partial: Vec<u8>,
    /// A head whose end has not come.
    pub(super) block: Option<Box<Block>>,
    pub(super) decoder: Decoder,
    pub(super) streams: Streams<O>,
    /// Streams that are gone, and are still worked on; they count as if they were there.
    pub(super) working: u32,
    pub(super) most_streams: u32,
    /// The greatest number of a stream so far.
    pub(super) last: u32,
    /// The node has said that it takes no further streams.
    pub(super) going: bool,
    /// The window with which the client's streams begin.
    pub(super) first_window: i32,
    /// Bytes that may come on all streams together, and those that were taken without being told of.
    pub(super) receive: i32,
    pub(super) taken: u32,
    pub(super) budgets: Box<Budgets>,
    /// What is to be sent. Whoever sends it takes it out.
    pub out: Vec<u8>,
}

/// How far a connection has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// So many bytes of the preface have come.
    Preface(u8),
    /// The first frame must be SETTINGS.
    Settings,
    Open,
    /// It has ended by an error.
    Broken,
}

/// A head that comes in pieces.
#[derive(Debug)]
pub(super) struct Block {
    pub stream: u32,
    pub ends: bool,
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Budgets {
    pub cheap: Budget,
    pub rapid: Budget,
    pub errors: Budget,
}

impl<O: Default> Connection<O> {
    /// A connection whose client has said nothing yet, and may have so many streams at once.
    pub fn new(most_streams: u32) -> Connection<O> {
        let mut out = Vec::new();
        frame::push(&mut out, frame::Kind::Settings, 0, 0, &settings::own(most_streams, HEAD_BYTES as u32));
        frame::push_window(&mut out, 0, (RECEIVE_WINDOW - FIRST_WINDOW) as u32);
        Connection {
            phase: Phase::Preface(0),
            partial: Vec::new(),
            block: None,
            decoder: Decoder::default(),
            streams: Streams::new(FIRST_WINDOW),
            working: 0,
            most_streams,
            last: 0,
            going: false,
            first_window: FIRST_WINDOW,
            receive: RECEIVE_WINDOW,
            taken: 0,
            budgets: Box::new(Budgets { cheap: CHEAP, rapid: RAPID, errors: ERRORS }),
            out,
        }
    }

    /// Says that no further streams are taken.
    pub fn go_away(&mut self) {
        if !std::mem::replace(&mut self.going, true) {
            frame::push_go_away(&mut self.out, self.last, ErrorCode::NoError);
        }
    }

    /// Whether the client has been told to go.
    pub fn is_going(&self) -> bool {
        self.going
    }

    /// Streams that are there.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whose they are.
    pub fn owners(&self) -> impl Iterator<Item = &O> {
        self.streams.iter().map(|stream| &stream.owner)
    }

    /// Bytes that wait for the end of a frame or a head.
    pub fn pending_bytes(&self) -> usize {
        self.partial.len() + self.block.as_ref().map_or(0, |block| block.bytes.len())
    }

    /// Bytes that may be sent on all streams together.
    pub fn window(&self) -> i32 {
        self.streams.send
    }

    /// Whether nobody is there, and nothing is worked on.
    pub fn is_idle(&self) -> bool {
        self.streams.is_empty() && self.working == 0
    }

    /// A stream that is gone is still worked on.
    pub fn works_on(&mut self) {
        self.working += 1;
    }

    /// What was worked on for a stream that is gone has ended.
    pub fn has_worked(&mut self) {
        self.working = self.working.saturating_sub(1);
    }

    /// Takes all streams away, as the connection ends.
    pub fn take_streams(&mut self) -> impl Iterator<Item = (u32, O)> {
        self.phase = Phase::Broken;
        self.streams.take().into_iter().map(|stream| (stream.id, stream.owner))
    }
}
