//! A client's end of a connection below HTTP: a bare socket, or one under TLS.

use super::authority::Authority;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CipherSuite, ClientConfig, ClientConnection, ProtocolVersion, RootCertStore};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// See the module.
pub struct Raw {
    pub socket: TcpStream,
    pub session: Option<Box<ClientConnection>>,
}

/// What a client of an authority's servers trusts and speaks. Shared by connections, it resumes sessions.
pub fn trusting(authority: &Authority, protocols: &[&str], versions: &[ProtocolVersion]) -> Arc<ClientConfig> {
    trusting_with(authority, protocols, versions, &[])
}

/// The same with these cipher suites alone; with all where none is named.
pub fn trusting_with(
    authority: &Authority,
    protocols: &[&str],
    versions: &[ProtocolVersion],
    suites: &[CipherSuite],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.folder.join("ca.pem")).unwrap()).unwrap();
    let versions: Vec<_> = rustls::ALL_VERSIONS.iter().copied().filter(|v| versions.contains(&v.version)).collect();
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|offered| suites.is_empty() || suites.contains(&offered.suite()));
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(16);
    Arc::new(config)
}

impl Raw {
    pub fn plain(socket: TcpStream) -> Raw {
        Raw { socket, session: None }
    }

    /// Shakes hands.
    pub fn secure(socket: TcpStream, config: Arc<ClientConfig>) -> io::Result<Raw> {
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let mut session = ClientConnection::new(config, name).expect("a good configuration");
        let mut socket = socket;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Raw { socket, session: Some(Box::new(session)) })
    }
}

impl Read for Raw {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.read(bytes),
            Some(session) => rustls::Stream::new(session.as_mut(), &mut self.socket).read(bytes),
        }
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.write(bytes),
            Some(session) => rustls::Stream::new(session.as_mut(), &mut self.socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.session {
            None => Ok(()),
            Some(session) => rustls::Stream::new(session.as_mut(), &mut self.socket).flush(),
        }
    }
}
