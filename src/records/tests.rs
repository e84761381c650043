//! Sessions whose other end is a client of rustls', which knows nothing of this module.

use super::format::{ALERT, APPLICATION_DATA, HANDSHAKE};
use super::kept_secrets::TrafficSecrets;
use super::suite::Suite;
use super::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::InboundOpaqueMessage;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, ContentType, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
    SupportedCipherSuite,
};
use std::io::{Read as _, Write as _};
use std::sync::Arc;

const SUITES: [SupportedCipherSuite; 3] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// A client of rustls', and the server's end of its session as rustls has it.
fn shaken(suite: SupportedCipherSuite) -> (ClientConnection, ServerConnection, Arc<KeptSecrets>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["node".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(signing_key.serialize_pem().as_bytes()).expect("a key");
    let provider = Arc::new(CryptoProvider { cipher_suites: vec![suite], ..default_provider() });
    let versions = [&rustls::version::TLS13];
    let config = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions);
    let config = config.expect("suites").with_no_client_auth();
    let mut config = config.with_single_cert(vec![cert.der().clone()], key).expect("a key that fits");
    let secrets = Arc::<KeptSecrets>::default();
    (config.key_log, config.enable_secret_extraction) = (secrets.clone(), true);
    let mut server = ServerConnection::new(Arc::new(config)).expect("a session");

    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions).expect("suites");
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("node").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a session");
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        let mut sent = Vec::new();
        client.write_tls(&mut sent).expect("a vector");
        server.read_tls(&mut &sent[..]).expect("a slice");
        server.process_new_packets().expect("a handshake");
        take(&mut client, &drained(|into| server.write_tls(into)));
    }
    (client, server, secrets)
}

fn adopted(suite: SupportedCipherSuite) -> (ClientConnection, Session) {
    let (client, server, secrets) = shaken(suite);
    let extracted = server.dangerous_extract_secrets().expect("secrets");
    (client, Session::adopt(secrets.take(), extracted).expect("they belong together"))
}

/// All that one end has to send.
fn drained(mut write: impl FnMut(&mut dyn std::io::Write) -> std::io::Result<usize>) -> Vec<u8> {
    let mut sent = Vec::new();
    while write(&mut sent).expect("a vector") > 0 {}
    sent
}

/// What a client reads of sealed bytes.
fn take(client: &mut ClientConnection, mut sealed: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !sealed.is_empty() {
        client.read_tls(&mut sealed).expect("a slice");
        client.process_new_packets().expect("good records");
        match client.reader().read_to_end(&mut read) {
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            Ok(_) => assert!(sealed.is_empty(), "a close_notify is the last"),
        }
    }
    read
}

/// What a client said, opened record by record.
fn open_all(session: &mut Session, mut sent: Vec<u8>) -> Vec<u8> {
    let (mut read, mut at) = (Vec::new(), 0);
    while at < sent.len() {
        let length = record_length(&sent[at..]).expect("a record").expect("a header");
        match session.open(&mut sent[at..at + length]).expect("a good record") {
            Opened::Data(bytes) => read.extend_from_slice(bytes),
            Opened::Nothing => {}
            Opened::End => assert_eq!(at + length, sent.len(), "an end is the last"),
        }
        at += length;
    }
    read
}

fn said(client: &mut ClientConnection) -> Vec<u8> {
    drained(|into| client.write_tls(into))
}

#[test]
fn a_client_reads_what_was_sealed_and_is_read() {
    for suite in SUITES {
        let (mut client, mut session) = adopted(suite);
        for bytes in [0, 1, 15, 16, 17, 300, RECORD_BYTES - 1, RECORD_BYTES] {
            let content: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
            let mut sealed = Vec::new();
            let (first, second) = content.split_at(bytes / 3);
            session.seal(&[first, second], &mut sealed);
            assert_eq!(record_length(&sealed), Ok(Some(sealed.len())), "one record");
            assert_eq!(take(&mut client, &sealed), content, "{suite:?}");

            client.writer().write_all(&content).expect("room");
            let sent = said(&mut client);
            assert_eq!(open_all(&mut session, sent), content, "{suite:?}");
        }
    }
}

#[test]
fn keys_are_updated_as_often_as_a_client_asks_and_it_is_answered_before_the_next_bytes() {
    for suite in SUITES {
        let (mut client, mut session) = adopted(suite);
        for round in 0..3_u8 {
            // It may ask often, and is answered once.
            client.refresh_traffic_keys().expect("TLS 1.3");
            client.refresh_traffic_keys().expect("TLS 1.3");
            client.writer().write_all(&[round; 20]).expect("room");
            let sent = said(&mut client);
            assert_eq!(open_all(&mut session, sent), [round; 20], "{suite:?}");
            let (mut first, mut second) = (Vec::new(), Vec::new());
            session.seal(&[b"one"], &mut first);
            session.seal(&[b"two"], &mut second);
            let update = record_length(&first).expect("a record").expect("a header");
            assert_eq!(update, 5 + 5 + 1 + 16, "an update stands before the bytes");
            assert_eq!(record_length(&first[update..]), Ok(Some(first.len() - update)));
            assert_eq!(record_length(&second), Ok(Some(second.len())), "and no other one");
            assert_eq!(take(&mut client, &first), b"one");
            assert_eq!(take(&mut client, &second), b"two");
        }
    }
}

#[test]
fn a_session_whose_keys_rustls_has_updated_is_gone_on_with() {
    let (mut client, mut server, secrets) = shaken(SUITES[1]);
    client.refresh_traffic_keys().expect("TLS 1.3");
    client.writer().write_all(b"ask").expect("room");
    server.read_tls(&mut &said(&mut client)[..]).expect("a slice");
    server.process_new_packets().expect("good records");
    server.writer().write_all(b"head").expect("room");
    assert_eq!(take(&mut client, &drained(|into| server.write_tls(into))), b"head");
    let extracted = server.dangerous_extract_secrets().expect("secrets");
    let mut session = Session::adopt(secrets.take(), extracted).expect("they belong together");
    let mut sealed = Vec::new();
    session.seal(&[b"event"], &mut sealed);
    assert_eq!(take(&mut client, &sealed), b"event");
    client.writer().write_all(b"more").expect("room");
    let sent = said(&mut client);
    assert_eq!(open_all(&mut session, sent), b"more");
}

#[test]
fn secrets_of_another_handshake_are_not_gone_on_with() {
    let ((_, server, _), (_, _, others)) = (shaken(SUITES[0]), shaken(SUITES[0]));
    let extracted = server.dangerous_extract_secrets().expect("secrets");
    assert!(Session::adopt(others.take(), extracted).is_none());
    let (_, server, _) = shaken(SUITES[0]);
    let extracted = server.dangerous_extract_secrets().expect("secrets");
    assert!(Session::adopt(TrafficSecrets::default(), extracted).is_none());
}

#[test]
fn both_ends_are_seen_by_the_other() {
    let (mut client, mut session) = adopted(SUITES[0]);
    client.send_close_notify();
    let mut sent = said(&mut client);
    assert_eq!(session.open(&mut sent), Ok(Opened::End));
    let mut sealed = Vec::new();
    session.close_notify(&mut sealed);
    let state = {
        client.read_tls(&mut &sealed[..]).expect("a slice");
        client.process_new_packets().expect("good records")
    };
    assert!(state.peer_has_closed());

    let (mut client, mut session) = adopted(SUITES[0]);
    sealed.clear();
    session.alert(Alert::BadRecordMac, &mut sealed);
    client.read_tls(&mut &sealed[..]).expect("a slice");
    let error = client.process_new_packets().expect_err("a fatal alert");
    assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
}

/// What rustls opens of a record that is the `sequence`th under the keys of a secret.
fn opened_by_rustls(direction: &direction::Direction, record: &[u8], sequence: u64) -> (ContentType, Vec<u8>) {
    let (key, iv) = direction.given();
    let suite = SUITES[1].tls13().expect("a suite of TLS 1.3");
    let mut decrypter = suite.aead_alg.decrypter(key, iv);
    let mut sealed = record[5..].to_vec();
    let message = InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, &mut sealed);
    let plain = decrypter.decrypt(message, sequence).expect("a good record");
    (plain.typ, plain.payload.to_vec())
}

#[test]
fn records_far_along_have_their_numbers_and_other_keys_come_before_the_limit() {
    let secret = || secret::Secret::new(&[1; 48]).expect("short enough");
    let mut old = direction::Direction::new(Suite::Aes256Gcm, secret());
    for sequence in [1, 255, 256, 1 << 32, (1 << 48) + 77] {
        let mut record = Vec::new();
        old.sequence = sequence;
        old.seal(APPLICATION_DATA, &[b"far"], &mut record);
        assert_eq!(opened_by_rustls(&old, &record, sequence), (ContentType::ApplicationData, b"far".to_vec()));
        old.sequence = sequence;
        assert_eq!(old.open(&mut record).expect("a good record"), (APPLICATION_DATA, &mut b"far".to_owned()[..]));
    }

    let limit = Suite::Aes256Gcm.most_records();
    assert!((limit as f64) < 2_f64.powf(24.5), "RFC 8446, section 5.5");
    let (mut session, _) = Session::of_known_secrets();
    session.is_at(limit - 1);
    let (mut last, mut first) = (Vec::new(), Vec::new());
    session.seal(&[b"last"], &mut last);
    session.seal(&[b"first"], &mut first);
    let update = record_length(&first).expect("a record").expect("a header");
    let old = direction::Direction::new(Suite::Aes256Gcm, secret());
    let mut new = direction::Direction::new(Suite::Aes256Gcm, secret());
    new.update();
    assert_eq!(opened_by_rustls(&old, &last, limit - 1), (ContentType::ApplicationData, b"last".to_vec()));
    // It asks for none of the client's.
    assert_eq!(opened_by_rustls(&old, &first[..update], limit), (ContentType::Handshake, vec![24, 0, 0, 1, 0]));
    assert_eq!(opened_by_rustls(&new, &first[update..], 0), (ContentType::ApplicationData, b"first".to_vec()));
}

#[test]
fn what_does_not_belong_ends_the_connection_with_the_right_alert() {
    let update = [24, 0, 0, 1, 0];
    let cases: [(u8, &[u8], Result<Opened<'_>, Alert>); 17] = [
        (APPLICATION_DATA, b"bytes", Ok(Opened::Data(b"bytes"))),
        (APPLICATION_DATA, b"", Ok(Opened::Data(b""))),
        (HANDSHAKE, &update, Ok(Opened::Nothing)),
        (HANDSHAKE, b"", Err(Alert::UnexpectedMessage)),
        (HANDSHAKE, &[24, 0, 0, 1, 2], Err(Alert::IllegalParameter)),
        (HANDSHAKE, &[24, 0, 0, 2, 0, 0], Err(Alert::DecodeError)),
        (HANDSHAKE, &[24, 0, 0, 1, 0, 24], Err(Alert::UnexpectedMessage)),
        // A ticket, a certificate, a Finished.
        (HANDSHAKE, &[4, 0, 0, 1, 0], Err(Alert::UnexpectedMessage)),
        (HANDSHAKE, &[11, 0, 0, 1, 0], Err(Alert::UnexpectedMessage)),
        (HANDSHAKE, &[20, 0, 0, 1, 0], Err(Alert::UnexpectedMessage)),
        (ALERT, &[1, 0], Ok(Opened::End)),
        (ALERT, &[2, 20], Ok(Opened::End)),
        (ALERT, &[1, 90], Ok(Opened::Nothing)),
        (ALERT, b"", Err(Alert::UnexpectedMessage)),
        (ALERT, &[1], Err(Alert::DecodeError)),
        (20, &[1], Err(Alert::UnexpectedMessage)),
        (99, b"bytes", Err(Alert::UnexpectedMessage)),
    ];
    for (kind, content, expected) in cases {
        let (mut session, mut client) = Session::of_known_secrets();
        let mut record = Vec::new();
        client.seal_as(kind, content, &mut record);
        assert_eq!(session.open(&mut record), expected, "{kind} {content:?}");
    }
    let (mut session, mut client) = Session::of_known_secrets();
    let mut padded = Vec::new();
    client.seal_as(0, &[APPLICATION_DATA, 0, 0], &mut padded);
    assert_eq!(session.open(&mut padded), Ok(Opened::Data(b"")), "padding is nothing");
    let mut nothing = Vec::new();
    client.seal_as(0, &[0; 5], &mut nothing);
    assert_eq!(session.open(&mut nothing), Err(Alert::UnexpectedMessage), "there is a kind");
    let mut long = Vec::new();
    client.seal_as(APPLICATION_DATA, &[1; RECORD_BYTES + 1], &mut long);
    let (mut session, _) = Session::of_known_secrets();
    (0..2).for_each(|_| session.skip_one());
    assert_eq!(session.open(&mut long), Err(Alert::RecordOverflow));
    let (mut session, mut client) = Session::of_known_secrets();
    let mut changed = Vec::new();
    client.seal_as(APPLICATION_DATA, b"bytes", &mut changed);
    changed[7] ^= 1;
    assert_eq!(session.open(&mut changed), Err(Alert::BadRecordMac));
    assert_eq!(session.open(&mut [23, 3, 3, 0, 0]), Err(Alert::BadRecordMac), "no tag");
}

#[test]
fn a_message_may_come_in_pieces_with_nothing_between() {
    let pieces: [&[u8]; 3] = [&[24], &[0, 0, 1], &[1]];
    let (mut session, mut client) = Session::of_known_secrets();
    for piece in pieces {
        let mut record = Vec::new();
        client.seal_as(HANDSHAKE, piece, &mut record);
        assert_eq!(session.open(&mut record), Ok(Opened::Nothing));
    }
    client.update_silently();
    let mut record = Vec::new();
    client.seal_as(APPLICATION_DATA, b"new keys", &mut record);
    assert_eq!(session.open(&mut record), Ok(Opened::Data(b"new keys")));

    let (mut session, mut client) = Session::of_known_secrets();
    let (mut piece, mut between) = (Vec::new(), Vec::new());
    client.seal_as(HANDSHAKE, &[24, 0], &mut piece);
    client.seal_as(APPLICATION_DATA, b"between", &mut between);
    assert_eq!(session.open(&mut piece), Ok(Opened::Nothing));
    assert_eq!(session.open(&mut between), Err(Alert::UnexpectedMessage));
}

#[test]
fn headers_say_how_long_a_record_is() {
    assert_eq!(record_length(&[23, 3, 3, 0]), Ok(None));
    assert_eq!(record_length(&[23, 9, 9, 0x41, 0]), Ok(Some(5 + 16384 + 256)), "the version says nothing");
    assert_eq!(record_length(&[23, 3, 3, 0x41, 1]), Err(Alert::RecordOverflow));
    for kind in [20, 21, 22, 0x80, b'G'] {
        assert_eq!(record_length(&[kind, 3, 3, 0, 2]), Err(Alert::UnexpectedMessage), "nothing comes in the clear");
    }
}
