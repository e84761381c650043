//! HTTP/2 connections (RFC 9113) that hyper keeps: under TLS by ALPN, or in the clear by prior knowledge where no courier
//! is to have them.
//!
//! hyper keeps the connection; each subscription is a stream whose body a courier writes into a pipe. Owns what bounds
//! a connection: streams, windows, buffers, its idle time, and what a flood costs.

use super::Context;
use super::decision::Decision;
use super::flood::Gate;
use super::head::set_date;
use super::history;
use super::intake::Intake;
use super::metrics::Dropped;
use super::request_body::RequestBody;
use super::resets::Resets;
use super::route::route;
use super::stream_body::StreamAnswer;
use super::subscribe;
use super::wire::{ResponseWriter, Wire};
use crate::courier::Cutter;
use crate::problem::{Code, Problem};
use http_body_util::Either;
use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

/// Bytes of one stream that hyper takes from its pipe before the peer's window allows them.
const SEND_BYTES: usize = 16 << 10;
/// Windows for what clients send: bodies of publications, which are read as they come.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// A whole request head, decoded; URLs carry all.
const HEADER_LIST_BYTES: u32 = 64 << 10;
/// Streams that the peer has reset and that were not looked at yet (CVE-2023-44487), and resets that its errors made us
/// send (CVE-2025-8671): beyond these the connection ends.
const PENDING_RESETS: usize = 20;
const ERROR_RESETS: usize = 128;
/// A peer that has gone without a word is found by a ping. One that reads slowly finds it behind all that it has not read,
/// and has as long for that as `--stall-timeout` gives it.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// For the first request, and between requests where no stream is open.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(60);
/// After a farewell, for a peer that does not go.
const LINGER: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_secs(1);
/// How long a join may stand among those that are worked on at once.
const JOIN_TIME: Duration = Duration::from_millis(100);

/// Spawns streams of one connection: counts them, and ties each to the cutter of its request.
#[derive(Clone, Default)]
struct Streams {
    open: Arc<AtomicUsize>,
    next: Arc<Mutex<Option<Cutter>>>,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let open = Open::new(&self.open);
        let task = tokio::spawn(async move {
            stream.await;
            drop(open);
        });
        // hyper spawns a stream right after it has called the service for it.
        if let Some(cutter) = self.next.lock().take() {
            let _ = cutter.set(task.abort_handle());
        }
    }
}

/// One stream that is open.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(open: &Arc<AtomicUsize>) -> Open {
        open.fetch_add(1, Ordering::Relaxed);
        Open(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection to its end. `closing`: no connection is accepted any more.
pub async fn serve<I>(io: I, peer: IpAddr, intake: Arc<Intake>, closing: impl Future<Output = ()>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let context = intake.context.clone();
    let gauge = context.metrics.http2_connections.clone();
    gauge.inc();
    let streams = Streams::default();
    let (spawner, serving) = (streams.clone(), intake.clone());
    let service = service_fn(move |request| {
        let cutter = Cutter::default();
        *spawner.next.lock() = Some(cutter.clone());
        let serving = serving.clone();
        async move {
            let mut answer = respond(request, peer, &serving, cutter).await;
            set_date(answer.headers_mut(), &serving.context.clock);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut builder = http2::Builder::new(streams.clone());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(context.settings.http2_streams)
        .max_send_buf_size(SEND_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(ERROR_RESETS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT.max(context.settings.stall_timeout));
    let flooded = context.clone();
    let io = Resets::new(Gate::new(io, move || flooded.dropped(Dropped::Http2Flood, peer)));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut tick = tokio::time::interval(TICK);
    let mut closing = pin!(closing);
    let mut idle_until = Instant::now() + FIRST_REQUEST;
    let mut gone_by = None;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "HTTP/2 connection ended");
                }
                break;
            }
            () = closing.as_mut(), if gone_by.is_none() => {
                // Streams that are open go on until their couriers end them.
                connection.as_mut().graceful_shutdown();
                gone_by = Some(Instant::now());
            }
            now = tick.tick() => {
                if streams.open.load(Ordering::Relaxed) > 0 {
                    idle_until = now + IDLE;
                } else if gone_by.is_some() && now > idle_until + LINGER {
                    break;
                } else if gone_by.is_none() && now > idle_until {
                    connection.as_mut().graceful_shutdown();
                    gone_by = Some(now);
                }
            }
        }
    }
    gauge.dec();
}

/// What becomes of a request.
#[expect(clippy::large_enum_variant, reason = "most are the large one")]
pub enum Decided {
    Answer(history::Answer),
    Subscribes(Decision),
}

/// Decides on a request; what is no subscription is answered.
pub async fn decide(request: Request<RequestBody>, peer: IpAddr, context: &Arc<Context>) -> Decided {
    let decision: Mutex<Option<Decision>> = Mutex::new(None);
    let mut routing = pin!(route(request, peer, context, &decision));
    poll_fn(|cx| {
        let polled = routing.as_mut().poll(cx);
        match decision.lock().take() {
            Some(decided) => Poll::Ready(Decided::Subscribes(decided)),
            None => polled.map(|Ok(answer)| Decided::Answer(answer)),
        }
    })
    .await
}

/// Answers one request; a subscription's answer comes when its channels are joined.
async fn respond(request: Request<Incoming>, peer: IpAddr, intake: &Arc<Intake>, cutter: Cutter) -> StreamAnswer {
    let context = &intake.context;
    let decided = match decide(request.map(RequestBody::Hyper), peer, context).await {
        Decided::Answer(answer) => {
            return answer.map(|body| match body {
                Either::Left(whole) => Either::Left(whole),
                Either::Right(pages) => Either::Right(Either::Right(pages)),
            });
        }
        Decided::Subscribes(decided) => decided,
    };
    let (answer, waiting) = oneshot::channel();
    let wire = Wire::Stream(ResponseWriter::new(answer, cutter, context.metrics.http2_streams.clone()));
    let (trace, admits) = (decided.trace(), decided.admits());
    let beginning = subscribe::begin(wire, decided, context.clone()).instrument(trace);
    // On a task of its own: legs may have to be brought after the head has gone out, and an answer's end may be held.
    match admits {
        true => tokio::spawn(begin(beginning, intake.clone())),
        false => tokio::spawn(beginning),
    };
    match waiting.await {
        Ok(answer) => answer,
        // Nobody answers for it any more, which only happens as the node ends.
        Err(_) => Problem::new(Code::Draining, "this node is shutting down").into_response().map(Either::Left),
    }
}

/// Joins of all HTTP/2 connections have a bounded number of places.
async fn begin(beginning: impl Future<Output = ()>, intake: Arc<Intake>) {
    let beginning = Box::pin(beginning);
    let place = intake.joins.acquire().await;
    hurry(place, beginning).await;
}

/// Works at a place; slow work makes room after a moment.
pub async fn hurry<P, T>(place: P, mut work: Pin<Box<impl Future<Output = T>>>) -> T {
    match timeout(JOIN_TIME, work.as_mut()).await {
        Ok(done) => done,
        Err(_) => {
            drop(place);
            work.await
        }
    }
}
