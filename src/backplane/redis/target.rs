//! Where the connections of one server lead, and how long the next attempt to connect waits.

use super::address::Endpoint;
use super::connection::Connection;
use crate::backplane::BackplaneError;
use crate::random::Random;
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
    /// The delay before the next attempt, longer each time.
    pub fn next(&mut self, random: &Random) -> Duration {
        let delay = (50u64 << self.attempts.min(4)).min(500);
        self.attempts += 1;
        Duration::from_millis(random.within(delay * 4 / 5..=delay))
    }

    /// Begins again with the shortest delay.
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
    /// Where connections lead at first, if that is known.
    pub fn new(endpoint: Option<Endpoint>) -> Target {
        Target { endpoint: Mutex::new(endpoint), reserved: AtomicBool::new(false) }
    }

    /// The server that is used now, if it is known.
    pub fn get(&self) -> Option<Endpoint> {
        self.endpoint.lock().clone()
    }

    /// Notes whether the next connection must be the live one.
    pub fn reserve(&self, reserved: bool) {
        self.reserved.store(reserved, Ordering::Relaxed);
    }

    /// A further connection to the server, which is pushed nothing.
    pub async fn connect(&self, patience: Duration) -> Result<Connection, BackplaneError> {
        Ok(Connection::open(&self.for_side()?, RespVersion::RESP2, patience).await?)
    }

    /// Where connections beside the live one lead, if there may be any now.
    pub fn for_side(&self) -> Result<Endpoint, BackplaneError> {
        if self.reserved.load(Ordering::Relaxed) {
            return Err(BackplaneError::down("the server has no room, and the live connection comes first"));
        }
        self.get().ok_or_else(|| BackplaneError::down("the primary is not known yet"))
    }

    /// Notes the server that is used from now on; whether it is another one.
    pub fn set(&self, endpoint: Endpoint) -> bool {
        let mut target = self.endpoint.lock();
        let other = target.as_ref().is_none_or(|known| known.server != endpoint.server);
        *target = Some(endpoint);
        other
    }
}
