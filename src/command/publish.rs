//! `fantail publish`: one event to a node over HTTP, or straight to Redis.

use super::credentials::{Credentials, TokenError};
use super::failure::{ExchangeError, problem};
use super::link::{Link, LinkError};
use super::print_id;
use crate::backplane::redis::{Settings, once};
use crate::backplane::{BackplaneError, Publication};
use crate::channel::Channel;
use crate::config::{self, Contradiction, ValueError};
use crate::event::MAX_TYPE_LENGTH;
use crate::publication::{is_key, key_value};
use bytes::Bytes;
use clap::Args;
use clap::parser::ValueSource;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Data that is read from stdin at most; the node's own limit is `--max-event-bytes`.
const DATA_BYTES_MAX: usize = 64 << 20;
/// A node answers with an id or a problem; both are short.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Time in which the id must have come, connecting included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Publishes one event and prints its id.
#[derive(Args, Clone, Debug)]
pub struct Publish {
    /// Channel to publish under: 1 to 200 of A-Z a-z 0-9 _ . : ~ @ -.
    #[arg(value_name = "CHANNEL", value_parser = super::channel)]
    channel: Channel,
    /// The event's data. - or nothing: reads stdin, up to 64MiB, without the line break at its end.
    #[arg(value_name = "DATA")]
    data: Option<String>,
    /// The event's type. Without it EventSource calls the event message.
    #[arg(long, value_name = "TYPE", value_parser = event_type)]
    event: Option<String>,
    /// Marks the last event of the channel: subscribers are closed after it.
    #[arg(long = "final")]
    last: bool,
    /// Reconnect delay for subscribers, in milliseconds, up to 86400000. Less than 500 counts as 500.
    #[arg(long, value_name = "MS", value_parser = config::number(0..=86_400_000_u64))]
    retry: Option<u64>,
    /// Publish once: if the channel has had this key within ten minutes, prints the first event's id. 1 to 128 visible ASCII characters.
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<String>,
    /// The node to publish to.
    #[arg(long, env = "FANTAIL_URL", value_name = "URL", value_parser = crate::config::node_url)]
    #[arg(default_value = "http://127.0.0.1:8080")]
    url: String,
    #[command(flatten)]
    link: Link,
    #[command(flatten)]
    credentials: Credentials,
    /// The Redis to publish to, instead of a node.
    #[arg(long, env = "FANTAIL_REDIS", value_name = "URL", value_parser = config::redis_url)]
    redis: Option<config::RedisUrl>,
    #[command(flatten)]
    redis_access: config::RedisAccess,
    /// Prefix of a channel's name in its stream's key, for --redis.
    #[arg(long, env = "FANTAIL_KEY_PREFIX", default_value = "sse:", value_name = "TEXT")]
    #[arg(value_parser = config::key_prefix)]
    key_prefix: String,
}

/// Why nothing was published, or is not known to be.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error("stdin: {0}")]
    Stdin(#[source] std::io::Error),
    #[error("stdin is not UTF-8 from byte {} on", .0.valid_up_to())]
    NoText(#[from] std::str::Utf8Error),
    #[error("stdin has more than {DATA_BYTES_MAX} bytes")]
    TooLong,
    #[error("{url}: {why}")]
    Redis {
        url: config::RedisUrl,
        #[source]
        why: BackplaneError,
    },
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("{url}: {why}")]
    Request {
        url: String,
        #[source]
        why: hyper::http::Error,
    },
    #[error("{url}: {why}")]
    Exchange {
        url: String,
        #[source]
        why: ExchangeError,
    },
    #[error("{url}: the answer has no id; is this a Fantail node?")]
    NoId { url: String },
    /// A second try could publish it twice.
    #[error("{url}: no answer within {} s; it may be published or not", ANSWER_TIMEOUT.as_secs())]
    Late { url: String },
}

fn event_type(text: &str) -> Result<String, ValueError> {
    match text.len() {
        _ if text.starts_with("fantail.") => {
            Err(ValueError::new("types that begin with fantail. are the cluster's own"))
        }
        1..=MAX_TYPE_LENGTH if !text.contains(['\r', '\n', '\0']) => Ok(text.to_owned()),
        1..=MAX_TYPE_LENGTH => Err(ValueError::new("a type has no line break and no NUL")),
        _ => Err(ValueError::new(format!("a type has 1 to {MAX_TYPE_LENGTH} bytes"))),
    }
}

fn key(text: &str) -> Result<String, ValueError> {
    match is_key(text) {
        true => Ok(text.to_owned()),
        false => Err(ValueError::new("a key has 1 to 128 visible ASCII characters")),
    }
}

impl Publish {
    /// A node or Redis: a flag counts more than a variable, and of two variables Redis counts, because a node on
    /// Redis takes nothing over HTTP unless told to.
    pub(super) fn choose_target(&mut self, given: &clap::ArgMatches) -> Result<(), Contradiction> {
        let flag = |name| given.value_source(name) == Some(ValueSource::CommandLine);
        match (flag("url"), flag("redis")) {
            (true, true) => return Err(Contradiction("--url and --redis exclude each other".into())),
            (true, false) => self.redis = None,
            _ => self.redis_access.verify(self.redis.as_ref())?,
        }
        match (&self.redis, &self.key) {
            (Some(_), Some(_)) => Err(Contradiction("--key: a node publishes once, by --url; --redis does not".into())),
            _ => Ok(()),
        }
    }
}

/// Publishes, and prints the id on stdout or what went wrong on stderr.
pub async fn publish(settings: Publish) -> ExitCode {
    let published = async {
        let data = match settings.data.as_deref() {
            None | Some("-") => from_stdin().await?,
            Some(data) => Bytes::copy_from_slice(data.as_bytes()),
        };
        match &settings.redis {
            Some(url) => to_redis(&settings, url, data).await,
            None => to_node(&settings, data).await,
        }
    };
    print_id(published.await)
}

/// All of stdin, without one line break at its end: `echo x |` means `x`.
async fn from_stdin() -> Result<Bytes, PublishError> {
    let mut data = Vec::new();
    let limit = DATA_BYTES_MAX as u64 + 3;
    tokio::io::stdin().take(limit).read_to_end(&mut data).await.map_err(PublishError::Stdin)?;
    let end = data.strip_suffix(b"\n").map_or(data.len(), |line| line.strip_suffix(b"\r").unwrap_or(line).len());
    data.truncate(end);
    match data.len() {
        0..=DATA_BYTES_MAX => {
            std::str::from_utf8(&data)?;
            Ok(data.into())
        }
        _ => Err(PublishError::TooLong),
    }
}

async fn to_redis(settings: &Publish, url: &config::RedisUrl, data: Bytes) -> Result<String, PublishError> {
    let mut fields = vec![(Bytes::from_static(b"data"), data)];
    if let Some(event) = &settings.event {
        fields.push((Bytes::from_static(b"event"), event.clone().into()));
    }
    if let Some(retry) = settings.retry {
        fields.push((Bytes::from_static(b"retry"), retry.to_string().into()));
    }
    if settings.last {
        fields.push((Bytes::from_static(b"final"), Bytes::from_static(b"1")));
    }
    let publication = Publication::new(settings.channel.clone(), fields);
    let redis = Settings { key_prefix: settings.key_prefix.clone(), ..settings.redis_access.settings(url) };
    let id = once::append(&redis, publication).await;
    id.map(|id| id.to_string()).map_err(|why| PublishError::Redis { url: url.clone(), why })
}

async fn to_node(settings: &Publish, data: Bytes) -> Result<String, PublishError> {
    let url = target(settings);
    let mut request = Request::post(&url).header(hyper::header::CONTENT_TYPE, "text/plain; charset=utf-8");
    if let Some(token) = settings.credentials.authorization()? {
        request = request.header(hyper::header::AUTHORIZATION, token);
    }
    if let Some(key) = &settings.key {
        request = request.header("idempotency-key", key_value(key));
    }
    let request = request.body(Full::new(data)).map_err(|why| PublishError::Request { url, why })?;
    let client = settings.link.client::<Full<Bytes>>()?;
    let exchange = async {
        let answer = client.request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(ExchangeError::Body)?;
        let body = body.to_bytes();
        if status.is_success() { Ok(body) } else { Err(ExchangeError::Refused(problem(status, &body))) }
    };
    let url = || settings.url.clone();
    match tokio::time::timeout(ANSWER_TIMEOUT, exchange).await {
        Ok(Ok(body)) => id_of(&body).ok_or_else(|| PublishError::NoId { url: url() }),
        Ok(Err(why)) => Err(PublishError::Exchange { url: url(), why }),
        Err(_) => Err(PublishError::Late { url: url() }),
    }
}

fn target(settings: &Publish) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(event) = &settings.event {
        query.append_pair("event", event);
    }
    if let Some(retry) = settings.retry {
        query.append_pair("retry", &retry.to_string());
    }
    if settings.last {
        query.append_pair("final", "1");
    }
    let query = query.finish();
    let separator = if query.is_empty() { "" } else { "?" };
    // A channel's characters need no escape in a path (RFC 3986, section 3.3).
    format!("{}/events/{}{separator}{query}", settings.url, settings.channel)
}

/// The id in a node's answer, `{"id":"…"}`.
fn id_of(body: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    answer["id"].as_str().map(str::to_owned)
}
