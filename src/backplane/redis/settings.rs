//! How a node uses its Redis: which one, as whom, under which names, and who is told of it.

use super::access::Access;
use super::address::{Address, AddressError};
use super::refusals::Told;
use crate::backplane::{Awaited, MAX_ENTRY_BYTES};
use crate::config::Follow;
use crate::outside::Outside;
use std::sync::Arc;
use std::time::Duration;

/// Told of each batch of commands: the command's name (`xread`, `xinfo`, `examine`, `xrange`, `xadd`, `note`, `noted`, and
/// `canary`, which is the probe), how long it took, and whether the server answered.
pub type Observe = Arc<dyn Fn(&'static str, Duration, bool) + Send + Sync>;

/// How a node uses its Redis.
#[derive(Clone)]
pub struct Settings {
    /// The address, in one of the forms that `address` reads.
    pub url: String,
    /// What the URL leaves out, and the limits of time.
    pub access: Access,
    /// What precedes a channel's name in its stream's key.
    pub key_prefix: String,
    /// How changes of streams are learnt of.
    pub follow: Follow,
    /// Nodes that follow a busy stream from which on one of them reads it for all; 0: each reads for itself.
    pub relay_from: u32,
    /// Entries that a stream keeps (about) when this node appends; 0: all.
    pub publish_maxlen: u64,
    /// A larger entry is announced, not delivered, in bytes.
    pub max_entry_bytes: usize,
    /// Told of each batch of commands.
    pub observe: Observe,
    /// Told of each command that the server refuses, with the code.
    pub refused: Told,
    /// Told of the answers that the follower waits for.
    pub awaited: Awaited,
    /// This node's clock, beside which the server's is held, and its chance.
    pub outside: Outside,
}

impl Settings {
    /// The defaults of `fantail serve`.
    pub fn new(url: &str) -> Settings {
        Settings {
            url: url.to_owned(),
            access: Access::default(),
            key_prefix: "sse:".into(),
            follow: Follow::Auto,
            relay_from: 0,
            publish_maxlen: 10_000,
            max_entry_bytes: MAX_ENTRY_BYTES,
            observe: Arc::new(|_, _, _| {}),
            refused: Arc::new(|_| {}),
            awaited: Awaited::default(),
            outside: Outside::default(),
        }
    }

    /// The URL, completed by what it leaves out.
    pub fn address(&self) -> Result<Address, AddressError> {
        Address::parse(&self.url)?.completed(&self.access)
    }
}
