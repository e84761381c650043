//! The plain way to serve events with hyper: a streaming body per response, a task per connection, a broadcast
//! channel, and a short history in memory for resumes. One channel.

use anyhow::Result;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt as _};

/// Events that are kept for resumes.
const HISTORY: usize = 1_000;

/// How it runs.
#[derive(Clone, Debug, clap::Args)]
pub struct HyperBody {
    #[arg(long)]
    pub listen: SocketAddr,
    #[arg(long)]
    pub feed: SocketAddr,
    /// Seconds between heartbeats; 0: none.
    #[arg(long, default_value_t = 0)]
    pub heartbeat: u64,
    /// A compressor for each connection, as frameworks have it.
    #[arg(long)]
    pub gzip: bool,
}

struct Hub {
    /// Newest at the back, with their numbers.
    history: Mutex<VecDeque<(u64, Bytes)>>,
    live: broadcast::Sender<Bytes>,
    heartbeat: Option<Duration>,
    gzip: bool,
}

/// Runs until killed, on one thread.
pub fn run(server: &HyperBody) -> Result<()> {
    let listener = super::floor::listen(server.listen)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let feed = TcpListener::bind(server.feed).await?;
        let hub = Arc::new(Hub {
            history: Mutex::new(VecDeque::new()),
            live: broadcast::channel(1024).0,
            heartbeat: (server.heartbeat > 0).then(|| Duration::from_secs(server.heartbeat)),
            gzip: server.gzip,
        });
        tokio::spawn(feeds(feed, hub.clone()));
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let hub = hub.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let response = subscribe(&hub, &request);
                    async move { Ok::<_, Infallible>(response) }
                });
                // An error here is the client's leaving.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

async fn feeds(listener: TcpListener, hub: Arc<Hub>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = feed(stream, &hub).await;
    }
}

async fn feed(stream: TcpStream, hub: &Hub) -> std::io::Result<()> {
    let mut lines = BufReader::with_capacity(64 * 1024, stream).lines();
    while let Some(line) = lines.next_line().await? {
        let mut history = hub.history.lock().expect("never poisoned");
        let number = history.back().map_or(1, |(number, _)| number + 1);
        let block = Bytes::from(format!("id: {}-0\ndata: {line}\n\n", 1_700_000_000_000 + number));
        history.push_back((number, block.clone()));
        if history.len() > HISTORY {
            history.pop_front();
        }
        let _ = hub.live.send(block);
    }
    Ok(())
}

type Blocks = std::pin::Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

/// Each block compressed with all that came before it on this connection, and flushed.
fn packed(frames: Blocks) -> Blocks {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    Box::pin(frames.map(move |frame| {
        let block = frame.unwrap_or_else(|never| match never {}).into_data().unwrap_or_default();
        encoder.write_all(&block).and_then(|()| encoder.flush()).expect("into memory");
        Ok(Frame::data(std::mem::take(encoder.get_mut()).into()))
    }))
}

fn subscribe(hub: &Hub, request: &Request<Incoming>) -> Response<StreamBody<Blocks>> {
    let last = request.headers().get("last-event-id").and_then(|id| {
        let ms: u64 = id.to_str().ok()?.split('-').next()?.parse().ok()?;
        ms.checked_sub(1_700_000_000_000)
    });
    let (first, live) = {
        let history = hub.history.lock().expect("never poisoned");
        let newest = history.back().map_or(0, |(number, _)| *number);
        let position = last.unwrap_or(newest);
        let mut first = vec![Bytes::from(format!("retry: 2000\nid: {}-0\n\n", 1_700_000_000_000 + position))];
        first.extend(history.iter().filter(|(number, _)| *number > position).map(|(_, block)| block.clone()));
        (first, hub.live.subscribe())
    };
    let live = BroadcastStream::new(live).filter_map(Result::ok);
    let blocks = tokio_stream::iter(first).chain(live);
    let frames: Blocks = match hub.heartbeat {
        None => Box::pin(blocks.map(|block| Ok(Frame::data(block)))),
        Some(every) => {
            let beats = blocks.timeout_repeating(tokio::time::interval(every));
            Box::pin(beats.map(|block| Ok(Frame::data(block.unwrap_or(Bytes::from_static(b":\n\n"))))))
        }
    };
    let frames = if hub.gzip { packed(frames) } else { frames };
    let mut response = Response::new(StreamBody::new(frames));
    let headers = response.headers_mut();
    if hub.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
