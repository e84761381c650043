//! TLS of clients (1.2 and 1.3): the handshake, its bounds and counts. The certificate and its changes are
//! [`certificate`]'s; [`tickets`] are those that other nodes take, too; [`tapped`] is how a session leaves rustls.

pub mod certificate;
pub mod tapped;
pub mod tickets;

use super::Context;
use super::acceptor::RequestPermit;
use super::metrics::{Dropped, Handshake};
use crate::config::values::TlsRecords;
use crate::records::KeptSecrets;
use certificate::{Certificate, CertificateError, Files};
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::ServerSessionMemoryCache;
use rustls::{HandshakeKind, ServerConfig};
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tapped::Tapped;
use tickets::TicketKeys;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// For a whole handshake, once its first message is there; and for the first byte of a request after it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Clients that are waited for at once, in a handshake or right after it. Each takes some 8 KB, of which rustls' buffer
/// is the half; and with a round trip of 200 ms this many make 5,000 handshakes a second.
const HANDSHAKES: usize = 1024;
/// Whoever takes longer goes on only while there is a place left for others.
const GRACE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(250);
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
    config: Arc<ServerConfig>,
    /// Who makes the records of subscribers.
    records: TlsRecords,
    pub certificate: Arc<Certificate>,
    /// `None`: keys of this process alone.
    pub tickets: Option<Arc<TicketKeys>>,
    places: Semaphore,
}

/// A connection whose handshake is done and whose request has begun to come.
pub type Secure = Box<TlsStream<Tapped>>;

impl Tls {
    /// Reads the certificate and its key.
    pub fn new(
        cert: &Path,
        key: &Path,
        tickets: Option<TicketKeys>,
        records: TlsRecords,
    ) -> Result<Tls, CertificateError> {
        let tickets = tickets.map(Arc::new);
        let certificate = Arc::new(Certificate::new(Files { cert: cert.into(), key: key.into() })?);
        let provider = Arc::new(default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| CertificateError::unusable(cert, error))?
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = [H2].iter().chain(&HTTP_1).map(|name| name.to_vec()).collect();
        // Tickets cost the node no memory; the keys of a process change every six hours.
        config.ticketer = match &tickets {
            Some(tickets) => tickets.clone(),
            None => Ticketer::new().map_err(|error| CertificateError::unusable(cert, error))?,
        };
        config.session_storage = ServerSessionMemoryCache::new(CACHED_SESSIONS);
        config.send_tls13_tickets = TICKETS;
        config.enable_secret_extraction = records == TlsRecords::Courier;
        let places = Semaphore::new(HANDSHAKES);
        Ok(Tls { config: Arc::new(config), records, certificate, tickets, places })
    }

    /// Shakes hands and waits for the first byte behind that, or counts why not. The client's messages are answered
    /// under the permit; it is waited for without one.
    pub async fn accept(
        &self,
        socket: TcpStream,
        peer: IpAddr,
        permit: RequestPermit,
        context: &Context,
    ) -> Option<Secure> {
        let _place = self.places.acquire().await.ok()?;
        let mut permit = Some(permit);
        let mut shaking = Box::pin(self.shake(socket));
        let shaken = poll_fn(|cx| {
            let polled = shaking.as_mut().poll(cx);
            permit.take();
            polled
        });
        let (outcome, stream) = match self.in_time(shaken).await {
            Some(Ok(Some(stream))) => match stream.get_ref().1.handshake_kind() {
                Some(HandshakeKind::Resumed) => (Handshake::Resumed, Some(stream)),
                _ => (Handshake::Full, Some(stream)),
            },
            Some(Ok(None)) => (Handshake::Plain, None),
            Some(Err(error)) => {
                if let Some(suppressed) = context.log_throttle.turn("tls") {
                    tracing::info!(%peer, %error, suppressed, "TLS handshake failed");
                }
                (Handshake::Failed, None)
            }
            None => {
                context.dropped(Dropped::SlowHandshake, peer);
                (Handshake::Slow, None)
            }
        };
        drop(shaking);
        context.metrics.tls_handshakes.inc(outcome);
        self.spoken(stream?, peer, context).await
    }

    /// Nothing comes of who speaks plain HTTP.
    async fn shake(&self, socket: TcpStream) -> io::Result<Option<Secure>> {
        let mut first = [0];
        if matches!(socket.peek(&mut first).await, Ok(1)) && first[0] != HANDSHAKE_RECORD {
            refuse_plain(socket).await;
            return Ok(None);
        }
        let (acceptor, secrets) = self.acceptor();
        let socket = Tapped::new(socket, secrets);
        let accepting = acceptor.accept_with(socket, |session| session.set_buffer_limit(Some(SESSION_BYTES)));
        Ok(Some(Box::new(accepting.await?)))
    }

    /// What accepts one connection, and where its secrets will be, where a courier is to go on with them.
    fn acceptor(&self) -> (TlsAcceptor, Option<Arc<KeptSecrets>>) {
        match self.records {
            TlsRecords::Rustls => (TlsAcceptor::from(self.config.clone()), None),
            TlsRecords::Courier => {
                let secrets = Arc::<KeptSecrets>::default();
                let mut config = ServerConfig::clone(&self.config);
                config.key_log = secrets.clone();
                (TlsAcceptor::from(Arc::new(config)), Some(secrets))
            }
        }
    }

    /// Waits for the first byte of a request: before it, nothing of HTTP need be there.
    async fn spoken(&self, mut stream: Secure, peer: IpAddr, context: &Context) -> Option<Secure> {
        if self.in_time(readable(&mut stream)).await.is_none() {
            context.dropped(Dropped::SlowHead, peer);
            return None;
        }
        Some(stream)
    }

    /// Waits for a client; `None` where it takes too long, or longer than others can wait for its place.
    async fn in_time<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        let mut patience = GRACE;
        loop {
            match timeout(patience, work.as_mut()).await {
                Ok(done) => return Some(done),
                Err(_) if Instant::now() >= deadline || self.places.available_permits() == 0 => return None,
                Err(_) => patience = LOOK_EVERY,
            }
        }
    }
}

/// Waits until something can be read, of the session or of its socket.
pub async fn readable(stream: &mut TlsStream<Tapped>) {
    let (socket, session) = stream.get_mut();
    // It may have come with the client's last message.
    let has_come = session.process_new_packets().map_or(true, |state| state.plaintext_bytes_to_read() > 0);
    if !has_come {
        socket.readable().await;
    }
}

/// Says to who speaks plain HTTP that this is the wrong port for it.
async fn refuse_plain(mut socket: TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 34\r\n\
                            connection: close\r\n\r\nThis port speaks HTTPS, not HTTP.\n";
    let _ = timeout(HANDSHAKE_TIMEOUT, socket.write_all(ANSWER)).await;
}
