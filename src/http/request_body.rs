//! Bodies of requests: as hyper receives them, or as they come on a stream that a courier reads.

use super::exchange::Question;
use crate::courier::{BodyReader, StreamGone};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of a request.
pub enum RequestBody {
    Http1(Question<Incoming>),
    Hyper(Incoming),
    /// Of an HTTP/2 stream; `None`: there is none. The length that its head says is kept by the connection.
    Stream(Option<BodyReader>, Option<u64>),
}

/// A body that is not complete.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    #[error(transparent)]
    Stream(#[from] StreamGone),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            RequestBody::Http1(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::from),
            RequestBody::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::from),
            RequestBody::Stream(None, _) => Poll::Ready(None),
            RequestBody::Stream(Some(body), _) => {
                body.poll_take(cx).map(|taken| taken.map(|bytes| Ok(Frame::data(bytes?))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Http1(body) => body.is_end_stream(),
            RequestBody::Hyper(body) => body.is_end_stream(),
            RequestBody::Stream(body, _) => body.as_ref().is_none_or(BodyReader::is_over),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Http1(body) => body.size_hint(),
            RequestBody::Hyper(body) => body.size_hint(),
            RequestBody::Stream(None, _) => SizeHint::with_exact(0),
            RequestBody::Stream(Some(_), length) => length.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
