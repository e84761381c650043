//! `fantail top`: the cluster in the terminal, as a node's console tells it.
//!
//! Reads `/api/nodes` and `/api/channels` of one node's operators' listener; [`draw`](self) shows them.

mod cluster;
mod draw;

use super::FAILURE;
use super::credentials::AdminCredentials;
use super::failure::{deepest, problem};
use super::link::{Link, NodeClient};
use crate::config::{MINUTE, SECOND, duration};
use bytes::Bytes;
use clap::Args;
use cluster::Cluster;
use draw::View;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderValue};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Records of a large cluster.
const ANSWER_BYTES_MAX: usize = 16 << 20;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon a key is answered.
const KEYS_EVERY: Duration = Duration::from_millis(100);
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
    /// Time between looks; 1s to 1m.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration(SECOND..=MINUTE))]
    every: Duration,
    /// The order of channels.
    #[arg(long, value_enum, default_value = "subscribers")]
    sort: Sort,
    /// Prints one look as text and ends; so it does where stdout is no terminal.
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

/// Shows the cluster until a key ends it.
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
        false => {
            let mut terminal = ratatui::init();
            let shown = watch(&client, &settings, &mut terminal).await;
            ratatui::restore();
            shown
        }
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "fantail: {}: {why}", settings.url);
            ExitCode::from(FAILURE)
        }
    }
}

async fn once(client: &NodeClient<Empty<Bytes>>, settings: &Top) -> Result<(), String> {
    let cluster = look(client, settings).await?;
    let _ = write!(std::io::stdout(), "{}", draw::text(&cluster));
    Ok(())
}

/// A look that fails is told on the screen; the next one follows all the same.
async fn watch(
    client: &NodeClient<Empty<Bytes>>,
    settings: &Top,
    terminal: &mut ratatui::DefaultTerminal,
) -> Result<(), String> {
    let mut view = View::new(&settings.url);
    let mut due = Instant::now();
    loop {
        if Instant::now() >= due {
            due = Instant::now() + settings.every;
            view.take(look(client, settings).await);
        }
        terminal.draw(|frame| view.draw(frame)).map_err(|error| error.to_string())?;
        let wait = due.saturating_duration_since(Instant::now()).min(KEYS_EVERY);
        let pressed = tokio::task::spawn_blocking(move || -> std::io::Result<Option<Event>> {
            event::poll(wait)?.then(event::read).transpose()
        });
        let pressed = pressed.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        if let Some(Event::Key(key)) = pressed
            && key.kind != KeyEventKind::Release
        {
            let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                _ if interrupt => return Ok(()),
                KeyCode::Down | KeyCode::Char('j') => view.scroll(1),
                KeyCode::Up | KeyCode::Char('k') => view.scroll(-1),
                KeyCode::PageDown => view.scroll(10),
                KeyCode::PageUp => view.scroll(-10),
                _ => {}
            }
        }
    }
}

async fn look(client: &NodeClient<Empty<Bytes>>, settings: &Top) -> Result<Cluster, String> {
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
    serde_json::from_value(all).map_err(|_| "the answer is none of a Fantail node's operators' listener".into())
}

async fn get(client: &NodeClient<Empty<Bytes>>, url: &str, shown: Option<HeaderValue>) -> Result<Bytes, String> {
    let mut request = Request::get(url).body(Empty::new()).map_err(|error| error.to_string())?;
    request.headers_mut().extend(shown.map(|token| (AUTHORIZATION, token)));
    let exchange = async {
        let answer = client.request(request).await.map_err(|error| deepest(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|e| e.to_string())?;
        if status.is_success() { Ok(body.to_bytes()) } else { Err(problem(status, &body.to_bytes())) }
    };
    timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or_else(|_| Err("no answer within 5 s".into()))
}
