//! What the node tells about itself beside metrics: log lines ([`log`], thinned by [`LogThrottle`]) and traces ([`trace`]).

pub mod log;
mod log_throttle;
pub mod trace;

pub use log::{LogFormat, LogSettings};
pub use log_throttle::LogThrottle;

use std::sync::Arc;
use trace::{Deliveries, ExportError, Plan, Spans, Traces};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Log and traces of the process. What waits is written and sent when it is dropped, in bounded time.
pub struct Telemetry {
    // Dropped first, for it may still log.
    traces: Option<Traces>,
    _log: WorkerGuard,
}

impl Telemetry {
    /// What feeds tell of traced events; `None` while nobody collects traces.
    pub fn deliveries(&self) -> Option<Arc<Deliveries>> {
        self.traces.as_ref().map(|traces| traces.deliveries().clone())
    }
}

/// Starts log and, where there is a plan for them, traces, for the whole process. `spans` counts the latter.
///
/// Fails only where the plan's collector cannot be talked to at all; one that is down is no failure.
pub fn start(log: &LogSettings, plan: Option<&Plan>, spans: Spans) -> Result<Telemetry, ExportError> {
    let (lines, guard) = log::layer(log);
    let traces = plan.map(|plan| Traces::start(plan, spans)).transpose()?;
    let layer = traces.as_ref().map(Traces::layer);
    // Fails where a log was started before, and then that one counts.
    let _ = tracing_subscriber::registry().with(layer).with(lines).try_init();
    Ok(Telemetry { traces, _log: guard })
}
