//! `fantail top`: the cluster in the terminal, as a node's console tells it.
//!
//! Reads `/api/nodes` and `/api/channels` of one node's operators' listener. `lines` shows them as text, and `screen`, which
//! the cargo feature `top` brings, again and again.

mod cluster;
mod lines;
#[cfg(feature = "top")]
mod screen;

use super::FAILURE;
use super::credentials::{AdminCredentials, TokenError};
use super::failure::{ExchangeError, problem};
use super::link::{Link, NodeClient};
use crate::config::{MINUTE, SECOND, duration};
use bytes::Bytes;
use clap::Args;
use cluster::Cluster;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderValue};
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::timeout;

/// Records of a large cluster.
const ANSWER_BYTES_MAX: usize = 16 << 20;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Rows of the table of channels that are asked for.
const CHANNELS: usize = 200;

/// Shows nodes and channels of the whole cluster; q ends it.
#[derive(Args, Clone, Debug)]
pub struct Top {
    /// The operators' listener of any node.
    #[arg(long, env = "FANTAIL_ADMIN_URL", value_name = "URL", value_parser = crate::config::node_url)]
    #[arg(default_value = "http://127.0.0.1:9090")]
    url: String,
    #[command(flatten)]
    link: Link,
    #[command(flatten)]
    credentials: AdminCredentials,
    /// Time between refreshes, 1s to 1m.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration(SECOND..=MINUTE))]
    every: Duration,
    /// The order of channels.
    #[arg(long, value_enum, default_value = "subscribers")]
    sort: Sort,
    /// Prints the figures once, as text. Implied if stdout is not a terminal.
    #[arg(long)]
    once: bool,
}

/// What channels are sorted by.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Sort {
    Subscribers,
    /// Events per second.
    Rate,
}

/// Why the cluster cannot be shown.
#[derive(Debug, thiserror::Error)]
enum TopError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Late,
    #[error("the answer is none of a Fantail node's operators' listener")]
    NoNode,
    #[cfg(feature = "top")]
    #[error(transparent)]
    Screen(#[from] screen::ScreenError),
    #[cfg(not(feature = "top"))]
    #[error("top: the screen is not in this build (cargo feature `top`); --once prints one look")]
    NoScreen,
}

/// Shows the cluster: once as text, or on the screen until a key ends it.
pub async fn top(settings: Top) -> ExitCode {
    let client = match settings.link.client() {
        Ok(client) => client,
        Err(wrong) => {
            let _ = writeln!(std::io::stderr(), "fantail: {wrong}");
            return ExitCode::from(FAILURE);
        }
    };
    let shown = match settings.once || !std::io::stdout().is_terminal() {
        true => once(&client, &settings).await,
        false => on_screen(&client, &settings).await,
    };
    let line = match shown {
        Ok(()) => return ExitCode::SUCCESS,
        #[cfg(not(feature = "top"))]
        Err(missing @ TopError::NoScreen) => missing.to_string(),
        Err(why) => format!("{}: {why}", settings.url),
    };
    let _ = writeln!(std::io::stderr(), "fantail: {line}");
    ExitCode::from(FAILURE)
}

/// Prints one look.
async fn once(client: &NodeClient<Empty<Bytes>>, settings: &Top) -> Result<(), TopError> {
    let cluster = look(client, settings).await?;
    let _ = write!(std::io::stdout(), "{}", lines::text(&cluster));
    Ok(())
}

/// Shows look after look; one that fails is told on the screen.
#[cfg(feature = "top")]
async fn on_screen(client: &NodeClient<Empty<Bytes>>, settings: &Top) -> Result<(), TopError> {
    Ok(screen::watch(&settings.url, settings.every, async || look(client, settings).await).await?)
}

/// Says what is missing.
#[cfg(not(feature = "top"))]
async fn on_screen(_: &NodeClient<Empty<Bytes>>, _: &Top) -> Result<(), TopError> {
    Err(TopError::NoScreen)
}

async fn look(client: &NodeClient<Empty<Bytes>>, settings: &Top) -> Result<Cluster, TopError> {
    let nodes = format!("{}/api/nodes", settings.url);
    let sort = match settings.sort {
        Sort::Subscribers => "subscribers",
        Sort::Rate => "rate",
    };
    let channels = format!("{}/api/channels?limit={CHANNELS}&sort={sort}", settings.url);
    let shown = settings.credentials.authorization()?;
    let (nodes, channels) = tokio::try_join!(get(client, &nodes, shown.clone()), get(client, &channels, shown))?;
    let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap_or_default();
    let mut all = read(&nodes);
    all["channels"] = read(&channels)["channels"].take();
    serde_json::from_value(all).map_err(|_| TopError::NoNode)
}

async fn get(client: &NodeClient<Empty<Bytes>>, url: &str, shown: Option<HeaderValue>) -> Result<Bytes, TopError> {
    let mut request = Request::get(url).body(Empty::new())?;
    request.headers_mut().extend(shown.map(|token| (AUTHORIZATION, token)));
    let exchange = async {
        let answer = client.request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(ExchangeError::Body)?;
        let body = body.to_bytes();
        if status.is_success() { Ok(body) } else { Err(ExchangeError::Refused(problem(status, &body))) }
    };
    Ok(timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_| TopError::Late)??)
}
