//! What a node says: heads and bodies of answers, ends, and room for bodies of requests.

use super::connection::{Connection, Phase};
use super::error_code::ErrorCode;
use super::frame::{self, END_STREAM, Kind};
use super::settings::FIRST_WINDOW;
use super::streams::{Gone, Stream};

/// Room is told of when so much of a window was taken: its half.
const TOLD_FROM: u32 = FIRST_WINDOW as u32 / 2;

impl<O: Default> Connection<O> {
    /// A request has come.
    pub(super) fn open(&mut self, id: u32, left: Option<u64>, heard: bool) {
        self.streams.push(Stream {
            id,
            send: self.first_window,
            receive: FIRST_WINDOW,
            taken: 0,
            left,
            heard,
            answered: false,
            waits: false,
            owner: O::default(),
        });
    }

    /// Whose a stream is, while it is there.
    pub fn owner(&mut self, stream: u32) -> Option<&mut O> {
        self.streams.get_mut(stream).map(|stream| &mut stream.owner)
    }

    /// Sends the head of an answer, which was encoded, once. False where the stream is gone.
    pub fn answer(&mut self, id: u32, block: &[u8]) -> bool {
        let Some(stream) = self.streams.get_mut(id) else { return false };
        stream.answered = true;
        frame::push_block(&mut self.out, id, block, false);
        true
    }

    /// How many of so many bytes of a body may be sent in one frame; `None` where the stream is gone. Where that is not all,
    /// the stream is one of those that [`ready`](Connection::ready) names when there is more room.
    pub fn allowance(&mut self, stream: u32, bytes: usize) -> Option<usize> {
        self.streams.allowance(stream, bytes)
    }

    /// Spends room on a frame of so many bytes, which the caller sends behind what is in [`out`](Connection::out).
    pub fn spend(&mut self, stream: u32, bytes: usize) {
        self.streams.spend(stream, bytes);
    }

    /// A stream has something to send when there is room in the socket.
    pub fn wait(&mut self, stream: u32) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.waits = true;
        }
    }

    /// Takes the streams that wait and may go on, as far as windows tell.
    pub fn ready(&mut self) -> Vec<u32> {
        self.streams.ready()
    }

    /// Ends the answer, which is complete; whose the stream was.
    pub fn finish(&mut self, id: u32) -> Option<O> {
        let heard = self.streams.get(id)?.heard;
        frame::push(&mut self.out, Kind::Data, END_STREAM, id, &[]);
        if !heard {
            // The rest of the request is not needed (section 8.1).
            frame::push_reset(&mut self.out, id, ErrorCode::NoError);
        }
        let how = if heard { Gone::Ended } else { Gone::Reset };
        self.streams.remove(id, how).map(|stream| stream.owner)
    }

    /// Ends a stream that is not complete; whose it was.
    pub fn reset(&mut self, id: u32, code: ErrorCode) -> Option<O> {
        let stream = self.streams.remove(id, Gone::Reset)?;
        frame::push_reset(&mut self.out, id, code);
        Some(stream.owner)
    }

    /// So many bytes of a body were taken: there is room for as many.
    pub fn taken(&mut self, id: u32, bytes: usize) {
        if let Some(stream) = self.streams.get_mut(id).filter(|stream| !stream.heard) {
            stream.taken += bytes as u32;
            if stream.taken >= TOLD_FROM {
                let room = std::mem::take(&mut stream.taken);
                stream.receive += room as i32;
                frame::push_window(&mut self.out, id, room);
            }
        }
        self.give_back(bytes);
    }

    /// Makes room for what came on all streams together.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.taken += bytes as u32;
        if self.taken >= TOLD_FROM && self.phase != Phase::Broken {
            let room = std::mem::take(&mut self.taken);
            self.receive += room as i32;
            frame::push_window(&mut self.out, 0, room);
        }
    }
}
