//! All families of a node, each registered by the part that owns it.

use crate::auth::metrics::AuthMetrics;
use crate::backplane::metrics::BackplaneMetrics;
use crate::courier::metrics::CourierMetrics;
use crate::http::metrics::HttpMetrics;
use crate::hub::metrics::HubMetrics;
use crate::limits;
use crate::metrics::Registry;
use crate::telemetry::trace::Spans;
use prometheus::IntGauge;
use std::sync::Arc;

/// Everything that a node counts.
pub struct Metrics {
    pub registry: Registry,
    pub backplane: Arc<BackplaneMetrics>,
    pub hub: Arc<HubMetrics>,
    pub couriers: Arc<CourierMetrics>,
    pub auth: Arc<AuthMetrics>,
    pub http: Arc<HttpMetrics>,
    pub connection_limit: IntGauge,
    pub spans: Spans,
    pub drain_end: IntGauge,
}

impl Metrics {
    /// Registers all families of one node.
    pub fn new() -> Metrics {
        let registry = Registry::default();
        registry.info("fantail_build_info", "The node's version; always 1.", "version", env!("CARGO_PKG_VERSION"));
        registry.register_process();
        Metrics {
            backplane: Arc::new(BackplaneMetrics::new(&registry)),
            hub: Arc::new(HubMetrics::new(&registry)),
            couriers: Arc::new(CourierMetrics::new(&registry)),
            auth: Arc::new(AuthMetrics::new(&registry)),
            http: Arc::new(HttpMetrics::new(&registry)),
            connection_limit: limits::limit_gauge(&registry),
            spans: Spans::new(&registry),
            drain_end: registry.gauge(
                "fantail_drain_end_timestamp_seconds",
                "Unix time at which the drain's window ends; 0: the node does not drain.",
            ),
            registry,
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}
