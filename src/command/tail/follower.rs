//! What of `fantail tail` outlives a connection: where it is, and when it tries again.

use super::settings::Tail;
use crate::command::link::{LinkError, NodeClient};
use crate::command::printable::printable;
use crate::config::HOUR;
use bytes::Bytes;
use http_body_util::Empty;
use std::time::Duration;

/// Time in which a node must have answered, connecting included.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Reconnect delay until a server says one.
const RETRY: Duration = Duration::from_secs(1);
/// Longest delay between attempts that all failed, unless the server asks for more.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// What outlives a connection.
pub struct Follower {
    pub settings: Tail,
    pub client: NodeClient<Empty<Bytes>>,
    /// For other origins, whose certificates have names of their own.
    pub abroad: NodeClient<Empty<Bytes>>,
    pub last_event_id: String,
    pub retry: Duration,
    /// Which URL is used; counts on without end.
    pub turn: usize,
    /// Attempts since the last stream that opened.
    pub failures: usize,
}

impl Follower {
    pub fn new(settings: Tail) -> Result<Follower, LinkError> {
        Ok(Follower {
            client: settings.link.client()?,
            abroad: settings.link.elsewhere().client()?,
            last_event_id: settings.last_event_id.clone().unwrap_or_default(),
            retry: RETRY,
            turn: 0,
            failures: 0,
            settings,
        })
    }

    pub fn url(&self) -> &str {
        &self.settings.url[self.turn % self.settings.url.len()]
    }

    /// What the server asked for, and up to a quarter more, so that many clients do not come back as one.
    ///
    /// A URL that was not tried since the stream was lost is tried at once; rounds that fail back off.
    pub fn delay(&self, retry_after: Duration) -> Duration {
        let urls = self.settings.url.len();
        if !self.failures.is_multiple_of(urls) && retry_after.is_zero() {
            return Duration::ZERO;
        }
        let rounds = u32::try_from(self.failures / urls).unwrap_or(u32::MAX).saturating_sub(1).min(16);
        let backed_off = self.retry.saturating_mul(1 << rounds).min(BACK_OFF_MAX);
        self.retry.max(backed_off).max(retry_after).min(HOUR).mul_f64(1.0 + fastrand::f64() / 4.0)
    }
}

/// State, for stderr. A closed stderr changes nothing.
pub fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "fantail: {}", printable(text));
}
