//! A connection as the server sees it: what it has asked for, and what is to be written to it.

use super::faults::Pushes;
use super::id::Id;
use super::reply::{Reply, Resp};
use super::tracking::Follows;
use super::wire;
use bytes::Bytes;
use std::collections::VecDeque;

/// The number of a connection, as `CLIENT ID` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What is to be written to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The protocol that the connection had when it was said.
    pub resp: Resp,
    /// What is said.
    pub reply: Reply,
}

impl Outgoing {
    /// Its bytes.
    pub fn encode(&self, into: &mut Vec<u8>) {
        wire::encode(&self.reply, self.resp, into);
    }
}

/// The words of one command.
pub(super) type Words = Vec<Bytes>;

/// One connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Connection {
    pub resp: Resp,
    pub db: usize,
    pub name: Bytes,
    /// As whom it has logged in; nobody where the server wants no password.
    pub is_known: bool,
    pub follows: Option<Follows>,
    pub transaction: Option<Transaction>,
    pub waits: Option<Wait>,
    /// What has come while it waited.
    pub behind: VecDeque<Words>,
    pub output: Vec<Outgoing>,
    /// What becomes of its pushes.
    pub pushes: Pushes,
    /// Pushes that are held back.
    pub held: Vec<Outgoing>,
    /// It is to be closed once what it has to say is written.
    pub is_closing: bool,
    /// Its next command may be about a slot that is being taken over.
    pub asking: bool,
    /// It reads at a replica what that has.
    pub reads_only: bool,
}

/// What has come since `MULTI`.
#[derive(Clone, Debug, Default)]
pub(super) struct Transaction {
    pub commands: Vec<Words>,
    pub is_broken: bool,
}

/// A command that waits for streams.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    pub db: usize,
    /// Each stream, and behind which entry something is waited for.
    pub streams: Vec<(Bytes, Id)>,
    pub count: Option<usize>,
    /// When it ends by itself.
    pub until: Option<u64>,
    /// Which wait it is, as they are answered in order.
    pub order: u64,
    pub words: Words,
}
