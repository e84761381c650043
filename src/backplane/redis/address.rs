//! Where the servers are, and what may be shown of it.
//!
//! `redis://` and `rediss://` `[user:password@]host[:port][/db]`, `unix:/path`, `redis-sentinel://h1,h2/master`,
//! `redis-cluster://h1,h2`. Owns the parsing; connects to nothing.

use super::access::{Access, Files};
use fred::types::config::ServerConfig;
use percent_encoding::percent_decode_str;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use url::Url;

const DEFAULT_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;
const FORMS: &str = "redis://, rediss://, unix:/path, redis-sentinel://host,host/master or redis-cluster://host,host";

/// A host and its port. Shown as `host:port`, IPv6 in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    pub name: String,
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
    pub place: Place,
    pub access: Arc<Access>,
    pub database: u8,
}

/// One server that can be connected to.
#[derive(Clone)]
pub struct Endpoint {
    pub server: ServerConfig,
    pub database: u8,
    pub access: Arc<Access>,
    /// Whether it is a sentinel, which has credentials of its own.
    pub sentinel: bool,
}

/// Why a text is no address; every variant shows the text without credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("{0}: no URL: {1}")]
    NoUrl(String, String),
    #[error("{0}: unknown scheme {1:?}; use {FORMS}")]
    UnknownScheme(String, String),
    #[error("{0}: there is no host")]
    NoHost(String),
    #[error("{0}: one host only; several are for redis-sentinel:// and redis-cluster://")]
    SeveralHosts(String),
    #[error("{0}: the name of the primary is missing: redis-sentinel://host,host/NAME")]
    NoMaster(String),
    #[error("{0}: the path of the unix socket must be absolute: unix:/path")]
    NoPath(String),
    #[error("{0}: {1:?} is no database number (0 to 255)")]
    BadDatabase(String, String),
    #[error("{0}: a cluster has no databases but 0")]
    ClusterDatabase(String),
    #[error("{0}: unknown parameter {1:?}")]
    UnknownParameter(String, String),
    #[error("{0}: ca, cert and key are for TLS: rediss://, rediss-sentinel:// or rediss-cluster://")]
    NoTls(String),
    #[error("{0}: cert and key belong together")]
    HalfCertificate(String),
    #[error("{0}: the {1} is no UTF-8")]
    BadText(String, &'static str),
}

/// What precedes the path, taken apart.
struct Head<'a> {
    hosts: &'a str,
    /// The same URL with one host, for the parser of URLs.
    url: Url,
}

impl Address {
    /// Parses a URL.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let shown = redacted(text);
        let Head { hosts, url } = head(text, &shown)?;
        let secure = matches!(url.scheme(), s if s.starts_with("rediss") || s.starts_with("valkeys"));
        let plain = url.scheme().replacen("rediss", "redis", 1).replacen("valkeys", "redis", 1);
        let plain = plain.replacen("valkey", "redis", 1).replace('+', "-");
        let query = Query::read(&url, &shown, &plain)?;
        let mut database = query.database;
        let path = decoded(url.path(), "path", &shown)?;
        let below = path.trim_start_matches('/');
        let place = match plain.as_str() {
            "unix" => return unix(path, query, url, shown),
            "redis" => {
                let mut list = hosts_of(hosts, DEFAULT_PORT, &shown)?;
                if list.len() > 1 {
                    return Err(AddressError::SeveralHosts(shown));
                }
                database = if below.is_empty() { database } else { number(below, &shown)? };
                Place::Server(list.remove(0))
            }
            "redis-sentinel" => {
                let (master, db) = below.split_once('/').unwrap_or((below, ""));
                if master.is_empty() {
                    return Err(AddressError::NoMaster(shown));
                }
                database = if db.is_empty() { database } else { number(db, &shown)? };
                Place::Sentinel(hosts_of(hosts, SENTINEL_PORT, &shown)?, master.to_owned())
            }
            "redis-cluster" => {
                if database != 0 || !matches!(below, "" | "0") {
                    return Err(AddressError::ClusterDatabase(shown));
                }
                Place::Cluster(hosts_of(hosts, DEFAULT_PORT, &shown)?)
            }
            _ => return Err(AddressError::UnknownScheme(shown, url.scheme().to_owned())),
        };
        if !secure && query.files != Files::default() {
            return Err(AddressError::NoTls(shown));
        }
        let some = |text: String| Some(text).filter(|t| !t.is_empty());
        let access = Access {
            username: some(decoded(url.username(), "user", &shown)?),
            password: some(decoded(url.password().unwrap_or_default(), "password", &shown)?),
            sentinel_username: query.sentinel_username,
            sentinel_password: query.sentinel_password,
            tls: secure.then_some(query.files),
            ..Access::default()
        };
        Ok(Address { place, access: Arc::new(access), database })
    }

    /// The same place, with what the URL leaves out.
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
        let server = ServerConfig::new_centralized(host.name.as_str(), host.port);
        Endpoint { server, database: self.database, access: self.access.clone(), sentinel: false }
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
            }),
            Place::Sentinel(..) | Place::Cluster(_) => None,
        }
    }
}

impl Endpoint {
    /// The host, where it is reached by TCP.
    pub fn host(&self) -> Option<Host> {
        match &self.server {
            ServerConfig::Centralized { server } => Some(Host { name: server.host.to_string(), port: server.port }),
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

/// Several hosts are no URL by the rules: they are taken out before it is parsed.
fn head<'a>(text: &'a str, shown: &str) -> Result<Head<'a>, AddressError> {
    let parse = |text: &str| Url::parse(text).map_err(|e| AddressError::NoUrl(shown.to_owned(), e.to_string()));
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| *scheme != "unix") else {
        return Ok(Head { hosts: "", url: parse(text)? });
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
    if hosts.is_empty() && user.is_empty() {
        return Err(AddressError::NoHost(shown.to_owned()));
    }
    let at = if user.is_empty() { "" } else { "@" };
    let first = hosts.split(',').next().unwrap_or(hosts);
    Ok(Head { hosts, url: parse(&format!("{scheme}://{user}{at}{first}{path}"))? })
}

fn hosts_of(list: &str, port: u16, shown: &str) -> Result<Vec<Host>, AddressError> {
    let host = |text: &str| {
        let bad = |e: url::ParseError| AddressError::NoUrl(shown.to_owned(), e.to_string());
        let url = Url::parse(&format!("redis://{text}")).map_err(bad)?;
        let name = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        match decoded(name, "host", shown)? {
            name if name.is_empty() => Err(AddressError::NoHost(shown.to_owned())),
            name => Ok(Host { name, port: url.port().unwrap_or(port) }),
        }
    };
    list.split(',').map(host).collect()
}

fn unix(path: String, query: Query, url: Url, shown: String) -> Result<Address, AddressError> {
    if !path.starts_with('/') || path.ends_with('/') || url.host_str().is_some_and(|h| !h.is_empty()) {
        return Err(AddressError::NoPath(shown));
    }
    if query.files != Files::default() {
        return Err(AddressError::NoTls(shown));
    }
    let access = Arc::new(Access { username: query.username, password: query.password, ..Access::default() });
    Ok(Address { place: Place::Unix(path.into()), access, database: query.database })
}

/// The parameters behind the `?`.
#[derive(Default)]
struct Query {
    database: u8,
    files: Files,
    username: Option<String>,
    password: Option<String>,
    sentinel_username: Option<String>,
    sentinel_password: Option<String>,
}

impl Query {
    fn read(url: &Url, shown: &str, scheme: &str) -> Result<Query, AddressError> {
        let mut query = Query::default();
        let (unix, sentinel) = (scheme == "unix", scheme == "redis-sentinel");
        for (name, value) in url.query_pairs() {
            let text = || Some(value.to_string());
            match name.as_ref() {
                "db" => query.database = number(&value, shown)?,
                "ca" => query.files.ca = Some(value.as_ref().into()),
                "cert" => query.files.cert = Some(value.as_ref().into()),
                "key" => query.files.key = Some(value.as_ref().into()),
                // A unix socket's URL has no place for them in front.
                "user" if unix => query.username = text(),
                "password" if unix => query.password = text(),
                "sentinel_user" if sentinel => query.sentinel_username = text(),
                "sentinel_password" if sentinel => query.sentinel_password = text(),
                _ => return Err(AddressError::UnknownParameter(shown.to_owned(), name.into_owned())),
            }
        }
        Ok(query)
    }
}

fn number(text: &str, shown: &str) -> Result<u8, AddressError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err(AddressError::BadDatabase(shown.to_owned(), text.to_owned())),
    }
}

fn decoded(text: &str, what: &'static str, shown: &str) -> Result<String, AddressError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(AddressError::BadText(shown.to_owned(), what)),
    }
}

/// The text without what stands before its last `@`, where credentials are, and without passwords among its parameters;
/// works for broken URLs too.
pub fn redacted(text: &str) -> String {
    let hidden = match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        (None, Some((_, rest))) => format!("…@{rest}"),
        _ => text.to_owned(),
    };
    let Some((front, query)) = hidden.split_once('?') else { return hidden };
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name.contains("password") => format!("{name}=…"),
        _ => pair.to_owned(),
    };
    format!("{front}?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests;
