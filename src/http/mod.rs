//! The HTTP side of a node: the only part that serves by hyper.
//!
//! [`acceptor`] takes connections, [`accept`] reads their requests ([`proxy_header`] and [`tls`] come before, [`http1`]
//! and [`http2`] are behind it), [`route`] tells requests apart, [`subscribe`] turns a request into a subscriber and hands
//! its [`wire`] to a courier, [`turned_away`] paces those for whom there is no place, [`publish`] takes events, `session` makes a
//! cookie of a token, `reject` says no, [`admin`] is for operators.

mod about;
pub mod accept;
pub mod acceptor;
pub mod admin;
mod carried;
mod changes;
pub mod client_address;
mod client_socket;
pub mod console;
mod decision;
mod encoding;
mod exchange;
pub mod flood;
pub mod head;
pub mod history;
pub mod http1;
pub mod http2;
pub mod intake;
mod joining;
mod losses;
#[cfg(feature = "testing")]
pub mod memory_http;
pub mod metrics;
mod opening;
pub mod paths;
mod preflight;
pub mod proxy_header;
pub mod publish;
mod query;
mod rates;
mod receiving;
mod reject;
mod request_body;
mod resets;
mod room;
mod route;
mod session;
pub mod settings;
pub mod stream_body;
mod stream_writer;
pub mod subscribe;
pub mod tls;
pub mod turned_away;
mod unread;
pub mod well_formed;
pub mod wire;

use crate::auth::Auth;
use crate::clock::Clock;
use crate::cors::Cors;
use crate::courier::metrics::CourierMetrics;
use crate::courier::{Couriers, InUse};
use crate::hub::Hub;
use crate::limits::{Limits, Presences, Rate};
use crate::metrics::Label as _;
use crate::printable::Printable;
use crate::problem::{Code, Problem};
use crate::random::Random;
use crate::telemetry::LogThrottle;
use client_address::Proxies;
use history::budget::Budget;
use metrics::{Dropped, HttpMetrics, Refusal};
use publish::Publisher;
use room::Room;
use settings::Settings;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use turned_away::TurnedAway;

/// What serving clients needs of the rest of the node.
pub struct Context {
    pub settings: Settings,
    pub hub: Arc<Hub>,
    pub couriers: Couriers,
    pub limits: Arc<Limits>,
    /// Connections of each address that are no subscribers.
    pub presences: Arc<Presences>,
    pub metrics: Arc<HttpMetrics>,
    pub courier_metrics: Arc<CourierMetrics>,
    pub cors: Arc<Cors>,
    pub auth: Arc<Auth>,
    pub proxies: Proxies,
    /// Subscriptions per second of an address and of a subject.
    pub subscribe_rate: Option<Rate<IpAddr>>,
    pub subject_rate: Option<Rate<Arc<str>>>,
    pub publisher: Option<Publisher>,
    /// What pages of history may take.
    pub history: Arc<Budget>,
    /// Answers to those who are to come back.
    pub turned_away: TurnedAway,
    /// Set when no new subscribers are taken any more.
    pub closing: AtomicBool,
    pub clock: Clock,
    pub random: Random,
    pub log_throttle: LogThrottle,
    /// What bodies of subscriptions may take.
    pub query_room: Room,
    /// Which events subscribers want.
    pub wanted: InUse,
    /// Numbers for subscribers whose legs come later.
    pub tickets: AtomicU64,
}

/// Room for bodies of `QUERY`.
pub fn query_room() -> Room {
    Room::new(query::MOST_MEMORY, query::MOST_BYTES, Code::SubscribeRate)
}

impl Context {
    /// Now by the backplane's clock, in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.clock.backplane_ms()
    }

    /// Counts a connection that is dropped, and says so in the log now and then.
    pub fn dropped(&self, why: Dropped, peer: IpAddr) {
        if let Some((reason, suppressed)) = self.counted(why.into()) {
            tracing::warn!(%peer, reason, suppressed, "refused");
        }
    }

    /// Counts a request that is refused, and says so in the log now and then: with what its client is told, which names the input.
    pub fn refused(&self, problem: &Problem, peer: IpAddr) {
        if let Some((reason, suppressed)) = self.counted(problem.code.into()) {
            tracing::warn!(%peer, reason, detail = %Printable(&problem.detail), suppressed, "refused");
        }
    }

    /// Counts a refusal; where it is said in the log, its reason and how many were not.
    fn counted(&self, refusal: Refusal) -> Option<(&'static str, u64)> {
        self.metrics.connections_refused.inc(refusal);
        let reason = refusal.label();
        self.log_throttle.turn(reason).map(|suppressed| (reason, suppressed))
    }
}
