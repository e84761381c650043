//! The spans of requests: made where a request is understood, told what became of it where that is known.
//!
//! Names are few and fixed; what differs is in attributes, named as OpenTelemetry's conventions for messaging have
//! it, and `fantail.…` where they have nothing. While nobody collects traces each of these functions is one load.

use super::context::{self, TARGET};
use crate::backplane::{BackplaneError, Entry, Span as Extent};
use crate::channel::Channel;
use hyper::HeaderMap;
use opentelemetry::trace::TraceContextExt as _;
use tracing::{Instrument as _, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Channels of a subscription that its span names.
const NAMED_CHANNELS: usize = 10;
/// Producers' spans that one replay read is linked to.
const LINKS: usize = 32;

/// A subscription, from its request to its place on a courier.
pub fn subscribe(headers: &HeaderMap, channels: &[Channel]) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "subscribe",
        otel.kind = "server",
        otel.status_code = field::Empty,
        error.type = field::Empty,
        messaging.system = "fantail",
        messaging.destination.name = field::Empty,
        fantail.channels = channels.len(),
        fantail.resume = field::Empty,
        fantail.gaps = field::Empty,
    );
    begin(&span, headers, |span| {
        let names: Vec<&str> = channels.iter().take(NAMED_CHANNELS).map(Channel::as_str).collect();
        span.record("messaging.destination.name", names.join(","));
    });
    span
}

/// How the current subscription began: the worst outcome of its channels, `new` where it brought no position.
pub fn joined(resume: &'static str, gaps: usize) {
    let span = Span::current();
    span.record("fantail.resume", resume);
    span.record("fantail.gaps", gaps);
}

/// The current request was refused with this code.
pub fn refused(code: &'static str) {
    failed(&Span::current(), code);
}

fn failed(span: &Span, code: &'static str) {
    span.record("error.type", code);
    span.record("otel.status_code", "ERROR");
}

/// A request that publishes.
pub fn publish(headers: &HeaderMap, segment: Option<&str>) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "publish",
        otel.kind = "producer",
        otel.status_code = field::Empty,
        error.type = field::Empty,
        messaging.system = "fantail",
        messaging.operation.type = "send",
        messaging.destination.name = segment,
        messaging.message.id = field::Empty,
        messaging.batch.message_count = field::Empty,
    );
    begin(&span, headers, |_| {});
    span
}

/// The current request has published one event.
pub fn published(id: impl std::fmt::Display) {
    Span::current().record("messaging.message.id", field::display(id));
}

/// The current request publishes a batch.
pub fn batch(events: usize) {
    Span::current().record("messaging.batch.message_count", events);
}

/// A read of history, linked to the producers of what it found.
pub async fn replay(
    extent: &Extent,
    read: impl Future<Output = Result<Vec<Entry>, BackplaneError>>,
) -> Result<Vec<Entry>, BackplaneError> {
    let span = tracing::info_span!(
        target: TARGET,
        "replay",
        otel.kind = "client",
        otel.status_code = field::Empty,
        error.type = field::Empty,
        messaging.system = "fantail",
        messaging.operation.type = "receive",
        messaging.destination.name = extent.channel.as_str(),
        messaging.batch.message_count = field::Empty,
        fantail.oldest = %extent.oldest,
        fantail.newest = %extent.newest,
    );
    let answer = read.instrument(span.clone()).await;
    match &answer {
        _ if span.is_disabled() => {}
        Ok(entries) => {
            span.record("messaging.batch.message_count", entries.len());
            let producers = entries.iter().filter_map(context::of_entry).filter(|producer| producer.is_sampled());
            producers.take(LINKS).for_each(|producer| span.add_link(producer));
        }
        Err(_) => failed(&span, "backplane"),
    }
    answer
}

/// Puts a span into its caller's trace, before it is entered.
fn begin(span: &Span, headers: &HeaderMap, more: impl FnOnce(&Span)) {
    if span.is_disabled() {
        return;
    }
    if let Some(caller) = context::of_request(headers) {
        // Fails only without a collector, and then the span would be disabled.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(caller));
    }
    more(span);
}
