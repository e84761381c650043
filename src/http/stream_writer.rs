//! Answers on streams that couriers carry.

use super::encoding::Coding;
use super::head;
use crate::clock::Clock;
use crate::cors::CorsHeaders;
use crate::courier::{Ending, Socket, StreamWay};
use crate::http2::hpack::encode;
use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use hyper::header::CONTENT_LENGTH;
use hyper::{HeaderMap, Response, StatusCode};
use std::future::poll_fn;
use std::time::Duration;
use tokio::time::timeout;

/// Longest time in which a client takes nothing of an answer in place of an event stream: as for a head on HTTP/1.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Writes the answer of a request that subscribes.
pub struct StreamWriter {
    way: StreamWay,
    /// Head and beginning of an event stream, which the courier sends.
    opened: Option<(Vec<u8>, Vec<u8>)>,
}

impl StreamWriter {
    /// Nothing is written yet.
    pub fn new(way: StreamWay) -> StreamWriter {
        StreamWriter { way, opened: None }
    }

    /// Begins an event stream; whether somebody still waits for it.
    pub fn open(&mut self, first: Vec<u8>, coding: Coding, cors: &CorsHeaders, clock: &Clock) -> bool {
        let mut headers = HeaderMap::with_capacity(8);
        head::stream_headers(&mut headers);
        coding.apply(&mut headers);
        cors.apply(&mut headers);
        head::set_date(&mut headers, clock);
        self.opened = Some((encode::head(StatusCode::OK, &headers), first));
        self.way.is_there()
    }

    /// Writes what was opened, and at its `end`, unless the client goes before that, says that it is not complete.
    pub async fn cut_short(self, end: impl Future<Output = ()>) {
        let Some((block, first)) = self.opened else { return };
        if !self.way.answer(&block) || !write(&self.way, &first, ANSWER_TIMEOUT).await {
            return;
        }
        self.way.flush();
        tokio::select! {
            biased;
            () = end => self.way.finish(Ending::Incomplete),
            () = poll_fn(|cx| self.way.poll_gone(cx)) => {}
        }
    }

    /// Writes a whole answer.
    pub async fn answer<B>(self, answer: Response<B>, clock: &Clock)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        send(self.way, answer, false, clock, ANSWER_TIMEOUT).await;
    }

    /// What a courier writes to, and the beginning of what it writes; `None` where nothing was opened.
    pub fn into_socket(self) -> Option<(Socket, Vec<u8>)> {
        let (block, first) = self.opened?;
        self.way.answer(&block);
        Some((Socket::stream(self.way), first))
    }
}

/// Sends an answer; `bodiless`: its head alone.
pub async fn send<B>(way: StreamWay, answer: Response<B>, bodiless: bool, clock: &Clock, stall: Duration)
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut parts, mut body) = answer.into_parts();
    head::set_date(&mut parts.headers, clock);
    if let Some(length) = body.size_hint().exact()
        && parts.status != StatusCode::NO_CONTENT
        && !bodiless
    {
        parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    if !way.answer(&encode::head(parts.status, &parts.headers)) {
        return;
    }
    while !bodiless && !body.is_end_stream() {
        let piece = match body.frame().await {
            None => break,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) => return way.finish(Ending::Incomplete),
        };
        if !write(&way, &piece, stall).await {
            return;
        }
        if !body.is_end_stream() {
            // What follows may take a while.
            way.flush();
        }
    }
    way.finish(Ending::Complete);
}

/// Writes bytes of a body; whether its client has taken all of them.
async fn write(way: &StreamWay, mut bytes: &[u8], stall: Duration) -> bool {
    while !bytes.is_empty() {
        match timeout(stall, poll_fn(|cx| way.poll_write(cx, bytes))).await {
            Ok(Ok(n)) => bytes.advance(n),
            Ok(Err(_)) | Err(_) => return false,
        }
    }
    true
}
