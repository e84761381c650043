//! The console's streams: the whole cluster every two seconds, and one channel's events as they come.
//!
//! A channel is watched by reading its stream twice a second, apart from delivery: the viewer is no subscriber, and what
//! it costs ends with it.

use super::{Body, Console};
use crate::backplane::continuity::{Resume, Verdict, judge};
use crate::backplane::{Ask, Backplane, BackplaneError, Examined};
use crate::channel::Channel;
use crate::control_event::Gap;
use crate::event::{Event, is_true};
use crate::frame::Frame;
use crate::position::Position;
use crate::problem::{Code, Problem};
use crate::subscription::{decode_segment, parse_channel};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

/// Between looks at a channel.
const LOOK: Duration = Duration::from_millis(500);
/// Entries of one look.
const ENTRIES: usize = 100;
/// Looks without an event after which a comment shows whether the viewer is still there.
const SILENT: u32 = 20;

impl Console {
    /// Nodes and busiest channels, each time that this node has made its record.
    pub fn updates(&self) -> Result<Response<Body>, Problem> {
        let place = self.place()?;
        let mut own = self.roster.own();
        // The first block comes at once.
        own.mark_changed();
        let beats = stream::unfold((self.clone(), own, place), |(console, mut own, place)| async move {
            own.changed().await.ok()?;
            own.mark_unchanged();
            let mut nodes = console.nodes().await;
            nodes["channels"] = console.channels("").await.map_or(json!([]), |mut all| all["channels"].take());
            Some((Bytes::from(format!("event: nodes\ndata: {nodes}\n\n")), (console, own, place)))
        });
        Ok(event_stream(beats))
    }

    /// One channel's events from the newest on, or after `last`, the id that a reconnecting EventSource has, or after
    /// `since=ID`; with `envelope=1` as messages that have their types in their data.
    pub async fn live(&self, segment: &str, query: &str, last: Option<&str>) -> Result<Response<Body>, Problem> {
        if !self.contents {
            return Err(Problem::new(
                Code::Forbidden,
                "contents are not shown on this node: --admin-contents on shows them",
            ));
        }
        let channel = parse_channel(&decode_segment(segment)?)?;
        let place = self.place()?;
        let position = |name: &str, value: &str| {
            value.parse::<Position>().map_err(|error| Problem::bad_parameter(name, value, error))
        };
        let (mut since, mut envelope) = (None, false);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "since" => since = Some(position(&name, &value)?),
                "envelope" => envelope = is_true(value.as_bytes()),
                _ => {}
            }
        }
        if let Some(last) = last.filter(|last| !last.is_empty()) {
            since = Some(position("Last-Event-ID", last)?);
        }
        let at = match since {
            Some(at) => at,
            None => {
                let answers = self.hub.backplane.inspect(vec![channel.clone()]).await;
                let state = answers.ok().and_then(|mut answers| answers.pop()).and_then(Result::ok).flatten();
                state.map_or(Position::ZERO, |state| state.last)
            }
        };
        let viewer = Viewer { backplane: self.hub.backplane.clone(), channel, at, envelope, silent: 0, _place: place };
        Ok(event_stream(stream::unfold(viewer, |mut viewer| async move { Some((viewer.next().await, viewer)) })))
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let full = |_| Problem::new(Code::NodeFull, "the console has as many streams as it may");
        self.streams.clone().try_acquire_owned().map_err(full)
    }
}

struct Viewer {
    backplane: Arc<dyn Backplane>,
    channel: Channel,
    at: Position,
    envelope: bool,
    silent: u32,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    /// Waits for something to show.
    async fn next(&mut self) -> Bytes {
        loop {
            let blocks = self.look().await.unwrap_or_default();
            if !blocks.is_empty() {
                self.silent = 0;
                return blocks.into();
            }
            self.silent += 1;
            if self.silent.is_multiple_of(SILENT) {
                return Bytes::from_static(b":\n");
            }
            sleep(LOOK).await;
        }
    }

    /// What is new, a gap before it where something was lost.
    async fn look(&mut self) -> Result<Vec<u8>, BackplaneError> {
        let ask = Ask { channel: self.channel.clone(), after: self.at.before(), count: ENTRIES };
        let mut answers = self.backplane.examine(vec![ask]).await?;
        let Examined { state, entries } = answers.pop().unwrap_or_else(|| Ok(Examined::default()))?;
        let present = entries.first().is_some_and(|entry| entry.position == self.at);
        let mut blocks = Vec::new();
        if self.at != Position::ZERO {
            let (at, witness) = (self.at, present.into());
            let resume = Resume { at, rank: None, entry: true, witness, behind: None, known: at };
            if let Verdict::Broken { reason, after, lost } = judge(resume, state.as_ref()) {
                let next = entries.iter().map(|entry| entry.position).find(|position| *position > after);
                let gap = Gap {
                    channel: self.channel.to_string(),
                    reason,
                    resume_from: Some(self.at),
                    continues_at: Some(next.unwrap_or(after)),
                    lost,
                };
                blocks.extend_from_slice(gap.block().as_bytes());
                self.at = after;
            }
        }
        for entry in entries.iter().filter(|entry| entry.position > self.at) {
            // Its delay is for subscribers; a viewer that was told of a day would not come back.
            let frame = Frame::new(entry.position, Event { retry: None, ..Event::from_entry(entry) });
            if self.envelope {
                blocks.extend_from_slice(format!("id: {}\n", entry.position).as_bytes());
                blocks.extend_from_slice(frame.enveloped(&self.channel));
            } else {
                blocks.extend_from_slice(frame.block());
            }
        }
        self.at = entries.last().map_or(self.at, |entry| entry.position.max(self.at));
        Ok(blocks)
    }
}

fn event_stream(blocks: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    use futures_util::StreamExt as _;
    let frames = blocks.map(|block| Ok::<_, Infallible>(hyper::body::Frame::data(block)));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    response
}
