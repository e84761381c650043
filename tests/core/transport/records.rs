//! Records of TLS 1.3 that delivery threads make: told apart from sessions of the TLS library, keys updated, what a client
//! says behind its request.

use super::{Site, Way, secure, secure_node};
use crate::support::authority::Authority;
use crate::support::client::Connection;
use crate::support::http2::Http2;
use crate::support::node::{Node, PATIENCE};
use crate::support::raw::{Raw, trusting, trusting_with};
use crate::support::stream::Stream;
use rustls::ProtocolVersion::TLSv1_3;
use rustls::pki_types::ServerName;
use rustls::{CipherSuite, ClientConnection};
use std::io::{Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

const RECORDS: &str = "fantail_tls_subscribers";
const SESSIONS: &str = "fantail_tls_session_subscribers";

fn carried(node: &Node, records: f64, sessions: f64) {
    node.metric_becomes(RECORDS, records);
    node.metric_becomes(SESSIONS, sessions);
}

#[test]
fn subscribers_of_tls_1_3_have_records_and_all_others_sessions() {
    let site = Site::start("carried", &[]);
    let mut new = site.subscribe(Way::Tls, "/events/a").begun();
    let mut old = site.subscribe(Way::OldTls, "/events/a").begun();
    carried(&site.secure, 1.0, 1.0);
    site.redis.command(&["XADD", "sse:a", "*", "data", "1"]);
    assert_eq!((new.numbers(1), old.numbers(1)), (vec![1], vec![1]));
    drop((new, old));
    carried(&site.secure, 0.0, 0.0);

    let authority = Authority::new("back");
    let node = secure_node(&authority, &["--tls-records", "rustls"]);
    let mut stream = Stream::on(secure(node.listen, &authority), "/events/a", &[]).begun();
    carried(&node, 0.0, 1.0);
    secure(node.listen, &authority).ask("POST", "/events/a", &[], b"1");
    assert_eq!(stream.numbers(1), [1]);
}

#[test]
fn every_cipher_suite_carries_small_events_and_those_of_many_records() {
    let authority = Authority::new("suites");
    let node = secure_node(&authority, &["--publish-maxlen", "100"]);
    for suite in [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ] {
        let client = trusting_with(&authority, &["http/1.1"], &[TLSv1_3], &[suite]);
        let mut stream = Stream::on(Connection::open(node.listen).secure(client), "/events/a", &[]).begun();
        node.metric_becomes(RECORDS, 1.0);
        for size in [1, 300, 16_384, 100_000] {
            let data = "x".repeat(size);
            assert_eq!(secure(node.listen, &authority).ask("POST", "/events/a", &[], data.as_bytes()).head.status, 201);
            assert_eq!(stream.next().data, data, "{suite:?} {size}");
        }
        drop(stream);
        node.metric_becomes(RECORDS, 0.0);
    }
}

#[test]
fn a_client_that_updates_its_keys_again_and_again_goes_on() {
    let site = Site::start("updates", &[]);
    let mut stream = site.subscribe(Way::Tls, "/events/a").begun();
    carried(&site.secure, 1.0, 0.0);
    for number in 0..40_u64 {
        let session = stream.connection.raw.session.as_mut().expect("TLS");
        session.refresh_traffic_keys().expect("TLS 1.3");
        stream.connection.send(if number % 3 == 0 { "GET /events/b HTTP/1.1\r\n" } else { "" });
        site.redis.command(&["XADD", "sse:a", "*", "data", &number.to_string()]);
        assert_eq!(stream.numbers(1), [number]);
    }
    carried(&site.secure, 1.0, 0.0);
}

#[test]
fn a_client_amid_a_record_when_it_is_handed_over_keeps_its_session() {
    let site = Site::start("amid", &[]);
    let mut connection = site.connect(Way::Tls);
    let session = connection.raw.session.as_mut().expect("TLS");
    let mut sent = Vec::new();
    for request in ["GET /events/a HTTP/1.1\r\nHost: n\r\n\r\n", "GET /events/b HTTP/1.1\r\nHost: n\r\n\r\n"] {
        session.writer().write_all(request.as_bytes()).expect("room");
        while session.wants_write() {
            session.write_tls(&mut sent).expect("a vector");
        }
    }
    let (begun, rest) = sent.split_at(sent.len() - 7);
    connection.socket.write_all(begun).expect("room");
    let mut stream = Stream::answered(connection).begun();
    carried(&site.secure, 0.0, 1.0);
    stream.connection.socket.write_all(rest).expect("room");
    site.redis.command(&["XADD", "sse:a", "*", "data", "1"]);
    assert_eq!(stream.numbers(1), [1]);
}

/// Bytes of the size of a record, which nobody sealed: the node says that it cannot open them.
fn ends_by_foreign_bytes(stream: &mut Stream) {
    let foreign = [&[23, 3, 3, 0, 20][..], &[7; 20]].concat();
    stream.connection.socket.write_all(&foreign).expect("room");
    let error = loop {
        match stream.connection.some() {
            Ok(Some(_)) => {}
            Ok(None) => break String::from("an end"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("BadRecordMac"), "{error}");
}

#[test]
fn bytes_that_nobody_sealed_end_the_connection_with_an_alert() {
    let site = Site::start("foreign", &[]);
    let mut stream = site.subscribe(Way::Tls, "/events/a").begun();
    ends_by_foreign_bytes(&mut stream);
    site.secure.metric_becomes("fantail_connections_closed_total{reason=\"client\"}", 1.0);
    carried(&site.secure, 0.0, 0.0);
}

#[test]
fn streams_of_http2_have_the_records_of_their_connection() {
    let site = Site::start("streams", &["--http2", "courier"]);
    let mut stream = site.subscribe(Way::TlsHttp2, "/events/a").begun();
    carried(&site.secure, 1.0, 0.0);
    for number in 0..40_u64 {
        let session = stream.connection.raw.session.as_mut().expect("TLS");
        session.refresh_traffic_keys().expect("TLS 1.3");
        stream.connection.send("");
        site.redis.command(&["XADD", "sse:a", "*", "data", &number.to_string()]);
        assert_eq!(stream.numbers(1), [number]);
    }
    drop(stream);
    carried(&site.secure, 0.0, 0.0);

    let mut stream = site.subscribe(Way::TlsHttp2, "/events/a").begun();
    ends_by_foreign_bytes(&mut stream);
    carried(&site.secure, 0.0, 0.0);
}

#[test]
fn a_client_amid_a_record_as_its_handshake_ends_is_waited_for() {
    let authority = Authority::new("cut");
    let node = secure_node(&authority, &["--http2", "courier"]);
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let mut session = ClientConnection::new(trusting(&authority, &["h2"], &[TLSv1_3]), name).expect("a session");
    let mut socket = Connection::open(node.listen).socket;
    session.write_tls(&mut socket).expect("room");
    while session.is_handshaking() {
        session.read_tls(&mut socket).expect("the node's messages");
        session.process_new_packets().expect("good ones");
    }
    // The end of the handshake, a record, and the beginning of the next one come together.
    let (mut said, mut sent) = (Vec::new(), Vec::new());
    let mut http2 = Http2::begin(&mut said).expect("a vector");
    let stream = http2.open(&mut said, "GET", "/events/a", &[], b"");
    for piece in said.chunks(30) {
        session.writer().write_all(piece).expect("room");
        while session.wants_write() {
            session.write_tls(&mut sent).expect("a vector");
        }
    }
    let (begun, rest) = sent.split_at(sent.len() - 7);
    socket.write_all(begun).expect("room");
    node.metric_becomes("fantail_tls_handshakes_total{outcome=\"full\"}", 1.0);
    socket.write_all(rest).expect("room");
    let mut raw = Raw { socket, session: Some(Box::new(session)) };
    while http2.streams[&stream].head.is_none() {
        http2.frame(&mut raw).expect("an answer");
    }
    carried(&node, 1.0, 0.0);
}

/// OpenSSL's own client, which takes commands at the beginning of what it reads.
struct OpenSsl {
    child: Child,
    output: ChildStdout,
    seen: Vec<u8>,
}

impl OpenSsl {
    fn connect(node: &Node, authority: &Authority) -> OpenSsl {
        let mut child = Command::new("openssl")
            .args(["s_client", "-tls1_3", "-msg", "-CAfile", &authority.file("ca.pem")])
            .args(["-connect", &node.listen.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let output = child.stdout.take().expect("piped");
        OpenSsl { child, output, seen: Vec::new() }
    }

    fn say(&mut self, words: &str) {
        self.child.stdin.as_mut().expect("piped").write_all(words.as_bytes()).expect("a pipe");
    }

    /// Reads on until this comes, and forgets what came up to there.
    fn through(&mut self, words: &str) {
        let begun = Instant::now();
        loop {
            let at = self.seen.windows(words.len()).position(|part| part == words.as_bytes());
            if let Some(at) = at {
                self.seen.drain(..at + words.len());
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "no {words}: {}", String::from_utf8_lossy(&self.seen));
            let mut piece = [0; 4096];
            let n = self.output.read(&mut piece).expect("a pipe");
            assert!(n > 0, "an end before {words}: {}", String::from_utf8_lossy(&self.seen));
            self.seen.extend_from_slice(&piece[..n]);
        }
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn openssl_reads_events_over_updates_of_keys_that_it_asks_for() {
    let authority = Authority::new("openssl");
    let node = secure_node(&authority, &["--heartbeat", "1s"]);
    let mut client = OpenSsl::connect(&node, &authority);
    client.through("Verify return code");
    client.say("GET /events/a HTTP/1.1\r\nHost: node\r\n\r\n");
    client.through("text/event-stream");
    client.through("retry: ");
    node.metric_becomes(RECORDS, 1.0);
    for number in 0..3 {
        // With `k` it changes its own keys, with `K` it wants others of the node's, too.
        client.say("k\n");
        client.through(">>> TLS 1.3, Handshake [length 0005], KeyUpdate");
        client.say("K\n");
        client.through(">>> TLS 1.3, Handshake [length 0005], KeyUpdate");
        client.through("<<< TLS 1.3, Handshake [length 0005], KeyUpdate");
        let data = format!("event {number}");
        assert_eq!(secure(node.listen, &authority).ask("POST", "/events/a", &[], data.as_bytes()).head.status, 201);
        client.through(&format!("data: {data}"));
    }
    client.say("Q\n");
    node.metric_becomes(RECORDS, 0.0);
}

#[test]
fn what_a_client_says_without_end_is_left_where_it_is() {
    let site = Site::start("noise", &[]);
    let mut stream = site.subscribe(Way::Tls, "/events/a").begun();
    let mut noisy = site.subscribe(Way::Tls, "/events/a").begun();
    // More than is opened of it: the rest stays in the kernel, and the client's writes end when that is full.
    noisy.connection.socket.set_nonblocking(true).expect("an option");
    let session = noisy.connection.raw.session.as_mut().expect("TLS");
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        session.writer().write_all(&[b'x'; 1000]).expect("room");
        if session.write_tls(&mut &noisy.connection.socket).is_err() {
            break;
        }
    }
    assert!(begun.elapsed() < PATIENCE, "the kernel's buffers are full some time");
    site.redis.command(&["XADD", "sse:a", "*", "data", "1"]);
    assert_eq!(stream.numbers(1), [1]);
    drop(noisy);
    carried(&site.secure, 1.0, 0.0);
}
