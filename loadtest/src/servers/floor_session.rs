//! Sessions of rustls' on the floor's sockets: what TLS costs where one loop does nothing else.

use anyhow::Result;
use mio::net::TcpStream;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, ErrorKind, Read as _};
use std::sync::Arc;

/// What sessions are begun with: a certificate like that of the nodes that are measured.
pub struct Sessions(Arc<ServerConfig>);

impl Sessions {
    pub fn new() -> Result<Sessions> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let cert = CertificateDer::from_pem_slice(made.cert.pem().as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes())?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut config = config.with_single_cert(vec![cert], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        Ok(Sessions(Arc::new(config)))
    }

    pub fn begin(&self) -> Result<Box<ServerConnection>> {
        Ok(Box::new(ServerConnection::new(self.0.clone())?))
    }
}

/// Writes what a session has to send; whether all of it is out.
pub fn flush(session: &mut ServerConnection, stream: &mut TcpStream) -> io::Result<bool> {
    while session.wants_write() {
        match session.write_tls(stream) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// What a client says, its handshake answered before.
pub fn read(session: &mut ServerConnection, stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match session.reader().read(into) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            answer => return answer,
        }
        if session.read_tls(stream)? == 0 {
            return Ok(0);
        }
        session.process_new_packets().map_err(io::Error::other)?;
        flush(session, stream)?;
    }
}
