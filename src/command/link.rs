//! How a command reaches a node: the client that speaks `http://` and `https://`, and whom it trusts.

use crate::config::ValueError;
use crate::https;
use crate::trust::TrustError;
use clap::Args;
use hyper::body::Body;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::ServerName;
use std::path::PathBuf;
use std::time::Duration;

/// A client of nodes, for requests with a body `B`.
pub(super) type NodeClient<B> = Client<HttpsConnector<HttpConnector>, B>;

/// Time for a connection, its handshake not included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom to trust with `https://`.
#[derive(Args, Clone, Debug)]
pub(super) struct Link {
    /// PEM file of the authorities to trust with https:// instead of the system's.
    #[arg(long, env = "FANTAIL_CA", value_name = "PATH")]
    ca: Option<PathBuf>,
    /// The name in the node's certificate, if it differs from the URL's.
    #[arg(long, env = "FANTAIL_SERVER_NAME", value_name = "NAME", value_parser = server_name)]
    server_name: Option<ServerName<'static>>,
}

/// Why nobody can be trusted; names the flag and the file.
#[derive(Debug, thiserror::Error)]
#[error("--ca {0}")]
pub(super) struct LinkError(#[from] TrustError);

fn server_name(text: &str) -> Result<ServerName<'static>, ValueError> {
    ServerName::try_from(text.to_owned()).map_err(|_| ValueError::new("neither a host's name nor an address"))
}

impl Link {
    /// A link to nodes whose certificate has the name of their URL.
    pub(super) fn elsewhere(&self) -> Link {
        Link { server_name: None, ..self.clone() }
    }

    /// A client that keeps no connection of its own accord.
    pub(super) fn client<B>(&self) -> Result<NodeClient<B>, LinkError>
    where
        B: Body + Send,
        B::Data: Send,
    {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = https::connector(http, self.ca.as_deref(), self.server_name.clone())?;
        Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
    }
}
