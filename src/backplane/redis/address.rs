//! Where the servers are, and what may be shown of it.
//!
//! `redis://` and `rediss://` `[user:password@]host[:port][/db]`, `unix:/path`, `redis-sentinel://h1,h2/master`,
//! `redis-cluster://h1,h2`; with `?read=replica` also which replicas are read. Connects to nothing.

mod parse;

use super::access::Access;
use super::credential::Unfit;
use fred::types::config::ServerConfig;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const FORMS: &str = "redis://, rediss://, unix:/path, redis-sentinel://host,host/master or redis-cluster://host,host";

/// A host and its port. Shown as `host:port`, IPv6 in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    /// A name or an IP address, without brackets.
    pub name: String,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// How the server is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Server(Host),
    Unix(PathBuf),
    /// Sentinels that know where the primary of this name is.
    Sentinel(Vec<Host>, String),
    /// Some nodes of a cluster, which know the others.
    Cluster(Vec<Host>),
}

/// A parsed address. Its `Display` and `Debug` never show credentials.
#[derive(Clone)]
pub struct Address {
    /// Where it leads.
    pub place: Place,
    /// Credentials, TLS and limits of time.
    pub access: Arc<Access>,
    /// The database's number.
    pub database: u8,
    /// Whether replicas are read, and which; `None`: the primary alone.
    pub replicas: Option<ReplicaRead>,
}

/// How replicas are read (`read=replica`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaRead {
    /// Where they are, where nobody else says that; empty for Sentinel and Cluster.
    pub hosts: Vec<Host>,
    /// One that lags by more is left.
    pub lag: Duration,
}

/// One server that can be connected to.
#[derive(Clone)]
pub struct Endpoint {
    /// Where it is, as fred has it.
    pub server: ServerConfig,
    /// The database's number.
    pub database: u8,
    /// Credentials, TLS and limits of time.
    pub access: Arc<Access>,
    /// Whether it is a sentinel, which has credentials of its own.
    pub sentinel: bool,
    /// Whether it is a replica of a cluster, which must be told that it is read (`READONLY`).
    pub readonly: bool,
}

/// Why settings are no address. No variant repeats anything of a text that could not be read: a password may stand
/// anywhere in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("there is no scheme; use {FORMS}")]
    NoScheme,
    #[error("its scheme is unknown; use {FORMS}")]
    UnknownScheme,
    #[error("there is no host")]
    NoHost,
    /// A host, counted from 1, cannot be read; and why.
    #[error("host {0} cannot be read: {1}")]
    BadHost(usize, url::ParseError),
    #[error("one host only; several are for redis-sentinel:// and redis-cluster://")]
    SeveralHosts,
    #[error("the name of the primary is missing: redis-sentinel://host,host/NAME")]
    NoMaster,
    #[error("the path of the unix socket must be absolute: unix:/path")]
    NoPath,
    #[error("what follows the host is no database number (0 to 255)")]
    BadDatabase,
    #[error("its parameter db is no database number (0 to 255)")]
    BadDatabaseParameter,
    #[error("a cluster has no databases but 0")]
    ClusterDatabase,
    /// A parameter, counted from 1, is unknown; and which there are.
    #[error("parameter {0} is unknown; there are {1}")]
    UnknownParameter(usize, &'static str),
    #[error("its parameter read is neither replica nor primary")]
    BadRead,
    /// A `replica`, counted from 1, is no host.
    #[error("its parameter replica {0} is no host: replica=HOST:PORT")]
    BadReplica(usize),
    #[error("its parameter replica_lag is no time from 100ms to 1m")]
    BadLag,
    /// What `read=replica` needs beside it.
    #[error("read=replica of a redis:// address needs {0} replicas: &replica=HOST:PORT for each")]
    ReplicaCount(&'static str),
    #[error("its parameters replica and replica_lag are for read=replica")]
    NotRead,
    #[error("it has a # in it, which such a URL has no use for")]
    Fragment,
    #[error("there is an @ behind the host")]
    LateAt,
    #[error("its {0} has {1} in it, which is not allowed")]
    Unfit(&'static str, Unfit),
    #[error("its {0} is no UTF-8")]
    BadText(&'static str),
    /// Something is wrong, most likely because a password cut the URL in pieces.
    #[error("{0}; in a user or a password # is written %23, / is %2F, ? is %3F and @ is %40")]
    Unescaped(Box<AddressError>),
    /// Files for TLS go with an address without it, which is shown.
    #[error("{0}: ca, cert and key are for TLS: rediss://, rediss-sentinel:// or rediss-cluster://")]
    NoTls(String),
    #[error("{0}: cert and key belong together")]
    HalfCertificate(String),
}

impl Address {
    /// This address, with what its URL leaves out.
    pub fn completed(mut self, more: &Access) -> Result<Address, AddressError> {
        let mut access = (*self.access).clone();
        access.complete(more);
        match &access.tls {
            None if more.tls.is_some() => return Err(AddressError::NoTls(self.to_string())),
            Some(files) if files.cert.is_some() != files.key.is_some() => {
                return Err(AddressError::HalfCertificate(self.to_string()));
            }
            _ => {}
        }
        self.access = Arc::new(access);
        Ok(self)
    }

    /// A server behind this address.
    pub fn endpoint(&self, host: &Host) -> Endpoint {
        let server = match &self.access.sockets {
            Some(folder) => ServerConfig::new_unix_socket(folder.join(host.to_string())),
            None => ServerConfig::new_centralized(host.name.as_str(), host.port),
        };
        Endpoint { server, database: self.database, access: self.access.clone(), sentinel: false, readonly: false }
    }

    /// A replica of a server of this address.
    pub fn replica(&self, host: &Host) -> Endpoint {
        Endpoint { readonly: matches!(self.place, Place::Cluster(_)), ..self.endpoint(host) }
    }

    /// A sentinel of this address.
    pub fn sentinel(&self, host: &Host) -> Endpoint {
        Endpoint { database: 0, sentinel: true, ..self.endpoint(host) }
    }

    /// The one server, where the address names it.
    pub fn fixed(&self) -> Option<Endpoint> {
        match &self.place {
            Place::Server(host) => Some(self.endpoint(host)),
            Place::Unix(path) => Some(Endpoint {
                server: ServerConfig::new_unix_socket(path.clone()),
                database: self.database,
                access: self.access.clone(),
                sentinel: false,
                readonly: false,
            }),
            Place::Sentinel(..) | Place::Cluster(_) => None,
        }
    }
}

impl Endpoint {
    /// The host, where it is reached by TCP, or by a socket in its place.
    pub fn host(&self) -> Option<Host> {
        match &self.server {
            ServerConfig::Centralized { server } => Some(Host { name: server.host.to_string(), port: server.port }),
            ServerConfig::Unix { path } if self.access.sockets.is_some() => {
                let (name, port) = path.file_name()?.to_str()?.rsplit_once(':')?;
                let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
                Some(Host { name, port: port.parse().ok()? })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            ServerConfig::Unix { path } => write!(f, "unix:{}", path.display()),
            _ => self.host().map_or(Ok(()), |host| host.fmt(f)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.access.tls.is_some() { "s" } else { "" };
        let list = |hosts: &[Host]| hosts.iter().map(Host::to_string).collect::<Vec<_>>().join(",");
        match &self.place {
            Place::Server(host) => write!(f, "redis{s}://{host}/{}", self.database),
            Place::Unix(path) => write!(f, "unix:{}?db={}", path.display(), self.database),
            Place::Sentinel(hosts, name) => {
                write!(f, "redis{s}-sentinel://{}/{name}?db={}", list(hosts), self.database)
            }
            Place::Cluster(hosts) => write!(f, "redis{s}-cluster://{}", list(hosts)),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
