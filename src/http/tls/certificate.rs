//! The certificate that a node shows: read from files, and read again when they change. Connections that there are
//! keep what they have; a change that does not work leaves the old one in place.

use crate::clock::Clock;
use crate::metrics::Metrics;
use parking_lot::RwLock;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How often the files are looked at. Contents are compared, so a link that is switched is seen, too.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Larger files are no certificates.
const MOST_FILE_BYTES: u64 = 1 << 20;

/// Where certificate and key are.
#[derive(Clone, Debug)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Why files are no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("{path}: {why}", path = path.display())]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error("{path}: {why}", path = path.display())]
    Unusable { path: PathBuf, why: String },
    #[error("{cert} and {key} do not belong together", cert = cert.display(), key = key.display())]
    Mismatch { cert: PathBuf, key: PathBuf },
}

impl CertificateError {
    pub fn unusable(path: &Path, why: impl std::fmt::Display) -> CertificateError {
        CertificateError::Unusable { path: path.to_owned(), why: why.to_string() }
    }
}

/// A certificate with its key and what is to be told of it.
#[derive(Debug)]
pub struct Loaded {
    key: Arc<CertifiedKey>,
    /// Unix time in seconds.
    pub not_after: i64,
    /// As the certificate writes it.
    pub subject: String,
    contents: Contents,
}

/// Bytes of both files.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// What [`rustls`] asks at each handshake.
#[derive(Debug)]
pub struct Certificate {
    files: Files,
    current: RwLock<Arc<Loaded>>,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().key.clone())
    }
}

impl Files {
    /// Reads and checks both.
    pub fn load(&self) -> Result<Loaded, CertificateError> {
        self.read().and_then(|contents| self.parse(contents))
    }

    fn read(&self) -> Result<Contents, CertificateError> {
        Ok(Contents { cert: read(&self.cert)?, key: read(&self.key)? })
    }

    fn parse(&self, contents: Contents) -> Result<Loaded, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&contents.cert)
            .collect::<Result<_, _>>()
            .map_err(|error| CertificateError::unusable(&self.cert, error))?;
        let first = chain.first().ok_or_else(|| CertificateError::unusable(&self.cert, "no PEM certificate in it"))?;
        let (_, parsed) =
            X509Certificate::from_der(first).map_err(|error| CertificateError::unusable(&self.cert, error))?;
        let (not_after, subject) = (parsed.validity().not_after.timestamp(), parsed.subject().to_string());
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|_| CertificateError::unusable(&self.key, "no PEM private key in it"))?;
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                CertificateError::Mismatch { cert: self.cert.clone(), key: self.key.clone() }
            }
            error => CertificateError::unusable(&self.key, error),
        })?;
        Ok(Loaded { key: Arc::new(key), not_after, subject, contents })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |why| CertificateError::Unreadable { path: path.to_owned(), why };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MOST_FILE_BYTES {
        return Err(CertificateError::unusable(path, format!("more than {MOST_FILE_BYTES} bytes")));
    }
    std::fs::read(path).map_err(unreadable)
}

impl Certificate {
    pub fn new(files: Files) -> Result<Certificate, CertificateError> {
        let loaded = files.load()?;
        Ok(Certificate { files, current: RwLock::new(Arc::new(loaded)) })
    }

    /// Unix time in seconds at which the certificate ends.
    pub fn not_after(&self) -> i64 {
        self.current.read().not_after
    }

    /// Looks at the files for as long as the node runs.
    pub async fn follow(self: Arc<Certificate>, metrics: Arc<Metrics>, clock: Clock) {
        metrics.tls_certificate_expires.set(self.not_after());
        if self.not_after() < clock.since_epoch().as_secs() as i64 {
            warn!(cert = %self.files.cert.display(), "the certificate has expired");
        }
        // A change that did not work is told once, not at each look.
        let mut told = None;
        let mut every = tokio::time::interval(LOOK_EVERY);
        loop {
            every.tick().await;
            let certificate = self.clone();
            // A file system may hang; the threads of clients must not.
            let Ok(looked) = tokio::task::spawn_blocking(move || certificate.look()).await else { return };
            match looked {
                Ok(None) => told = None,
                Ok(Some(loaded)) => {
                    told = None;
                    metrics.tls_certificate_expires.set(loaded.not_after);
                    metrics.tls_reloads.with_label_values(&["ok"]).inc();
                    info!(subject = loaded.subject, not_after = loaded.not_after, "another certificate is shown");
                    *self.current.write() = Arc::new(loaded);
                }
                Err(error) => {
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) {
                        metrics.tls_reloads.with_label_values(&["failed"]).inc();
                        warn!(error, "the certificate's files changed and cannot be used: the old one stays");
                        told = Some(error);
                    }
                }
            }
        }
    }

    /// What the files hold, where that is another certificate.
    fn look(&self) -> Result<Option<Loaded>, CertificateError> {
        let contents = self.files.read()?;
        if contents == self.current.read().contents {
            return Ok(None);
        }
        self.files.parse(contents).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("fantail-certificate-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }

        fn files(&self) -> Files {
            Files { cert: self.0.join("cert.pem"), key: self.0.join("key.pem") }
        }

        fn write(&self, cert: &str, key: &str) {
            std::fs::write(self.0.join("cert.pem"), cert).unwrap();
            std::fs::write(self.0.join("key.pem"), key).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn made(name: &str) -> (String, String) {
        let Made { cert, signing_key } = generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = Folder::new("wrong");
        let (a, b) = (made("a.example"), made("b.example"));
        let error = || folder.files().load().unwrap_err().to_string();
        assert!(error().contains("cert.pem: No such file"), "{}", error());
        let cases = [
            ("", a.1.as_str(), "cert.pem: no PEM certificate in it"),
            (&a.0, "", "key.pem: no PEM private key in it"),
            (&a.0, &b.1, "do not belong together"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &a.1, "cert.pem: "),
        ];
        for (cert, key, part) in cases {
            folder.write(cert, key);
            assert!(error().contains(part), "{} has no {part}", error());
        }
    }

    #[test]
    fn another_certificate_is_seen_and_a_half_of_one_is_not_taken() {
        let folder = Folder::new("another");
        let (a, b) = (made("a.example"), made("b.example"));
        folder.write(&a.0, &a.1);
        let certificate = Certificate::new(folder.files()).unwrap();
        assert!(certificate.look().unwrap().is_none());
        folder.write(&b.0, &a.1);
        assert!(matches!(certificate.look(), Err(CertificateError::Mismatch { .. })));
        folder.write(&b.0, &b.1);
        let loaded = certificate.look().unwrap().expect("it changed");
        assert!(loaded.not_after > Clock::default().since_epoch().as_secs() as i64);
    }
}
