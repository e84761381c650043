//! Traces: spans for what a node does for somebody, sent to an OpenTelemetry collector by OTLP.
//!
//! [`settings`] says whether and where to, [`spans`] makes them, [`delivery`] follows one event to its subscribers,
//! [`context`] is W3C Trace Context, `export` sends. While nobody collects traces no span is ever made.

pub mod context;
pub mod delivery;
mod export;
pub mod settings;
pub mod spans;

pub use delivery::{Deliveries, Delivery};
pub use export::{ExportError, Traces};
pub use settings::{Plan, PlanError, TraceSettings};

use crate::metrics::{Counters, Registry, labels};

labels! {
    /// What became of a span: the label of `fantail_trace_spans_total`.
    pub enum Fate {
        /// The collector took it.
        Exported = "exported",
        /// More waited than may.
        Dropped = "dropped",
        /// The collector did not take it.
        Failed = "failed",
    }
}

/// Counts spans.
#[derive(Clone)]
pub struct Spans(Counters<Fate>);

impl Spans {
    /// Registers the family.
    pub fn new(registry: &Registry) -> Spans {
        Spans(registry.counters(
            "fantail_trace_spans_total",
            "Spans, by what became of them: exported, dropped since too many waited, failed at the collector.",
            "outcome",
        ))
    }

    fn count(&self, fate: Fate, spans: u64) {
        self.0.of(fate).inc_by(spans);
    }
}

impl std::fmt::Debug for Spans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spans")
    }
}
