//! The certificate that a node shows: read from files, and read again when they change. Connections that there are
//! keep what they have; a change that does not work leaves the old one in place.

use crate::clock::Clock;
use crate::file_watch::{Contents, FileError, FileWatch};
use crate::http::metrics::{HttpMetrics, Reload};
use parking_lot::RwLock;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::{info, warn};
use x509_parser::prelude::{FromDer, X509Certificate};

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
    #[error(transparent)]
    Unreadable(#[from] FileError),
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

/// What [`rustls`] asks at each handshake.
#[derive(Debug)]
pub struct Certificate {
    files: Files,
    watch: FileWatch,
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
        self.parse(self.watch()?.contents())
    }

    fn watch(&self) -> Result<FileWatch, FileError> {
        FileWatch::new(&[self.cert.clone(), self.key.clone()], MOST_FILE_BYTES)
    }

    fn parse(&self, contents: &Contents) -> Result<Loaded, CertificateError> {
        let [cert, key] = &contents[..] else { unreachable!("two files are watched") };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert)
            .collect::<Result<_, _>>()
            .map_err(|error| CertificateError::unusable(&self.cert, error))?;
        let first = chain.first().ok_or_else(|| CertificateError::unusable(&self.cert, "no PEM certificate in it"))?;
        let (_, parsed) =
            X509Certificate::from_der(first).map_err(|error| CertificateError::unusable(&self.cert, error))?;
        let (not_after, subject) = (parsed.validity().not_after.timestamp(), parsed.subject().to_string());
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| CertificateError::unusable(&self.key, "no PEM private key in it"))?;
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                CertificateError::Mismatch { cert: self.cert.clone(), key: self.key.clone() }
            }
            error => CertificateError::unusable(&self.key, error),
        })?;
        Ok(Loaded { key: Arc::new(key), not_after, subject, contents: contents.clone() })
    }
}

impl Certificate {
    pub fn new(files: Files) -> Result<Certificate, CertificateError> {
        let watch = files.watch()?;
        let loaded = files.parse(watch.contents())?;
        Ok(Certificate { files, watch, current: RwLock::new(Arc::new(loaded)) })
    }

    /// Unix time in seconds at which the certificate ends.
    pub fn not_after(&self) -> i64 {
        self.current.read().not_after
    }

    /// Takes over what the files hold, for as long as the node runs.
    pub async fn follow(self: Arc<Certificate>, metrics: Arc<HttpMetrics>, clock: Clock) {
        metrics.tls_certificate_expires.set(self.not_after());
        if self.not_after() < clock.since_epoch().as_secs() as i64 {
            warn!(cert = %self.files.cert.display(), "the certificate has expired");
        }
        let mut watch = self.watch.clone();
        loop {
            let looked = watch.changed().await.map_err(CertificateError::from);
            match looked.and_then(|contents| self.another(&contents)) {
                Ok(None) => {}
                Ok(Some(loaded)) => {
                    metrics.tls_certificate_expires.set(loaded.not_after);
                    metrics.tls_reloads.inc(Reload::Ok);
                    info!(subject = loaded.subject, not_after = loaded.not_after, "another certificate is shown");
                    *self.current.write() = Arc::new(loaded);
                }
                Err(error) => {
                    metrics.tls_reloads.inc(Reload::Failed);
                    warn!(%error, "the certificate's files changed and cannot be used: the old one stays");
                }
            }
        }
    }

    /// What these contents hold, where that is another certificate.
    fn another(&self, contents: &Contents) -> Result<Option<Loaded>, CertificateError> {
        match *contents == self.current.read().contents {
            true => Ok(None),
            false => self.files.parse(contents).map(Some),
        }
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
        let look = || certificate.another(folder.files().watch().unwrap().contents());
        assert!(look().unwrap().is_none());
        folder.write(&b.0, &a.1);
        assert!(matches!(look(), Err(CertificateError::Mismatch { .. })));
        folder.write(&b.0, &b.1);
        let loaded = look().unwrap().expect("it changed");
        assert!(loaded.not_after > Clock::default().since_epoch().as_secs() as i64);
    }
}
