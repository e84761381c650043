//! Whom this process trusts when it speaks TLS to a server: the authorities of a file, or those of the system.
//!
//! What is said over TLS is others' business. A server's certificate is always verified; there is no switch for that.

use rustls::client::WantsClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Why authorities cannot be trusted; names the file.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("{path}: {why}", path = path.display())]
    Unreadable { path: PathBuf, why: pem::Error },
    #[error("{path}: there is no certificate in it", path = path.display())]
    Empty { path: PathBuf },
    #[error("{path}: {why}", path = path.display())]
    Unusable { path: PathBuf, why: rustls::Error },
    #[error("this system trusts no certificates: name an authority")]
    Nobody,
}

/// What a server's certificate that is an authority's own is told as. `openssl req -x509` makes such certificates unless it
/// is told `CA:FALSE`.
pub const AUTHORITY_AS_SERVER: &str = "the server's certificate is that of an authority, which servers may not show: let \
                                       the authority sign one for the server, or make it anew with basicConstraints=CA:FALSE";

/// An error of TLS, in words of its own where TLS's say nothing to a person.
pub fn in_words(error: String) -> String {
    match error.contains("CaUsedAsEndEntity") {
        true => AUTHORITY_AS_SERVER.into(),
        false => error,
    }
}

/// The authorities of the PEM file `ca` alone, or those of the system, which may have none: then every server is refused.
pub fn authorities(ca: Option<&Path>) -> Result<RootCertStore, TrustError> {
    match ca {
        Some(file) => with_those_of(RootCertStore::empty(), file),
        None => Ok(system().clone()),
    }
}

/// The authorities of `ca` alone, or those of the system, of which there must be some: for what is only spoken by TLS.
pub fn some_authorities(ca: Option<&Path>) -> Result<RootCertStore, TrustError> {
    authorities(ca).and_then(|store| if store.is_empty() { Err(TrustError::Nobody) } else { Ok(store) })
}

/// The authorities of the system, and those of the PEM file `more`.
pub fn authorities_and(more: Option<&Path>) -> Result<RootCertStore, TrustError> {
    more.map_or_else(|| Ok(system().clone()), |file| with_those_of(system().clone(), file))
}

/// The certificates of a PEM file, of which there is one at least.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let bad = |why| TrustError::Unreadable { path: file.to_owned(), why };
    let list = CertificateDer::pem_file_iter(file).map_err(bad)?.collect::<Result<Vec<_>, _>>().map_err(bad)?;
    if list.is_empty() { Err(TrustError::Empty { path: file.to_owned() }) } else { Ok(list) }
}

/// A client that verifies servers by these authorities; whether it shows a certificate itself is for the caller.
pub fn client(authorities: RootCertStore) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for TLS 1.2 and 1.3")
        .with_root_certificates(authorities)
}

fn with_those_of(mut store: RootCertStore, file: &Path) -> Result<RootCertStore, TrustError> {
    for certificate in certificates(file)? {
        store.add(certificate).map_err(|why| TrustError::Unusable { path: file.to_owned(), why })?;
    }
    Ok(store)
}

/// The system's authorities. Read once, for that takes tens of milliseconds.
fn system() -> &'static RootCertStore {
    static SYSTEM: OnceLock<RootCertStore> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        store
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        for file in ["/nonexistent/ca.pem", "/dev/null"] {
            for error in
                [authorities(Some(file.as_ref())).unwrap_err(), authorities_and(Some(file.as_ref())).unwrap_err()]
            {
                assert!(error.to_string().starts_with(file), "{error}");
            }
        }
    }
}
