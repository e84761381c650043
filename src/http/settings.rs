//! Settings of how clients reach a node: TLS, HTTP/2, proxies in front.

use crate::config::values::Contradiction;
use crate::config::values::{node_url, number, truth};
use clap::Args;
use std::path::PathBuf;

/// How clients reach a node.
#[derive(Args, Clone, Debug)]
pub struct Transport {
    /// Where clients reach the cluster, http:// or https:// and a host: shown by the console, which cannot know of proxies
    /// in front.
    #[arg(long, env = "FANTAIL_PUBLIC_URL", value_name = "URL", value_parser = node_url)]
    pub public_url: Option<String>,
    /// File with the certificate and its chain, PEM: all of --listen then speaks TLS. Read again when it changes.
    #[arg(long, env = "FANTAIL_TLS_CERT", value_name = "PATH")]
    pub tls_cert: Option<PathBuf>,
    /// File with the certificate's private key, PEM. Read again when it changes.
    #[arg(long, env = "FANTAIL_TLS_KEY", value_name = "PATH")]
    pub tls_key: Option<PathBuf>,
    /// Streams at once on one HTTP/2 connection; 1 to 10000.
    #[arg(long, env = "FANTAIL_HTTP2_STREAMS", default_value = "256", value_name = "N")]
    #[arg(value_parser = number(1..=10_000_u32))]
    pub http2_streams: u32,
    /// Connections from --trusted-proxies begin with a PROXY protocol header (v1 or v2), which names the client.
    #[arg(long, env = "FANTAIL_PROXY_PROTOCOL")]
    #[arg(value_parser = truth)]
    pub proxy_protocol: bool,
}

impl Transport {
    /// Certificate and key, where clients are to speak TLS.
    pub fn tls(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.tls_cert.as_ref().zip(self.tls_key.as_ref())
    }

    /// Checks what concerns several settings.
    pub(crate) fn verify(&self) -> Result<(), Contradiction> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => Err(Contradiction("--tls-cert: it needs --tls-key".into())),
            (None, Some(_)) => Err(Contradiction("--tls-key: it needs --tls-cert".into())),
            _ => Ok(()),
        }
    }
}
