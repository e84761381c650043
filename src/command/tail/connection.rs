//! One connection of `fantail tail`: the request, the answer, and the stream to its end.

use super::event_stream::{EventStream, Received};
use super::follower::{Follower, HEAD_TIMEOUT, say};
use super::redirect::{Astray, UrlError, Way};
use super::show;
use crate::command::credentials::TokenError;
use crate::command::failure::{deepest, problem};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// A refusal is read so far at most.
const PROBLEM_BYTES_MAX: usize = 64 << 10;

/// Why nothing can be asked.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
}

/// How one connection ended.
pub(super) enum End {
    /// 204: the server wants no reconnect.
    Finished,
    /// Nobody reads stdout any more.
    Unread,
    /// An answer that a further attempt will not change.
    Refused(String),
    /// Anything that may be better next time; `opened` if events could come.
    Lost { why: String, opened: bool, retry_after: Duration },
}

impl End {
    fn failed(why: impl Into<String>) -> End {
        End::Lost { why: why.into(), opened: false, retry_after: Duration::ZERO }
    }

    fn broken(why: impl Into<String>) -> End {
        End::Lost { why: why.into(), opened: true, retry_after: Duration::ZERO }
    }
}

impl Follower {
    /// Connects once, and prints what comes until it ends.
    pub(super) async fn connection(&mut self) -> End {
        let response = match self.answer().await {
            Ok(response) => response,
            Err(end) => return end,
        };
        match response.status() {
            StatusCode::OK if is_event_stream(response.headers()) => self.stream(response.into_body()).await,
            StatusCode::OK => End::Refused("the answer is no event stream".into()),
            StatusCode::NO_CONTENT => End::Finished,
            _ => refusal(response).await,
        }
    }

    /// The answer to the request, at the end of its redirects.
    async fn answer(&self) -> Result<Response<Incoming>, End> {
        let mut way = Way::new(&self.target()).map_err(|error| End::Refused(error.to_string()))?;
        loop {
            let request = self.request(&way).map_err(|error| End::Refused(error.to_string()))?;
            let client = if way.is_abroad() { &self.abroad } else { &self.client };
            let response = match timeout(HEAD_TIMEOUT, client.request(request)).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(End::failed(deepest(&error))),
                Err(_) => return Err(End::failed("no answer")),
            };
            match way.follow(response.status(), response.headers()) {
                Ok(true) => say(&format!("{} leads to {}", self.url(), way.shown())),
                Ok(false) => return Ok(response),
                // It may be over by the next time; the others are somebody's decision.
                Err(Astray::TooMany) => return Err(End::failed(Astray::TooMany.to_string())),
                Err(astray) => return Err(End::Refused(astray.to_string())),
            }
        }
    }

    /// What is asked for.
    fn target(&self) -> String {
        format!("{}/events?{}", self.url(), self.settings.query())
    }

    fn request(&self, way: &Way) -> Result<Request<Empty<Bytes>>, RequestError> {
        // Control characters, which another server's id may have, go into the query.
        let id = HeaderValue::from_bytes(self.last_event_id.as_bytes()).ok();
        let uri = way.uri(id.is_none().then_some(&self.last_event_id))?;
        // What a browser's fetch sends for a cache mode of `no-store`, as EventSource has it.
        let mut request = Request::get(uri).header(ACCEPT, "text/event-stream").header(CACHE_CONTROL, "no-cache");
        if let Some(token) = self.settings.credentials.authorization()?.filter(|_| !way.is_abroad()) {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            request = request.header("last-event-id", id);
        }
        Ok(request.body(Empty::new())?)
    }

    /// Prints a stream to its end.
    async fn stream(&mut self, mut body: Incoming) -> End {
        say(&format!("connected to {}", self.url()));
        self.failures = 0;
        let silence = Some(self.settings.stall_timeout).filter(|limit| !limit.is_zero()).unwrap_or(Duration::MAX);
        let mut stream = EventStream::new(&self.last_event_id);
        let mut events = Vec::new();
        loop {
            let piece = match timeout(silence, body.frame()).await {
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Ok(Some(Err(error))) if !stream.is_dismissed() => {
                    return End::broken(format!("connection lost: {}", deepest(&error)));
                }
                Ok(None | Some(Err(_))) => return End::broken("the node ended the stream"),
                Err(_) => return End::broken(format!("nothing came for {silence:?}")),
            };
            let parsed = stream.push(&piece, &mut events);
            if self.print(&events).await.is_err() {
                return End::Unread;
            }
            events.clear();
            // Only now: what was not printed is asked for again.
            self.last_event_id.clear();
            self.last_event_id.push_str(stream.last_event_id());
            self.retry = stream.retry_ms().map_or(self.retry, Duration::from_millis);
            if let Err(error) = parsed {
                return End::Refused(error.to_string());
            }
        }
    }

    async fn print(&self, events: &[Received]) -> std::io::Result<()> {
        let style = show::Style { json: self.settings.json, envelope: self.settings.envelope };
        let mut text = String::new();
        for event in events {
            match show::state(event) {
                Some(state) => say(&state),
                None => text.push_str(&show::event(style, event)),
            }
        }
        let mut stdout = tokio::io::stdout();
        stdout.write_all(text.as_bytes()).await?;
        stdout.flush().await
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// 429 and server errors may pass; other answers stay as they are.
async fn refusal(response: Response<Incoming>) -> End {
    let status = response.status();
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = timeout(HEAD_TIMEOUT, Limited::new(response.into_body(), PROBLEM_BYTES_MAX).collect()).await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    let why = problem(status, &body);
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        let retry_after = Duration::from_secs(seconds.unwrap_or(0));
        return End::Lost { why, opened: false, retry_after };
    }
    End::Refused(why)
}
