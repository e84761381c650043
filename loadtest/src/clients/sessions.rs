//! TLS sessions of clients: each begins with a whole handshake, or with the ticket of the same client's last one.

use super::way::Way;
use anyhow::Result;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;

/// Tickets that are kept for each client at most, as rustls counts the size of its store.
const TICKETS_EACH: usize = 8;

/// What the sessions of all clients of a worker share, so that it is not among what each of them takes.
pub struct Sessions(Arc<ClientConfig>);

impl Sessions {
    /// With tickets for so many clients; without any for 0.
    pub fn new(way: Way, with_tickets: u32) -> Sessions {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("ring has them");
        let trust = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody));
        let mut config = trust.with_no_client_auth();
        let protocol: &[u8] = if way.is_http2() { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = match with_tickets {
            0 => Resumption::disabled(),
            clients => Resumption::in_memory_sessions(clients as usize * TICKETS_EACH),
        };
        Sessions(Arc::new(config))
    }

    /// A session of a client's, which asks for a name of its own: tickets are kept by name.
    pub fn begin(&self, client: u32) -> Result<ClientConnection> {
        Ok(ClientConnection::new(self.0.clone(), ServerName::try_from(format!("c{client}.localhost"))?)?)
    }
}

/// Whose certificate it is does not matter to what it costs.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &default_provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &default_provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
