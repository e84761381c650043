//! Where an HTTP/1 connection stands between requests: whether the answer to the latest one is written, and whether
//! nothing of it is left, so that another one may be waited for anywhere.
//!
//! hyper does not tell. What it does is seen from both sides: it drops an answer's body when it has taken all of it, and it
//! flushes its socket when it has written all that it had.

use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONNECTION, HeaderMap};
use hyper::{Request, Response, Version};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

/// How far one connection has come with its request and answer; its parts all run on one thread at a time.
#[derive(Default)]
pub struct Exchange {
    /// hyper has taken all of the answer.
    taken: AtomicBool,
    /// It is written.
    answered: AtomicBool,
    /// The request had no body that may still be on its way, and the connection goes on behind the answer.
    plain: AtomicBool,
    /// Its body was given up before its end.
    unread: AtomicBool,
}

impl Exchange {
    /// A request has come.
    pub fn begin<B: Body>(self: &Arc<Exchange>, request: Request<B>) -> Request<Question<B>> {
        self.taken.store(false, Relaxed);
        self.answered.store(false, Relaxed);
        self.unread.store(false, Relaxed);
        let goes_on = request.version() == Version::HTTP_11 && !closes(request.headers());
        let over = request.body().is_end_stream();
        self.plain.store(goes_on && over, Relaxed);
        request.map(|body| Question { body, over, exchange: self.clone() })
    }

    /// What it is answered.
    pub fn answer<B>(self: &Arc<Exchange>, answer: Response<B>) -> Response<Answer<B>> {
        if closes(answer.headers()) {
            self.plain.store(false, Relaxed);
        }
        answer.map(|body| Answer { body, exchange: self.clone() })
    }

    /// hyper has written all that it had.
    pub fn flushed(&self) {
        if self.taken.load(Relaxed) {
            self.answered.store(true, Relaxed);
        }
    }

    /// Something of a request has been read behind the answer.
    pub fn goes_on(&self) {
        self.taken.store(false, Relaxed);
        self.answered.store(false, Relaxed);
    }

    /// Whether the latest request has its answer.
    pub fn is_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    /// Whether it has, and the request's body was not read to its end.
    pub fn leaves_unread(&self) -> bool {
        self.is_answered() && self.unread.load(Relaxed)
    }

    /// Whether it has, and the connection is as if nothing had been asked yet, but for what was read ahead.
    pub fn is_over(&self) -> bool {
        self.is_answered() && self.plain.load(Relaxed)
    }
}

fn closes(headers: &HeaderMap) -> bool {
    let options = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    options.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case("close"))
}

/// The body of a request, which tells when it is given up before its end.
pub struct Question<B> {
    body: B,
    over: bool,
    exchange: Arc<Exchange>,
}

impl<B> Drop for Question<B> {
    fn drop(&mut self) {
        self.exchange.unread.store(!self.over, Relaxed);
    }
}

impl<B: Body + Unpin> Body for Question<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.over |= matches!(frame, Poll::Ready(None)) || self.body.is_end_stream();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, which tells when hyper has all of it.
pub struct Answer<B> {
    body: B,
    exchange: Arc<Exchange>,
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        self.exchange.taken.store(true, Relaxed);
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
