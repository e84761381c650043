//! What is counted of connections and requests.

use crate::metrics::{Counters, OrCode, Registry, labels};
use crate::problem::Code;
use prometheus::{IntCounter, IntGauge};

labels! {
    /// Why a connection was refused or ended before it said what it wants.
    pub enum Dropped {
        /// The kernel gave none.
        AcceptError = "accept_error",
        /// Its address has too many.
        AddressConnections = "address_connections",
        /// There is no descriptor left, nor anybody silent to take one from.
        Descriptors = "descriptors",
        /// It had been silent for longest when another one came.
        Displaced = "displaced",
        Http2Flood = "http2_flood",
        /// A trusted proxy's header was missing or wrong.
        ProxyHeader = "proxy_header",
        SlowHead = "slow_head",
        SlowHandshake = "slow_handshake",
    }
}

/// A connection or a request that was refused: the label of `fantail_connections_refused_total`.
pub type Refusal = OrCode<Dropped>;

labels! {
    /// Why the operators' listener refused: the label of `fantail_admin_refused_total`.
    pub enum AdminRefusal {
        Displaced = "displaced",
        Malformed = "malformed",
        ForeignHost = "foreign_host",
        NoToken = "no_token",
        WrongToken = "wrong_token",
        TooFast = "too_fast",
        /// As many ask for subscribers as may.
        Busy = "busy",
        /// Not all couriers told of their subscribers in time.
        Late = "late",
    }
}

labels! {
    /// That a request to publish was not refused.
    pub enum Published {
        Ok = "ok",
    }
}

labels! {
    /// How a handshake went: the label of `fantail_tls_handshakes_total`.
    pub enum Handshake {
        Full = "full",
        Resumed = "resumed",
        Failed = "failed",
        Slow = "slow",
        /// There was none: the client speaks plain HTTP.
        Plain = "plain",
    }
}

labels! {
    /// When the answer of who is told to come back ends: the label of `fantail_turned_away_total`.
    pub enum AnswerEnd {
        /// Behind the delay that it tells, or that of the longest wait.
        Held = "held",
        /// All places of held ones were taken.
        AtOnce = "at_once",
    }
}

labels! {
    /// How the rest of a body that was answered before its end ended: the label of `fantail_unread_bodies_total`.
    pub enum Unread {
        /// The client closed the connection.
        Closed = "closed",
        /// It had its time or its bytes, or there was no place for it.
        Cut = "cut",
    }
}

labels! {
    /// Whether other files could be used: the label of `fantail_tls_reloads_total` and `fantail_tls_ticket_reloads_total`.
    pub enum Reload {
        Ok = "ok",
        Failed = "failed",
    }
}

/// The families of HTTP.
pub struct HttpMetrics {
    pub connections_refused: Counters<Refusal>,
    pub turned_away: Counters<AnswerEnd>,
    pub unread_bodies: Counters<Unread>,
    pub waiting: IntGauge,
    pub slow_requests: IntCounter,
    pub admin_refused: Counters<AdminRefusal>,
    pub history_bytes: IntGauge,
    pub publish_requests: Counters<OrCode<Published>>,
    pub http2_connections: IntGauge,
    pub http2_streams: IntGauge,
    pub tls_handshakes: Counters<Handshake>,
    pub tls_certificate_expires: IntGauge,
    pub tls_reloads: Counters<Reload>,
    pub tls_ticket_reloads: Counters<Reload>,
}

impl HttpMetrics {
    /// Registers the families.
    pub fn new(registry: &Registry) -> HttpMetrics {
        let r = registry;
        HttpMetrics {
            connections_refused: r.counters("fantail_connections_refused_total", "Connections and subscriptions refused, by reason.", "reason").with(Code::ALL.map(Refusal::from)),
            turned_away: r.counters("fantail_turned_away_total", "Subscriptions that were told to come back (--when-full retry), by when their answer ends.", "end"),
            unread_bodies: r.counters("fantail_unread_bodies_total", "HTTP/1 requests that were answered before the end of their bodies, by what ended the rest.", "end"),
            waiting: r.gauge("fantail_connections_waiting", "Connections that have not sent a whole request yet."),
            slow_requests: r.counter("fantail_slow_requests_total", "Requests that took longer than a tenth of a second to be read and answered, and gave their place to others."),
            admin_refused: r.counters("fantail_admin_refused_total", "Connections and requests of the operators' listener that were refused, by reason.", "reason"),
            history_bytes: r.gauge("fantail_history_bytes", "Bytes of pages of past events that are read and written."),
            publish_requests: r.counters("fantail_publish_requests_total", "Requests to publish over HTTP, by outcome: ok or the error's code.", "outcome"),
            http2_connections: r.gauge("fantail_http2_connections", "HTTP/2 connections, with or without streams."),
            http2_streams: r.gauge("fantail_http2_streams", "Subscribers that are streams of HTTP/2 connections."),
            tls_handshakes: r.counters("fantail_tls_handshakes_total", "TLS handshakes, by outcome.", "outcome"),
            tls_certificate_expires: r.gauge("fantail_tls_certificate_expires_seconds", "Unix time at which the certificate that is shown ends; 0: without TLS."),
            tls_reloads: r.counters("fantail_tls_reloads_total", "Changes of the certificate's files, by whether they could be used.", "outcome"),
            tls_ticket_reloads: r.counters("fantail_tls_ticket_reloads_total", "Changes of the file of ticket keys, by whether they could be used.", "outcome"),
        }
    }
}
