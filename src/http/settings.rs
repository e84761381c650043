//! Settings of the HTTP side: how clients reach a node (TLS, HTTP/2, proxies in front), and what they are served by.

use crate::config::values::{
    Compress, Contradiction, HeartbeatRange, Http2, RetryRange, TlsRecords, WhenFull, node_url, number, truth,
};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// What clients are served by; what each value means is said where its flag is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections accepted per second; 0: no limit.
    pub accept_rate: u32,
    /// Connections from trusted proxies begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Who keeps connections of HTTP/2 that come in the clear.
    pub http2: Http2,
    /// Streams at once on one HTTP/2 connection.
    pub http2_streams: u32,
    /// Channels of one subscription, and of one that comes with a body.
    pub max_channels: usize,
    pub max_channels_per_query: usize,
    pub when_full: WhenFull,
    pub compress: Compress,
    pub retry: RetryRange,
    /// Longest time in which a subscriber is sent nothing, unless it asks for another one within the range.
    pub heartbeat: Duration,
    pub heartbeat_range: HeartbeatRange,
    /// Age at which a subscriber is ended; zero: never.
    pub max_age: Duration,
    pub stall_timeout: Duration,
    /// The cookie that a token becomes at `/session`; `None`: there is no such path.
    pub session: Option<SessionCookie>,
}

/// The cookie that may carry a token.
#[derive(Clone, Debug)]
pub struct SessionCookie {
    pub name: String,
    /// Whether browsers come by TLS, whatever a request says of it.
    pub secure: bool,
}

/// How clients reach a node.
#[derive(Args, Clone, Debug)]
pub struct Transport {
    /// Where clients reach the cluster: http:// or https:// and a host. The console shows it, because it
    /// cannot know of proxies in front.
    #[arg(long, env = "FANTAIL_PUBLIC_URL", value_name = "URL", value_parser = node_url)]
    pub public_url: Option<String>,
    /// File with the certificate and its chain, PEM. All of --listen then speaks TLS. Reread when it changes.
    #[arg(long, env = "FANTAIL_TLS_CERT", value_name = "PATH")]
    pub tls_cert: Option<PathBuf>,
    /// File with the certificate's private key, PEM. Reread when it changes.
    #[arg(long, env = "FANTAIL_TLS_KEY", value_name = "PATH")]
    pub tls_key: Option<PathBuf>,
    /// File with keys of TLS tickets, base64 of 32 bytes per line, at most four. The first key makes tickets, all take them.
    /// Reread when it changes.
    #[arg(long, env = "FANTAIL_TLS_TICKET_KEYS", value_name = "PATH")]
    pub tls_ticket_keys: Option<PathBuf>,
    /// Who makes the TLS 1.3 records of subscribers: the delivery threads, or the TLS library (rustls), which takes 8 KiB more
    /// for each subscriber. rustls is for one release, as a way back.
    #[arg(long, env = "FANTAIL_TLS_RECORDS", default_value = "courier", value_enum, ignore_case = true)]
    pub tls_records: TlsRecords,
    /// Who keeps HTTP/2 connections: the delivery threads, or hyper, which has a task and a pipe for each stream. The value
    /// hyper is for one release, as a way back. hyper always keeps those of TLS 1.2, and with --tls-records rustls all under TLS.
    #[arg(long, env = "FANTAIL_HTTP2", default_value = "courier", value_enum, ignore_case = true)]
    pub http2: Http2,
    /// Concurrent streams of one HTTP/2 connection, 1 to 10000.
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

    /// The cookie of this name, as browsers that come this way are given it.
    pub fn session(&self, name: &str) -> SessionCookie {
        let public = self.public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
        // Browsers take such a name with `Secure` alone (draft-ietf-httpbis-rfc6265bis, section 4.1.3).
        let prefix = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        let secure = self.tls().is_some() || public || prefix("__Host-") || prefix("__Secure-");
        SessionCookie { name: name.to_owned(), secure }
    }

    /// Checks what concerns several settings.
    pub(crate) fn verify(&self) -> Result<(), Contradiction> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => Err(Contradiction("--tls-cert: it needs --tls-key".into())),
            (None, Some(_)) => Err(Contradiction("--tls-key: it needs --tls-cert".into())),
            (None, None) if self.tls_ticket_keys.is_some() => {
                Err(Contradiction("--tls-ticket-keys: it needs --tls-cert".into()))
            }
            _ => Ok(()),
        }
    }
}
