//! What couriers count: subscribers, what was written to them, and how they ended.

use super::ending::Reason;
use super::ordered::SetChange;
use super::socket::Socket;
use crate::metrics::{Counters, LAG_SECONDS, Label, Registry, WeightedHistogram};
use prometheus::{Counter, CounterVec, IntCounter, IntGauge};

/// Buckets of turns, in seconds: dense where one should end, for a join waits for one at most.
const TURN_SECONDS: &[f64] = &[0.0001, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.007, 0.01, 0.02, 0.05, 0.1, 1.0];
const LAG_EVENTS: &[f64] = &[0.0, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 10_000.0, 100_000.0];

impl Label for Reason {
    fn from_start() -> Vec<Reason> {
        Reason::ALL.to_vec()
    }

    fn label(self) -> &'static str {
        Reason::label(self)
    }
}

/// The couriers' families.
pub struct CourierMetrics {
    pub connections: IntGauge,
    pub connections_opened: IntCounter,
    pub connections_closed: Counters<Reason>,
    pub connections_extended: IntCounter,
    pub set_changes: Counters<SetChange>,
    pub subscriptions: IntGauge,
    pub events_delivered: IntCounter,
    pub delivered_bytes: IntCounter,
    pub compressed_plain_bytes: IntCounter,
    pub compressed_bytes: IntCounter,
    pub delivery_lag: WeightedHistogram,
    pub subscriber_lag: WeightedHistogram,
    pub courier_turn: WeightedHistogram,
    pub leftover_bytes: IntGauge,
    tls_subscribers: IntGauge,
    tls_session_subscribers: IntGauge,
    courier_busy: CounterVec,
}

impl CourierMetrics {
    /// Registers the families.
    pub fn new(registry: &Registry) -> CourierMetrics {
        let r = registry;
        CourierMetrics {
            connections: r.gauge("fantail_connections", "Subscribers connected now."),
            connections_opened: r.counter("fantail_connections_opened_total", "Subscribers accepted."),
            connections_closed: r.counters(
                "fantail_connections_closed_total",
                "Subscribers ended, by reason.",
                "reason",
            ),
            connections_extended: r.counter(
                "fantail_connections_extended_total",
                "Subscribers whose grant was extended by a renewal of their subject.",
            ),
            set_changes: r.counters(
                "fantail_set_changes_total",
                "Channels that streams were told to join or leave, by what became of it.",
                "outcome",
            ),
            subscriptions: r.gauge("fantail_subscriptions", "Legs: channels of all subscribers together."),
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
            delivery_lag: r.weighted_histogram(
                "fantail_delivery_lag_seconds",
                "From an entry id's time, by the Redis clock, to the write on the socket.",
                LAG_SECONDS,
            ),
            subscriber_lag: r.weighted_histogram(
                "fantail_subscriber_lag_events",
                "How many events a subscriber is behind, sampled by the sweep.",
                LAG_EVENTS,
            ),
            courier_turn: r.weighted_histogram(
                "fantail_courier_turn_seconds",
                "How long a delivery thread worked before it looked at joins and hang-ups again.",
                TURN_SECONDS,
            ),
            leftover_bytes: r.gauge("fantail_leftover_bytes", "Bytes of events that full sockets left over."),
            tls_subscribers: r.gauge(
                "fantail_tls_subscribers",
                "Subscribers under TLS whose records the delivery threads make themselves.",
            ),
            tls_session_subscribers: r.gauge(
                "fantail_tls_session_subscribers",
                "Subscribers over HTTP/1.1 with a session of the TLS library: TLS 1.2, or all with --tls-records rustls.",
            ),
            courier_busy: r.seconds(
                "fantail_courier_busy_seconds_total",
                "Time in which a courier did not wait for something to do.",
                "courier",
            ),
        }
    }

    /// The gauge of subscribers on sockets of this kind, where one is kept.
    pub fn carried_by(&self, socket: &Socket) -> Option<&IntGauge> {
        match socket {
            Socket::Tls(_) => Some(&self.tls_subscribers),
            Socket::Stream(carrier, _) if carrier.sealed => Some(&self.tls_subscribers),
            Socket::Rustls(_) => Some(&self.tls_session_subscribers),
            _ => None,
        }
    }

    /// The counter of one courier's busy time.
    pub fn busy_courier(&self, number: usize) -> Counter {
        self.courier_busy.with_label_values(&[&number.to_string()])
    }
}
