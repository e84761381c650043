//! The Redis backplane: what the rest of a node sees of it.
//!
//! A `server` has a live connection that reads and follows; history and publishing have connections of their own, so
//! that a large reply never delays live events. Which server that is, an address, `sentinel` or `cluster` tells.
//! Only this folder knows fred.

pub mod access;
pub mod address;
mod block;
pub mod capabilities;
mod cluster;
mod commands;
mod connection;
pub mod credential;
pub mod decode;
pub mod fault;
mod hot;
pub mod identity;
mod large;
pub mod once;
mod pipeline;
pub mod policy;
mod probe_key;
mod reachable;
mod reader;
mod readers;
mod reading;
pub mod refusals;
mod sentinel;
mod server;
mod session;
mod setup;
pub mod slots;

use self::access::Access;
use self::address::{Address, AddressError, Place};
use self::capabilities::Findings;
use self::cluster::Cluster;
use self::refusals::Told;
use self::server::{Server, supervise};
use super::{
    Answer, Ask, Backplane, BackplaneError, Changes, Entry, Examined, Facts, Fields, Link, Lookup, Note, Publication,
    Span, StreamState,
};
use crate::channel::Channel;
use crate::config::Follow;
use crate::position::Position;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Told of each batch of commands: the command's name (`xread`, `xinfo`, `examine`, `xrange`, `xadd`, `canary`), how
/// long it took, and whether the server answered.
pub type Observe = Arc<dyn Fn(&'static str, Duration, bool) + Send + Sync>;

/// How a node uses its Redis.
#[derive(Clone)]
pub struct Settings {
    /// See [`address`].
    pub url: String,
    /// What the URL leaves out; its limits of time.
    pub access: Access,
    /// What precedes a channel's name in its stream's key.
    pub key_prefix: String,
    pub follow: Follow,
    /// Entries that a stream keeps (about) when this node appends; 0: all.
    pub publish_maxlen: u64,
    /// A larger entry is announced, not delivered, in bytes.
    pub max_entry_bytes: usize,
    pub observe: Observe,
    /// Told of each command that the server refuses, with the code.
    pub refused: Told,
}

impl Settings {
    /// The defaults of `fantail serve`.
    pub fn new(url: &str) -> Settings {
        Settings {
            url: url.to_owned(),
            access: Access::default(),
            key_prefix: "sse:".into(),
            follow: Follow::Auto,
            publish_maxlen: 10_000,
            max_entry_bytes: super::MAX_ENTRY_BYTES,
            observe: Arc::new(|_, _, _| {}),
            refused: Arc::new(|_| {}),
        }
    }

    /// The URL, completed by what it leaves out.
    pub(crate) fn address(&self) -> Result<Address, AddressError> {
        Address::parse(&self.url)?.completed(&self.access)
    }
}

/// The backplane on Redis. Works on reconnecting for as long as it lives.
pub struct Redis {
    servers: Servers,
    runtime: Handle,
    tasks: Vec<AbortHandle>,
}

enum Servers {
    One(Arc<Server>),
    Many(Arc<Cluster>),
}

impl Redis {
    /// Starts to connect; only a bad URL is an error, an absent server is not.
    pub fn start(settings: Settings, runtime: &Handle) -> Result<Arc<Redis>, AddressError> {
        let address = settings.address()?;
        let mut tasks = Vec::new();
        let servers = if let Place::Cluster(_) = address.place {
            let cluster = Arc::new(Cluster::new(settings, address, runtime.clone()));
            tasks.push(runtime.spawn(cluster.clone().tend()).abort_handle());
            tasks.push(runtime.spawn(cluster.clone().watch()).abort_handle());
            Servers::Many(cluster)
        } else {
            let server = Arc::new(Server::new(&settings, address, None, Arc::default()));
            tasks.push(runtime.spawn(supervise(server.clone())).abort_handle());
            if let Place::Sentinel(hosts, master) = &server.address.place {
                let watch = sentinel::watch(server.clone(), hosts.clone(), master.clone());
                tasks.push(runtime.spawn(watch).abort_handle());
            }
            Servers::One(server)
        };
        Ok(Arc::new(Redis { servers, runtime: runtime.clone(), tasks }))
    }
}

/// Connects once, as a node would, and finds out what it could do there; `publishes`: whether it would also append.
///
/// Leaves nothing behind but keys that expire. The outer error is the URL's, the inner one the server's.
pub async fn survey(settings: Settings, publishes: bool) -> Result<Result<Findings, BackplaneError>, AddressError> {
    let address = settings.address()?;
    let tls = address.access.tls.is_some();
    let fixed = address.fixed();
    let explain = |why: &str, wants_tls: Option<bool>| match fault::explain(why) {
        // A server without TLS there waits for the rest of what it takes for a command.
        why if tls && why.contains("timed out") => format!("{why} (does this port speak TLS?)"),
        why if !tls && fault::is_hang_up(&why) => match wants_tls {
            Some(false) => format!("{why} (it hangs up on whoever speaks: is there a server behind it?)"),
            _ => format!("{why} (does this port want TLS? rediss://)"),
        },
        why if !tls && why.contains("answer timed out") => {
            format!("{why} (is there a server behind it, and does it run?)")
        }
        why => why,
    };
    let name = address.to_string();
    let found = match address.place {
        Place::Cluster(_) => Cluster::new(settings, address, Handle::current()).survey(publishes).await,
        _ => Server::new(&settings, address, None, Arc::default()).survey(publishes).await,
    };
    // A server with TLS there hangs up on whoever does not greet it so; so does a proxy that has no server.
    let wants_tls = match (&found, fixed.and_then(|endpoint| endpoint.host())) {
        (Err(BackplaneError::Down(why)), Some(host)) if !tls && fault::is_hang_up(why) => {
            Some(reachable::speaks_tls(&host).await)
        }
        _ => None,
    };
    let explain = |why: &str| explain(why, wants_tls);
    Ok(found.map_err(|error| match error {
        BackplaneError::Down(why) => BackplaneError::Down(format!("{name}: {}", explain(&why))),
        BackplaneError::Refused(why) => BackplaneError::Refused(format!("{name}: {}", explain(&why))),
    }))
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        match &self.servers {
            Servers::One(server) => {
                server.blocks.stop();
                server.end();
            }
            Servers::Many(cluster) => cluster.end(),
        }
    }
}

impl Backplane for Redis {
    fn read(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        Box::pin(async move {
            match &self.servers {
                Servers::One(server) => server.read(&asks, false).await,
                Servers::Many(cluster) => Ok(cluster.read(asks).await),
            }
        })
    }

    fn reads_apart(&self, channel: &Channel) -> bool {
        match &self.servers {
            Servers::One(server) => server.large.is_apart(channel),
            Servers::Many(cluster) => cluster.reads_apart(channel),
        }
    }

    fn waits(&self) -> bool {
        match &self.servers {
            Servers::One(server) => server.hot.is_ready(server, &self.runtime),
            // A connection would be needed for each server and stream, and told of every move of a slot.
            Servers::Many(_) => false,
        }
    }

    fn read_next(&self, ask: Ask) -> Answer<'_, Vec<Entry>> {
        Box::pin(async move {
            match &self.servers {
                Servers::One(server) => server.hot.next(server, &ask).await,
                Servers::Many(_) => Err(BackplaneError::Refused("a cluster is not waited at".into())),
            }
        })
    }

    fn inspect(&self, channels: Vec<Channel>) -> Answer<'_, Vec<Result<Option<StreamState>, BackplaneError>>> {
        Box::pin(async move {
            match &self.servers {
                Servers::One(server) => server.inspect(channels, false).await,
                Servers::Many(cluster) => Ok(cluster.inspect(channels).await),
            }
        })
    }

    fn examine(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Examined, BackplaneError>>> {
        Box::pin(async move {
            match &self.servers {
                Servers::One(server) => server.examine(asks, false).await,
                Servers::Many(cluster) => Ok(cluster.examine(asks).await),
            }
        })
    }

    fn history(&self, spans: Vec<Span>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        Box::pin(async move {
            match &self.servers {
                Servers::One(server) => server.history(&spans, false).await,
                Servers::Many(cluster) => Ok(cluster.history(spans).await),
            }
        })
    }

    fn append(&self, publications: Vec<Publication>) -> Answer<'_, Vec<Result<Position, BackplaneError>>> {
        Box::pin(async move {
            match &self.servers {
                Servers::One(server) => server.append(&publications, false).await,
                Servers::Many(cluster) => Ok(cluster.append(publications).await),
            }
        })
    }

    fn keeps_notes(&self) -> bool {
        true
    }

    fn note(&self, notes: Vec<Note>) -> Answer<'_, Vec<Result<bool, BackplaneError>>> {
        Box::pin(async move {
            match &self.servers {
                Servers::One(server) => server.note(&notes, false).await,
                Servers::Many(cluster) => Ok(cluster.note(notes).await),
            }
        })
    }

    fn noted(&self, lookups: Vec<Lookup>) -> Answer<'_, Vec<Result<Fields, BackplaneError>>> {
        Box::pin(async move {
            match &self.servers {
                Servers::One(server) => server.noted(&lookups, false).await,
                Servers::Many(cluster) => Ok(cluster.noted(lookups).await),
            }
        })
    }

    fn followed(&self, channel: &Channel, position: Position) {
        if let Servers::One(server) = &self.servers {
            server.blocks.followed(server, &self.runtime, channel, position);
        }
    }

    fn unfollowed(&self, channel: &Channel) {
        if let Servers::One(server) = &self.servers {
            server.blocks.unfollowed(channel);
        }
    }

    fn changes(&self) -> &Arc<Changes> {
        match &self.servers {
            Servers::One(server) => &server.changes,
            Servers::Many(cluster) => &cluster.changes,
        }
    }

    fn link(&self) -> watch::Receiver<Link> {
        match &self.servers {
            Servers::One(server) => server.link.subscribe(),
            Servers::Many(cluster) => cluster.link.subscribe(),
        }
    }

    fn facts(&self) -> Facts {
        match &self.servers {
            Servers::One(server) => server.facts(),
            Servers::Many(cluster) => cluster.facts(),
        }
    }
}
