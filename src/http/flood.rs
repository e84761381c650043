//! Floods of cheap HTTP/2 frames: pings, settings, priorities, pieces of heads, empty data. Each costs its sender a few
//! bytes and the node an answer or a walk through its tables, and the protocol bounds none of them.
//!
//! Frames are counted as their bytes pass; who sends more than any client has reason to is cut off. Requests, resets,
//! windows and data are not counted here: what they cost is bounded by streams, by [`http2`](super::http2)'s limits of
//! resets, and by what was sent to them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Cheap frames at once, and per second from then on. Browsers send some dozens in the life of a connection; a proxy
/// may probe each second.
const BURST: f64 = 1_000.0;
const PER_SECOND: f64 = 50.0;
/// The client's preface, before the first frame (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;

/// A connection whose incoming frames are counted. `flooded` is called once, when there were too many.
pub struct Gate<I, F> {
    io: I,
    frames: Frames,
    flooded: Option<F>,
}

impl<I, F: FnOnce()> Gate<I, F> {
    pub fn new(io: I, flooded: F) -> Gate<I, F> {
        Gate { io, frames: Frames::new(Instant::now()), flooded: Some(flooded) }
    }
}

impl<I: AsyncRead + Unpin, F: FnOnce() + Unpin> AsyncRead for Gate<I, F> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, into))?;
        if self.frames.pass(&into.filled()[before..], Instant::now()) {
            return Poll::Ready(Ok(()));
        }
        if let Some(flooded) = self.flooded.take() {
            flooded();
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "a flood of HTTP/2 frames")))
    }
}

impl<I: AsyncWrite + Unpin, F: Unpin> AsyncWrite for Gate<I, F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Where in a frame the connection is, and how many cheap ones it may still send.
struct Frames {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that have come.
    have: usize,
    /// Bytes to pass over before the next head.
    skip: usize,
    left: f64,
    refilled: Instant,
}

impl Frames {
    fn new(now: Instant) -> Frames {
        Frames { head: [0; HEAD_BYTES], have: 0, skip: PREFACE_BYTES, left: BURST, refilled: now }
    }

    /// Counts the frames whose heads end in these bytes; false where there were too many.
    fn pass(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        let mut cheap = 0_u32;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD_BYTES - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD_BYTES {
                self.have = 0;
                self.skip = u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]) as usize;
                cheap += u32::from(is_cheap(self.head[3], self.skip));
            }
        }
        if cheap == 0 {
            return true;
        }
        let rested = now.duration_since(self.refilled).as_secs_f64();
        (self.left, self.refilled) = ((self.left + rested * PER_SECOND).min(BURST) - f64::from(cheap), now);
        self.left >= 0.0
    }
}

fn is_cheap(kind: u8, length: usize) -> bool {
    !(matches!(kind, HEADERS | RST_STREAM | WINDOW_UPDATE) || kind == DATA && length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let size = (length as u32).to_be_bytes();
        [&size[1..], &[kind, 0, 0, 0, 0, 0], &vec![0xff; length]].concat()
    }

    #[test]
    fn cheap_frames_are_counted_wherever_they_are_cut() {
        const PING: u8 = 6;
        let now = Instant::now();
        let mut bytes = vec![0; PREFACE_BYTES];
        for kind in [HEADERS, WINDOW_UPDATE, DATA, RST_STREAM] {
            bytes.extend(frame(kind, 4));
        }
        (0..BURST as usize).for_each(|_| bytes.extend(frame(PING, 8)));
        for piece in [1, 7, 100, 1 << 20] {
            let mut frames = Frames::new(now);
            assert!(bytes.chunks(piece).all(|piece| frames.pass(piece, now)), "{piece}");
            assert!(!frames.pass(&frame(PING, 8), now), "{piece}");
        }
        let mut frames = Frames::new(now);
        assert!(frames.pass(&bytes, now));
        assert!(frames.pass(&frame(DATA, 0), now + Duration::from_secs(1)), "the bucket is filled again");
    }
}
