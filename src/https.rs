//! TLS of what goes out by HTTP: to key servers, to the application that is asked, and to nodes by the command line.

use crate::trust::{self, TrustError};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::ServerName;
use std::path::Path;

/// Connects by `http`, and by TLS where the URL says `https://`, with HTTP/1.1 in either.
///
/// `ca` is a PEM file of the authorities that are trusted, instead of the system's; `name` is the one in the certificate
/// where it is not the URL's. `Err` names the file.
pub fn connector(
    mut http: HttpConnector,
    ca: Option<&Path>,
    name: Option<ServerName<'static>>,
) -> Result<HttpsConnector<HttpConnector>, TrustError> {
    // Without authorities every https:// is refused, and says so.
    let config = trust::client(trust::authorities(ca)?).with_no_client_auth();
    http.enforce_http(false);
    let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    Ok(match name {
        Some(name) => {
            builder.with_server_name_resolver(FixedServerNameResolver::new(name)).enable_http1().wrap_connector(http)
        }
        None => builder.enable_http1().wrap_connector(http),
    })
}
