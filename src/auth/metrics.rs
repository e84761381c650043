//! What is counted of decisions, of what they are made by, and of revocations.

use super::order::ChangeKind;
use super::revocation::Target;
use crate::metrics::{COMMAND_SECONDS, Counters, Label, OrCode, Registry, labels};
use prometheus::{Histogram, IntCounter, IntGauge};

labels! {
    /// To whom a request's grant was given, where it was not refused.
    pub enum Granted {
        Known = "granted",
        Anonymous = "anonymous",
    }
}

/// How a request was decided on: the label of `fantail_auth_total`.
pub type Decided = OrCode<Granted>;

labels! {
    /// What came of a read of keys: the label of `fantail_auth_key_reads_total`.
    pub enum KeyRead {
        Ok = "ok",
        Failed = "failed",
    }
}

labels! {
    /// What came of a question to the application: the label of `fantail_auth_forward_total`.
    pub enum Asked {
        Granted = "granted",
        Unauthorized = "unauthorized",
        Forbidden = "forbidden",
        /// It had been asked before.
        Remembered = "remembered",
        Failed = "failed",
        /// Too many questions were on their way.
        Crowded = "crowded",
        /// It is left alone since it fails.
        Paused = "paused",
    }
}

/// What an entry of the control stream disconnects or changes: the label of `fantail_revocations_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Disconnect(Target),
    Change(ChangeKind),
    Unreadable,
}

impl Label for Order {
    fn from_start() -> Vec<Order> {
        let changes = ChangeKind::ALL.into_iter().map(Order::Change);
        Target::ALL.into_iter().map(Order::Disconnect).chain(changes).chain([Order::Unreadable]).collect()
    }

    fn label(self) -> &'static str {
        match self {
            Order::Disconnect(target) => target.label(),
            Order::Change(kind) => kind.label(),
            Order::Unreadable => "unreadable",
        }
    }
}

/// The families of authorization.
pub struct AuthMetrics {
    pub auth: Counters<Decided>,
    pub auth_keys: IntGauge,
    pub auth_keys_skipped: IntGauge,
    pub auth_key_reads: Counters<KeyRead>,
    pub auth_forward: Counters<Asked>,
    pub auth_forward_seconds: Histogram,
    pub auth_forward_paused: IntGauge,
    pub auth_barred: IntGauge,
    pub revocations: Counters<Order>,
    pub control_rereads: IntCounter,
}

impl AuthMetrics {
    /// Registers the families.
    pub fn new(registry: &Registry) -> AuthMetrics {
        let r = registry;
        AuthMetrics {
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
                "Entries of the control stream, by what they disconnect or change.",
                "target",
            ),
            control_rereads: r.counter(
                "fantail_control_rereads_total",
                "Times the control stream was found cut or made anew, and what it has of its last day was read again.",
            ),
        }
    }
}
