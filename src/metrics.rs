//! The node's metrics: one struct, registered once and handed to whoever counts.
//!
//! A scrape reads atomics only, so it costs the same with ten and with fifteen thousand connections.

mod spread;

pub use spread::Spread;

use crate::auth::revocation::Target;
use crate::backplane::redis::refusals::CODES;
use crate::courier::Reason;
use crate::frame::GapReason;
use crate::http::admin::REFUSALS;
use crate::http::tls::OUTCOMES;
use crate::hub::join::Outcome;
use crate::problem::Code;
use crate::telemetry::trace::Spans;
use prometheus::{
    Counter, CounterVec, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};
use std::sync::Arc;

/// Lag from a tenth of a millisecond to a minute.
const LAG_SECONDS: &[f64] =
    &[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0];
/// Dense where a turn should end: a join waits for one at most.
const TURN_SECONDS: &[f64] = &[0.0001, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.007, 0.01, 0.02, 0.05, 0.1, 1.0];
const LAG_EVENTS: &[f64] = &[0.0, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 10_000.0, 100_000.0];
const COMMAND_SECONDS: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Everything that a node counts.
pub struct Metrics {
    registry: Registry,
    pub connections: IntGauge,
    pub connections_opened: IntCounter,
    pub connections_closed: IntCounterVec,
    pub connections_refused: IntCounterVec,
    pub connection_limit: IntGauge,
    pub waiting: IntGauge,
    pub slow_requests: IntCounter,
    pub admin_refused: IntCounterVec,
    pub channels: IntGauge,
    pub subscriptions: IntGauge,
    pub tail_bytes: IntGauge,
    pub history_bytes: IntGauge,
    pub events_received: IntCounter,
    pub types_renamed: IntCounter,
    pub invalid_utf8: IntCounter,
    pub untimed_events: IntCounter,
    pub events_delivered: IntCounter,
    pub delivered_bytes: IntCounter,
    pub compressed_plain_bytes: IntCounter,
    pub compressed_bytes: IntCounter,
    pub delivery_lag: Spread,
    pub follower_lag: Histogram,
    pub subscriber_lag: Spread,
    pub courier_turn: Spread,
    pub resumes: IntCounterVec,
    pub gaps: IntCounterVec,
    pub catch_ups: IntCounter,
    pub catch_ups_waiting: IntGauge,
    pub leftover_bytes: IntGauge,
    pub replay_entries: IntCounter,
    pub replay_bytes: IntGauge,
    pub replay_waits: IntCounterVec,
    pub joins_waiting: IntGauge,
    pub backplane_up: IntGauge,
    pub backplane_shards_down: IntGauge,
    pub backplane_reconnects: IntCounter,
    pub history_seconds: Gauge,
    pub history_entries: Gauge,
    pub history_short: IntGauge,
    pub backplane_commands: HistogramVec,
    pub backplane_errors: IntCounter,
    pub backplane_refused: IntCounterVec,
    pub publish_requests: IntCounterVec,
    pub auth: IntCounterVec,
    pub auth_keys: IntGauge,
    pub auth_keys_skipped: IntGauge,
    pub auth_key_reads: IntCounterVec,
    pub auth_forward: IntCounterVec,
    pub auth_forward_seconds: Histogram,
    pub auth_forward_paused: IntGauge,
    pub auth_barred: IntGauge,
    pub revocations: IntCounterVec,
    pub control_rereads: IntCounter,
    pub http2_connections: IntGauge,
    pub http2_streams: IntGauge,
    pub tls_handshakes: IntCounterVec,
    pub tls_certificate_expires: IntGauge,
    pub tls_reloads: IntCounterVec,
    pub drain_end: IntGauge,
    pub follower_stalled: Gauge,
    pub hot_streams: IntGauge,
    courier_busy: CounterVec,
    pub trace_spans: IntCounterVec,
}

impl Metrics {
    pub fn new() -> Arc<Metrics> {
        let registry = Registry::new();
        let r = Families(&registry);
        let metrics = Metrics {
            connections: r.gauge("fantail_connections", "Subscribers connected now."),
            connections_opened: r.counter("fantail_connections_opened_total", "Subscribers accepted."),
            connections_closed: r.counters(
                "fantail_connections_closed_total",
                "Subscribers ended, by reason.",
                "reason",
            ),
            connections_refused: r.counters(
                "fantail_connections_refused_total",
                "Connections and subscriptions refused, by reason.",
                "reason",
            ),
            connection_limit: r.gauge("fantail_connection_limit", "Subscribers that this node takes at most."),
            waiting: r.gauge("fantail_connections_waiting", "Connections that have not sent a whole request yet."),
            slow_requests: r.counter(
                "fantail_slow_requests_total",
                "Requests that took longer than a tenth of a second to be read and answered, and gave their place to others.",
            ),
            admin_refused: r.counters(
                "fantail_admin_refused_total",
                "Connections and requests of the operators' listener that were refused, by reason.",
                "reason",
            ),
            channels: r.gauge("fantail_channels", "Channels that this node follows."),
            subscriptions: r.gauge("fantail_subscriptions", "Legs: channels of all subscribers together."),
            tail_bytes: r.gauge("fantail_tail_bytes", "Bytes of frames kept in tails."),
            history_bytes: r.gauge("fantail_history_bytes", "Bytes of pages of past events that are read and written."),
            events_received: r.counter("fantail_events_received_total", "Events read from the backplane."),
            types_renamed: r.counter(
                "fantail_types_renamed_total",
                "Events read whose type began with fantail. and got a _ in front.",
            ),
            invalid_utf8: r.counter(
                "fantail_invalid_utf8_total",
                "Events read that were not UTF-8, which are delivered with U+FFFD in place of what is none.",
            ),
            untimed_events: r.counter(
                "fantail_untimed_events_total",
                "Events read whose ids are no time, which are left out of lags.",
            ),
            events_delivered: r.counter("fantail_events_delivered_total", "Events written to sockets."),
            delivered_bytes: r.counter("fantail_delivered_bytes_total", "Bytes written to subscribers' sockets."),
            compressed_plain_bytes: r.counter(
                "fantail_compressed_plain_bytes_total",
                "Bytes of events written to compressed streams, before compression.",
            ),
            compressed_bytes: r.counter(
                "fantail_compressed_bytes_total",
                "Bytes of events written to compressed streams, after compression.",
            ),
            delivery_lag: r.spread(
                "fantail_delivery_lag_seconds",
                "From an entry id's time, by the Redis clock, to the write on the socket.",
                LAG_SECONDS,
            ),
            follower_lag: r.histogram(
                "fantail_follower_lag_seconds",
                "From an entry id's time, by the Redis clock, to its arrival on this node.",
                LAG_SECONDS,
            ),
            subscriber_lag: r.spread(
                "fantail_subscriber_lag_events",
                "How many events a subscriber is behind, sampled by the sweep.",
                LAG_EVENTS,
            ),
            courier_turn: r.spread(
                "fantail_courier_turn_seconds",
                "How long a delivery thread worked before it looked at joins and hang-ups again.",
                TURN_SECONDS,
            ),
            resumes: r.counters("fantail_resumes_total", "How subscriptions with a position began.", "outcome"),
            gaps: r.counters("fantail_gaps_total", "Gaps announced, by reason.", "reason"),
            catch_ups: r.counter("fantail_catch_ups_total", "Pages of history read for subscribers behind the tail."),
            catch_ups_waiting: r
                .gauge("fantail_catch_ups_waiting", "Subscribers behind the tail that wait for a page of history."),
            leftover_bytes: r.gauge("fantail_leftover_bytes", "Bytes of events that full sockets left over."),
            replay_entries: r
                .counter("fantail_replay_entries_total", "Entries of history read for subscribers behind the tail."),
            replay_bytes: r
                .gauge("fantail_replay_bytes", "Bytes of history on its way to subscribers behind the tail."),
            replay_waits: r.counters(
                "fantail_replay_waits_total",
                "Times that a page of history had to wait, by limit: --replay-rate or --replay-bytes.",
                "limit",
            ),
            joins_waiting: r.gauge("fantail_joins_waiting", "Joins that wait for a channel's position."),
            backplane_up: r.gauge("fantail_backplane_up", "Whether the backplane can be read (1) or not (0)."),
            backplane_shards_down: r.gauge(
                "fantail_backplane_shards_down",
                "Primaries of a cluster that cannot be read; /status names them.",
            ),
            history_seconds: r.real(
                "fantail_history_seconds",
                "How far back the shortest history of a followed stream reaches, sampled; +Inf: none was trimmed.",
            ),
            history_entries: r.real(
                "fantail_history_entries",
                "Entries of the shortest history of a followed stream, sampled; +Inf: none was trimmed.",
            ),
            history_short: r.gauge(
                "fantail_history_short_channels",
                "Sampled channels whose history is shorter than a reconnect (--retry) plus --drain may take.",
            ),
            backplane_reconnects: r.counter("fantail_backplane_reconnects_total", "Connections made after the first."),
            backplane_commands: r.histograms(
                "fantail_backplane_command_seconds",
                "Time of backplane commands, a batch counting once.",
                "command",
                COMMAND_SECONDS,
            ),
            backplane_refused: r.counters(
                "fantail_backplane_refused_total",
                "Backplane commands that the server refused, by code.",
                "code",
            ),
            backplane_errors: r.counter("fantail_backplane_errors_total", "Backplane commands that failed."),
            publish_requests: r.counters(
                "fantail_publish_requests_total",
                "Requests to publish over HTTP, by outcome: ok or the error's code.",
                "outcome",
            ),
            auth: r.counters(
                "fantail_auth_total",
                "Requests that authorization decided on, by outcome: granted, anonymous, or the refusal's code.",
                "outcome",
            ),
            auth_keys: r.gauge("fantail_auth_keys", "Keys that tokens are verified with."),
            auth_keys_skipped: r.gauge(
                "fantail_auth_keys_skipped",
                "Keys for tokens that were read and cannot be used, so that their tokens are refused.",
            ),
            auth_key_reads: r.counters(
                "fantail_auth_key_reads_total",
                "Reads of the key files or the key server that brought something new, by outcome: ok or failed.",
                "outcome",
            ),
            auth_forward: r.counters(
                "fantail_auth_forward_total",
                "Questions to the application, by outcome.",
                "outcome",
            ),
            auth_forward_seconds: r.histogram(
                "fantail_auth_forward_seconds",
                "How long the application took to decide.",
                COMMAND_SECONDS,
            ),
            auth_forward_paused: r.gauge(
                "fantail_auth_forward_paused",
                "Whether the application is left alone because it fails (1) or not (0).",
            ),
            auth_barred: r.gauge("fantail_auth_barred", "Subjects and tokens that are kept out after a revocation."),
            revocations: r.counters(
                "fantail_revocations_total",
                "Entries of the control stream, by what they disconnect.",
                "target",
            ),
            control_rereads: r.counter(
                "fantail_control_rereads_total",
                "Times the control stream was found cut or made anew, and what it has of its last day was read again.",
            ),
            http2_connections: r.gauge("fantail_http2_connections", "HTTP/2 connections, with or without streams."),
            http2_streams: r.gauge("fantail_http2_streams", "Subscribers that are streams of HTTP/2 connections."),
            tls_handshakes: r.counters("fantail_tls_handshakes_total", "TLS handshakes, by outcome.", "outcome"),
            tls_certificate_expires: r.gauge(
                "fantail_tls_certificate_expires_seconds",
                "Unix time at which the certificate that is shown ends; 0: without TLS.",
            ),
            tls_reloads: r.counters(
                "fantail_tls_reloads_total",
                "Changes of the certificate's files, by whether they could be used.",
                "outcome",
            ),
            drain_end: r.gauge(
                "fantail_drain_end_timestamp_seconds",
                "Unix time at which the drain's window ends; 0: the node does not drain.",
            ),
            follower_stalled: r.gauge_of_seconds(
                "fantail_follower_stalled_seconds",
                "Time for which the follower has had something to read and got no answer.",
            ),
            hot_streams: r.gauge(
                "fantail_hot_streams",
                "Streams whose next entry is waited for at the backplane, as they had several lately.",
            ),
            courier_busy: r.seconds(
                "fantail_courier_busy_seconds_total",
                "Time in which a courier did not wait for something to do.",
                "courier",
            ),
            trace_spans: r.counters(
                "fantail_trace_spans_total",
                "Spans, by what became of them: exported, dropped since too many waited, failed at the collector.",
                "outcome",
            ),
            registry: registry.clone(),
        };
        metrics.create_labels();
        r.info("fantail_build_info", "The node's version; always 1.", "version", env!("CARGO_PKG_VERSION"));
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process)).expect("registered once");
        Arc::new(metrics)
    }

    /// Makes every known label, so that rates and alerts see a zero before the first event.
    fn create_labels(&self) {
        let create = |family: &IntCounterVec, labels: &[&str]| {
            labels.iter().for_each(|label| drop(family.with_label_values(&[label])));
        };
        create(&self.resumes, &Outcome::ALL.map(Outcome::label));
        create(&self.gaps, &GapReason::ALL.map(GapReason::label));
        create(&self.replay_waits, &["rate", "bytes"]);
        create(&self.connections_closed, &Reason::ALL.map(Reason::label));
        create(&self.connections_refused, &Code::ALL.map(Code::as_str));
        create(
            &self.connections_refused,
            &[
                "accept_error",
                "address_connections",
                "descriptors",
                "displaced",
                "http2_flood",
                "proxy_header",
                "slow_head",
                "slow_handshake",
            ],
        );
        create(&self.admin_refused, &REFUSALS);
        create(&self.publish_requests, &["ok"]);
        create(&self.auth, &["granted", "anonymous"]);
        create(&self.auth_key_reads, &["ok", "failed"]);
        let outcomes = ["granted", "unauthorized", "forbidden", "remembered", "failed", "crowded", "paused"];
        create(&self.auth_forward, &outcomes);
        create(&self.revocations, &Target::ALL.map(Target::label));
        create(&self.revocations, &["unreadable"]);
        create(&self.tls_handshakes, &OUTCOMES);
        create(&self.backplane_refused, &CODES);
        create(&self.tls_reloads, &["ok", "failed"]);
        create(&self.trace_spans, &Spans::OUTCOMES);
        for command in ["xread", "xinfo", "examine", "xrange", "xadd", "canary", "note", "noted"] {
            self.backplane_commands.with_label_values(&[command]);
        }
    }

    /// The counter of one courier's busy time.
    pub fn busy_courier(&self, number: usize) -> Counter {
        self.courier_busy.with_label_values(&[&number.to_string()])
    }

    /// The exposition in Prometheus' text format.
    pub fn exposition(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).expect("families are well formed")
    }
}

/// Makes a family and registers it.
struct Families<'a>(&'a Registry);

impl Families<'_> {
    fn register<C: prometheus::core::Collector + Clone + 'static>(&self, family: C) -> C {
        self.0.register(Box::new(family.clone())).expect("each name once");
        family
    }
    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help).expect("a valid name"))
    }
    fn real(&self, name: &str, help: &str) -> Gauge {
        let gauge = self.register(Gauge::new(name, help).expect("a valid name"));
        gauge.set(f64::INFINITY);
        gauge
    }
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help).expect("a valid name"))
    }
    fn counters(&self, name: &str, help: &str, label: &str) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), &[label]).expect("a valid name"))
    }
    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(opts).expect("valid buckets"))
    }
    fn histograms(&self, name: &str, help: &str, label: &str, buckets: &[f64]) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(opts, &[label]).expect("valid buckets"))
    }
    fn gauge_of_seconds(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::new(name, help).expect("a valid name"))
    }
    fn seconds(&self, name: &str, help: &str, label: &str) -> CounterVec {
        self.register(CounterVec::new(Opts::new(name, help), &[label]).expect("a valid name"))
    }
    fn info(&self, name: &str, help: &str, label: &str, value: &str) {
        let family = IntGaugeVec::new(Opts::new(name, help), &[label]).expect("a valid name");
        self.register(family).with_label_values(&[value]).set(1);
    }
    fn spread(&self, name: &str, help: &str, buckets: &'static [f64]) -> Spread {
        self.register(Spread::new(name, help, buckets))
    }
}
