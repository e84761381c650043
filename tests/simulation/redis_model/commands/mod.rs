//! What each command does, once it may run.

pub mod about;
pub mod client;
pub mod cluster;
pub mod dump;
pub mod expiry;
pub mod greeting;
pub mod groups;
pub mod hashes;
pub mod keys;
pub mod stream_read;
pub mod stream_references;
pub mod stream_write;
pub mod strings;

use super::connection::ConnectionId;
use super::reply::Resp;
use bytes::Bytes;

/// A command that runs.
pub struct Call<'a> {
    /// Whose it is.
    pub id: ConnectionId,
    /// All its words.
    pub words: &'a [Bytes],
    /// The database that it is about.
    pub db: usize,
    /// The protocol of its reply.
    pub resp: Resp,
    /// Whether it runs within a transaction, and so cannot wait.
    pub nested: bool,
}

impl<'a> Call<'a> {
    /// The key behind the command.
    pub fn key(&self) -> &'a Bytes {
        &self.words[1]
    }
}
