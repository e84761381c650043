//! Receiving a body: within its length, its time and the node's room. Cut off, too long or too slow, nothing of it is used.

use super::room::{NoRoom, Place};
use crate::problem::{Code, Problem};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body that is on its way.
pub struct Receiving<'a, B> {
    body: B,
    most: usize,
    received: BytesMut,
    over: bool,
    until: Instant,
    place: Place<'a>,
}

/// A body with its room.
pub struct Received<'a> {
    pub body: Bytes,
    _place: Place<'a>,
}

impl<'a, B> Receiving<'a, B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// Begins; a body that says that it is longer than `most` is refused before anything of it is sent.
    pub fn begin(body: B, most: usize, place: Place<'a>) -> Result<Receiving<'a, B>, Problem> {
        if body.size_hint().lower() > most as u64 {
            return Err(too_large(most));
        }
        let until = Instant::now() + BODY_TIMEOUT;
        Ok(Receiving { over: body.is_end_stream(), body, most, received: BytesMut::new(), until, place })
    }

    pub fn place(&self) -> &Place<'a> {
        &self.place
    }

    /// Reads until the first line is whole that is not blank; `None`: all of it is here, or there is none.
    pub async fn first_line(&mut self) -> Result<Option<Bytes>, Problem> {
        let (mut start, mut scanned) = (0, 0);
        while !self.over {
            while let Some(end) = memchr::memchr(b'\n', &self.received[scanned..]) {
                let line = start..scanned + end;
                (start, scanned) = (line.end + 1, line.end + 1);
                if !self.received[line.clone()].trim_ascii().is_empty() {
                    return Ok(Some(Bytes::copy_from_slice(&self.received[line])));
                }
            }
            scanned = self.received.len();
            self.more().await?;
        }
        Ok(None)
    }

    /// Reads the rest.
    pub async fn all(mut self) -> Result<Received<'a>, Problem> {
        while !self.over {
            self.more().await?;
        }
        Ok(Received { body: self.received.freeze(), _place: self.place })
    }

    async fn more(&mut self) -> Result<(), Problem> {
        let frame = tokio::select! {
            biased;
            () = self.place.has_to_give_way() => return Err(no_room(NoRoom::AnyMore, self.place.too_much())),
            frame = timeout_at(self.until, self.body.frame()) => frame.map_err(|_| {
                let detail = format!("the body was not complete after {} s", BODY_TIMEOUT.as_secs());
                Problem::new(Code::BodyTimeout, detail)
            })?,
        };
        let Some(frame) = frame else {
            self.over = true;
            return Ok(());
        };
        let frame = frame.map_err(|e| Problem::new(Code::BadBody, format!("the body is not complete: {e}")))?;
        self.over = self.body.is_end_stream();
        let Ok(data) = frame.into_data() else { return Ok(()) };
        if data.len() > self.most - self.received.len() {
            return Err(too_large(self.most));
        }
        self.place.take(data.len()).map_err(|why| no_room(why, self.place.too_much()))?;
        self.received.extend_from_slice(&data);
        Ok(())
    }
}

fn too_large(most: usize) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("a body here has {most} bytes at most"))
}

fn no_room(why: NoRoom, too_much: Code) -> Problem {
    let (code, detail) = match why {
        NoRoom::Here => (Code::NodeFull, "too many bodies are being received at once".to_owned()),
        NoRoom::ForAddress(most) => {
            (too_much, format!("an address may have {most} bytes of bodies on their way at once"))
        }
        NoRoom::ForSubject(most) => {
            (too_much, format!("a subject may have {most} bytes of bodies on their way at once"))
        }
        NoRoom::AnyMore => {
            (Code::BodyTimeout, "the body came so slowly that it had to make room for others".to_owned())
        }
    };
    Problem::new(code, detail)
}
