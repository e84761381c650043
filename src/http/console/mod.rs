//! The console: a page for people on the operators' listener, and what it shows as JSON.
//!
//! `api` and `subscribers` answer, `live` streams, `actions` changes something where that is allowed; the page itself is
//! `page.html` with its scripts, one answer without anything from elsewhere. What nodes say of themselves comes from the roster.

mod actions;
mod api;
mod live;
mod subscribers;

pub use subscribers::SubscriberId;

use super::history::budget::Budget;
use super::metrics::HttpMetrics;
use super::publish::Publisher;
use crate::courier::Couriers;
use crate::hub::Hub;
use crate::problem::{Code, Problem};
use crate::roster::Roster;
use crate::telemetry::LogThrottle;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY};
use hyper::{Method, Request, Response};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// Answers of the operators' listener: whole, or streams.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Streams at once; probes and scrapes need the listener's other connections.
const STREAMS: usize = 24;
/// Between lines of actions that were refused.
const LOG_PERIOD: Duration = Duration::from_secs(1);
/// Its parts are read as one document.
const PAGE: &str = concat!(
    include_str!("page.html"),
    "<script nonce=\"{nonce}\">\n",
    include_str!("page.js"),
    include_str!("subscribers.js"),
    "navigate();\n</script>\n</body>\n</html>\n"
);

/// The operators' page, with its JSON, streams and actions.
#[derive(Clone)]
pub struct Console {
    pub hub: Arc<Hub>,
    pub roster: Arc<Roster>,
    couriers: Couriers,
    metrics: Arc<HttpMetrics>,
    /// Given where the console may act.
    pub actions: Option<Arc<Actions>>,
    /// It may show what events hold.
    contents: bool,
    streams: Arc<Semaphore>,
    /// Places of those who ask for subscribers.
    asked: Arc<Semaphore>,
    history: Arc<Budget>,
    log_throttle: Arc<LogThrottle>,
}

/// What the console shows comes from these.
pub struct Sources {
    pub hub: Arc<Hub>,
    pub roster: Arc<Roster>,
    pub couriers: Couriers,
    pub metrics: Arc<HttpMetrics>,
}

/// Who asks, as far as the connection says it: in a request's extensions, for the lines that actions leave in the log.
#[derive(Clone, Copy)]
pub struct Operator(pub IpAddr);

/// What the console may do.
pub struct Actions {
    pub publisher: Publisher,
    /// Told to end the node as SIGTERM would.
    pub drain: Arc<Notify>,
}

impl Console {
    /// `contents`: whether it shows what events hold.
    pub fn new(sources: Sources, contents: bool, actions: Option<Actions>) -> Console {
        let Sources { hub, roster, couriers, metrics } = sources;
        let history = Budget::new(metrics.history_bytes.clone());
        Console {
            hub,
            roster,
            couriers,
            metrics,
            actions: actions.map(Arc::new),
            contents,
            streams: Arc::new(Semaphore::new(STREAMS)),
            asked: Arc::new(Semaphore::new(subscribers::AT_ONCE)),
            history,
            log_throttle: Arc::new(LogThrottle::new(LOG_PERIOD)),
        }
    }

    /// Answers `/` and `/api/…`; other paths are not its own.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let answered = match (&path[..], request.method()) {
            ("/api/publish", &Method::POST) => self.publish(request).await,
            ("/api/drain", &Method::POST) => self.drain(&request),
            ("/api/disconnect", &Method::POST) => self.disconnect(&request).await,
            ("/api/publish" | "/api/drain" | "/api/disconnect", method) => {
                Err(Problem::method_not_allowed(method, "POST"))
            }
            (_, method) if !reads => Err(Problem::method_not_allowed(method, "GET, HEAD")),
            ("/", _) => Ok(page()),
            _ => self.read(&path, &request).await,
        };
        let mut response = answered.unwrap_or_else(|problem| whole(problem.into_response()));
        let headers = response.headers_mut();
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers
            .insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }

    async fn read(&self, path: &str, request: &Request<Incoming>) -> Result<Response<Body>, Problem> {
        let query = request.uri().query().unwrap_or_default();
        let parts: Vec<&str> = path.split('/').skip(2).collect();
        match parts[..] {
            ["nodes"] => Ok(json(&self.nodes().await)),
            ["channels"] => Ok(json(&self.channels(query).await?)),
            ["channels", segment] => Ok(json(&self.channel(segment).await?)),
            ["channels", segment, "live"] => self.live(segment, query, last_event_id(request)).await,
            ["subscribers"] => Ok(json(&self.subscribers(query).await?)),
            ["subscribers", id] => Ok(json(&self.subscriber(id).await?)),
            ["updates"] => self.updates(),
            _ => Err(Problem::new(Code::NotFound, format!("there is no {path}"))),
        }
    }
}

fn last_event_id(request: &Request<Incoming>) -> Option<&str> {
    request.headers().get("last-event-id").and_then(|id| id.to_str().ok())
}

/// A word that other pages cannot guess.
pub fn nonce() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// The page, with a nonce that lets its own script and style run, and nothing else.
fn page() -> Response<Body> {
    let nonce = nonce();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    );
    let mut response = whole(Response::new(Full::from(PAGE.replace("{nonce}", &nonce))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy).expect("plain text"));
    response
}

fn json(value: &serde_json::Value) -> Response<Body> {
    let mut response = whole(Response::new(Full::from(format!("{value}\n"))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer that is there as a whole.
pub fn whole(response: Response<Full<Bytes>>) -> Response<Body> {
    response.map(|body| body.boxed_unsync())
}
