//! Redis as a run sees it from outside: what producers and operators do to it, and what goes wrong. It is played in two ways:
//! at the level of the backplane's contract ([`super::redis`]), or as a server that speaks RESP ([`super::wire`]).

use super::redis_model::{Refusal, Version};
use bytes::Bytes;
use fantail::backplane::Backplane;
use fantail::config::Follow;
use fantail::outside::Outside;
use fantail::position::Position;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// In which way Redis is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// As the backplane's contract has it; nodes have a backplane that is played, too.
    Contract,
    /// As so many servers of a version, a Cluster unless one is alone; nodes have their own backplane, which follows it so.
    /// Where one stands alone, nodes read from so many replicas of it, if it has some.
    Wire { version: Version, follow: Follow, servers: usize, replicas: usize },
}

impl Way {
    /// Whether there are several shards, of which one can be down.
    pub fn has_shards(self) -> bool {
        !matches!(self, Way::Wire { servers: 1, .. })
    }
}

/// Fields of an entry with their values.
pub type Fields = Vec<(Bytes, Bytes)>;

/// Redis, with a line to each node.
pub trait Played: Send + Sync {
    /// A backplane for one more node, and the number of its line; `waits`: whether it may wait for hot streams.
    fn open(&self, waits: bool, outside: Outside) -> (usize, Arc<dyn Backplane>);

    /// Ends a line for good.
    fn end(&self, line: usize);

    /// The server's time, in Unix milliseconds.
    fn now_ms(&self) -> u64;

    /// The greatest id that a stream has had; zero where there is none.
    fn last(&self, name: &str) -> Position;

    /// Ids of what a stream holds.
    fn held(&self, name: &str) -> Vec<Position>;

    /// Appends an entry, under an id of the server's where none is given; whether it was taken.
    fn add(&self, name: &str, id: Option<Position>, fields: Fields) -> bool;

    /// Keeps the newest entries of a stream, so many, or `roughly` a few more.
    fn trim(&self, name: &str, keep: usize, roughly: bool);

    /// Removes an entry.
    fn delete(&self, name: &str, id: Position);

    /// Removes a stream; whether it was there and is not any more.
    fn remove(&self, name: &str) -> bool;

    /// Puts another stream in the place of one, in one instant; whether that was done.
    fn replace(&self, name: &str, entries: Vec<(Position, Fields)>) -> bool;

    /// A replica has all that there is now.
    fn replicate(&self);

    /// That replica takes over; the last id that it knows of a stream.
    fn fail_over(&self, stream: &str) -> Position;

    /// A node's connections are lost, and there can be none.
    fn cut(&self, line: usize);

    /// There can be connections again.
    fn restore(&self, line: usize);

    /// Messages of a node take so long at most.
    fn slow(&self, line: usize, most: Duration);

    /// A node loses one of so many pushes; 0: none any more.
    fn lose(&self, line: usize, of: u32);

    /// The table of readers overflows.
    fn overflow(&self);

    /// A shard is down, or none, where there are several.
    fn set_shard_down(&self, shard: Option<usize>);

    /// The shard of a Cluster that a stream lies in.
    fn shard_of(&self, _: &str) -> Option<usize> {
        None
    }

    /// Whether nothing can be done to a stream now.
    fn is_down(&self, name: &str) -> bool;

    /// Whether nothing can be done at all now.
    fn is_still(&self) -> bool;

    /// Since when a node can do all that it wants to; `None`: it cannot.
    fn calm_since(&self, line: usize) -> Option<Instant>;

    /// All faults are over.
    fn heal(&self);

    /// What happens only to a server that speaks RESP; whether it did.
    fn meddle(&self, what: &Meddling) -> bool;
}

/// What can only be done to a server that speaks RESP.
#[derive(Clone, Debug)]
pub enum Meddling {
    /// A line's connection ends within its next bytes, those of the server or of the node.
    Tear { line: usize, after: usize, answer: bool },
    /// Messages of a line come in pieces.
    Crumbs { line: usize, on: bool },
    /// The server refuses commands, or does not any more.
    Refuse { refusal: Refusal, on: bool },
    /// The server stands still.
    Stop { time: Duration },
    /// A key gets another name.
    Rename { from: String, to: String },
    /// A key's value is put under another name, as a dump or as a copy.
    Put { from: String, to: String, dump: bool },
    /// The last id of a stream goes up.
    SetId { name: String, id: Position },
    /// A key ends.
    Expire { name: String, within: Duration },
    /// A key is removed as there is no memory.
    Evict { name: String },
    /// All keys are gone.
    Flush,
    /// The slot of a stream goes to another server of a Cluster.
    Move { name: String, seed: u64 },
    /// A server takes over from a shard that is away, with what was replicated.
    Promote { shard: usize },
    /// Something happens to a replica that nodes read from.
    Copy { copy: usize, what: Copying },
}

/// What happens to a replica that nodes read from.
#[derive(Clone, Copy, Debug)]
pub enum Copying {
    /// What its primary writes comes so much later at most.
    Lag { ms: u64 },
    /// It loses its primary.
    Parted,
    /// It is connected to it again, and is sent what it has missed.
    Joined,
    /// It takes over all data of its primary, which takes so long.
    Synchronized { ms: u64 },
    /// Its process ends, or nothing is heard of it any more.
    Gone { silent: bool },
    /// It is back.
    Back,
}
