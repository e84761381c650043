//! A socket under TLS whose client is rustls' own, over a connection with small buffers.

use super::*;
use crate::records::KeptSecrets;
use prometheus::IntGauge;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use socket2::{Domain, Socket, Type};
use std::net::{TcpListener, TcpStream as Client};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
const SMALL: usize = 4 << 10;

/// A client's socket and session, and the courier's end.
struct Pair {
    client: Client,
    session: ClientConnection,
    tls: TlsSocket,
    ledger: Arc<Ledger>,
    gauge: IntGauge,
}

fn configs() -> (ServerConfig, ClientConfig) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["node".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(signing_key.serialize_pem().as_bytes()).expect("a key");
    let provider = Arc::new(default_provider());
    let versions = [&rustls::version::TLS13];
    let server = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions);
    let server = server.expect("suites").with_no_client_auth().with_single_cert(vec![cert.der().clone()], key);
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a certificate");
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions).expect("suites");
    (server.expect("a key that fits"), client.with_root_certificates(roots).with_no_client_auth())
}

fn sockets() -> (Client, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    client.set_recv_buffer_size(SMALL).expect("an option");
    client.connect(&listener.local_addr().expect("bound").into()).expect("a listener");
    let client = Client::from(client);
    client.set_read_timeout(Some(PATIENCE)).expect("an option");
    client.set_nodelay(true).expect("an option");
    let (server, _) = listener.accept().expect("a client");
    socket2::SockRef::from(&server).set_send_buffer_size(SMALL).expect("an option");
    (client, server)
}

fn pair() -> Pair {
    let (mut server_config, client_config) = configs();
    let secrets = Arc::<KeptSecrets>::default();
    (server_config.key_log, server_config.enable_secret_extraction) = (secrets.clone(), true);
    let (mut client, mut server) = sockets();
    let name = ServerName::try_from("node").expect("a name");
    let mut session = ClientConnection::new(Arc::new(client_config), name).expect("a session");
    let mut accepted = ServerConnection::new(Arc::new(server_config)).expect("a session");
    let accepted = std::thread::scope(|scope| {
        let shaking = scope.spawn(|| {
            while accepted.is_handshaking() || accepted.wants_write() {
                accepted.complete_io(&mut server).expect("a handshake");
            }
            accepted
        });
        while session.is_handshaking() {
            session.complete_io(&mut client).expect("a handshake");
        }
        shaking.join().expect("no panic")
    });
    server.set_nonblocking(true).expect("an option");
    let extracted = accepted.dangerous_extract_secrets().expect("secrets");
    let records = Session::adopt(secrets.take(), extracted).expect("they belong together");
    let mut tls = TlsSocket::new(TcpStream::from_std(server), records);
    let gauge = IntGauge::new("g", "g").expect("a name");
    let ledger = Ledger::new(1 << 20, gauge.clone());
    tls.count_in(&ledger);
    Pair { client, session, tls, ledger, gauge }
}

impl Pair {
    /// What the client reads until it has so many bytes.
    fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        rustls::Stream::new(&mut self.session, &mut self.client).read_exact(&mut read).expect("bytes");
        read
    }

    fn send(&mut self) {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.client).expect("room");
        }
    }

    /// Listens until the client's bytes have come, which `until` sees.
    fn hear_until(&mut self, until: impl Fn(&TlsSocket) -> bool) {
        let begun = std::time::Instant::now();
        while !until(&self.tls) {
            assert!(begun.elapsed() < PATIENCE, "it has not come");
            assert!(self.tls.hear(), "the session goes on");
            std::thread::yield_now();
        }
    }

    /// Whether the courier has seen the end.
    fn ends(&mut self) -> bool {
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            if !self.tls.hear() {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }
}

#[test]
fn every_byte_arrives_once_however_full_the_socket_is() {
    let mut pair = pair();
    let content: Vec<u8> = (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut sent, mut read, mut torn) = (0, Vec::new(), 0);
    while read.len() < content.len() {
        // Writes of all sizes, up to several records.
        let end = content.len().min(sent + 1 + sent * 7 % 40_000);
        while sent < end {
            match pair.tls.write(&content[sent..end]) {
                Ok(n) => sent += n,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        let left = pair.gauge.get() as usize;
        assert!(left <= MOST_RECORD, "{left} bytes are no more than one record");
        assert_eq!(left > 0, pair.tls.has_leftover());
        torn += usize::from(left > 0);
        let due = (sent - read.len()).min(1 + read.len() % 9_000);
        let mut got = vec![0; due];
        pair.client.set_nonblocking(true).expect("an option");
        match rustls::Stream::new(&mut pair.session, &mut pair.client).read(&mut got) {
            Ok(n) => read.extend_from_slice(&got[..n]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        pair.tls.push().expect("a socket");
    }
    assert!(torn > 5, "the socket was full {torn} times");
    assert!(read == content, "byte by byte");
    assert!(!pair.ledger.is_over() && pair.gauge.get() == 0);
}

#[test]
fn a_client_that_wants_other_keys_gets_them_with_the_next_event() {
    let mut pair = pair();
    for round in 0..3 {
        pair.session.refresh_traffic_keys().expect("TLS 1.3");
        pair.send();
        pair.hear_until(|tls| tls.heard > 0);
        assert_eq!(pair.tls.write(b"event").expect("room"), 5);
        assert_eq!(pair.read(5), b"event", "{round}");
    }
}

#[test]
fn an_end_is_told_or_not() {
    let mut told = pair();
    told.tls.write(b"last").expect("room");
    told.tls.notify();
    assert_eq!(told.read(4), b"last");
    drop(told.tls);
    let end = rustls::Stream::new(&mut told.session, &mut told.client).read(&mut [0; 8]);
    assert_eq!(end.expect("a close_notify"), 0);

    let mut torn = pair();
    torn.tls.write(b"last").expect("room");
    assert_eq!(torn.read(4), b"last");
    drop(torn.tls);
    let end = rustls::Stream::new(&mut torn.session, &mut torn.client).read(&mut [0; 8]);
    assert_eq!(end.expect_err("no close_notify").kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_client_that_closes_or_breaks_the_rules_is_gone() {
    let mut closed = pair();
    closed.session.send_close_notify();
    closed.send();
    assert!(closed.ends());

    let mut broken = pair();
    broken.client.write_all(&[23, 3, 3, 0, 32]).expect("room");
    broken.client.write_all(&[7; 32]).expect("room");
    assert!(broken.ends());
    let alert = rustls::Stream::new(&mut broken.session, &mut broken.client).read(&mut [0; 8]);
    let error = alert.expect_err("an alert").to_string();
    assert!(error.contains("BadRecordMac"), "{error}");
}

#[test]
fn what_nobody_asked_for_is_dropped_up_to_a_bound_and_then_left_where_it_is() {
    let mut pair = pair();
    let request = [b'x'; 1000];
    for _ in 0..3 {
        pair.session.writer().write_all(&request).expect("room");
        pair.send();
    }
    pair.hear_until(|tls| tls.dropped == 3000);
    // Many little ones, more than are opened between two writes.
    for _ in 0..2 * MOST_HEARD {
        pair.session.writer().write_all(b"x").expect("room");
        pair.send();
    }
    pair.hear_until(|tls| tls.heard == MOST_HEARD);
    let dropped = pair.tls.dropped;
    assert!(pair.tls.hear());
    assert_eq!(pair.tls.dropped, dropped, "nothing more is opened");
    assert_eq!(pair.tls.write(b"event").expect("room"), 5);
    assert_eq!(pair.read(5), b"event");
    pair.hear_until(|tls| tls.dropped > dropped);
}
