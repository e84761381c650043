//! Where the connections of one server lead, and how long the next attempt to connect waits.

use super::address::Endpoint;
use super::connection::Connection;
use crate::backplane::BackplaneError;
use fred::types::RespVersion;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Delays between attempts: 50 ms, doubled up to half a second, each a little different on each node.
#[derive(Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    pub fn next(&mut self) -> Duration {
        let delay = (50u64 << self.attempts.min(4)).min(500);
        self.attempts += 1;
        Duration::from_millis(fastrand::u64(delay * 4 / 5..=delay))
    }

    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// The server that is used now; all connections but the live one go where that one has gone.
pub struct Target {
    endpoint: Mutex<Option<Endpoint>>,
    /// The server has no room, and what there is is for the live connection.
    reserved: AtomicBool,
}

impl Target {
    pub fn new(endpoint: Option<Endpoint>) -> Target {
        Target { endpoint: Mutex::new(endpoint), reserved: AtomicBool::new(false) }
    }

    pub fn get(&self) -> Option<Endpoint> {
        self.endpoint.lock().clone()
    }

    /// Whether the next connection must be the live one.
    pub fn reserve(&self, reserved: bool) {
        self.reserved.store(reserved, Ordering::Relaxed);
    }

    /// A further connection to it, which is pushed nothing.
    pub async fn connect(&self, patience: Duration) -> Result<Connection, BackplaneError> {
        Ok(Connection::open(&self.for_side()?, RespVersion::RESP2, patience).await?)
    }

    /// Where connections but the live one lead, if there may be any now.
    pub fn for_side(&self) -> Result<Endpoint, BackplaneError> {
        if self.reserved.load(Ordering::Relaxed) {
            return Err(BackplaneError::down("the server has no room, and the live connection comes first"));
        }
        self.get().ok_or_else(|| BackplaneError::down("the primary is not known yet"))
    }

    /// Whether it is another one.
    pub fn set(&self, endpoint: Endpoint) -> bool {
        let mut target = self.endpoint.lock();
        let other = target.as_ref().is_none_or(|known| known.server != endpoint.server);
        *target = Some(endpoint);
        other
    }
}
