//! An OpenTelemetry collector of a test's own: takes traces by OTLP over gRPC and over HTTP, on one port, as the
//! protocol's own types decode them.

use super::node::eventually;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::codec::CompressionEncoding;

/// Which of the two a collector speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Grpc,
    Http,
}

/// A running collector; ends when dropped.
pub struct Collector {
    pub address: SocketAddr,
    taken: Taken,
    _stop: oneshot::Sender<()>,
}

/// A span, its ids as text and its attributes by name.
#[derive(Clone, Debug)]
pub struct Seen {
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, String>,
    /// Spans that it is linked to.
    pub links: Vec<String>,
    /// Of the process that sent it.
    pub resource: BTreeMap<String, String>,
    pub failed: bool,
}

#[derive(Clone, Default)]
struct Taken {
    spans: Arc<Mutex<Vec<Seen>>>,
    /// Headers of the requests that brought them.
    headers: Arc<Mutex<Vec<(String, String)>>>,
}

impl Collector {
    pub fn start(speaks: Speaks) -> Collector {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let taken = Taken::default();
        let service = taken.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                tell.send(listener.local_addr().expect("an address")).expect("the test waits");
                tokio::select! {
                    () = serve(listener, speaks, service) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = told.recv().expect("the collector listens");
        Collector { address, taken, _stop: stop }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn spans(&self) -> Vec<Seen> {
        self.taken.spans.lock().unwrap().clone()
    }

    /// Waits for a span; the first that is like this.
    pub fn span(&self, what: &str, like: impl Fn(&Seen) -> bool) -> Seen {
        let mut found = None;
        eventually(&format!("a span: {what}"), || {
            found = self.spans().into_iter().find(|span| like(span));
            found.is_some()
        });
        found.expect("just seen")
    }

    pub fn headers(&self) -> Vec<(String, String)> {
        self.taken.headers.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, speaks: Speaks, taken: Taken) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let (io, taken) = (TokioIo::new(socket), taken.clone());
        tokio::spawn(async move {
            match speaks {
                Speaks::Grpc => {
                    let service = TraceServiceServer::new(taken).accept_compressed(CompressionEncoding::Gzip);
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(io, TowerToHyperService::new(service)).await;
                }
                Speaks::Http => {
                    let service = service_fn(|request| over_http(request, &taken));
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                }
            }
        });
    }
}

/// OTLP/HTTP: protobuf posted to `/v1/traces`.
async fn over_http(request: Request<Incoming>, taken: &Taken) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let kind = head.headers.get("content-type").map(|value| value.as_bytes());
    if head.uri.path() != "/v1/traces" || head.method != "POST" || kind != Some(b"application/x-protobuf") {
        let mut refusal = Response::new(Full::from(format!("not OTLP: {head:?}")));
        *refusal.status_mut() = hyper::StatusCode::BAD_REQUEST;
        return Ok(refusal);
    }
    for (name, value) in &head.headers {
        taken.headers.lock().unwrap().push((name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    }
    let body = body.collect().await.expect("a whole body").to_bytes();
    taken.take(ExportTraceServiceRequest::decode(body).expect("OTLP"));
    let mut answer = Response::new(Full::from(ExportTraceServiceResponse::default().encode_to_vec()));
    answer.headers_mut().insert("content-type", "application/x-protobuf".parse().expect("a header"));
    Ok(answer)
}

#[tonic::async_trait]
impl TraceService for Taken {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        for (name, value) in request.metadata().clone().into_headers().iter() {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            self.headers.lock().unwrap().push((name.to_string(), value));
        }
        self.take(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Taken {
    fn take(&self, request: ExportTraceServiceRequest) {
        for of_process in request.resource_spans {
            let resource = attributes(of_process.resource.map(|resource| resource.attributes).unwrap_or_default());
            let spans = of_process.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans.map(|span| seen(span, &resource)));
        }
    }
}

fn seen(span: Span, resource: &BTreeMap<String, String>) -> Seen {
    Seen {
        name: span.name,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        attributes: attributes(span.attributes),
        links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
        resource: resource.clone(),
        // STATUS_CODE_ERROR
        failed: span.status.is_some_and(|status| status.code == 2),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(from: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    };
    from.into_iter().map(|pair| (pair.key, text(pair.value))).collect()
}
