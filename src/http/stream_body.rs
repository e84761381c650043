//! Bodies of answers that leave through hyper: a whole one, an event stream that a courier writes into a pipe, or a page of
//! history.

use super::history::Pages;
use crate::courier::pipe::{Cut, PipeReader};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use prometheus::IntGauge;
use std::pin::Pin;
use std::task::{Context, Poll};

/// An answer on an HTTP/2 stream.
pub type StreamAnswer = Response<Either<Full<Bytes>, Either<StreamBody, Pages>>>;

/// The reader's end of a courier's pipe.
pub struct StreamBody {
    pipe: PipeReader,
    streams: Option<IntGauge>,
}

impl StreamBody {
    /// `streams` counts it for as long as it lives, if it is a subscriber's.
    pub fn new(pipe: PipeReader, streams: Option<IntGauge>) -> StreamBody {
        streams.iter().for_each(IntGauge::inc);
        StreamBody { pipe, streams }
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.streams.iter().for_each(IntGauge::dec);
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.pipe.poll_take(cx).map(|taken| taken.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.pipe.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
