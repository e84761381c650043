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
pub use export::Traces;
pub use settings::{Plan, TraceSettings};

use prometheus::{IntCounter, IntCounterVec};

/// What became of spans: the labels of `fantail_trace_spans_total`.
#[derive(Clone, Debug)]
pub struct Spans {
    /// The collector took them.
    exported: IntCounter,
    /// More waited than may.
    dropped: IntCounter,
    /// The collector did not take them.
    failed: IntCounter,
}

impl Spans {
    pub const OUTCOMES: [&str; 3] = ["exported", "dropped", "failed"];

    pub fn new(family: &IntCounterVec) -> Spans {
        let [exported, dropped, failed] = Spans::OUTCOMES.map(|outcome| family.with_label_values(&[outcome]));
        Spans { exported, dropped, failed }
    }
}
