//! Sending spans to the collector: a bounded queue, and a thread that empties it in batches.
//!
//! Whoever ends a span never waits: where the queue is full the span is dropped and counted, which the SDK's own batch
//! processor does not tell. A batch that the collector does not take, after the exporter's few repetitions, is lost.

use super::context::TARGET;
use super::delivery::Deliveries;
use super::settings::{Plan, Protocol};
use super::{Fate, Spans};
use crate::clock::Clock;
use crate::telemetry::LogThrottle;
use crate::trust::{self, TrustError};
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector as _};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter as _, SpanProcessor};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// How often deliveries that are over are looked for.
const SETTLE_EVERY: Duration = Duration::from_millis(250);
/// Time that sending what is left may take when the node ends.
const FLUSH: Duration = Duration::from_secs(3);
const LOG_PERIOD: Duration = Duration::from_secs(30);

/// Why traces cannot be sent to a collector at all; names it.
#[derive(Debug, thiserror::Error)]
#[error("traces to {endpoint}: {cause}")]
pub struct ExportError {
    endpoint: String,
    #[source]
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    /// A runtime or a thread does not start.
    #[error(transparent)]
    System(#[from] io::Error),
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE {0}")]
    Certificate(#[from] TrustError),
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
}

/// Traces of the process; sends what waits, in bounded time, when dropped.
pub struct Traces {
    tracer: SdkTracer,
    deliveries: Arc<Deliveries>,
    stop: Option<oneshot::Sender<()>>,
    stopped: std::sync::mpsc::Receiver<()>,
}

impl Traces {
    /// Starts the thread. The collector need not be there.
    pub fn start(plan: &Plan, spans: Spans) -> Result<Traces, ExportError> {
        Traces::begin(plan, spans).map_err(|cause| ExportError { endpoint: plan.endpoint.clone(), cause })
    }

    fn begin(plan: &Plan, spans: Spans) -> Result<Traces, Cause> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let resource = resource();
        let mut exporter = {
            let _within = runtime.enter();
            exporter(plan)?
        };
        exporter.set_resource(&resource);
        let (queue, waiting) = mpsc::channel(plan.queue);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Queue { queue, spans: spans.clone() })
            .with_sampler(plan.sampler.clone())
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("fantail");
        let deliveries = Arc::new(Deliveries::new(tracer.clone(), Clock::default()));
        let (stop, stopping) = oneshot::channel();
        let (done, stopped) = std::sync::mpsc::channel();
        let sender = Sender {
            exporter,
            waiting,
            deliveries: deliveries.clone(),
            // The last one to own it would shut the tracer down.
            _provider: provider,
            plan: plan.clone(),
            spans,
            log_throttle: LogThrottle::new(LOG_PERIOD),
        };
        let thread = std::thread::Builder::new().name("traces".into());
        thread.spawn(move || {
            runtime.block_on(sender.run(stopping));
            let _ = done.send(());
        })?;
        tracing::debug!(endpoint = plan.endpoint, protocol = ?plan.protocol, sampler = ?plan.sampler, "traces");
        Ok(Traces { tracer, deliveries, stop: Some(stop), stopped })
    }

    pub fn deliveries(&self) -> &Arc<Deliveries> {
        &self.deliveries
    }

    /// What makes spans of ours spans of OpenTelemetry. It sees no others, and no log lines.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let ours = filter_fn(|about| about.is_span() && about.target() == TARGET);
        tracing_opentelemetry::layer()
            .with_tracer(self.tracer.clone())
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(ours.with_max_level_hint(LevelFilter::INFO))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if self.stopped.recv_timeout(FLUSH).is_err() {
            tracing::warn!("the collector did not take the last spans in time");
        }
    }
}

/// Where ended spans go.
#[derive(Debug)]
struct Queue {
    queue: mpsc::Sender<SpanData>,
    spans: Spans,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.queue.try_send(span).is_err() {
            self.spans.count(Fate::Dropped, 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Empties the queue.
struct Sender {
    exporter: SpanExporter,
    waiting: mpsc::Receiver<SpanData>,
    deliveries: Arc<Deliveries>,
    _provider: SdkTracerProvider,
    plan: Plan,
    spans: Spans,
    log_throttle: LogThrottle,
}

impl Sender {
    async fn run(mut self, mut stopping: oneshot::Receiver<()>) {
        let mut batch = Vec::new();
        let mut due = interval(self.plan.delay);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut settle = interval(SETTLE_EVERY);
        settle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let room = self.plan.batch - batch.len();
            tokio::select! {
                biased;
                _ = &mut stopping => break,
                _ = settle.tick() => self.deliveries.settle(false),
                _ = due.tick() => self.send(&mut batch).await,
                _ = self.waiting.recv_many(&mut batch, room) => {
                    if batch.len() >= self.plan.batch {
                        self.send(&mut batch).await;
                    }
                }
            }
        }
        self.deliveries.settle(true);
        loop {
            while batch.len() < self.plan.batch
                && let Ok(span) = self.waiting.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            self.send(&mut batch).await;
        }
    }

    async fn send(&mut self, batch: &mut Vec<SpanData>) {
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        let error = match timeout(self.plan.timeout, self.exporter.export(std::mem::take(batch))).await {
            Ok(Ok(())) => return self.spans.count(Fate::Exported, count),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {:?}", self.plan.timeout),
        };
        self.spans.count(Fate::Failed, count);
        if let Some(suppressed) = self.log_throttle.turn("failed") {
            tracing::warn!(endpoint = self.plan.endpoint, spans = count, %error, suppressed, "spans are lost");
        }
    }
}

/// What the node says of itself; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` count more.
fn resource() -> Resource {
    let own = [
        KeyValue::new("service.name", "fantail"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", format!("{:016x}", fastrand::u64(..))),
    ];
    let given = EnvResourceDetector::new().detect();
    let mut resource = Resource::builder_empty()
        .with_attributes(own)
        .with_attributes(given.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
    if let Some(name) = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty()) {
        resource = resource.with_service_name(name);
    }
    resource.build()
}

fn exporter(plan: &Plan) -> Result<SpanExporter, Cause> {
    let authorities = trust::authorities_and(plan.certificate.as_deref().map(Path::new))?;
    let built = match plan.protocol {
        Protocol::Grpc => {
            let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(&plan.endpoint);
            if plan.endpoint.starts_with("https:") {
                exporter = exporter.with_tls_config(ClientTlsConfig::new().trust_anchors(authorities.roots));
            }
            exporter.build()
        }
        Protocol::Http => {
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(trust::client(authorities).with_no_client_auth())
                .https_or_http()
                .enable_http1()
                .build();
            let client = HyperClient::new(connector, plan.timeout, None);
            SpanExporter::builder().with_http().with_http_client(client).with_endpoint(&plan.endpoint).build()
        }
    };
    Ok(built?)
}
