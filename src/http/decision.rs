//! What becomes of a subscription: a place on this node, or a moment to come back.

use super::encoding::Coding;
use super::head::Marks;
use crate::auth::Grant;
use crate::control_event::ControlEvent;
use crate::cors::CorsHeaders;
use crate::courier::Ordered;
use crate::limits::Seat;
use crate::subscription::Subscription;
use std::net::IpAddr;

/// A subscription that has a place on this node.
pub struct Admitted {
    pub subscription: Subscription,
    pub seat: Seat,
    pub cors: CorsHeaders,
    /// What the client may do, and for how long.
    pub access: Grant,
    /// Channels that it may have.
    pub most_channels: usize,
    /// Which orders are still to be carried out for it.
    pub ordered: Ordered,
    /// How orders changed its channels while it was away.
    pub told: Vec<ControlEvent>,
    /// The client's address, behind trusted proxies.
    pub client: IpAddr,
    pub marks: Marks,
    /// Of its body.
    pub coding: Coding,
    /// From the request to the place on a courier.
    pub trace: tracing::Span,
}

/// What becomes of a subscription; its answer is written by no other than [`subscribe`](super::subscribe).
#[expect(clippy::large_enum_variant, reason = "most are the large one")]
pub enum Decision {
    Admit(Admitted),
    /// No place, and `--when-full retry`: a stream of nothing but a delay, after which EventSource comes back. Its end is held
    /// for that delay, within a bound.
    ComeBack {
        cors: CorsHeaders,
        marks: Marks,
        retry_ms: u64,
    },
}

impl Decision {
    /// Whether it has a place on this node.
    pub fn admits(&self) -> bool {
        matches!(self, Decision::Admit(_))
    }

    /// Of the request, where there is one.
    pub fn trace(&self) -> tracing::Span {
        match self {
            Decision::Admit(admitted) => admitted.trace.clone(),
            Decision::ComeBack { .. } => tracing::Span::none(),
        }
    }
}
