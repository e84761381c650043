//! Writing a page of history: a small one as a whole, a larger one as it is read, and no faster than it is taken.

use super::Page;
use super::budget::{Held, Turn, full};
use super::reading::{Piece, Reading};
use super::shown;
use crate::backplane::Entry;
use crate::event::Event;
use crate::frame::{plain_data, plain_type};
use crate::http::Context;
use crate::position::Position;
use crate::problem::Problem;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::Response;
use hyper::body::{Body, Frame};
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::Instrument as _;

/// Bytes that are written at once, about; who needs no more gets a whole answer.
const CHUNK: usize = 64 << 10;
/// Data is escaped in slices of so many bytes, which JSON makes six times as long at most.
const SLICE: usize = 8 << 10;
/// Time for room, and for Redis, until the next piece is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer to a request for history.
pub type Answer = Response<Either<Full<Bytes>, Pages>>;

/// A page that is written as it is read.
pub struct Pages {
    /// `None`: that was all.
    chunks: mpsc::Receiver<Option<Bytes>>,
}

/// The reader took nothing for too long.
#[derive(Debug, thiserror::Error)]
#[error("the page of history is not complete")]
pub struct Torn;

impl Body for Pages {
    type Data = Bytes;
    type Error = Torn;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Torn>>> {
        self.chunks.poll_recv(cx).map(|chunk| match chunk {
            Some(Some(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(None) => None,
            None => Some(Err(Torn)),
        })
    }
}

/// Bytes that count until they are written.
struct Counted {
    bytes: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn counted(bytes: Vec<u8>, turn: &Arc<Turn>) -> Bytes {
    let held = turn.count(bytes.len());
    Bytes::from_owner(Counted { bytes, _held: held })
}

impl Page {
    /// Reads and answers; `head`: without the body.
    pub async fn answer(self, client: IpAddr, head: bool, context: &Context) -> Result<Answer, Problem> {
        let turn = context.history.enter(client)?;
        let mut text = beginning(&self);
        let field = self.field.clone();
        let mut reading = Reading::new(self, context.hub.clone(), turn.clone());
        let mut ready = Vec::new();
        while !reading.is_over() && ready.iter().map(Piece::bytes).sum::<usize>() <= CHUNK {
            let next = timeout(PATIENCE, reading.next()).await.map_err(|_| full())?;
            ready.extend(next.map_err(|error| Problem::from(&error))?);
        }
        let small = reading.is_over() && ready.iter().map(Piece::bytes).sum::<usize>() <= CHUNK;
        let mut response = match (small, head) {
            (true, _) => {
                let mut first = true;
                for entry in ready.iter().flat_map(|piece| &piece.entries) {
                    put_event(&mut text, entry, field.as_deref(), &mut first);
                }
                text.push_str(&end(reading.more(), reading.stopped_at()));
                let length = text.len();
                let body = if head { Bytes::new() } else { counted(text.into_bytes(), &turn) };
                let mut response = Response::new(Either::Left(Full::new(body)));
                response.headers_mut().insert(CONTENT_LENGTH, length.into());
                response
            }
            (false, true) => Response::new(Either::Left(Full::default())),
            (false, false) => {
                let (chunks, written) = mpsc::channel(1);
                let stall_timeout = context.settings.stall_timeout;
                let writing = Writing { text, first: true, field, chunks, turn, stall_timeout };
                tokio::spawn(writing.run(ready, reading).in_current_span());
                Response::new(Either::Right(Pages { chunks: written }))
            }
        };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// An answer that is being written.
struct Writing {
    /// What goes out next.
    text: String,
    /// No event has been written.
    first: bool,
    /// The field that is the data where there is none.
    field: Option<Arc<str>>,
    chunks: mpsc::Sender<Option<Bytes>>,
    turn: Arc<Turn>,
    stall_timeout: Duration,
}

/// Nobody takes it any more.
struct Gone;

impl Writing {
    async fn run(mut self, ready: Vec<Piece>, reading: Reading) {
        // Dropped without its end, the body breaks off.
        let _ = self.write(ready, reading).await;
    }

    async fn write(&mut self, ready: Vec<Piece>, mut reading: Reading) -> Result<(), Gone> {
        for piece in ready {
            self.put(piece).await?;
        }
        let mut cut = false;
        loop {
            match timeout(PATIENCE, reading.next()).await {
                Ok(Ok(Some(piece))) => self.put(piece).await?,
                Ok(Ok(None)) => break,
                // It is a good page as far as it goes; who wants more asks again, and is told what is wrong.
                Ok(Err(_)) | Err(_) => {
                    cut = true;
                    break;
                }
            }
        }
        self.text.push_str(&end(cut || reading.more(), reading.stopped_at()));
        self.flush().await?;
        self.send(None).await
    }

    async fn put(&mut self, piece: Piece) -> Result<(), Gone> {
        for entry in &piece.entries {
            let event = shown(entry, self.field.as_deref());
            put_head(&mut self.text, entry, &event, &mut self.first);
            let data = plain_data(&event);
            let mut rest = &*data;
            while !rest.is_empty() {
                let (slice, behind) = rest.split_at(slice_end(rest));
                put_escaped(&mut self.text, slice);
                rest = behind;
                if self.text.len() >= CHUNK {
                    self.flush().await?;
                }
            }
            self.text.push_str(tail(&event));
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        let bytes = std::mem::take(&mut self.text).into_bytes();
        self.send(Some(counted(bytes, &self.turn))).await
    }

    /// Waits until what was sent before has been taken.
    async fn send(&self, chunk: Option<Bytes>) -> Result<(), Gone> {
        match timeout(self.stall_timeout, self.chunks.send(chunk)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

fn beginning(page: &Page) -> String {
    // A channel's name needs no escapes.
    format!("{{\"channel\":\"{}\",\"events\":[", page.channel)
}

/// `next`: where to go on, if that is not the last event.
fn end(more: bool, next: Option<Position>) -> String {
    let next = next.map_or(String::new(), |id| format!(",\"next\":\"{id}\""));
    format!("],\"more\":{more}{next}}}\n")
}

fn put_event(into: &mut String, entry: &Entry, field: Option<&str>, first: &mut bool) {
    let event = shown(entry, field);
    put_head(into, entry, &event, first);
    put_escaped(into, &plain_data(&event));
    into.push_str(tail(&event));
}

/// An event up to its data.
fn put_head(into: &mut String, entry: &Entry, event: &Event, first: &mut bool) {
    into.push_str(if std::mem::take(first) { "{" } else { ",{" });
    into.push_str(&format!("\"id\":\"{}\",\"event\":\"", entry.position));
    put_escaped(into, &plain_type(event.kind.as_deref()));
    into.push_str("\",\"data\":\"");
}

/// What follows an event's data.
fn tail(event: &Event) -> &'static str {
    if event.last { "\",\"final\":true}" } else { "\"}" }
}

/// Where the next slice of a text ends, with a whole character.
fn slice_end(text: &str) -> usize {
    let mut end = SLICE.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// A text as a part of a JSON string.
fn put_escaped(into: &mut String, text: &str) {
    let quoted = serde_json::Value::from(text).to_string();
    into.push_str(&quoted[1..quoted.len() - 1]);
}
