//! The streams of a connection, and what may be sent on each.

use super::frame::PAYLOAD_BYTES;
use super::settings::{FIRST_WINDOW, MOST_WINDOW};
use std::collections::VecDeque;

/// Streams that have gone and are remembered, since frames for them may be on their way.
const REMEMBERED: usize = 16;

/// A stream that is open at one end at least. `O` is whose it is.
#[derive(Debug)]
pub struct Stream<O> {
    pub id: u32,
    /// Bytes that may be sent; below zero where a client has made its windows smaller.
    pub send: i32,
    /// Bytes that may come.
    pub receive: i32,
    /// Bytes that came and were taken, of which the client was not told yet.
    pub taken: u32,
    /// Bytes of the body that are still to come, where its length was said.
    pub left: Option<u64>,
    /// The client has said all.
    pub heard: bool,
    /// The head of the answer is out.
    pub answered: bool,
    /// Something did not fit, and its owner waits.
    pub waits: bool,
    pub owner: O,
}

/// All streams of a connection, by number.
#[derive(Debug)]
pub struct Streams<O> {
    /// In the order of their numbers.
    open: Vec<Stream<O>>,
    gone: VecDeque<Past>,
    /// Bytes that may be sent on all streams together.
    pub send: i32,
    /// Who is first where not all can go on.
    turn: u32,
}

/// How a stream went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Both ends said so, or the client alone.
    Ended,
    /// The node has ended it before the client was through, whose frames may be on their way.
    Reset,
}

/// A stream that is gone, and the bytes that its client still had room for.
#[derive(Debug)]
struct Past {
    id: u32,
    how: Gone,
    room: i32,
}

impl<O> Streams<O> {
    /// None yet; `send`: bytes that may be sent on all together.
    pub fn new(send: i32) -> Streams<O> {
        Streams { open: Vec::new(), gone: VecDeque::new(), send, turn: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Adds one whose number is the greatest.
    pub fn push(&mut self, stream: Stream<O>) {
        if self.open.len() == self.open.capacity() {
            // Most have one, where a vector would begin with room for four.
            self.open.reserve_exact(1 + self.open.len() / 2);
        }
        self.open.push(stream);
    }

    fn place(&self, id: u32) -> Option<usize> {
        match &self.open[..] {
            // Most connections have one.
            [only] => (only.id == id).then_some(0),
            all => all.binary_search_by_key(&id, |stream| stream.id).ok(),
        }
    }

    /// A stream that is there.
    pub fn get(&self, id: u32) -> Option<&Stream<O>> {
        self.place(id).map(|at| &self.open[at])
    }

    /// A stream that is there, to be changed.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut Stream<O>> {
        self.place(id).map(|at| &mut self.open[at])
    }

    /// All.
    pub fn iter(&self) -> impl Iterator<Item = &Stream<O>> {
        self.open.iter()
    }

    /// Takes one away that is there, and remembers how it went, be it there or not.
    pub fn remove(&mut self, id: u32, how: Gone) -> Option<Stream<O>> {
        if self.gone(id).is_none() {
            if self.gone.len() == REMEMBERED {
                self.gone.pop_front();
            }
            let room = self.get(id).map_or(FIRST_WINDOW, |stream| stream.receive);
            self.gone.push_back(Past { id, how, room });
        }
        let stream = self.open.remove(self.place(id)?);
        if self.open.is_empty() {
            self.open = Vec::new();
        }
        Some(stream)
    }

    /// Takes all away.
    pub fn take(&mut self) -> Vec<Stream<O>> {
        std::mem::take(&mut self.open)
    }

    /// How a stream went, if that is remembered.
    pub fn gone(&self, id: u32) -> Option<Gone> {
        self.gone.iter().find(|past| past.id == id).map(|past| past.how)
    }

    /// Bytes come for a stream that is gone: whether the client had room for them when the node ended it; `None` where it ended
    /// otherwise, or is not remembered.
    pub fn late(&mut self, id: u32, bytes: usize) -> Option<bool> {
        let past = self.gone.iter_mut().find(|past| past.id == id && past.how == Gone::Reset)?;
        past.room -= bytes as i32;
        Some(past.room >= 0)
    }

    /// How many of so many bytes may be sent on a stream in one frame; `None` where it is gone. Where that is not all, the
    /// owner is one of those who wait.
    pub fn allowance(&mut self, id: u32, bytes: usize) -> Option<usize> {
        let window = self.send.max(0) as usize;
        let stream = self.get_mut(id)?;
        let most = window.min(stream.send.max(0) as usize);
        stream.waits |= bytes > most;
        Some(bytes.min(most).min(PAYLOAD_BYTES))
    }

    /// So many bytes go out on a stream.
    pub fn spend(&mut self, id: u32, bytes: usize) {
        self.send -= bytes as i32;
        if let Some(stream) = self.get_mut(id) {
            stream.send -= bytes as i32;
        }
    }

    /// Changes the windows of all; whether they stay within what a window may be.
    pub fn shift(&mut self, by: i64) -> bool {
        self.open.iter_mut().all(|stream| widen(&mut stream.send, by))
    }

    /// Takes those who wait and may go on.
    pub fn ready(&mut self) -> Vec<u32> {
        if self.send <= 0 {
            return Vec::new();
        }
        let ready = self.open.iter_mut().filter(|stream| stream.waits && stream.send > 0);
        let mut ids: Vec<u32> = ready
            .map(|stream| {
                stream.waits = false;
                stream.id
            })
            .collect();
        // Where the connection's window is the narrow one, not always the same are first.
        if !ids.is_empty() {
            self.turn = self.turn.wrapping_add(1);
            let first = self.turn as usize % ids.len();
            ids.rotate_left(first);
        }
        ids
    }
}

/// Makes a window wider; whether it stays within what a window may be.
pub fn widen(window: &mut i32, by: i64) -> bool {
    let wider = i64::from(*window) + by;
    let fits = (-MOST_WINDOW..=MOST_WINDOW).contains(&wider);
    if fits {
        *window = wider as i32;
    }
    fits
}
