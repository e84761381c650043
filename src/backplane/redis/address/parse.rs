//! Reading a URL. Passwords hold any character, so it is taken apart here, where nothing is dropped or rewritten on the
//! way (the rules for URLs strip tabs and line breaks); hosts alone are read by the `url` crate.

use super::{Address, AddressError, Host, Place, ReplicaRead};
use crate::backplane::redis::access::{Access, Files};
use crate::backplane::redis::credential::{self, Credential};
use percent_encoding::percent_decode_str;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

const DEFAULT_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;
/// Replicas of an address that names them, at most.
const REPLICAS: usize = 16;
/// By how much a replica may lag where nothing else is said.
const LAG: Duration = Duration::from_secs(2);
/// What may be said.
const LAGS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

type Parsed<T> = Result<T, AddressError>;

impl Address {
    /// Reads a URL; spaces and line breaks around it do not count.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        read(text)
    }
}

fn read(text: &str) -> Parsed<Address> {
    let text = text.trim_matches(|c: char| c <= ' ');
    let parts = Parts::of(text)?;
    let address = match text.contains('#') {
        true => Err(AddressError::Fragment),
        false => parts.address(),
    };
    // Whatever is wrong then, it is because the user or the password ended too early.
    let late_at = parts.scheme != "unix" && (parts.path.contains('@') || parts.query.contains('@'));
    address.map_err(|error| match error {
        AddressError::Unfit(..) | AddressError::UnknownScheme => error,
        error if late_at || text.contains('#') => AddressError::Unescaped(Box::new(error)),
        error => error,
    })
}

/// A URL's pieces, as they stand in it.
struct Parts<'a> {
    scheme: &'a str,
    user: &'a str,
    password: &'a str,
    hosts: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Parsed<Parts<'a>> {
        let (scheme, rest) = text.split_once(':').ok_or(AddressError::NoScheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        Ok(Parts { scheme, user, password, hosts, path, query })
    }

    fn address(&self) -> Parsed<Address> {
        let scheme = self.scheme.to_ascii_lowercase();
        let secure = scheme.starts_with("rediss") || scheme.starts_with("valkeys");
        let plain = scheme.replacen("rediss", "redis", 1).replacen("valkeys", "redis", 1);
        let plain = plain.replacen("valkey", "redis", 1).replace('+', "-");
        if !matches!(plain.as_str(), "unix" | "redis" | "redis-sentinel" | "redis-cluster") {
            return Err(AddressError::UnknownScheme);
        }
        let query = Query::read(self.query, &plain)?;
        if plain == "unix" {
            return self.unix(query);
        }
        if self.path.contains('@') {
            return Err(AddressError::LateAt);
        }
        let replicas = query.replicas(&plain)?;
        let (place, database) = self.place(&plain, query.database)?;
        if !secure && query.files != Files::default() {
            return Err(AddressError::NoTls(format!("{plain}://")));
        }
        let access = Access {
            username: login(self.user, "user")?,
            password: login(self.password, "password")?,
            sentinel_username: query.sentinel_username,
            sentinel_password: query.sentinel_password,
            tls: secure.then_some(query.files),
            ..Access::default()
        };
        Ok(Address { place, access: Arc::new(access), database, replicas })
    }

    /// Where it leads, and to which database; the path counts more than the parameter.
    fn place(&self, scheme: &str, database: u8) -> Parsed<(Place, u8)> {
        let path = decoded(self.path, "path")?;
        let below = path.trim_start_matches('/');
        let numbered = |text: &str| match text.is_empty() {
            true => Ok(database),
            false => number(text).ok_or(AddressError::BadDatabase),
        };
        match scheme {
            "redis" => {
                let mut list = self.hosts(DEFAULT_PORT)?;
                if list.len() > 1 {
                    return Err(AddressError::SeveralHosts);
                }
                let database = numbered(below)?;
                Ok((Place::Server(list.remove(0)), database))
            }
            "redis-sentinel" => {
                let hosts = self.hosts(SENTINEL_PORT)?;
                let (master, database) = below.split_once('/').unwrap_or((below, ""));
                if master.is_empty() {
                    return Err(AddressError::NoMaster);
                }
                Ok((Place::Sentinel(hosts, master.to_owned()), numbered(database)?))
            }
            _ => {
                let hosts = self.hosts(DEFAULT_PORT)?;
                if database != 0 || !matches!(below, "" | "0") {
                    return Err(AddressError::ClusterDatabase);
                }
                Ok((Place::Cluster(hosts), 0))
            }
        }
    }

    fn hosts(&self, port: u16) -> Parsed<Vec<Host>> {
        if self.hosts.is_empty() {
            return Err(AddressError::NoHost);
        }
        self.hosts.split(',').zip(1..).map(|(text, at)| host(text, at, port)).collect()
    }

    fn unix(&self, query: Query) -> Parsed<Address> {
        let path = decoded(self.path, "path")?;
        if !path.starts_with('/') || path.ends_with('/') || !self.hosts.is_empty() {
            return Err(AddressError::NoPath);
        }
        if query.files != Files::default() {
            return Err(AddressError::NoTls("unix:".into()));
        }
        let access = Arc::new(Access { username: query.username, password: query.password, ..Access::default() });
        Ok(Address { place: Place::Unix(PathBuf::from(path)), access, database: query.database, replicas: None })
    }
}

/// Reads one host; `at`: which of the hosts it is.
fn host(text: &str, at: usize, port: u16) -> Parsed<Host> {
    credential::fit(text.as_bytes()).map_err(|unfit| AddressError::Unfit("host", unfit))?;
    if text.is_empty() {
        return Err(AddressError::NoHost);
    }
    let url = Url::parse(&format!("redis://{text}")).map_err(|error| AddressError::BadHost(at, error))?;
    let name = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    match decoded(name, "host")? {
        name if name.is_empty() => Err(AddressError::NoHost),
        name => Ok(Host { name, port: url.port().unwrap_or(port) }),
    }
}

/// The parameters behind the `?`.
#[derive(Default)]
struct Query {
    database: u8,
    files: Files,
    username: Option<Credential>,
    password: Option<Credential>,
    sentinel_username: Option<Credential>,
    sentinel_password: Option<Credential>,
    reads_replica: bool,
    replicas: Vec<Host>,
    lag: Option<Duration>,
}

impl Query {
    /// Percent-encoded and nothing else: a `+` is no space, for passwords are made of it.
    fn read(text: &str, scheme: &str) -> Parsed<Query> {
        let mut query = Query::default();
        let (unix, sentinel) = (scheme == "unix", scheme == "redis-sentinel");
        let known = match scheme {
            "unix" => "db, user and password",
            "redis-sentinel" => "db, ca, cert, key, read, replica_lag, sentinel_user and sentinel_password",
            "redis-cluster" => "db, ca, cert, key, read and replica_lag",
            _ => "db, ca, cert, key, read, replica and replica_lag",
        };
        for (pair, at) in text.split('&').filter(|pair| !pair.is_empty()).zip(1..) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let file = || decoded(value, "path of a file").map(|path| Some(PathBuf::from(path)));
            match percent_decode_str(name).decode_utf8().unwrap_or_default().as_ref() {
                "db" => query.database = number(value).ok_or(AddressError::BadDatabaseParameter)?,
                "ca" => query.files.ca = file()?,
                "cert" => query.files.cert = file()?,
                "key" => query.files.key = file()?,
                // A unix socket's URL has no place for them in front.
                "user" if unix => query.username = login(value, "user")?,
                "password" if unix => query.password = login(value, "password")?,
                "sentinel_user" if sentinel => query.sentinel_username = login(value, "sentinel_user")?,
                "sentinel_password" if sentinel => query.sentinel_password = login(value, "sentinel_password")?,
                "read" if !unix => query.reads_replica = reads_replica(value)?,
                "replica_lag" if !unix => query.lag = Some(lag(value)?),
                "replica" if scheme == "redis" => query.replicas.push(replica(value, query.replicas.len() + 1)?),
                _ => return Err(AddressError::UnknownParameter(at, known)),
            }
        }
        Ok(query)
    }

    /// Whether replicas are read, and which.
    fn replicas(&self, scheme: &str) -> Parsed<Option<ReplicaRead>> {
        match (self.reads_replica, self.replicas.len()) {
            (false, 0) if self.lag.is_none() => Ok(None),
            (false, _) => Err(AddressError::NotRead),
            (true, 0) if scheme == "redis" => Err(AddressError::ReplicaCount("its")),
            (true, REPLICAS..) if self.replicas.len() > REPLICAS => Err(AddressError::ReplicaCount("at most 16")),
            (true, _) => {
                let (hosts, lag) = (self.replicas.clone(), self.lag.unwrap_or(LAG));
                Ok(Some(ReplicaRead { hosts, lag }))
            }
        }
    }
}

fn reads_replica(value: &str) -> Parsed<bool> {
    match value {
        "replica" => Ok(true),
        "primary" => Ok(false),
        _ => Err(AddressError::BadRead),
    }
}

/// One replica; `at`: which of them it is. What was written is not repeated.
fn replica(value: &str, at: usize) -> Parsed<Host> {
    let text = decoded(value, "replica")?;
    match text.contains(['/', '@', '?', ',']) {
        true => Err(AddressError::BadReplica(at)),
        false => host(&text, at, DEFAULT_PORT).map_err(|_| AddressError::BadReplica(at)),
    }
}

fn lag(value: &str) -> Parsed<Duration> {
    let lag = humantime::parse_duration(value).ok();
    lag.filter(|lag| LAGS.contains(lag)).ok_or(AddressError::BadLag)
}

fn number(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// A user name or password, if there is any.
fn login(text: &str, what: &'static str) -> Parsed<Option<Credential>> {
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    let credential = Credential::new(bytes).map_err(|unfit| AddressError::Unfit(what, unfit))?;
    Ok(Some(credential).filter(|_| !text.is_empty()))
}

/// A text that is shown, and given to the system.
fn decoded(text: &str, what: &'static str) -> Parsed<String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| AddressError::BadText(what))?;
    credential::fit(text.as_bytes()).map_err(|unfit| AddressError::Unfit(what, unfit))?;
    Ok(text.into_owned())
}
