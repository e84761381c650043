//! `fantail tail`: an EventSource for the terminal. Events go to stdout, everything else to stderr.
//!
//! It goes on where EventSource gives up: a node that is full, draining or gone is tried again.

mod event_stream;
mod show;

pub(super) use show::printable;

use super::FAILURE;
use crate::config::{self, HOUR};
use bytes::Bytes;
use clap::Args;
use event_stream::{EventStream, Received};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// Time in which a node must have answered, connecting included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Reconnect delay until a server says one.
const RETRY: Duration = Duration::from_secs(1);
/// Longest delay between attempts that all failed, unless the server asks for more.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// A refusal is read so far at most.
const PROBLEM_BYTES_MAX: usize = 64 << 10;

/// Prints the events of channels as they come; resumes by itself.
#[derive(Args, Clone, Debug)]
pub struct Tail {
    /// Channels, separated by commas.
    #[arg(value_name = "CHANNELS", required = true, value_delimiter = ',', value_parser = super::channel)]
    channels: Vec<crate::channel::Channel>,
    /// Nodes, tried in turn; repeat it, or separate them by commas.
    #[arg(long, env = "FANTAIL_URL", value_name = "URL", value_delimiter = ',', value_parser = super::node_url)]
    #[arg(default_value = "http://127.0.0.1:8080")]
    url: Vec<String>,
    /// Where to begin: latest, earliest, an id, a time (Unix ms or RFC 3339), or a duration back such as 5m.
    #[arg(long, value_name = "WHERE")]
    since: Option<String>,
    /// Begin with the last N events of each channel.
    #[arg(long, value_name = "N", value_parser = config::number(1..=10_000_000_u64))]
    tail: Option<u64>,
    /// Only events of these types, separated by commas.
    #[arg(long, value_name = "TYPES")]
    events: Option<String>,
    /// Resume after this id.
    #[arg(long, value_name = "ID", value_parser = header)]
    last_event_id: Option<String>,
    /// Ask for each event's channel, and print it.
    #[arg(long)]
    envelope: bool,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Time without a byte after which a connection counts as dead, 1s to 1h; more than the node's heartbeat. 0s: never.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    #[arg(value_parser = config::duration_or_never(config::SECOND..=HOUR))]
    stall_timeout: Duration,
}

fn header(text: &str) -> Result<String, String> {
    HeaderValue::from_str(text).map(|_| text.to_owned()).map_err(|_| "not a value that a header can carry".into())
}

/// How one connection ended.
enum End {
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

/// Prints events until the channels are finished, stdout is closed, or a signal comes.
pub async fn tail(settings: Tail) -> ExitCode {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        say("signals cannot be caught");
        return ExitCode::from(FAILURE);
    };
    tokio::select! {
        code = Follower::new(settings).run() => code,
        _ = interrupt.recv() => ExitCode::SUCCESS,
        _ = terminate.recv() => ExitCode::SUCCESS,
    }
}

/// What outlives a connection.
struct Follower {
    settings: Tail,
    client: Client<HttpConnector, Empty<Bytes>>,
    last_event_id: String,
    retry: Duration,
    /// Which URL is used; counts on without end.
    turn: usize,
    /// Attempts since the last stream that opened.
    failures: usize,
}

impl Follower {
    fn new(settings: Tail) -> Follower {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(HEAD_TIMEOUT));
        Follower {
            client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector),
            last_event_id: settings.last_event_id.clone().unwrap_or_default(),
            retry: RETRY,
            turn: 0,
            failures: 0,
            settings,
        }
    }

    async fn run(mut self) -> ExitCode {
        loop {
            match self.connection().await {
                End::Finished => {
                    say("finished: the server wants no reconnect");
                    return ExitCode::SUCCESS;
                }
                End::Unread => return ExitCode::SUCCESS,
                End::Refused(why) => {
                    say(&format!("{}: {why}", self.url()));
                    return ExitCode::from(FAILURE);
                }
                End::Lost { why, opened, retry_after } => {
                    let lost = self.url().to_owned();
                    self.turn = self.turn.wrapping_add(1);
                    self.failures = if opened { 0 } else { self.failures + 1 };
                    let delay = self.delay(retry_after);
                    let from = if self.last_event_id.is_empty() { "the start" } else { &self.last_event_id };
                    say(&format!("{lost}: {why}; going on at {} after {from} in {delay:.1?}", self.url()));
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    fn url(&self) -> &str {
        &self.settings.url[self.turn % self.settings.url.len()]
    }

    /// What the server asked for, and up to a quarter more, so that many clients do not come back as one.
    ///
    /// A URL that was not tried since the stream was lost is tried at once; rounds that fail back off.
    fn delay(&self, retry_after: Duration) -> Duration {
        let urls = self.settings.url.len();
        if !self.failures.is_multiple_of(urls) && retry_after.is_zero() {
            return Duration::ZERO;
        }
        let rounds = u32::try_from(self.failures / urls).unwrap_or(u32::MAX).saturating_sub(1).min(16);
        let backed_off = self.retry.saturating_mul(1 << rounds).min(BACK_OFF_MAX);
        self.retry.max(backed_off).max(retry_after).min(HOUR).mul_f64(1.0 + fastrand::f64() / 4.0)
    }

    async fn connection(&mut self) -> End {
        let request = match self.request() {
            Ok(request) => request,
            Err(error) => return End::Refused(error.to_string()),
        };
        let response = match timeout(HEAD_TIMEOUT, self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return End::failed(deepest(&error)),
            Err(_) => return End::failed("no answer"),
        };
        match response.status() {
            StatusCode::OK if is_event_stream(response.headers()) => self.stream(response.into_body()).await,
            StatusCode::OK => End::Refused("the answer is no event stream".into()),
            StatusCode::NO_CONTENT => End::Finished,
            _ => refusal(response).await,
        }
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
        let settings = &self.settings;
        let channels: Vec<&str> = settings.channels.iter().map(|channel| channel.as_str()).collect();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("channels", &channels.join(","));
        let tail = settings.tail.map(|n| n.to_string());
        for (name, value) in [("since", &settings.since), ("tail", &tail), ("events", &settings.events)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        if settings.envelope {
            query.append_pair("envelope", "1");
        }
        let request = Request::get(format!("{}/events?{}", self.url(), query.finish()))
            .header(ACCEPT, "text/event-stream")
            .header(CACHE_CONTROL, "no-store");
        match self.last_event_id.as_str() {
            "" => request.body(Empty::new()),
            id => request.header("last-event-id", HeaderValue::from_bytes(id.as_bytes())?).body(Empty::new()),
        }
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
                Ok(Some(Err(error))) => return End::broken(format!("connection lost: {}", deepest(&error))),
                Ok(None) => return End::broken("the node ended the stream"),
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
    let why = super::publish::problem(status, &body);
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        let retry_after = Duration::from_secs(seconds.unwrap_or(0));
        return End::Lost { why, opened: false, retry_after };
    }
    End::Refused(why)
}

/// The innermost cause, which is what a person can act on: `Connection refused (os error 111)`.
pub(super) fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// State, for stderr. A closed stderr changes nothing.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "fantail: {}", printable(text));
}
