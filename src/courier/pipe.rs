//! A pipe in memory: what a courier writes to where the bytes go on through somebody else, as on an HTTP/2 stream.
//!
//! It behaves as a socket does: it takes what fits, and tells the courier when there is room again or when nobody
//! reads any more. It keeps nothing while it is empty.

use super::ending::Ending;
use super::key::{Key, SubscriberId};
use bytes::Bytes;
use parking_lot::Mutex;
use std::io::{self, ErrorKind};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// What is taken before the reader takes it away; beyond it the courier waits, as for a full socket.
const PIPE_BYTES: usize = 32 << 10;

/// Ends the reader's task from outside, since one that waits for its peer does not look at the pipe.
pub type Cutter = Arc<OnceLock<AbortHandle>>;

/// The courier's end.
pub struct PipeWriter {
    pipe: Arc<Mutex<Pipe>>,
    cutter: Cutter,
}

/// The other end.
pub struct PipeReader(Arc<Mutex<Pipe>>);

#[derive(Default)]
struct Pipe {
    bytes: Vec<u8>,
    /// A write did not fit: the courier waits for room.
    wanted: bool,
    end: Option<Ending>,
    /// Where the last bytes of a stream are that is not complete.
    last: Last,
    /// Nobody reads any more.
    peer_gone: bool,
    reader: Option<Waker>,
    writer: Option<Notice>,
}

/// Who writes into pipes, and is told what becomes of them. Must not block: a pipe's reader calls it.
pub trait PipeWatcher: Send + Sync {
    /// That subscriber's pipe was full, and has room again.
    fn writable(&self, id: SubscriberId);

    /// Nobody reads that subscriber's pipe any more.
    fn peer_gone(&self, id: SubscriberId);
}

/// The watcher of a courier's pipes. Each pipe keeps one word for it, where a trait object takes two.
pub struct Watcher(Box<dyn PipeWatcher>);

impl Watcher {
    pub(super) fn new(watcher: impl PipeWatcher + 'static) -> Arc<Watcher> {
        Arc::new(Watcher(Box::new(watcher)))
    }

    /// Tells that a subscriber's connection has room again.
    #[cfg(feature = "testing")]
    pub(super) fn writable(&self, id: SubscriberId) {
        self.0.writable(id);
    }

    /// Tells that nobody reads a subscriber's connection any more.
    #[cfg(feature = "testing")]
    pub(super) fn peer_gone(&self, id: SubscriberId) {
        self.0.peer_gone(id);
    }
}

/// Tells a task that nobody reads its pipe.
struct Gone(Arc<Notify>);

impl PipeWatcher for Gone {
    fn writable(&self, _: SubscriberId) {}

    fn peer_gone(&self, _: SubscriberId) {
        self.0.notify_one();
    }
}

/// Whom to tell, and how it knows the subscriber.
#[derive(Clone)]
struct Notice {
    watcher: Arc<Watcher>,
    id: SubscriberId,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Here,
    /// The reader has not taken what is there, behind which nothing is written; the end may come later.
    Said,
    /// The reader has them, and has not sent them yet.
    OnTheirWay,
    Sent,
}

/// Bytes behind which the stream is to be reset, which discards what was not sent: their being dropped tells when.
struct LastBytes {
    bytes: Vec<u8>,
    pipe: Arc<Mutex<Pipe>>,
}

impl AsRef<[u8]> for LastBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for LastBytes {
    fn drop(&mut self) {
        let mut pipe = self.pipe.lock();
        pipe.last = Last::Sent;
        let reader = pipe.reader.take();
        drop(pipe);
        reader.into_iter().for_each(Waker::wake);
    }
}

/// The writer ended before the stream was complete.
#[derive(Debug, thiserror::Error)]
#[error("the stream was cut")]
pub struct Cut;

/// Makes a pipe that holds some bytes already, be they more than it takes later.
pub fn pipe(first: Vec<u8>, cutter: Cutter) -> (PipeWriter, PipeReader) {
    let pipe = Arc::new(Mutex::new(Pipe { bytes: first, ..Pipe::default() }));
    (PipeWriter { pipe: pipe.clone(), cutter }, PipeReader(pipe))
}

impl PipeWriter {
    /// Says whom to tell of room; whether somebody still reads.
    pub(super) fn attach(&self, watcher: Arc<Watcher>, id: SubscriberId) -> bool {
        let mut pipe = self.pipe.lock();
        pipe.writer = Some(Notice { watcher, id });
        !pipe.peer_gone
    }

    /// Takes what fits; [`ErrorKind::WouldBlock`] where nothing does, [`ErrorKind::BrokenPipe`] where nobody reads.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.pipe.lock();
        if pipe.peer_gone {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(PIPE_BYTES.saturating_sub(pipe.bytes.len()));
        pipe.wanted = n < bytes.len();
        if n == 0 && pipe.wanted {
            return Err(ErrorKind::WouldBlock.into());
        }
        pipe.bytes.extend_from_slice(&bytes[..n]);
        let reader = pipe.reader.take();
        drop(pipe);
        reader.into_iter().for_each(Waker::wake);
        Ok(n)
    }

    /// Says that nothing is written behind what is there, though the end comes later.
    pub fn says_no_more(&self) {
        self.pipe.lock().last = Last::Said;
    }

    /// Waits until nobody reads any more. For a pipe that no courier has.
    pub async fn peer_gone(&self) {
        let gone = Arc::new(Notify::new());
        if self.attach(Watcher::new(Gone(gone.clone())), SubscriberId { key: Key::of(0), serial: 0 }) {
            gone.notified().await;
        }
    }

    /// Ends the stream, unless it has ended: behind what was written and what there is room for of the last bytes.
    pub fn finish(&self, last: &[u8], end: Ending) {
        let mut pipe = self.pipe.lock();
        pipe.writer = None;
        if pipe.end.is_some() {
            return;
        }
        pipe.end = Some(end);
        let room = PIPE_BYTES.saturating_sub(pipe.bytes.len());
        pipe.bytes.extend_from_slice(&last[..last.len().min(room)]);
        let reader = pipe.reader.take();
        drop(pipe);
        reader.into_iter().for_each(Waker::wake);
        if end == Ending::Cut {
            self.cutter.get().into_iter().for_each(AbortHandle::abort);
        }
    }
}

/// A writer that ends without having finished cuts the stream.
impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.finish(&[], Ending::Cut);
    }
}

impl PipeReader {
    /// Takes all that is there; `None` after the end.
    pub fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        let mut pipe = self.0.lock();
        match pipe.end {
            Some(Ending::Cut) => return Poll::Ready(Some(Err(Cut))),
            Some(Ending::Incomplete) => {
                drop(pipe);
                return self.poll_last(cx);
            }
            Some(Ending::Complete) if pipe.bytes.is_empty() => return Poll::Ready(None),
            None if pipe.bytes.is_empty() => {
                pipe.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Some(Ending::Complete) | None => {}
        }
        if pipe.last == Last::Said {
            return Poll::Ready(Some(Ok(self.last_bytes(&mut pipe))));
        }
        let bytes = std::mem::take(&mut pipe.bytes);
        let notice = if std::mem::take(&mut pipe.wanted) { pipe.writer.clone() } else { None };
        drop(pipe);
        if let Some(Notice { watcher, id }) = notice {
            watcher.0.writable(id);
        }
        Poll::Ready(Some(Ok(bytes.into())))
    }

    /// What is left, and behind it, once that has been sent, the error by which the stream is reset.
    fn poll_last(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        let mut pipe = self.0.lock();
        match pipe.last {
            Last::Here | Last::Said if !pipe.bytes.is_empty() => Poll::Ready(Some(Ok(self.last_bytes(&mut pipe)))),
            Last::OnTheirWay => {
                pipe.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            Last::Here | Last::Said | Last::Sent => Poll::Ready(Some(Err(Cut))),
        }
    }

    /// All that is there, which tells when it has been sent.
    fn last_bytes(&self, pipe: &mut Pipe) -> Bytes {
        pipe.last = Last::OnTheirWay;
        Bytes::from_owner(LastBytes { bytes: std::mem::take(&mut pipe.bytes), pipe: self.0.clone() })
    }

    /// Whether nothing comes any more.
    pub fn is_over(&self) -> bool {
        let pipe = self.0.lock();
        pipe.bytes.is_empty() && pipe.end == Some(Ending::Complete)
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut pipe = self.0.lock();
        pipe.peer_gone = true;
        pipe.bytes = Vec::new();
        let notice = pipe.writer.take();
        drop(pipe);
        if let Some(Notice { watcher, id }) = notice {
            watcher.0.peer_gone(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(reader: &mut PipeReader) -> Poll<Option<Result<Bytes, Cut>>> {
        reader.poll_take(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_full_pipe_takes_a_part_then_nothing_and_again_when_it_was_read() {
        let (writer, mut reader) = pipe(b"head".to_vec(), Cutter::default());
        let large = vec![b'x'; PIPE_BYTES];
        assert_eq!(writer.write(&large).unwrap(), PIPE_BYTES - 4);
        assert_eq!(writer.write(b"y").unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(matches!(poll(&mut reader), Poll::Ready(Some(Ok(bytes))) if bytes.len() == PIPE_BYTES));
        assert!(poll(&mut reader).is_pending());
        assert_eq!(writer.write(b"y").unwrap(), 1);
    }

    #[test]
    fn an_end_comes_after_the_bytes_and_a_cut_at_once() {
        let (writer, mut reader) = pipe(Vec::new(), Cutter::default());
        writer.write(b"last").unwrap();
        writer.finish(b" one", Ending::Complete);
        assert!(!reader.is_over());
        assert!(matches!(poll(&mut reader), Poll::Ready(Some(Ok(bytes))) if bytes == "last one"));
        assert!(reader.is_over() && matches!(poll(&mut reader), Poll::Ready(None)));
        let (writer, mut reader) = pipe(b"first".to_vec(), Cutter::default());
        drop(writer);
        assert!(matches!(poll(&mut reader), Poll::Ready(Some(Err(Cut)))) && !reader.is_over());
    }

    #[test]
    fn an_incomplete_end_comes_when_the_last_bytes_have_been_sent() {
        let (writer, mut reader) = pipe(b"event".to_vec(), Cutter::default());
        writer.finish(b" retry", Ending::Incomplete);
        drop(writer);
        let Poll::Ready(Some(Ok(last))) = poll(&mut reader) else { panic!("bytes are there") };
        assert_eq!(last, "event retry");
        assert!(poll(&mut reader).is_pending() && !reader.is_over());
        drop(last);
        assert!(matches!(poll(&mut reader), Poll::Ready(Some(Err(Cut)))));
        // Where nothing is left there is nothing to wait for.
        let (writer, mut reader) = pipe(Vec::new(), Cutter::default());
        writer.finish(b"", Ending::Incomplete);
        assert!(matches!(poll(&mut reader), Poll::Ready(Some(Err(Cut)))));
    }

    #[test]
    fn an_incomplete_end_that_comes_later_waits_for_what_was_said_before() {
        let (writer, mut reader) = pipe(b"retry".to_vec(), Cutter::default());
        writer.says_no_more();
        let Poll::Ready(Some(Ok(said))) = poll(&mut reader) else { panic!("bytes are there") };
        assert_eq!(said, "retry");
        assert!(poll(&mut reader).is_pending());
        writer.finish(&[], Ending::Incomplete);
        assert!(poll(&mut reader).is_pending(), "it is not sent yet");
        drop(said);
        assert!(matches!(poll(&mut reader), Poll::Ready(Some(Err(Cut)))));
    }

    #[tokio::test]
    async fn a_task_is_told_that_nobody_reads_any_more() {
        let (writer, reader) = pipe(Vec::new(), Cutter::default());
        let ((), ()) = tokio::join!(writer.peer_gone(), async { drop(reader) });
        writer.peer_gone().await;
    }

    #[test]
    fn a_pipe_whose_peer_has_gone_is_broken() {
        let (writer, reader) = pipe(Vec::new(), Cutter::default());
        drop(reader);
        assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
