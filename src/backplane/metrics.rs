//! What is counted of the backplane: whether it is there, and what its commands took.

use super::ReadFrom;
use super::redis::refusals::{CODES, PROBE};
use crate::metrics::{COMMAND_SECONDS, Registry};
use prometheus::{Gauge, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

/// Names of commands as they are observed: the label of `fantail_backplane_command_seconds`.
const COMMANDS: [&str; 9] = ["xread", "xinfo", "examine", "xrange", "xadd", PROBE, "note", "noted", "role"];

/// The backplane's families.
pub struct BackplaneMetrics {
    pub backplane_up: IntGauge,
    pub backplane_shards_down: IntGauge,
    pub backplane_reconnects: IntCounter,
    pub backplane_commands: HistogramVec,
    pub backplane_errors: IntCounter,
    pub backplane_refused: IntCounterVec,
    pub replica_lag: Gauge,
    pub read_from: IntGaugeVec,
}

impl BackplaneMetrics {
    /// Registers the families.
    pub fn new(registry: &Registry) -> BackplaneMetrics {
        let r = registry;
        let metrics = BackplaneMetrics {
            backplane_up: r.gauge("fantail_backplane_up", "Whether the backplane can be read (1) or not (0)."),
            backplane_shards_down: r.gauge(
                "fantail_backplane_shards_down",
                "Primaries of a cluster that cannot be read; /status names them.",
            ),
            backplane_reconnects: r.counter("fantail_backplane_reconnects_total", "Connections made after the first."),
            backplane_commands: r.histograms(
                "fantail_backplane_command_seconds",
                "Time of backplane commands, a batch counting once.",
                "command",
                COMMAND_SECONDS,
            ),
            backplane_errors: r.counter("fantail_backplane_errors_total", "Backplane commands that failed."),
            backplane_refused: r.register(
                IntCounterVec::new(
                    Opts::new(
                        "fantail_backplane_refused_total",
                        "Backplane commands that the server refused, by code.",
                    ),
                    &["code"],
                )
                .expect("a valid name"),
            ),
            replica_lag: r.real(
                "fantail_redis_replica_lag_seconds",
                "How far a replica that is read lags, at most; the one that lags most.",
            ),
            read_from: r.register(
                IntGaugeVec::new(
                    Opts::new(
                        "fantail_redis_read_from",
                        "Servers whose streams are read from a primary or a replica, where replicas are to be read.",
                    ),
                    &["role"],
                )
                .expect("a valid name"),
            ),
        };
        metrics.read_from(&[]);
        for command in COMMANDS {
            metrics.backplane_commands.with_label_values(&[command]);
        }
        for code in CODES {
            metrics.backplane_refused.with_label_values(&[code]);
        }
        metrics
    }

    /// Notes from where the servers are read.
    pub fn read_from(&self, reads: &[ReadFrom]) {
        let replicas = reads.iter().filter(|read| read.replica.is_some()).count();
        self.read_from.with_label_values(&["replica"]).set(replicas as i64);
        self.read_from.with_label_values(&["primary"]).set((reads.len() - replicas) as i64);
        let lag_ms = reads.iter().filter_map(|read| read.lag_ms).max().unwrap_or_default();
        self.replica_lag.set(lag_ms as f64 / 1000.0);
    }
}
