//! The way back to a client whose subscription was admitted: its socket, bare or under TLS, or an HTTP/2 stream. Here
//! an answer is written in the form that the way asks for.

use super::client_socket::ClientSocket;
use super::decision::Admitted;
use super::encoding::Coding;
use super::head::{self, Marks};
use super::stream_body::{StreamAnswer, StreamBody};
use super::stream_writer::{ANSWER_TIMEOUT, StreamWriter};
use super::tls::{Secure, tapped};
use crate::clock::Clock;
use crate::cors::CorsHeaders;
#[cfg(feature = "testing")]
use crate::courier::memory_socket::MemorySocket;
use crate::courier::pipe::{PipeWriter, pipe};
use crate::courier::{Cutter, Ending, Framing, Socket, take_unread};
use crate::gzip::Gzip;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Response, StatusCode};
use prometheus::IntGauge;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// A fresh socket takes a head at once; one that does not is no reader.
pub const HEAD_TIMEOUT: Duration = ANSWER_TIMEOUT;
/// Bytes of one read of a client that has nothing to say, for it waits for the end of its answer.
const UNHEARD_BYTES: usize = 256;
/// Such reads at most. A whole request behind the first one is no reason to end the answer; a flood is.
const UNHEARD_READS: usize = 256;

/// The way back to one client whose subscription was admitted.
pub enum Wire {
    /// HTTP/1 on a socket that has left hyper.
    Tcp(ClientSocket),
    /// HTTP/1 under TLS, on a socket that has left hyper.
    Tls(Secure),
    /// HTTP/2, where hyper writes.
    Stream(ResponseWriter),
    /// HTTP/2, where a courier writes.
    Carried(StreamWriter),
    /// HTTP/1 in memory.
    #[cfg(feature = "testing")]
    Memory(MemorySocket),
}

/// Writes the response that an HTTP/2 request waits for.
pub struct ResponseWriter {
    answer: Option<oneshot::Sender<StreamAnswer>>,
    cutter: Cutter,
    streams: IntGauge,
    pipe: Option<PipeWriter>,
}

impl ResponseWriter {
    /// `streams` counts the event streams that are open.
    pub fn new(answer: oneshot::Sender<StreamAnswer>, cutter: Cutter, streams: IntGauge) -> ResponseWriter {
        ResponseWriter { answer: Some(answer), cutter, streams, pipe: None }
    }

    /// Answers with a stream that a courier goes on with; whether somebody still waits.
    fn open(&mut self, first: Vec<u8>, coding: Coding, cors: &CorsHeaders) -> bool {
        let (into, from) = pipe(first, self.cutter.clone());
        self.pipe = Some(into);
        self.send(event_stream(StreamBody::new(from, Some(self.streams.clone())), coding, cors))
    }

    /// Answers with a stream of these blocks, which is not complete when it ends; nobody has subscribed.
    async fn come_back(mut self, blocks: Vec<u8>, cors: &CorsHeaders, end: impl Future<Output = ()>) {
        let (into, from) = pipe(blocks, self.cutter.clone());
        into.says_no_more();
        if !self.send(event_stream(StreamBody::new(from, None), Coding::NONE, cors)) {
            return;
        }
        tokio::select! {
            biased;
            () = end => into.finish(&[], Ending::Incomplete),
            () = into.peer_gone() => {}
        }
    }

    fn send(&mut self, answer: StreamAnswer) -> bool {
        self.answer.take().is_some_and(|waiting| waiting.send(answer).is_ok())
    }
}

fn event_stream(body: StreamBody, coding: Coding, cors: &CorsHeaders) -> StreamAnswer {
    let mut answer = Response::new(Either::Right(Either::Left(body)));
    head::stream_headers(answer.headers_mut());
    coding.apply(answer.headers_mut());
    cors.apply(answer.headers_mut());
    answer
}

impl Wire {
    /// Writes the head of an event stream and its first blocks; `None` where they were not taken, else the gzip stream
    /// that they began, if it is one.
    pub async fn open(&mut self, admitted: &Admitted, blocks: &[u8], clock: &Clock) -> Option<Option<Gzip>> {
        let Admitted { marks, coding, ref cors, .. } = *admitted;
        let mut first = Vec::new();
        let gzip = coding.gzip.then(|| {
            let mut gzip = Gzip::begin(&mut first);
            gzip.stored(blocks, &mut first);
            gzip
        });
        if !coding.gzip {
            first.extend_from_slice(blocks);
        }
        let taken = match self {
            Wire::Stream(writer) => writer.open(first, coding, cors),
            Wire::Carried(writer) => writer.open(first, coding, cors, clock),
            _ => {
                let mut bytes = head::stream(marks, coding, cors, clock);
                if marks.chunked {
                    crate::frame::chunked(&mut bytes, &first);
                } else {
                    bytes.extend_from_slice(&first);
                }
                self.write(&bytes).await
            }
        };
        taken.then_some(gzip)
    }

    /// Writes a stream of these blocks at once, which is not complete, so that its client comes back; and closes at its `end`, or
    /// when the client has gone.
    pub async fn come_back(
        mut self,
        cors: &CorsHeaders,
        marks: Marks,
        blocks: Vec<u8>,
        clock: &Clock,
        end: impl Future<Output = ()>,
    ) {
        if let Wire::Stream(writer) = self {
            return writer.come_back(blocks, cors, end).await;
        }
        if let Wire::Carried(mut writer) = self {
            writer.open(blocks, Coding::NONE, cors, clock);
            return writer.cut_short(end).await;
        }
        let mut bytes = head::stream(marks, Coding::NONE, cors, clock);
        match marks.chunked {
            true => crate::frame::chunked(&mut bytes, &blocks),
            false => bytes.extend_from_slice(&blocks),
        }
        if self.write(&bytes).await {
            tokio::select! {
                biased;
                () = end => {}
                () = self.hung_up() => {}
            }
        }
        // Without chunks the end is that of the session, which must not be told then.
        self.close(marks.chunked).await;
    }

    /// Waits until the client of a socket has hung up, or has said more than it has to; what it says is dropped.
    async fn hung_up(&mut self) {
        match self {
            Wire::Tcp(socket) => ended(socket).await,
            Wire::Tls(tls) => ended(tls).await,
            Wire::Stream(_) | Wire::Carried(_) => {}
            #[cfg(feature = "testing")]
            Wire::Memory(socket) => ended(socket).await,
        }
    }

    /// Closes by FIN. `notify`: TLS says first that no more comes.
    async fn close(self, notify: bool) {
        match self {
            Wire::Tcp(socket) => drop(socket.into_std().map(|mut socket| take_unread(&mut socket))),
            Wire::Tls(mut tls) => {
                if notify {
                    let _ = timeout(HEAD_TIMEOUT, tls.shutdown()).await;
                }
                let (socket, _) = tls.into_inner();
                drop(socket.into_std().map(|mut socket| take_unread(&mut socket)));
            }
            Wire::Stream(_) | Wire::Carried(_) => {}
            #[cfg(feature = "testing")]
            Wire::Memory(socket) => drop(socket),
        }
    }

    /// Says that the stream has ended for good, and that is all.
    pub async fn finished(mut self, cors: &CorsHeaders, clock: &Clock) {
        if let Wire::Stream(_) | Wire::Carried(_) = self {
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return self.answer(answer, cors, clock).await;
        }
        self.write(&head::finished(cors, clock)).await;
        self.close(true).await;
    }

    /// Writes a whole answer.
    pub async fn answer(mut self, mut answer: Response<Full<Bytes>>, cors: &CorsHeaders, clock: &Clock) {
        if let Wire::Carried(writer) = self {
            cors.apply(answer.headers_mut());
            return writer.answer(answer, clock).await;
        }
        match &mut self {
            Wire::Stream(writer) => {
                cors.apply(answer.headers_mut());
                writer.send(answer.map(Either::Left));
            }
            _ => {
                let bytes = head::answer(answer, cors, clock).await;
                self.write(&bytes).await;
            }
        }
        self.close(true).await;
    }

    async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = async {
            match self {
                Wire::Tcp(socket) => socket.write_all(bytes).await,
                Wire::Tls(tls) => {
                    tls.write_all(bytes).await?;
                    tls.flush().await
                }
                Wire::Stream(_) | Wire::Carried(_) => Ok(()),
                #[cfg(feature = "testing")]
                Wire::Memory(socket) => socket.write_all(bytes).await,
            }
        };
        matches!(timeout(HEAD_TIMEOUT, written).await, Ok(Ok(())))
    }

    /// How a courier frames what it writes here.
    pub fn framing(&self, chunked: bool) -> Framing {
        match self {
            Wire::Stream(_) | Wire::Carried(_) => Framing::Bare,
            _ if chunked => Framing::Chunked,
            _ => Framing::Bare,
        }
    }

    /// What a courier writes to, and what it must write first; `None` where nothing was opened, or the socket is gone.
    pub fn into_socket(self) -> Option<(Socket, Vec<u8>)> {
        let socket = match self {
            Wire::Carried(writer) => return writer.into_socket(),
            Wire::Tcp(socket) => Some(Socket::tcp(socket.into_std().ok()?)),
            Wire::Tls(tls) => tapped::into_socket(*tls),
            Wire::Stream(writer) => writer.pipe.map(|pipe| Socket::Pipe(Box::new(pipe))),
            #[cfg(feature = "testing")]
            Wire::Memory(socket) => Some(Socket::Memory(socket)),
        };
        Some((socket?, Vec::new()))
    }
}

/// Reads to the end of what a client says who has nothing to say, but no more than [`UNHEARD_READS`] pieces.
async fn ended(socket: &mut (impl AsyncRead + Unpin)) {
    let mut said = [0; UNHEARD_BYTES];
    for _ in 0..UNHEARD_READS {
        if !matches!(socket.read(&mut said).await, Ok(n) if n > 0) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
