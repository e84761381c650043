//! What the hub counts: channels, their logs, what is read for them, and how subscriptions with a position begin.

use super::outcome::Outcome;
use crate::control_event::GapReason;
use crate::metrics::{Counters, LAG_SECONDS, Label, Registry, labels};
use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

labels! {
    /// What a page of history had to wait for: the label of `fantail_replay_waits_total`.
    pub enum ReplayLimit {
        /// `--replay-rate`.
        Rate = "rate",
        /// `--replay-bytes`.
        Bytes = "bytes",
    }
}

impl Label for Outcome {
    fn from_start() -> Vec<Outcome> {
        Outcome::ALL.to_vec()
    }

    fn label(self) -> &'static str {
        Outcome::label(self)
    }
}

impl Label for GapReason {
    fn from_start() -> Vec<GapReason> {
        GapReason::ALL.to_vec()
    }

    fn label(self) -> &'static str {
        GapReason::label(self)
    }
}

/// The hub's families.
pub struct HubMetrics {
    pub channels: IntGauge,
    pub tail_bytes: IntGauge,
    pub events_received: IntCounter,
    pub types_renamed: IntCounter,
    pub invalid_utf8: IntCounter,
    pub untimed_events: IntCounter,
    pub follower_lag: Histogram,
    pub resumes: Counters<Outcome>,
    pub gaps: Counters<GapReason>,
    pub catch_ups: IntCounter,
    pub catch_ups_waiting: IntGauge,
    pub replay_entries: IntCounter,
    pub replay_bytes: IntGauge,
    pub replay_waits: Counters<ReplayLimit>,
    pub joins_waiting: IntGauge,
    pub history_seconds: Gauge,
    pub history_entries: Gauge,
    pub history_short: IntGauge,
    pub follower_stalled: Gauge,
    pub hot_streams: IntGauge,
    pub relayed_streams: IntGauge,
    pub relayed_events: IntCounter,
    pub relayed_passed_over: IntCounter,
    pub relayed_unclear: IntCounter,
    pub follower_pauses: IntCounter,
}

impl HubMetrics {
    /// Registers the families.
    pub fn new(registry: &Registry) -> HubMetrics {
        let r = registry;
        let metrics = HubMetrics {
            channels: r.gauge("fantail_channels", "Channels that this node follows."),
            tail_bytes: r.gauge("fantail_tail_bytes", "Bytes of frames kept in tails."),
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
            follower_lag: r.histogram(
                "fantail_follower_lag_seconds",
                "From an entry id's time, by the Redis clock, to its arrival on this node.",
                LAG_SECONDS,
            ),
            resumes: r.counters("fantail_resumes_total", "How subscriptions with a position began.", "outcome"),
            gaps: r.counters("fantail_gaps_total", "Gaps announced, by reason.", "reason"),
            catch_ups: r.counter("fantail_catch_ups_total", "Pages of history read for subscribers behind the tail."),
            catch_ups_waiting: r
                .gauge("fantail_catch_ups_waiting", "Subscribers behind the tail that wait for a page of history."),
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
            follower_stalled: r.real(
                "fantail_follower_stalled_seconds",
                "Time for which the follower has had something to read and got no answer.",
            ),
            relayed_streams: r
                .gauge("fantail_relayed_streams", "Busy streams that another node reads for this one (--relay-from)."),
            relayed_events: r.counter("fantail_relayed_events_total", "Events that another node has passed on."),
            relayed_passed_over: r.counter(
                "fantail_relayed_passed_over_total",
                "Messages of other nodes whose events were known already, or came while the stream was read.",
            ),
            relayed_unclear: r.counter(
                "fantail_relayed_reads_total",
                "Reads of a stream as what another node passed on did not follow what is known.",
            ),
            hot_streams: r.gauge(
                "fantail_hot_streams",
                "Streams whose next entry is waited for at the backplane, as they had several lately.",
            ),
            follower_pauses: r.counter(
                "fantail_follower_pauses_total",
                "Pauses of the thread that follows the backplane (--coalesce), as it was woken often.",
            ),
        };
        metrics.history_seconds.set(f64::INFINITY);
        metrics.history_entries.set(f64::INFINITY);
        metrics
    }
}
