//! TLS of what goes out by HTTP: to key servers, to the application that is asked, and to nodes by the command line.
//!
//! Whom to trust is decided here, what is said is not. The certificate is always verified; there is no switch for that.

use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// Connects by `http`, and by TLS where the URL says `https://`, with HTTP/1.1 in either.
///
/// `ca` is a PEM file of the authorities that are trusted, instead of the system's; `name` is the one in the certificate
/// where it is not the URL's. `Err` names the file.
pub fn connector(
    mut http: HttpConnector,
    ca: Option<&Path>,
    name: Option<ServerName<'static>>,
) -> Result<HttpsConnector<HttpConnector>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    http.enforce_http(false);
    let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    Ok(match name {
        Some(name) => {
            builder.with_server_name_resolver(FixedServerNameResolver::new(name)).enable_http1().wrap_connector(http)
        }
        None => builder.enable_http1().wrap_connector(http),
    })
}

/// What an error of TLS is told as, where its own words say nothing to a person. `openssl req -x509` makes certificates
/// that are their own authority unless it is told `CA:FALSE`.
pub fn in_words(error: String) -> String {
    match error.contains("CaUsedAsEndEntity") {
        true => AUTHORITY_AS_SERVER.into(),
        false => error,
    }
}

/// See [`in_words`].
pub const AUTHORITY_AS_SERVER: &str = "the server's certificate is that of an authority, which servers may not show: let \
                                       the authority sign one for the server, or make it anew with basicConstraints=CA:FALSE";

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let Some(file) = ca else {
        // None there may be: then every https:// is refused, and says so.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(store);
    };
    let bad = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| bad(&e))? {
        store.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
    }
    match store.is_empty() {
        true => Err(bad(&"there is no certificate in it")),
        false => Ok(store),
    }
}
