//! What is sent by way of the primary, and waited for at the replica: it proves that the replica follows, that its changes
//! are pushed, and how far it lags.
//!
//! A probe key is written at the primary, which says how far it is behind that. When the write is pushed back by the replica
//! it has come; when the replica is as far and nothing was pushed, the replica has forgotten what this node follows. The key
//! that comes next is armed before, so there is no moment at which that can happen unnoticed.

use crate::backplane::BackplaneError;
use std::time::Duration;
use tokio::time::Instant;

/// What is known of the way from the primary to the replica.
#[derive(Default)]
pub struct Pulse {
    /// The name of the primary's history, which the replica must follow.
    pub history: Option<String>,
    /// The other key is the next to be written.
    pub turn: bool,
    /// The key to be written next is armed at the replica.
    pub armed: bool,
    /// What has not come yet.
    pub sent: Option<Sent>,
    /// Writing the key is forbidden: how far the replica is tells its lag alone.
    pub silent: bool,
}

/// A write that is on its way.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When it was sent to the primary.
    pub at: Instant,
    /// How far the primary was behind it.
    pub offset: u64,
    /// How many pushes had come before, where one must come.
    pub pushes: Option<u64>,
}

/// What has become of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has come.
    Come,
    /// It has come, but nothing was pushed.
    Silent,
    /// Not yet.
    Awaited,
}

/// What the primary says to one pulse.
#[derive(Debug)]
pub struct Said {
    /// How far it is behind the write.
    pub offset: u64,
    /// Whether the write was taken, and why not.
    pub written: Result<(), BackplaneError>,
    /// Its clock, in milliseconds since 1970, where it tells that.
    pub time: Option<i64>,
}

impl Sent {
    /// What has become of it, by how far the replica is, where that is known, and how many pushes have come.
    pub fn arrival(&self, replica: Option<u64>, pushes: u64) -> Arrival {
        let reached = replica.is_some_and(|offset| offset >= self.offset);
        match self.pushes {
            Some(before) if pushes != before => Arrival::Come,
            Some(_) if reached => Arrival::Silent,
            None if reached => Arrival::Come,
            _ => Arrival::Awaited,
        }
    }

    /// How long it has been on its way.
    pub fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_comes_by_its_push_and_without_one_by_the_offset() {
        let sent = Sent { at: Instant::now(), offset: 10, pushes: Some(3) };
        assert_eq!(sent.arrival(Some(9), 3), Arrival::Awaited);
        assert_eq!(sent.arrival(None, 4), Arrival::Come);
        assert_eq!(sent.arrival(Some(10), 3), Arrival::Silent, "the replica has it, and has not told");
        let unwritten = Sent { pushes: None, ..sent };
        assert_eq!(unwritten.arrival(Some(9), 4), Arrival::Awaited);
        assert_eq!(unwritten.arrival(Some(10), 3), Arrival::Come);
        assert_eq!(unwritten.arrival(None, 3), Arrival::Awaited, "it does not know how far it is");
    }
}
