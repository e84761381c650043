//! Where the server is: `redis://[[user]:password@]host[:port][/db]` and `unix:/path[?db=N]`.
//!
//! Owns the parsing and what may be shown of an address; connects to nothing. The schemes for TLS, Sentinel and
//! Cluster are known here and refused.

use fred::types::config::ServerConfig;
use percent_encoding::percent_decode_str;
use std::fmt;
use url::Url;

const DEFAULT_PORT: u16 = 6379;

/// A parsed address. Its `Display` and `Debug` never show credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub server: ServerConfig,
    pub username: Option<String>,
    pub password: Option<String>,
    pub database: u8,
}

/// Why a text is no address; every variant shows the text without credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("{0}: no URL: {1}")]
    NoUrl(String, String),
    #[error("{0}: {1} is not supported yet; use redis://host:port or unix:/path")]
    NotYet(String, &'static str),
    #[error("{0}: unknown scheme {1:?}; use redis://host:port or unix:/path")]
    UnknownScheme(String, String),
    #[error("{0}: there is no host")]
    NoHost(String),
    #[error("{0}: the path of the unix socket must be absolute: unix:/path")]
    NoPath(String),
    #[error("{0}: a user needs a password: redis://user:password@host")]
    NoPassword(String),
    #[error("{0}: {1:?} is no database number (0 to 255)")]
    BadDatabase(String, String),
    #[error("{0}: unknown parameter {1:?}")]
    UnknownParameter(String, String),
    #[error("{0}: the {1} is no UTF-8")]
    BadText(String, &'static str),
}

impl Address {
    /// Parses a URL.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let shown = redacted(text);
        let url = Url::parse(text).map_err(|e| AddressError::NoUrl(shown.clone(), e.to_string()))?;
        match url.scheme() {
            "redis" | "valkey" => Address::tcp(&url, shown),
            "unix" => Address::unix(&url, shown),
            scheme => Err(refuse(scheme, shown)),
        }
    }

    fn tcp(url: &Url, shown: String) -> Result<Address, AddressError> {
        if let Some((name, _)) = url.query_pairs().next() {
            return Err(AddressError::UnknownParameter(shown, name.into_owned()));
        }
        let host = url.host_str().unwrap_or_default();
        let host = decoded(host.trim_start_matches('[').trim_end_matches(']'), "host", &shown)?;
        if host.is_empty() {
            return Err(AddressError::NoHost(shown));
        }
        let username = Some(decoded(url.username(), "user", &shown)?).filter(|u| !u.is_empty());
        let password = url.password().map(|p| decoded(p, "password", &shown)).transpose()?.filter(|p| !p.is_empty());
        if username.is_some() && password.is_none() {
            return Err(AddressError::NoPassword(shown));
        }
        let database = database(url.path().trim_start_matches('/'), &shown)?;
        let server = ServerConfig::new_centralized(host, url.port().unwrap_or(DEFAULT_PORT));
        Ok(Address { server, username, password, database })
    }

    fn unix(url: &Url, shown: String) -> Result<Address, AddressError> {
        let path = decoded(url.path(), "path", &shown)?;
        if !path.starts_with('/') || path.ends_with('/') || url.host_str().is_some_and(|h| !h.is_empty()) {
            return Err(AddressError::NoPath(shown));
        }
        let mut number = 0;
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "db" => number = database(&value, &shown)?,
                _ => return Err(AddressError::UnknownParameter(shown, name.into_owned())),
            }
        }
        let server = ServerConfig::new_unix_socket(path);
        Ok(Address { server, username: None, password: None, database: number })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            ServerConfig::Centralized { server } if server.host.contains(':') => {
                write!(f, "redis://[{}]:{}/{}", server.host, server.port, self.database)
            }
            ServerConfig::Centralized { server } => {
                write!(f, "redis://{}:{}/{}", server.host, server.port, self.database)
            }
            ServerConfig::Unix { path } => write!(f, "unix:{}?db={}", path.display(), self.database),
            _ => f.write_str("redis"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn refuse(scheme: &str, shown: String) -> AddressError {
    let what = match scheme {
        "rediss" | "valkeys" => "TLS",
        s if s.contains("sentinel") => "Sentinel",
        s if s.contains("cluster") => "Cluster",
        _ => return AddressError::UnknownScheme(shown, scheme.to_owned()),
    };
    AddressError::NotYet(shown, what)
}

fn database(text: &str, shown: &str) -> Result<u8, AddressError> {
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit());
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

/// The text without what stands before its last `@`, where credentials are; works for broken URLs too.
fn redacted(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        (None, Some((_, rest))) => format!("…@{rest}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://10.0.0.1:7000/3", "redis://10.0.0.1:7000/3"),
            ("redis://[::1]:7000", "redis://[::1]:7000/0"),
            ("valkey://v/", "redis://v:6379/0"),
            ("redis://u:p%40s@h:1/2", "redis://h:1/2"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown, "{text}");
        }
        let address = Address::parse("redis://u:p%40s%2F@h").unwrap();
        assert_eq!((address.username.as_deref(), address.password.as_deref()), (Some("u"), Some("p@s/")));
        let address = Address::parse("redis://:secret@h").unwrap();
        assert_eq!((address.username.as_deref(), address.password.as_deref()), (None, Some("secret")));
        let address = Address::parse("redis://[::1]:7000").unwrap();
        assert_eq!(address.server, ServerConfig::new_centralized("::1", 7000));
    }

    #[test]
    fn unix() {
        let address = Address::parse("unix:/run/my%20redis.sock?db=4").unwrap();
        assert_eq!(address.server, ServerConfig::new_unix_socket("/run/my redis.sock"));
        assert_eq!(address.database, 4);
        assert_eq!(Address::parse("unix:///run/r.sock").unwrap().to_string(), "unix:/run/r.sock?db=0");
        for text in ["unix:run/r.sock", "unix://host/r.sock", "unix:/", "unix:"] {
            assert_eq!(Address::parse(text), Err(AddressError::NoPath(text.into())));
        }
    }

    #[test]
    fn clear_errors_that_name_the_input() {
        for (text, error) in [
            ("localhost:6379", "localhost:6379: unknown scheme \"localhost\"; use redis://host:port or unix:/path"),
            ("127.0.0.1", "127.0.0.1: no URL: relative URL without a base"),
            ("redis://", "redis://: there is no host"),
            ("redis://h:99999", "redis://h:99999: no URL: invalid port number"),
            ("redis://h/-1", "redis://h/-1: \"-1\" is no database number (0 to 255)"),
            ("redis://h/256", "redis://h/256: \"256\" is no database number (0 to 255)"),
            ("redis://h?x=1", "redis://h?x=1: unknown parameter \"x\""),
            ("redis://u@h", "redis://…@h: a user needs a password: redis://user:password@host"),
            ("rediss://h", "rediss://h: TLS is not supported yet; use redis://host:port or unix:/path"),
            (
                "redis-sentinel://h",
                "redis-sentinel://h: Sentinel is not supported yet; use redis://host:port or unix:/path",
            ),
            (
                "redis+cluster://h",
                "redis+cluster://h: Cluster is not supported yet; use redis://host:port or unix:/path",
            ),
        ] {
            assert_eq!(Address::parse(text).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn credentials_are_never_shown() {
        for text in ["redis://u:secret@h:x", "rediss://u:se@secret@h", "redis://u:secret@h/x", "redis://u:secret@"] {
            let error = Address::parse(text).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let address = Address::parse("redis://u:secret@h").unwrap();
        assert!(!format!("{address} {address:?}").contains("secret"));
    }
}
