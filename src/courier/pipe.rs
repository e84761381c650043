//! A pipe in memory: what a courier writes to where the bytes go on through somebody else, as on an HTTP/2 stream.
//!
//! It behaves as a socket does: it takes what fits, and tells the courier when there is room again or when nobody
//! reads any more. It keeps nothing while it is empty.

use super::post::{Letter, Post};
use bytes::Bytes;
use parking_lot::Mutex;
use std::io::{self, ErrorKind};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
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
    end: Option<End>,
    /// Nobody reads any more.
    deserted: bool,
    reader: Option<Waker>,
    writer: Option<Notice>,
}

/// Whom to tell, and how it knows the subscriber.
#[derive(Clone)]
struct Notice {
    post: Arc<Post>,
    key: u32,
    serial: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Cut,
}

/// The writer ended before the stream was whole.
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
    pub(super) fn attach(&self, post: Arc<Post>, key: u32, serial: u32) -> bool {
        let mut pipe = self.pipe.lock();
        pipe.writer = Some(Notice { post, key, serial });
        !pipe.deserted
    }

    /// Takes what fits; [`ErrorKind::WouldBlock`] where nothing does, [`ErrorKind::BrokenPipe`] where nobody reads.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.pipe.lock();
        if pipe.deserted {
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

    /// Ends the stream after what was written.
    pub fn finish(self) {
        self.end(End::Whole);
    }

    fn end(&self, end: End) {
        let mut pipe = self.pipe.lock();
        pipe.writer = None;
        if pipe.end.is_some() {
            return;
        }
        pipe.end = Some(end);
        let reader = pipe.reader.take();
        drop(pipe);
        reader.into_iter().for_each(Waker::wake);
        if end == End::Cut {
            self.cutter.get().into_iter().for_each(AbortHandle::abort);
        }
    }
}

/// A writer that ends without having finished cuts the stream.
impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.end(End::Cut);
    }
}

impl PipeReader {
    /// Takes all that is there; `None` after the end.
    pub fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        let mut pipe = self.0.lock();
        match pipe.end {
            Some(End::Cut) => return Poll::Ready(Some(Err(Cut))),
            Some(End::Whole) if pipe.bytes.is_empty() => return Poll::Ready(None),
            None if pipe.bytes.is_empty() => {
                pipe.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            _ => {}
        }
        let bytes = std::mem::take(&mut pipe.bytes);
        let notice = if std::mem::take(&mut pipe.wanted) { pipe.writer.clone() } else { None };
        drop(pipe);
        if let Some(Notice { post, key, serial }) = notice {
            post.send(Letter::Room { key, serial });
        }
        Poll::Ready(Some(Ok(bytes.into())))
    }

    /// Whether nothing comes any more.
    pub fn is_over(&self) -> bool {
        let pipe = self.0.lock();
        pipe.bytes.is_empty() && pipe.end == Some(End::Whole)
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut pipe = self.0.lock();
        pipe.deserted = true;
        pipe.bytes = Vec::new();
        let notice = pipe.writer.take();
        drop(pipe);
        if let Some(Notice { post, key, serial }) = notice {
            post.send(Letter::Deserted { key, serial });
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
        writer.finish();
        assert!(!reader.is_over());
        assert!(matches!(poll(&mut reader), Poll::Ready(Some(Ok(bytes))) if bytes == "last"));
        assert!(reader.is_over() && matches!(poll(&mut reader), Poll::Ready(None)));
        let (writer, mut reader) = pipe(b"first".to_vec(), Cutter::default());
        drop(writer);
        assert!(matches!(poll(&mut reader), Poll::Ready(Some(Err(Cut)))) && !reader.is_over());
    }

    #[test]
    fn a_deserted_pipe_is_broken() {
        let (writer, reader) = pipe(Vec::new(), Cutter::default());
        drop(reader);
        assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
