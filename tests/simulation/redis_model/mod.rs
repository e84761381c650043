//! A Redis server that is played: what Redis documents of the commands that a node, its producers and its operators send.
//!
//! [`Server`] does no I/O and has neither a clock nor chance of its own: who drives it gives both. [`front`] speaks for it on
//! a connection. `tests/core/redis_model.rs` compares it, reply by reply, with the servers that are there.

mod arguments;
mod blocked;
pub mod cluster;
mod commands;
mod connection;
mod faults;
pub mod front;
mod group;
mod id;
mod keyspace;
mod node;
mod process;
mod replica;
mod reply;
mod server;
mod stream;
mod table;
mod tracking;
mod trim;
mod version;
pub mod wire;

#[cfg(test)]
mod tests;

pub use connection::{ConnectionId, Outgoing};
pub use faults::{Pushes, Refusal};
pub use id::Id;
pub use replica::{Role, Tie, Written};
pub use reply::{Reply, Resp};
pub use server::Server;
pub use version::Version;
