//! What an HTTP/2 stream that was cut says of itself.
//!
//! A stream whose peer takes nothing is cut by ending its task, and then hyper resets it with CANCEL. Clients take that
//! for an end without an error (nodejs/node#56627), and a part of the stream for all of it. So the code is replaced by
//! INTERNAL_ERROR as it passes. Nothing else is reset with CANCEL here: it is a client's word (RFC 9113, section 7).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const HEAD_BYTES: usize = 9;
const RST_STREAM: u8 = 3;
/// The last byte of a code of four; the others are 0 in all codes that there are.
const CANCEL: u8 = 8;
const INTERNAL_ERROR: u8 = 2;

/// A connection whose outgoing resets do not say CANCEL.
pub struct Resets<I> {
    io: I,
    frames: Frames,
}

impl<I> Resets<I> {
    pub fn new(io: I) -> Resets<I> {
        Resets { io, frames: Frames::default() }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Resets<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, into)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Resets<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let good = self.frames.clone().pass(bytes, true);
        let piece = match good {
            0 if !bytes.is_empty() => &[INTERNAL_ERROR][..],
            good => &bytes[..good],
        };
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, piece))?;
        self.frames.pass(&bytes[..written], false);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut ahead = self.frames.clone();
        if pieces.iter().any(|piece| ahead.pass(piece, true) < piece.len()) {
            let first = pieces.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| piece);
            return self.poll_write(cx, first);
        }
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, pieces))?;
        let mut left = written;
        for piece in pieces {
            let taken = piece.len().min(left);
            self.frames.pass(&piece[..taken], false);
            left -= taken;
        }
        Poll::Ready(Ok(written))
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

/// Where in a frame the connection is.
#[derive(Clone, Default)]
struct Frames {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that have gone.
    have: usize,
    /// Bytes of the payload that are still to go.
    left: usize,
    /// It is the payload of a RST_STREAM.
    reset: bool,
}

impl Frames {
    /// Goes on over these bytes, or as far as to the byte that says CANCEL, if it is to be `spared`; how far.
    fn pass(&mut self, bytes: &[u8], spared: bool) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len() - at);
                if spared && self.reset && taken == self.left && bytes[at + taken - 1] == CANCEL {
                    return at + taken - 1;
                }
                (self.left, at) = (self.left - taken, at + taken);
                continue;
            }
            let taken = (HEAD_BYTES - self.have).min(bytes.len() - at);
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[at..at + taken]);
            (self.have, at) = (self.have + taken, at + taken);
            if self.have == HEAD_BYTES {
                self.have = 0;
                self.left = u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]) as usize;
                self.reset = self.head[3] == RST_STREAM;
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Takes so many bytes at once.
    struct Narrow(Vec<u8>, usize);

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.1);
            self.0.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let size = (payload.len() as u32).to_be_bytes();
        [&size[1..], &[kind, 0, 0, 0, 0, 7], payload].concat()
    }

    fn written(bytes: &[u8], at_once: usize, vectored: bool) -> Vec<u8> {
        let mut resets = Resets::new(Narrow(Vec::new(), at_once));
        let mut cx = Context::from_waker(Waker::noop());
        let mut at = 0;
        while at < bytes.len() {
            let middle = at + (bytes.len() - at) / 2;
            let pieces = [IoSlice::new(&bytes[at..middle]), IoSlice::new(&bytes[middle..])];
            let taken = match vectored {
                true => Pin::new(&mut resets).poll_write_vectored(&mut cx, &pieces),
                false => Pin::new(&mut resets).poll_write(&mut cx, &bytes[at..]),
            };
            let Poll::Ready(Ok(taken)) = taken else { panic!("it takes some") };
            at += taken;
        }
        resets.io.0
    }

    #[test]
    fn only_the_code_of_a_cancelled_stream_is_another_one_wherever_it_is_cut() {
        let like_a_reset = frame(RST_STREAM, &8_u32.to_be_bytes());
        let others =
            [frame(4, &[]), frame(0, &like_a_reset), frame(RST_STREAM, &7_u32.to_be_bytes()), frame(6, &[8; 8])];
        let (before, behind) = (others.concat(), frame(0, b"data"));
        let sent = [&before[..], &like_a_reset, &behind, &like_a_reset].concat();
        let internal = frame(RST_STREAM, &2_u32.to_be_bytes());
        let expected = [&before[..], &internal, &behind, &internal].concat();
        for at_once in [1, 2, 5, 13, 1 << 20] {
            for vectored in [false, true] {
                assert_eq!(written(&sent, at_once, vectored), expected, "{at_once} {vectored}");
            }
        }
    }
}
