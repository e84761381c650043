//! Connections whose subscribers have ended, but whose last bytes are not out.

use super::socket::LingeringClose;
use super::tick::{Tick, ticks};
use std::time::Duration;

/// So many are waited for at most; more are closed at once.
const MOST: usize = 1024;
/// How long the last bytes are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections that close once their last bytes are out, or after five seconds.
#[derive(Default)]
pub struct LingeringCloses(Vec<(Tick, LingeringClose)>);

impl LingeringCloses {
    /// Takes a connection from `now` on.
    pub fn push(&mut self, now: Tick, close: LingeringClose) {
        if self.0.len() < MOST {
            self.0.push((now.plus(ticks(PATIENCE)), close));
        }
    }

    /// Writes what their sockets take, and closes those that are done or whose time is over.
    pub fn see_off(&mut self, now: Tick) {
        self.0.retain_mut(|(by, close)| now < *by && !close.is_over());
    }
}
