//! The operators' listener: `/livez`, `/readyz`, `/metrics`, `/status` and the console, on a thread of its own, so that they answer
//! while the data plane is saturated.

use super::console::{Body, Console, whole};
use crate::config::Serve;
use crate::health::Health;
use crate::hub::Hub;
use crate::limits::Limits;
use crate::metrics::Metrics;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Operators' connections at once.
const CONNECTIONS: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Channels that `/status` lists.
const LISTED_CHANNELS: usize = 20;

/// What the admin pages tell about.
pub struct Admin {
    pub settings: Serve,
    pub hub: Arc<Hub>,
    pub limits: Arc<Limits>,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub started: Instant,
    pub console: Console,
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
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let Ok((socket, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let admin = self.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let admin = admin.clone();
                    async move { Ok::<_, Infallible>(admin.reply(request).await) }
                });
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
                drop(place);
            });
        }
    }

    async fn reply(&self, request: Request<Incoming>) -> Response<Body> {
        match request.uri().path() {
            path if path == "/" || path.starts_with("/api/") => self.console.answer(request).await,
            _ => whole(self.answer(&request)),
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
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
            "/metrics" => with_type("text/plain; version=0.0.4; charset=utf-8", self.metrics.exposition()),
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
            "connections": self.metrics.connections.get(),
            "connection_limit": self.limits.max(),
            "subscriptions": self.metrics.subscriptions.get(),
            "channels": self.metrics.channels.get(),
            "tail_bytes": self.metrics.tail_bytes.get(),
            "tail_bytes_limit": self.settings.tail_bytes,
            "publish_over_http": self.settings.may_publish(),
            "auth": {
                "mode": format!("{:?}", self.settings.auth.mode).to_lowercase(),
                "keys": self.metrics.auth_keys.get(),
                "kept_out": self.metrics.auth_barred.get(),
                "revocations_known": self.health.knows_revocations(),
                "application_left_alone": self.metrics.auth_forward_paused.get() == 1,
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
                "shards": facts.shards,
            },
            "most_subscribed": channels,
        })
    }
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
