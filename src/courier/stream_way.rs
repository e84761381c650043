//! The way of a task to its stream: the body of the request, and the answer.

use super::carrier::Carrier;
use super::ending::Ending;
use bytes::Bytes;
use std::io::ErrorKind;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The stream is gone.
#[derive(Debug, thiserror::Error)]
#[error("the stream has ended")]
pub struct StreamGone;

/// A request's stream, in the hands of the task that answers it. Dropping it before the answer is complete resets it.
pub struct StreamWay {
    carrier: Arc<Carrier>,
    stream: u32,
    /// It was answered, or has become a subscriber's.
    done: bool,
}

/// The body of a request, as it comes.
pub struct BodyReader {
    carrier: Arc<Carrier>,
    stream: u32,
}

impl StreamWay {
    pub(super) fn new(carrier: Arc<Carrier>, stream: u32) -> StreamWay {
        StreamWay { carrier, stream, done: false }
    }

    /// The body of the request; `None`: it has none.
    pub fn body(&self) -> Option<BodyReader> {
        let mut state = self.carrier.lock();
        let task = state.connection.owner(self.stream)?.task.as_ref()?;
        let any = !task.ended || !task.received.is_empty();
        any.then(|| BodyReader { carrier: self.carrier.clone(), stream: self.stream })
    }

    /// Whether its client still waits.
    pub fn is_there(&self) -> bool {
        self.carrier.lock().connection.owner(self.stream).is_some()
    }

    /// Puts the head of the answer, which was encoded, before what is written next.
    pub fn answer(&self, block: &[u8]) -> bool {
        self.carrier.lock().connection.answer(self.stream, block)
    }

    /// Sends what was written so far.
    pub fn flush(&self) {
        // An error shows when it is read.
        let _ = self.carrier.lock().flush();
    }

    /// Writes what fits of the answer's body; how much that is.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, StreamGone>> {
        let mut state = self.carrier.lock();
        match state.write(self.stream, bytes) {
            Ok(n) => return Poll::Ready(Ok(n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Poll::Ready(Err(StreamGone)),
        }
        if state.flush().is_err() {
            return Poll::Ready(Err(StreamGone));
        }
        match state.connection.owner(self.stream).and_then(|owner| owner.task.as_mut()) {
            Some(task) => {
                task.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(Err(StreamGone)),
        }
    }

    /// Waits until the stream is gone. Not beside a write.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.carrier.lock();
        match state.connection.owner(self.stream).and_then(|owner| owner.task.as_mut()) {
            Some(task) => {
                task.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }

    /// Ends the answer.
    pub fn finish(mut self, ending: Ending) {
        let mut state = self.carrier.lock();
        self.done = state.finish(self.stream, &[], ending);
        let _ = state.flush();
        drop(state);
    }

    /// Gives the stream to a subscriber: its carrier, and its number.
    pub(super) fn into_parts(mut self) -> (Arc<Carrier>, u32) {
        if let Some(owner) = self.carrier.lock().connection.owner(self.stream) {
            owner.task = None;
            self.done = true;
        }
        (self.carrier.clone(), self.stream)
    }
}

impl Drop for StreamWay {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut state = self.carrier.lock();
        if state.finish(self.stream, &[], Ending::Cut) {
            let _ = state.flush();
        } else {
            // It went before, and has counted since.
            state.connection.has_worked();
        }
    }
}

impl BodyReader {
    /// The next piece; `None` behind the last one.
    pub fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamGone>>> {
        let mut state = self.carrier.lock();
        let Some(task) = state.connection.owner(self.stream).and_then(|owner| owner.task.as_mut()) else {
            return Poll::Ready(Some(Err(StreamGone)));
        };
        match task.received.pop_front() {
            Some(piece) => {
                state.connection.taken(self.stream, piece.len());
                let _ = state.flush();
                Poll::Ready(Some(Ok(piece.into())))
            }
            None if task.ended => Poll::Ready(None),
            None => {
                task.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether nothing more comes.
    pub fn is_over(&self) -> bool {
        let mut state = self.carrier.lock();
        let task = state.connection.owner(self.stream).and_then(|owner| owner.task.as_ref());
        task.is_some_and(|task| task.ended && task.received.is_empty())
    }
}
