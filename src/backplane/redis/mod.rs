//! The Redis backplane: what the rest of a node sees of it.
//!
//! A `server` has a live connection that follows; reading, history and publishing have connections of their own, so that a
//! large reply never delays live events. `supervisor` keeps it connected; which server it is, an address, `sentinel` or
//! `cluster` tells. Only this folder knows fred.

pub mod access;
pub mod address;
mod announced;
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
mod lazy_connection;
pub mod once;
mod pipeline;
pub mod policy;
mod prepared;
mod probe_key;
mod reachable;
mod reader;
mod readers;
mod reading;
pub mod refusals;
mod relays;
mod replica;
mod sentinel;
mod server;
mod session;
mod settings;
mod setup;
pub mod slots;
mod supervisor;
mod survey;
mod target;

#[cfg(feature = "testing")]
pub use self::settings::Observe;
pub use self::settings::Settings;
pub use self::survey::survey;

use self::address::{AddressError, Place};
use self::cluster::Cluster;
use self::cluster::route::Part;
use self::relays::Relays;
use self::server::{Answers, Reports, Server};
use self::supervisor::Supervisor;
use super::{
    Answer, Ask, Backplane, BackplaneError, Changes, Entry, Examined, Facts, Fields, Link, Lookup, Note, Publication,
    Relayed, Span, StreamState,
};
use crate::channel::Channel;
use crate::position::Position;
use crate::watched as watch;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// The backplane on Redis. Works on reconnecting for as long as it lives.
pub struct Redis {
    servers: Servers,
    tasks: Vec<AbortHandle>,
}

/// The servers that hold the channels.
enum Servers {
    One(Arc<Supervisor>),
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
            let place = address.place.clone();
            let supervisor = Arc::new(Supervisor::new(&settings, address, None, Reports::default(), runtime));
            tasks.push(runtime.spawn(supervisor.clone().run()).abort_handle());
            if let Place::Sentinel(hosts, master) = place {
                let watch = |host| sentinel::watch(supervisor.server.clone(), host, master.clone());
                tasks.extend(hosts.into_iter().map(|host| runtime.spawn(watch(host)).abort_handle()));
            }
            Servers::One(supervisor)
        };
        Ok(Arc::new(Redis { servers, tasks }))
    }
}

impl Redis {
    /// Streams that nodes read for each other; a cluster's are read by each.
    fn relaying(&self) -> Option<&Arc<Relays>> {
        match &self.servers {
            Servers::One(one) => Some(&one.relays),
            Servers::Many(_) => None,
        }
    }
}

impl Servers {
    /// Has each part of a call carried out by the server that holds its channel. `call` gets a server, parts, and whether
    /// the server must be asked as one that is taking their slots over.
    fn call<'a, A, T, F>(
        &'a self,
        parts: Vec<A>,
        call: impl Fn(Arc<Server>, Vec<A>, bool) -> F + Send + Sync + 'a,
    ) -> Answer<'a, Vec<Result<T, BackplaneError>>>
    where
        A: Part + 'a,
        T: Send + 'a,
        F: Future<Output = Answers<T>> + Send + 'a,
    {
        Box::pin(async move {
            match self {
                Servers::One(one) => call(one.server.clone(), parts, false).await,
                Servers::Many(cluster) => Ok(cluster.split(parts, call).await),
            }
        })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        match &self.servers {
            Servers::One(one) => one.end(),
            Servers::Many(cluster) => cluster.end(),
        }
    }
}

impl Backplane for Redis {
    fn read(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        self.servers.call(asks, reading::order::read)
    }

    fn reads_apart(&self, channel: &Channel) -> bool {
        match &self.servers {
            Servers::One(one) => one.server.large.is_apart(channel),
            Servers::Many(cluster) => cluster.reads_apart(channel),
        }
    }

    fn waits(&self) -> bool {
        match &self.servers {
            Servers::One(one) => one.hot.is_ready(),
            // A connection would be needed for each server and stream, and told of every move of a slot.
            Servers::Many(_) => false,
        }
    }

    fn read_next(&self, ask: Ask) -> Answer<'_, Vec<Entry>> {
        Box::pin(async move {
            match &self.servers {
                Servers::One(one) => one.hot.next(&ask).await,
                Servers::Many(_) => Err(BackplaneError::refused("a cluster is not waited at")),
            }
        })
    }

    fn inspect(&self, channels: Vec<Channel>) -> Answer<'_, Vec<Result<Option<StreamState>, BackplaneError>>> {
        self.servers.call(channels, reading::order::inspect)
    }

    fn examine(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Examined, BackplaneError>>> {
        self.servers.call(asks, reading::order::examine)
    }

    fn history(&self, spans: Vec<Span>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        self.servers.call(spans, reading::order::history)
    }

    fn append(&self, publications: Vec<Publication>) -> Answer<'_, Vec<Result<Position, BackplaneError>>> {
        self.servers.call(publications, commands::append)
    }

    fn keeps_notes(&self) -> bool {
        true
    }

    fn note(&self, notes: Vec<Note>) -> Answer<'_, Vec<Result<bool, BackplaneError>>> {
        self.servers.call(notes, commands::records::note)
    }

    fn noted(&self, lookups: Vec<Lookup>) -> Answer<'_, Vec<Result<Fields, BackplaneError>>> {
        self.servers.call(lookups, commands::records::noted)
    }

    fn followed(&self, channel: &Channel, position: Position) {
        if let Servers::One(one) = &self.servers {
            one.blocks.followed(channel, position);
        }
    }

    fn unfollowed(&self, channel: &Channel) {
        if let Servers::One(one) = &self.servers {
            one.blocks.unfollowed(channel);
        }
    }

    fn may_relay(&self) -> bool {
        self.relaying().is_some_and(|relays| relays.are_possible())
    }

    fn busy(&self, channel: &Channel, is: bool) {
        if let Some(relays) = self.relaying() {
            relays.busy(channel, is);
        }
    }

    fn relays(&self, channel: &Channel) -> bool {
        self.relaying().is_some_and(|relays| relays.is_relay(channel))
    }

    fn relay(&self, relayed: Relayed, doubts: u32) {
        if let Some(relays) = self.relaying() {
            relays.pass_on(&relayed, doubts);
        }
    }

    fn changes(&self) -> &Arc<Changes> {
        match &self.servers {
            Servers::One(one) => &one.server.changes,
            Servers::Many(cluster) => &cluster.changes,
        }
    }

    fn link(&self) -> watch::Receiver<Link> {
        match &self.servers {
            Servers::One(one) => one.server.link.subscribe(),
            Servers::Many(cluster) => cluster.link.subscribe(),
        }
    }

    fn facts(&self) -> Facts {
        match &self.servers {
            Servers::One(one) => one.server.facts(),
            Servers::Many(cluster) => cluster.facts(),
        }
    }
}
