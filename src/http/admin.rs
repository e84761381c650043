//! The operators' listener: `/livez`, `/readyz`, `/metrics`, `/status` and the console, on a thread of its own, so that they answer
//! while the data plane is saturated.
//!
//! Probes answer under any name and to anybody; metrics to anybody who asks by an own name (`host`); all else, where there
//! is one, to who shows the operators' [`token`], which people do by a form (`sign_in`). `places` bounds connections.

mod host;
mod places;
mod sign_in;
pub mod token;

use super::console::{Body, Console, Operator, whole};
use super::metrics::{AdminRefusal, HttpMetrics};
use super::well_formed;
use crate::auth::metrics::AuthMetrics;
use crate::courier::metrics::CourierMetrics;
use crate::health::Health;
use crate::hub::Hub;
use crate::limits::Limits;
use crate::metrics::Registry;
use crate::problem::{Code, Problem};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use places::Places;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use token::{AdminToken, Denied};
use tokio::time::Instant;

/// Operators' connections at once.
const CONNECTIONS: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Channels that `/status` lists.
const LISTED_CHANNELS: usize = 20;
const FOREIGN: &str = "this listener does not answer under this name, since a web page could have made it lead here (DNS \
                       rebinding): ask by address, or list the name in --admin-host";
/// What a browser asks its user by.
const CHALLENGE: &str = "Basic realm=\"Fantail\", charset=\"UTF-8\"";

/// What operators are served by, and told of the node's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names of this listener beside addresses and private names.
    pub hosts: Vec<String>,
    pub tail_bytes_limit: usize,
    pub publish_over_http: bool,
    /// Who decides what a client may do, as `--auth` has it.
    pub auth_mode: &'static str,
}

/// What the admin pages tell about.
pub struct Admin {
    pub settings: Settings,
    pub hub: Arc<Hub>,
    pub limits: Arc<Limits>,
    /// All families, for `/metrics`.
    pub registry: Registry,
    pub metrics: Arc<HttpMetrics>,
    pub couriers: Arc<CourierMetrics>,
    pub auth: Arc<AuthMetrics>,
    pub health: Arc<Health>,
    pub started: Instant,
    pub console: Console,
    /// Who may see more than probes and metrics tell has to show it, where there is one.
    pub token: Option<AdminToken>,
}

impl Admin {
    /// Serves on a thread of its own until the process ends.
    pub fn start(self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("admin".into()).spawn(move || {
            runtime.block_on(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => Arc::new(self).serve(listener).await,
                    Err(error) => tracing::error!(%error, "the admin listener failed"),
                }
            });
        })?;
        Ok(())
    }

    async fn serve(self: Arc<Admin>, listener: tokio::net::TcpListener) {
        let places = Places::new(CONNECTIONS);
        if self.token.is_some() {
            let admin = self.clone();
            tokio::spawn(async move {
                if let Some(token) = &admin.token {
                    token.follow().await;
                }
            });
        }
        loop {
            let Ok((socket, peer)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let (seat, displaced) = places.take();
            if displaced {
                self.refused(AdminRefusal::Displaced);
            }
            let (admin, place) = (self.clone(), seat.place());
            let serving = tokio::spawn(async move {
                let place = seat.place();
                let service = service_fn(|request| {
                    let (admin, place) = (admin.clone(), place.clone());
                    async move {
                        place.begin();
                        Ok::<_, Infallible>(place.answer(admin.reply(request, peer.ip()).await))
                    }
                });
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            });
            place.belongs_to(serving.abort_handle());
        }
    }

    fn refused(&self, reason: AdminRefusal) {
        self.metrics.admin_refused.inc(reason);
    }

    async fn reply(&self, mut request: Request<Incoming>, peer: IpAddr) -> Response<Body> {
        request.extensions_mut().insert(Operator(peer));
        let mut response = match self.refusal(&mut request, peer) {
            None => match (request.uri().path(), &self.token) {
                (path, Some(token)) if sign_in::is_served(path) => sign_in::answer(request, peer, token).await,
                (path, _) if path == "/" || path.starts_with("/api/") => self.console.answer(request).await,
                _ => whole(self.answer(&request)),
            },
            Some(refusal) => whole(refusal),
        };
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    /// What a request is told that may not be answered.
    fn refusal(&self, request: &mut Request<Incoming>, peer: IpAddr) -> Option<Response<Full<Bytes>>> {
        let refuse = |reason, problem: Problem| {
            self.refused(reason);
            problem.into_response()
        };
        if let Err(problem) = well_formed::check(request) {
            return Some(refuse(AdminRefusal::Malformed, problem));
        }
        let path = request.uri().path();
        // The kubelet and balancers ask by whatever name they are told, and learn one word.
        if matches!(path, "/livez" | "/readyz") {
            return None;
        }
        let own = |name: &HeaderValue| name.to_str().is_ok_and(|name| host::is_own(name, &self.settings.hosts));
        if !request.headers().get_all(HOST).iter().all(own) {
            return Some(refuse(AdminRefusal::ForeignHost, Problem::new(Code::Forbidden, FOREIGN)));
        }
        let open = path == "/metrics" || sign_in::is_served(path);
        let token = self.token.as_ref().filter(|_| !open)?;
        match token.check(request.headers(), peer).err()? {
            Denied::None if sign_in::is_for_people(request) => Some(sign_in::lead_there()),
            Denied::None => {
                let problem = Problem::new(Code::Unauthorized, "this needs a token of --admin-token-file");
                let refusal = refuse(AdminRefusal::NoToken, problem);
                Some(if sign_in::is_of_a_script(request) { refusal } else { challenged(refusal) })
            }
            Denied::Wrong => {
                let problem = Problem::new(Code::BadToken, "not a token of --admin-token-file");
                Some(challenged(refuse(AdminRefusal::WrongToken, problem)))
            }
            Denied::TooFast => {
                self.refused(AdminRefusal::TooFast);
                let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens: again in a second\n");
                response.headers_mut().insert(RETRY_AFTER, 1.into());
                Some(response)
            }
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let known = matches!(request.uri().path(), "/livez" | "/readyz" | "/metrics" | "/status");
        if known && request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/livez" => plain(StatusCode::OK, "ok\n"),
            "/readyz" => match (self.health.unready(), self.health.trouble()) {
                (Some(why), _) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
                (None, Some((trouble, _))) => plain(StatusCode::OK, format!("ready, but {trouble}\n")),
                (None, None) => plain(StatusCode::OK, "ready\n"),
            },
            "/metrics" => with_type("text/plain; version=0.0.4; charset=utf-8", self.registry.exposition()),
            "/status" => with_type("application/json", format!("{:#}\n", self.status())),
            path => plain(
                StatusCode::NOT_FOUND,
                format!("there is no {path}: / /api/nodes /livez /readyz /metrics /status\n"),
            ),
        }
    }

    fn status(&self) -> serde_json::Value {
        let facts = self.hub.backplane.facts();
        let channels: Vec<_> = self
            .hub
            .overview(LISTED_CHANNELS)
            .into_iter()
            .map(|row| {
                serde_json::json!({
                    "channel": row.channel.as_str(),
                    "subscribers": row.legs,
                    "position": row.position.to_string(),
                    "tail_events": row.events,
                    "tail_bytes": row.bytes,
                    "history_entries": row.reach.map(|reach| reach.entries),
                    "history_seconds": row.reach.map(|reach| reach.seconds),
                })
            })
            .collect();
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "state": self.health.state(),
            "ready": self.health.unready().is_none(),
            "connections": self.couriers.connections.get(),
            "connection_limit": self.limits.max(),
            "subscriptions": self.couriers.subscriptions.get(),
            "channels": self.hub.metrics.channels.get(),
            "tail_bytes": self.hub.metrics.tail_bytes.get(),
            "tail_bytes_limit": self.settings.tail_bytes_limit,
            "publish_over_http": self.settings.publish_over_http,
            "auth": {
                "mode": self.settings.auth_mode,
                "keys": self.auth.auth_keys.get(),
                "kept_out": self.auth.auth_barred.get(),
                "revocations_known": self.health.knows_revocations(),
                "application_left_alone": self.auth.auth_forward_paused.get() == 1,
            },
            "backplane": {
                "up": self.health.is_up(),
                "down_seconds": self.health.down_for().map(|d| d.as_secs_f64()),
                "name": facts.name,
                "version": facts.version,
                "follow": facts.follow,
                "clock_offset_ms": facts.clock_offset_ms,
                "reconnects": facts.reconnects,
                "server": facts.server,
                "trouble": facts.trouble,
                "refused": facts.refused,
                "shards": facts.shards,
                "reads": facts.reads,
            },
            "unreadable": self.hub.unreadable.list(LISTED_CHANNELS).iter().map(|(channel, why)| {
                serde_json::json!({ "channel": channel.as_str(), "why": why })
            }).collect::<Vec<_>>(),
            "most_subscribed": channels,
        })
    }
}

/// A refusal that makes a browser ask its user.
fn challenged(mut refusal: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    refusal.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    refusal
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = with_type("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}

fn with_type(kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
