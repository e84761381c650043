//! TLS of clients (1.2 and 1.3): the handshake, its bounds and counts. The certificate and its changes are
//! [`certificate`]'s.

pub mod certificate;

use super::Context;
use certificate::{Certificate, CertificateError, Files};
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::ServerSessionMemoryCache;
use rustls::{HandshakeKind, ServerConfig};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// For a whole handshake, once its first byte is there.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Plaintext and ciphertext that a session keeps where a socket takes nothing.
const SESSION_BYTES: usize = 32 << 10;
/// Sessions kept for clients that resume without a ticket, which is rare: TLS 1.2 without RFC 5077.
const CACHED_SESSIONS: usize = 1024;
/// A browser uses a ticket once, so one for each of the connections that it may come back with would do; one is what it
/// needs for the stream.
const TICKETS: usize = 1;
/// The first byte of a handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

pub const H2: &[u8] = b"h2";
/// What HTTP/1 clients offer; the second has no more than the first, but curl insists.
const HTTP_1: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];

/// What a node needs to accept TLS.
pub struct Tls {
    acceptor: TlsAcceptor,
    pub certificate: Arc<Certificate>,
}

impl Tls {
    /// Reads the certificate and its key.
    pub fn new(cert: &Path, key: &Path) -> Result<Tls, CertificateError> {
        let certificate = Arc::new(Certificate::new(Files { cert: cert.into(), key: key.into() })?);
        let provider = Arc::new(default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| CertificateError::unusable(cert, error))?
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = [H2].iter().chain(&HTTP_1).map(|name| name.to_vec()).collect();
        // Tickets cost the node no memory; their keys change every six hours.
        config.ticketer = Ticketer::new().map_err(|error| CertificateError::unusable(cert, error))?;
        config.session_storage = ServerSessionMemoryCache::new(CACHED_SESSIONS);
        config.send_tls13_tickets = TICKETS;
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// Shakes hands, or counts why not.
    pub async fn accept(&self, socket: TcpStream, peer: IpAddr, context: &Context) -> Option<TlsStream<TcpStream>> {
        let mut first = [0];
        if matches!(socket.peek(&mut first).await, Ok(1)) && first[0] != HANDSHAKE_RECORD {
            context.metrics.tls_handshakes.with_label_values(&["plain"]).inc();
            refuse_plain(socket).await;
            return None;
        }
        let shaking = self.acceptor.accept_with(socket, |session| session.set_buffer_limit(Some(SESSION_BYTES)));
        let (outcome, stream) = match timeout(HANDSHAKE_TIMEOUT, shaking).await {
            Ok(Ok(stream)) => match stream.get_ref().1.handshake_kind() {
                Some(HandshakeKind::Resumed) => ("resumed", Some(stream)),
                _ => ("full", Some(stream)),
            },
            Ok(Err(error)) => {
                if let Some(suppressed) = context.seldom.turn("tls") {
                    tracing::info!(%peer, %error, suppressed, "TLS handshake failed");
                }
                ("failed", None)
            }
            Err(_) => {
                context.refused("slow_handshake", peer);
                ("slow", None)
            }
        };
        context.metrics.tls_handshakes.with_label_values(&[outcome]).inc();
        stream
    }
}

/// Outcomes of handshakes: labels of `fantail_tls_handshakes_total`.
pub const OUTCOMES: [&str; 5] = ["full", "resumed", "failed", "slow", "plain"];

/// Says to who speaks plain HTTP that this is the wrong port for it.
async fn refuse_plain(mut socket: TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 34\r\n\
                            connection: close\r\n\r\nThis port speaks HTTPS, not HTTP.\n";
    let _ = timeout(HANDSHAKE_TIMEOUT, socket.write_all(ANSWER)).await;
}
