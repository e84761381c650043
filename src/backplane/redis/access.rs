//! What a server asks for before it answers: credentials, TLS, and how long it is waited for.
//!
//! Files are read at each connect, so that what is rotated is taken up without a restart. Nothing here is ever shown.

use super::credential::{Credential, Unfit};
use crate::trust::{self, TrustError};
use fred::types::config::{TlsConfig, TlsConnector};
use rustls::ClientConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PASSWORD: &str = "FANTAIL_REDIS_PASSWORD";
const SENTINEL_PASSWORD: &str = "FANTAIL_REDIS_SENTINEL_PASSWORD";
/// Variables that no flag has, for they are secret.
pub const VARIABLES: [&str; 2] = [PASSWORD, SENTINEL_PASSWORD];

/// The default of `--redis-timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// User and password, TLS, and the limits of time, for servers and sentinels.
#[derive(Clone)]
pub struct Access {
    /// The user at the servers.
    pub username: Option<Credential>,
    /// The password at the servers, from the URL.
    pub password: Option<Credential>,
    /// The file with the password at the servers.
    pub password_file: Option<PathBuf>,
    /// The user at the sentinels.
    pub sentinel_username: Option<Credential>,
    /// The password at the sentinels, from the URL.
    pub sentinel_password: Option<Credential>,
    /// The file with the password at the sentinels.
    pub sentinel_password_file: Option<PathBuf>,
    /// `None`: plain TCP or a unix socket.
    pub tls: Option<Files>,
    /// The limit of time for a connection, for each command of its set-up, and for the silence of the live connection.
    pub timeout: Duration,
    /// A folder in which each host is a unix socket named `host:port`, for who has no network, as a simulation.
    pub sockets: Option<PathBuf>,
}

/// PEM files of a TLS client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Authorities that are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// The node's own certificate.
    pub cert: Option<PathBuf>,
    /// The key of that certificate.
    pub key: Option<PathBuf>,
}

/// Why a server cannot be asked though its address is good; each names the file or the variable, and no secret.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("{0}: the password has {1} in it, which is not allowed")]
    UnfitVariable(&'static str, Unfit),
    /// The flag and the variable that would bring the password.
    #[error("a user needs a password: in the URL, by {0} or {1}")]
    UserAlone(&'static str, &'static str),
    #[error("{0} {1}: {2}")]
    PasswordFile(&'static str, PathBuf, io::Error),
    #[error("{0} {1}: it is empty")]
    EmptyPasswordFile(&'static str, PathBuf),
    #[error("{0} {1}: the password has {2} in it, which is not allowed")]
    UnfitPasswordFile(&'static str, PathBuf, Unfit),
    #[error("{0}: {1}")]
    BadFile(PathBuf, pem::Error),
    /// The files of the certificate and of its key.
    #[error("{0} and {1}: {2}")]
    BadPair(PathBuf, PathBuf, rustls::Error),
    #[error("this system trusts no certificates: name an authority with ?ca=/path")]
    NoAuthorities,
    #[error(transparent)]
    Trust(TrustError),
}

impl From<TrustError> for AccessError {
    fn from(error: TrustError) -> AccessError {
        match error {
            TrustError::Nobody => AccessError::NoAuthorities,
            error => AccessError::Trust(error),
        }
    }
}

/// User and password, each where there is one.
pub type Credentials = (Option<Credential>, Option<Credential>);

impl Default for Access {
    fn default() -> Access {
        Access {
            username: None,
            password: None,
            password_file: None,
            sentinel_username: None,
            sentinel_password: None,
            sentinel_password_file: None,
            tls: None,
            timeout: DEFAULT_TIMEOUT,
            sockets: None,
        }
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("tls", &self.tls).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Access {
    /// Takes what is not known yet from `more`, and the limits of time in any case.
    pub fn complete(&mut self, more: &Access) {
        let or = |known: &mut Option<Credential>, other: &Option<Credential>| *known = known.take().or(other.clone());
        or(&mut self.username, &more.username);
        or(&mut self.sentinel_username, &more.sentinel_username);
        self.password_file.clone_from(&more.password_file);
        self.sentinel_password_file.clone_from(&more.sentinel_password_file);
        self.timeout = more.timeout;
        self.sockets.clone_from(&more.sockets);
        if let (Some(files), Some(more)) = (&mut self.tls, &more.tls) {
            let or = |known: &mut Option<PathBuf>, other: &Option<PathBuf>| *known = known.take().or(other.clone());
            or(&mut files.ca, &more.ca);
            or(&mut files.cert, &more.cert);
            or(&mut files.key, &more.key);
        }
    }

    /// User and password of a data server: the password from the URL, else the file, else the environment. `Err`: why
    /// there are none, though some are meant.
    pub fn credentials(&self) -> Result<Credentials, AccessError> {
        let flag = "--redis-password-file";
        let password = password(&self.password, &self.password_file, flag, PASSWORD)?;
        together(&self.username, password, flag, PASSWORD)
    }

    /// User and password of a sentinel, which has its own or none.
    pub fn sentinel_credentials(&self) -> Result<Credentials, AccessError> {
        let flag = "--redis-sentinel-password-file";
        let password = password(&self.sentinel_password, &self.sentinel_password_file, flag, SENTINEL_PASSWORD)?;
        together(&self.sentinel_username, password, flag, SENTINEL_PASSWORD)
    }

    /// Whether the servers may want a password.
    pub fn has_credentials(&self) -> bool {
        self.password.is_some() || self.password_file.is_some() || std::env::var_os(PASSWORD).is_some()
    }

    /// Whether the variables with passwords can be used at all; `Err` names the one that cannot, and why.
    pub fn verify_variables() -> Result<(), AccessError> {
        variable(PASSWORD)?;
        variable(SENTINEL_PASSWORD).map(drop)
    }

    /// What fred needs for TLS; `Err` names the file that cannot be used.
    pub fn tls(&self) -> Result<Option<TlsConfig>, AccessError> {
        Ok(self.tls_client()?.map(|config| TlsConnector::from(config).into()))
    }

    /// What a connection needs for TLS that is not fred's; `Err` names the file that cannot be used.
    pub fn tls_client(&self) -> Result<Option<ClientConfig>, AccessError> {
        let Some(files) = &self.tls else { return Ok(None) };
        let builder = trust::client(trust::some_authorities(files.ca.as_deref())?);
        let config = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => {
                let bad = |error| AccessError::BadPair(cert.clone(), key.clone(), error);
                let private = PrivateKeyDer::from_pem_file(key).map_err(|e| AccessError::BadFile(key.clone(), e))?;
                builder.with_client_auth_cert(trust::certificates(cert)?, private).map_err(bad)?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Some(config))
    }
}

/// A password in the environment; an empty one counts as none.
fn variable(name: &'static str) -> Result<Option<Credential>, AccessError> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    match Credential::new(value.into_vec()) {
        Ok(password) => Ok(Some(password)),
        Err(unfit) => Err(AccessError::UnfitVariable(name, unfit)),
    }
}

/// A password from the URL, else the file that the flag names, else the environment.
fn password(
    known: &Option<Credential>,
    file: &Option<PathBuf>,
    flag: &'static str,
    name: &'static str,
) -> Result<Option<Credential>, AccessError> {
    match (known, file) {
        (Some(password), _) => Ok(Some(password.clone())),
        (None, Some(file)) => secret(file, flag).map(Some),
        (None, None) => variable(name),
    }
}

/// User and password, where there is a password for the user.
fn together(
    username: &Option<Credential>,
    password: Option<Credential>,
    flag: &'static str,
    name: &'static str,
) -> Result<Credentials, AccessError> {
    match (username, &password) {
        (Some(_), None) => Err(AccessError::UserAlone(flag, name)),
        _ => Ok((username.clone(), password)),
    }
}

/// A file's bytes, without the line breaks at its end.
fn secret(file: &Path, flag: &'static str) -> Result<Credential, AccessError> {
    let mut bytes = std::fs::read(file).map_err(|error| AccessError::PasswordFile(flag, file.into(), error))?;
    while let Some(b'\r' | b'\n') = bytes.last() {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(AccessError::EmptyPasswordFile(flag, file.into()));
    }
    Credential::new(bytes).map_err(|unfit| AccessError::UnfitPasswordFile(flag, file.into(), unfit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_file_is_read_each_time() {
        let file = std::env::temp_dir().join(format!("fantail-password-{}", std::process::id()));
        let access = Access { password_file: Some(file.clone()), ..Access::default() };
        assert!(access.credentials().unwrap_err().to_string().contains(file.to_str().unwrap()));
        for password in [&b"one"[..], b"two", b" \"'\t\xff"] {
            std::fs::write(&file, [password, b"\r\n"].concat()).unwrap();
            assert_eq!(access.credentials().unwrap().1.unwrap().bytes(), password);
        }
        for (wrong, name) in [("\n", "it is empty"), ("sec\nret", "a line feed (LF)"), ("sec\0ret", "a NUL")] {
            std::fs::write(&file, wrong).unwrap();
            let error = access.credentials().unwrap_err().to_string();
            assert!(error.starts_with("--redis-password-file ") && error.contains(name), "{error}");
            assert!(!error.contains("sec") && !error.contains("ret"), "{error}");
        }
        std::fs::remove_file(&file).unwrap();
        let known = |text: &'static str| Some(Credential::new(text).unwrap());
        let own = Access { password: known("url"), ..access };
        assert_eq!(own.credentials().unwrap().1, known("url"));
        let user = Access { username: known("u"), ..Access::default() };
        assert!(user.credentials().unwrap_err().to_string().starts_with("a user needs a password"));
    }

    #[test]
    fn a_bad_certificate_file_is_named() {
        for files in [
            Files { ca: Some("/nonexistent/ca.pem".into()), ..Files::default() },
            Files { ca: Some("/dev/null".into()), ..Files::default() },
        ] {
            let name = files.ca.clone().unwrap();
            let error = Access { tls: Some(files), ..Access::default() }.tls().unwrap_err().to_string();
            assert!(error.starts_with(name.to_str().unwrap()), "{error}");
        }
    }
}
