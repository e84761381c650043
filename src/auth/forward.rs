//! The question to the application: may this request do that? (`--auth forward`)
//!
//! Never fails open: an application that is away, slow, or answers nonsense grants nothing. It is protected from the node,
//! too: by a bound on questions at once, a short memory of its answers, and a pause while it fails.

mod answer;
mod breaker;
mod memory;

use super::fetch::{FetchError, Fetcher};
use super::grant::{Action, Grant, Question};
use super::metrics::{Asked, AuthMetrics};
use super::settings::AuthSettings;
use super::token;
use crate::clock::Clock;
use crate::config::values::Switch;
use crate::limits::client_of;
use crate::metrics::Registry;
use crate::problem::{Code, Problem};
use crate::trust::TrustError;
use answer::{Answer, AnswerError};
use breaker::{Breaker, Fault, Turn};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, COOKIE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, Uri};
use memory::Memory;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// The application's answer at most.
const ANSWER_BYTES: usize = 64 << 10;
/// Channels of one question, and the bytes of their names: servers take headers of 8 KiB at least.
const MAX_CHANNELS: usize = 100;
const MAX_CHANNEL_BYTES: usize = 6 << 10;

/// Why the application cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    #[error("--auth forward: it needs --forward-url")]
    NoUrl,
    #[error("--auth-ca {0}")]
    Authorities(#[from] TrustError),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    #[error(transparent)]
    Exchange(#[from] FetchError),
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    /// It works, but not for this: a client that makes it say so must not have it left alone.
    #[error(transparent)]
    OfThisQuestion(AnswerError),
    /// It answers that it fails (5xx), which one client may make it say.
    #[error(transparent)]
    Said(AnswerError),
    /// It does not answer.
    #[error(transparent)]
    Silent(#[from] FetchError),
}

/// Asks one application.
pub struct Forward {
    url: Uri,
    headers: Vec<HeaderName>,
    token_query: bool,
    fetcher: Fetcher,
    patience: Duration,
    places: Semaphore,
    memory: Memory,
    breaker: Breaker,
    metrics: Arc<AuthMetrics>,
    clock: Clock,
}

impl Forward {
    /// `Err` names the setting that cannot be used.
    pub fn new(settings: &AuthSettings, metrics: Arc<AuthMetrics>, clock: Clock) -> Result<Forward, ForwardError> {
        Ok(Forward {
            url: settings.forward_url.clone().ok_or(ForwardError::NoUrl)?,
            headers: settings.forward_headers.clone(),
            token_query: settings.token_query == Switch::On,
            fetcher: Fetcher::new(settings.auth_ca.as_deref(), settings.forward_timeout)?,
            patience: settings.forward_timeout,
            places: Semaphore::new(settings.forward_concurrency),
            memory: Memory::new(settings.forward_cache),
            breaker: Breaker::default(),
            metrics,
            clock,
        })
    }

    /// The application's grant, fresh or remembered.
    pub async fn ask(&self, question: &Question<'_>) -> Result<Grant, Problem> {
        if question.channels.len() > MAX_CHANNELS {
            let detail = format!("the application is asked about {MAX_CHANNELS} channels at most");
            return Err(Problem::new(Code::TooManyChannels, detail));
        }
        if question.channels.iter().map(|channel| channel.as_str().len() + 1).sum::<usize>() > MAX_CHANNEL_BYTES {
            let detail =
                format!("the application is asked about channels with {MAX_CHANNEL_BYTES} bytes of names at most");
            return Err(Problem::new(Code::TooManyChannels, detail));
        }
        let headers = self.headers_for(question);
        let key = memory::key(&headers);
        let answer = match self.memory.recall(&key).filter(|answer| !answer.is_over(self.clock.unix_ms())) {
            Some(answer) => {
                self.count(Asked::Remembered);
                answer
            }
            None => {
                let answer = self.exchange(headers, client_of(question.client)).await?;
                self.memory.keep(key, answer.clone());
                answer
            }
        };
        match answer.is_over(self.clock.unix_ms()) {
            true => Err(Problem::new(Code::TokenExpired, "the application's grant is over already")),
            false => answer.grant(question),
        }
    }

    /// What the application is told. Nothing of the client's but cookies and the headers named gets through.
    fn headers_for(&self, question: &Question<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in self.headers.iter().filter(|name| **name != COOKIE) {
            for value in question.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        if let Some(cookies) = cookies(question.headers) {
            headers.insert(COOKIE, cookies);
        }
        let query = question.uri.query().unwrap_or_default();
        if self.token_query
            && self.headers.contains(&AUTHORIZATION)
            && !headers.contains_key(AUTHORIZATION)
            && let Ok(Some((token, _))) = token::find(&HeaderMap::new(), query, None)
            && let Ok(value) = HeaderValue::from_str(&format!("Bearer {}", token.as_str()))
        {
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(host) = question.headers.get(HOST) {
            headers.insert("x-forwarded-host", host.clone());
        }
        let channels: Vec<&str> = question.channels.iter().map(|channel| channel.as_str()).collect();
        let action = match question.action {
            Action::Subscribe => "subscribe",
            Action::Publish => "publish",
        };
        for (name, value) in [
            ("x-fantail-action", action),
            ("x-fantail-channels", &channels.join(",")),
            ("x-forwarded-for", &question.client.to_string()),
            ("x-forwarded-method", question.method.as_str()),
            ("x-forwarded-uri", question.uri.path()),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers
    }

    async fn exchange(&self, headers: HeaderMap, caller: IpAddr) -> Result<Answer, Problem> {
        let Ok(Ok(_place)) = timeout(self.patience, self.places.acquire()).await else {
            self.count(Asked::Crowded);
            return Err(down(1));
        };
        let turn = self.breaker.turn(caller, Instant::now()).map_err(|pause| {
            self.count(Asked::Paused);
            down(pause.as_secs().max(1) as u32)
        })?;
        let begun = Instant::now();
        let result = self.send(headers).await;
        self.metrics.auth_forward_seconds.observe(begun.elapsed().as_secs_f64());
        match result {
            Ok(answer) => {
                turn.worked();
                self.metrics.auth_forward_paused.set(0);
                self.count(answer.outcome());
                Ok(answer)
            }
            Err(why @ (Failure::Request(_) | Failure::OfThisQuestion(_))) => {
                self.count(Asked::Failed);
                turn.worked();
                tracing::debug!(url = %self.url, why = why.to_string(), "the application's answer decides nothing");
                Err(down(1))
            }
            Err(why @ Failure::Said(_)) => Err(self.fails(turn, Fault::Said, &why)),
            Err(why @ Failure::Silent(_)) => Err(self.fails(turn, Fault::Silent, &why)),
        }
    }

    fn fails(&self, turn: Turn<'_>, fault: Fault, why: &Failure) -> Problem {
        self.count(Asked::Failed);
        if let Some(pause) = turn.failed(fault, Instant::now()) {
            self.metrics.auth_forward_paused.set(1);
            let why = why.to_string();
            tracing::warn!(url = %self.url, why, ?pause, "the application fails to decide: it is left alone");
        }
        down(1)
    }

    async fn send(&self, headers: HeaderMap) -> Result<Answer, Failure> {
        let mut request = Request::get(&self.url).body(Full::<Bytes>::default())?;
        *request.headers_mut() = headers;
        let answer = self.fetcher.send(request, ANSWER_BYTES).await?;
        Answer::read(&answer).map_err(|why| match answer.status().is_server_error() {
            true => Failure::Said(why),
            false => Failure::OfThisQuestion(why),
        })
    }

    fn count(&self, outcome: Asked) {
        self.metrics.auth_forward.inc(outcome);
    }
}

/// All cookies in one line, as whatever is no HTTP/2 must get them (RFC 9113, section 8.2.3): of several lines many
/// applications read one.
fn cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Parts of valid lines make a valid one.
    (!lines.is_empty()).then(|| HeaderValue::from_bytes(&lines.join(&b"; "[..])).ok()).flatten()
}

fn down(retry_after: u32) -> Problem {
    let detail = "the application that decides does not answer";
    Problem { retry_after: Some(retry_after), ..Problem::new(Code::AuthDown, detail) }
}

/// Asks without credentials about a channel, for `fantail check`: the status of the answer.
pub async fn probe(settings: &AuthSettings) -> Result<u16, ForwardError> {
    let forward = Forward::new(settings, Arc::new(AuthMetrics::new(&Registry::default())), Clock::default())?;
    let mut request = Request::get(&forward.url).body(Full::<Bytes>::default())?;
    let headers = request.headers_mut();
    headers.insert("x-fantail-action", HeaderValue::from_static("subscribe"));
    headers.insert("x-fantail-channels", HeaderValue::from_static("fantail.check"));
    Ok(forward.fetcher.send(request, ANSWER_BYTES).await?.status().as_u16())
}
