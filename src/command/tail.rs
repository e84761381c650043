//! `fantail tail`: an EventSource for the terminal. Events go to stdout, everything else to stderr.
//!
//! It goes on where EventSource gives up: a node that is full, draining or gone is tried again.

mod connection;
mod event_stream;
mod redirect;
mod show;

pub(super) use show::printable;

use super::FAILURE;
use super::credentials::Credentials;
use super::link::{Link, NodeClient};
use crate::config::{self, HOUR};
use bytes::Bytes;
use clap::Args;
use connection::End;
use http_body_util::Empty;
use hyper::header::HeaderValue;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;
use tokio::signal::unix::{SignalKind, signal};

/// Time in which a node must have answered, connecting included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Reconnect delay until a server says one.
const RETRY: Duration = Duration::from_secs(1);
/// Longest delay between attempts that all failed, unless the server asks for more.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// Prints the events of channels as they come; resumes by itself.
#[derive(Args, Clone, Debug)]
pub struct Tail {
    /// Channels, separated by commas.
    #[arg(value_name = "CHANNELS", required = true, value_delimiter = ',', value_parser = super::channel)]
    channels: Vec<crate::channel::Channel>,
    /// Nodes, tried in turn; repeat it, or separate them by commas.
    #[arg(long, env = "FANTAIL_URL", value_name = "URL", value_delimiter = ',', value_parser = crate::config::node_url)]
    #[arg(default_value = "http://127.0.0.1:8080")]
    url: Vec<String>,
    #[command(flatten)]
    link: Link,
    #[command(flatten)]
    credentials: Credentials,
    /// Where to begin: latest, earliest, an id, a time (Unix seconds or ms, RFC 3339), or a duration back such as 5m.
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
    /// Time without a byte after which a connection counts as dead, more than the node's heartbeat; 1s to 1h, or
    /// 0s: never.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    #[arg(value_parser = config::duration_or_never(config::SECOND..=HOUR))]
    stall_timeout: Duration,
}

fn header(text: &str) -> Result<String, String> {
    HeaderValue::from_str(text).map(|_| text.to_owned()).map_err(|_| "not a value that a header can carry".into())
}

/// Prints events until the channels are finished, stdout is closed, or a signal comes.
pub async fn tail(settings: Tail) -> ExitCode {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        say("signals cannot be caught");
        return ExitCode::from(FAILURE);
    };
    let follower = match Follower::new(settings) {
        Ok(follower) => follower,
        Err(wrong) => {
            say(&wrong);
            return ExitCode::from(FAILURE);
        }
    };
    tokio::select! {
        code = follower.run() => code,
        () = unread() => ExitCode::SUCCESS,
        _ = interrupt.recv() => ExitCode::SUCCESS,
        _ = terminate.recv() => ExitCode::SUCCESS,
    }
}

/// Ends when the reader of stdout is gone, events or not; never where that cannot be told, as with a file.
async fn unread() {
    // A copy that is only watched, so that stdout itself stays blocking.
    let copy = std::io::stdout().as_fd().try_clone_to_owned();
    match copy.and_then(Sender::from_owned_fd_unchecked) {
        Ok(stdout) if stdout.ready(Interest::ERROR).await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

/// What outlives a connection.
struct Follower {
    settings: Tail,
    client: NodeClient<Empty<Bytes>>,
    /// For other origins, whose certificates have names of their own.
    abroad: NodeClient<Empty<Bytes>>,
    last_event_id: String,
    retry: Duration,
    /// Which URL is used; counts on without end.
    turn: usize,
    /// Attempts since the last stream that opened.
    failures: usize,
}

impl Follower {
    fn new(settings: Tail) -> Result<Follower, String> {
        Ok(Follower {
            client: settings.link.client()?,
            abroad: settings.link.elsewhere().client()?,
            last_event_id: settings.last_event_id.clone().unwrap_or_default(),
            retry: RETRY,
            turn: 0,
            failures: 0,
            settings,
        })
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
                    let after = match self.last_event_id.as_str() {
                        "" => String::new(),
                        id => format!(" after {id}"),
                    };
                    say(&format!("{lost}: {why}; going on at {}{after} in {delay:.1?}", self.url()));
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
}

/// State, for stderr. A closed stderr changes nothing.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "fantail: {}", printable(text));
}
