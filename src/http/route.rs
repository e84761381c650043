//! Routing: which request is what, and which subscriptions are admitted.

use super::Context;
use super::cors::Grant;
use super::encoding::wants_gzip;
use super::reject::{Code, Problem};
use crate::config::WhenFull;
use crate::limits::{Full, Seat};
use crate::subscription::{Limits, Subscription};
use bytes::Bytes;
use http_body_util::Full as FullBody;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use hyper::{Method, Request, Response, Version};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

type Answer = Response<FullBody<Bytes>>;

/// Methods of `/events` and `/events/{channel}`.
const ALLOW: &str = "GET, HEAD, POST, OPTIONS";

/// A subscription that has a place on this node.
pub struct Admitted {
    pub subscription: Subscription,
    pub seat: Seat,
    pub grant: Grant,
    /// HTTP/1.0 knows no chunks.
    pub chunked: bool,
    /// Its body is compressed.
    pub gzip: bool,
}

/// Answers a request; a subscription that is admitted goes into `decision` instead, and the future stays pending.
pub async fn route(
    request: Request<Incoming>,
    peer: IpAddr,
    context: &Arc<Context>,
    decision: &Mutex<Option<Admitted>>,
) -> Result<Answer, Infallible> {
    let grant = context.cors.grant(request.headers());
    let mut answer = match events_path(request.uri().path()) {
        None => Problem::new(Code::NotFound, format!("there is no {}", request.uri().path())).into_response(),
        Some(channel) => match *request.method() {
            Method::GET => match admit(&request, channel, peer, context) {
                Ok(admitted) => {
                    drop(request);
                    *decision.lock() = Some(admitted);
                    std::future::pending().await
                }
                Err(Refusal::Problem(problem)) => problem.into_response(),
                Err(Refusal::ComeBack) => come_back(context),
            },
            Method::HEAD => match parse(&request, channel, context) {
                Ok(_) => {
                    let mut answer = event_stream(Bytes::new());
                    if wants_gzip(request.headers(), context.settings.compress) {
                        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                        answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
                    }
                    answer
                }
                Err(problem) => problem.into_response(),
            },
            Method::OPTIONS => return Ok(context.cors.preflight(request.headers(), ALLOW)),
            Method::POST => publish(request, peer, context).await,
            ref method => Problem::method_not_allowed(method, ALLOW).into_response(),
        },
    };
    grant.apply(answer.headers_mut());
    Ok(answer)
}

/// `Some(None)` for `/events`, `Some(Some(channel))` for `/events/{channel}`.
fn events_path(path: &str) -> Option<Option<&str>> {
    let rest = path.strip_prefix("/events")?;
    match rest.strip_prefix('/') {
        None if rest.is_empty() => Some(None),
        None => None,
        Some("") => Some(None),
        Some(channel) => Some(Some(channel)),
    }
}

async fn publish(request: Request<Incoming>, peer: IpAddr, context: &Context) -> Answer {
    let answer = match &context.publisher {
        Some(publisher) => super::publish::publish(request, peer, publisher).await,
        None => {
            let detail = "publishing over HTTP is off on this node: --publish on allows it, XADD always works";
            Problem::new(Code::PublishOff, detail).into_response()
        }
    };
    let outcome = answer.extensions().get::<Code>().map_or("ok", |code| code.as_str());
    context.metrics.publish_requests.with_label_values(&[outcome]).inc();
    answer
}

fn parse(request: &Request<Incoming>, channel: Option<&str>, context: &Context) -> Result<Subscription, Problem> {
    let limits =
        Limits { max_channels: context.settings.max_channels_per_connection, max_tail: context.settings.replay_limit };
    let last_event_id = request.headers().get("last-event-id").map(HeaderValue::as_bytes);
    let query = request.uri().query().unwrap_or_default();
    Subscription::parse(channel, query, last_event_id, &limits, context.now_ms())
}

fn admit(
    request: &Request<Incoming>,
    channel: Option<&str>,
    peer: IpAddr,
    context: &Arc<Context>,
) -> Result<Admitted, Refusal> {
    let refused = |problem: Problem| {
        context.refused(problem.code.as_str(), peer);
        Refusal::Problem(problem)
    };
    if context.is_closing() {
        return Err(refused(Problem::new(Code::Draining, "this node is shutting down")));
    }
    let subscription = parse(request, channel, context).map_err(refused)?;
    let seat = context.limits.enter(peer).map_err(|full| match full {
        Full::Node if context.settings.when_full == WhenFull::Retry => {
            context.refused(Code::NodeFull.as_str(), peer);
            Refusal::ComeBack
        }
        Full::Node => {
            let detail = format!("this node has its {} subscribers", context.limits.max());
            refused(Problem::new(Code::NodeFull, detail))
        }
        Full::Address => {
            let most = context.settings.max_connections_per_address;
            let detail = format!("{peer} has its {most} subscribers on this node");
            refused(Problem::new(Code::TooManyConnections, detail))
        }
    })?;
    let grant = context.cors.grant(request.headers());
    let chunked = request.version() != Version::HTTP_10;
    let gzip = chunked && wants_gzip(request.headers(), context.settings.compress);
    Ok(Admitted { subscription, seat, grant, chunked, gzip })
}

/// Why a subscription is not admitted.
enum Refusal {
    Problem(Problem),
    /// The node is full, and says so in a way that EventSource survives.
    ComeBack,
}

/// A stream that ends at once, with a long delay: unlike after an error, EventSource comes back.
fn come_back(context: &Context) -> Answer {
    let longest = context.settings.retry.to.as_millis() as u64;
    let retry = fastrand::u64(longest * 5..=longest * 15);
    let mut answer = event_stream(format!("retry: {retry}\n\n").into());
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// An answer with the head of an event stream.
fn event_stream(body: Bytes) -> Answer {
    let mut answer = Response::new(FullBody::new(body));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(events_path("/events"), Some(None));
        assert_eq!(events_path("/events/"), Some(None));
        assert_eq!(events_path("/events/orders"), Some(Some("orders")));
        assert_eq!(events_path("/eventsx"), None);
        assert_eq!(events_path("/"), None);
    }
}
