//! How Redis is reached: the flags that every command with `--redis` has, for what its URL leaves out.

use super::values::{Contradiction, MINUTE, SHORTEST, duration};
use crate::backplane::redis::Settings;
use crate::backplane::redis::access::{Access, Files};
use crate::backplane::redis::address::{Address, AddressError};
use crate::backplane::redis::credential::Credential;
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::fmt::Display;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// How Redis is reached, where its URL leaves it out; what the URL says counts more.
#[derive(Args, Clone, Debug)]
pub struct RedisAccess {
    /// User, if the URL names none.
    #[arg(id = "redis_username", long = "redis-username", env = "FANTAIL_REDIS_USERNAME", value_name = "NAME")]
    #[arg(value_parser = redis_user())]
    pub username: Option<Credential>,
    /// File with the password, if the URL has none. Read at each connect.
    #[arg(id = "redis_password_file", long = "redis-password-file", env = "FANTAIL_REDIS_PASSWORD_FILE")]
    #[arg(value_name = "PATH")]
    pub password_file: Option<PathBuf>,
    /// User at the sentinels, if the URL names none.
    #[arg(id = "redis_sentinel_username", long = "redis-sentinel-username", env = "FANTAIL_REDIS_SENTINEL_USERNAME")]
    #[arg(value_name = "NAME", value_parser = redis_user())]
    pub sentinel_username: Option<Credential>,
    /// File with the sentinels' password, if the URL has none. Read at each connect.
    #[arg(id = "redis_sentinel_password_file", long = "redis-sentinel-password-file")]
    #[arg(env = "FANTAIL_REDIS_SENTINEL_PASSWORD_FILE", value_name = "PATH")]
    pub sentinel_password_file: Option<PathBuf>,
    /// PEM file of the authorities to trust instead of the system's, for rediss:// and its variants. Read at each
    /// connect.
    #[arg(id = "redis_ca", long = "redis-ca", env = "FANTAIL_REDIS_CA", value_name = "PATH")]
    pub ca: Option<PathBuf>,
    /// PEM file of the node's own certificate, if the server requires one.
    #[arg(id = "redis_cert", long = "redis-cert", env = "FANTAIL_REDIS_CERT", value_name = "PATH")]
    pub cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(id = "redis_key", long = "redis-key", env = "FANTAIL_REDIS_KEY", value_name = "PATH")]
    pub key: Option<PathBuf>,
    /// Connect time-out, and the longest silence while a reply is pending, 100ms to 1m.
    #[arg(id = "redis_timeout", long = "redis-timeout", env = "FANTAIL_REDIS_TIMEOUT", default_value = "1s")]
    #[arg(value_name = "DURATION", value_parser = duration(SHORTEST..=MINUTE))]
    pub timeout: Duration,
}

impl RedisAccess {
    /// Whether it fits this URL; `Err` is the line of what does not.
    pub fn verify(&self, url: Option<&RedisUrl>) -> Result<(), Contradiction> {
        match url {
            Some(url) => {
                Access::verify_variables().map_err(|error| Contradiction(error.to_string()))?;
                self.settings(url).address().map(drop).map_err(|error| Contradiction(format!("--redis {error}")))
            }
            None => self.first_given().map_or(Ok(()), |flag| Err(Contradiction(format!("{flag}: it needs --redis")))),
        }
    }

    /// For this URL, with the defaults of everything else.
    pub fn settings(&self, url: &RedisUrl) -> Settings {
        let files = Files { ca: self.ca.clone(), cert: self.cert.clone(), key: self.key.clone() };
        let access = Access {
            username: self.username.clone(),
            password_file: self.password_file.clone(),
            sentinel_username: self.sentinel_username.clone(),
            sentinel_password_file: self.sentinel_password_file.clone(),
            tls: Some(files).filter(|files| *files != Files::default()),
            timeout: self.timeout,
            ..Access::default()
        };
        Settings { access, ..Settings::new(url.with_credentials()) }
    }

    /// Not those that may well stand in the environment of a node without Redis.
    fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("--redis-password-file", self.password_file.is_some()),
            ("--redis-sentinel-password-file", self.sentinel_password_file.is_some()),
            ("--redis-ca", self.ca.is_some()),
            ("--redis-cert", self.cert.is_some()),
            ("--redis-key", self.key.is_some()),
        ];
        given.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }
}

/// The URL of a Redis, which may have a password in it: `Display` and `Debug` show it without.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    whole: String,
    shown: String,
}

impl RedisUrl {
    /// The whole of it.
    pub fn with_credentials(&self) -> &str {
        &self.whole
    }
}

impl FromStr for RedisUrl {
    type Err = AddressError;

    /// The error says which part is wrong, and repeats nothing of the text.
    fn from_str(text: &str) -> Result<RedisUrl, AddressError> {
        let address = Address::parse(text)?;
        Ok(RedisUrl { whole: text.to_owned(), shown: address.to_string() })
    }
}

impl Display for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Display::fmt(self, f)
    }
}

pub(crate) fn redis_url(text: &str) -> Result<RedisUrl, AddressError> {
    text.parse()
}

/// A user name at Redis, of any bytes that Redis takes.
pub(crate) fn redis_user() -> impl TypedValueParser<Value = Credential> {
    let read = |name: std::ffi::OsString| Credential::new(name.into_vec());
    OsStringValueParser::new()
        .try_map(move |name| read(name).map_err(|unfit| format!("the user has {unfit} in it, which is not allowed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_show_no_password() {
        assert!(redis_url("redis://127.0.0.1").is_ok() && redis_url("unix:/run/redis.sock").is_ok());
        for text in ["127.0.0.1:6379", "redis://", "redis://u:p@", "http://x", "redis-sentinel://x"] {
            assert!(redis_url(text).is_err(), "{text:?}");
        }
        let url = redis_url("redis-sentinel://u:secret@h/m?sentinel_password=secret").unwrap();
        assert_eq!(format!("{url} {url:?}"), ["redis-sentinel://h:26379/m?db=0"; 2].join(" "));
        assert!(url.with_credentials().contains("secret"));
    }
}
