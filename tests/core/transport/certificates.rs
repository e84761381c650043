//! Certificates and sessions: changed while connections live, resumed, refused.

use super::{Way, connect, secure, secure_node};
use crate::support::authority::Authority;
use crate::support::client::Connection;
use crate::support::node::PATIENCE;
use crate::support::program;
use crate::support::raw::{Raw, trusting};
use crate::support::stream::Stream;
use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

const FAILED: &str = "fantail_tls_reloads_total{outcome=\"failed\"}";
const DONE: &str = "fantail_tls_reloads_total{outcome=\"ok\"}";

fn shown(connection: &Connection) -> Vec<u8> {
    let session = connection.raw.session.as_ref().expect("TLS");
    session.peer_certificates().expect("a certificate")[0].to_vec()
}

#[test]
fn a_changed_certificate_is_shown_to_new_clients_and_old_ones_go_on() {
    let authority = Authority::new("changed");
    let node = secure_node(&authority, &[]);
    let first = secure(node.listen, &authority);
    let old = shown(&first);
    let mut stream = Stream::on(first, "/events/a", &[]).begun();
    assert!(node.metric("fantail_tls_certificate_expires_seconds") > 1.7e9);

    // A certificate that does not fit the key, as between two copies.
    let (certificate, key) = authority.certificate("127.0.0.1");
    std::fs::write(authority.folder.join("server.pem"), &certificate).unwrap();
    node.metric_becomes(FAILED, 1.0);
    node.logs(&["server.pem", "do not belong together"]);
    assert_eq!(shown(&secure(node.listen, &authority)), old);
    std::fs::write(authority.folder.join("server.key"), key).unwrap();
    node.metric_becomes(DONE, 1.0);
    assert_ne!(shown(&secure(node.listen, &authority)), old);

    // A link that is switched, as Kubernetes does it.
    authority.issue("another", "127.0.0.1");
    for end in ["pem", "key"] {
        let place = authority.folder.join(format!("server.{end}"));
        std::fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink(authority.folder.join(format!("another.{end}")), place).unwrap();
    }
    node.logs(&["another certificate is shown"]);
    let begun = std::time::Instant::now();
    while shown(&secure(node.listen, &authority)) == old && begun.elapsed() < PATIENCE {}
    assert_ne!(shown(&secure(node.listen, &authority)), old);

    let answer = secure(node.listen, &authority).ask("POST", "/events/a", &[], b"1");
    assert_eq!(answer.head.status, 201);
    assert_eq!(stream.numbers(1), [1], "the connection from before goes on");
}

#[test]
fn sessions_are_resumed() {
    let authority = Authority::new("resumed");
    let node = secure_node(&authority, &[]);
    for version in [TLSv1_3, TLSv1_2] {
        let client = trusting(&authority, &["http/1.1"], &[version]);
        let resumed = node.metric("fantail_tls_handshakes_total{outcome=\"resumed\"}");
        for number in 0..3 {
            let connection = Connection::open(node.listen).secure(client.clone());
            // The ticket comes behind the handshake, so something has to be read.
            let stream = Stream::on(connection, "/events/a", &[]).begun();
            assert_eq!(stream.head.status, 200, "{version:?} {number}");
        }
        node.metric_becomes("fantail_tls_handshakes_total{outcome=\"resumed\"}", resumed + 2.0);
    }
}

#[test]
fn who_speaks_no_tls_or_none_that_fits_is_told_and_counted() {
    let authority = Authority::new("none");
    let node = secure_node(&authority, &[]);
    let mut plain = Connection::open(node.listen);
    plain.send("GET /events/a HTTP/1.1\r\nHost: n\r\n\r\n");
    let answer = String::from_utf8_lossy(&plain.rest()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("HTTPS"), "{answer}");
    node.metric_becomes("fantail_tls_handshakes_total{outcome=\"plain\"}", 1.0);

    let mut garbage = Connection::open(node.listen);
    garbage.send(b"\x16\x03\x01\x00\x05hello");
    garbage.rest();
    let stranger = Authority::new("stranger");
    let config = trusting(&stranger, &[], &[TLSv1_3]);
    assert!(Raw::secure(TcpStream::connect(node.listen).unwrap(), config).is_err());
    let config = trusting(&authority, &["spdy/1"], &[TLSv1_3]);
    assert!(Raw::secure(TcpStream::connect(node.listen).unwrap(), config).is_err(), "no protocol in common");
    node.metric_becomes("fantail_tls_handshakes_total{outcome=\"failed\"}", 3.0);
    node.logs(&["TLS handshake failed", "127.0.0.1"]);
    assert_eq!(
        connect(Way::TlsHttp2, Connection::open(node.listen), &authority).ask("GET", "/", &[], b"").head.status,
        200
    );
}

#[test]
fn a_client_that_closes_is_seen() {
    let authority = Authority::new("closes");
    let node = secure_node(&authority, &[]);
    let mut streams = [Way::Tls, Way::TlsHttp2]
        .map(|way| Stream::on(connect(way, Connection::open(node.listen), &authority), "/events/a", &[]).begun());
    node.metric_becomes("fantail_connections", 2.0);
    // What a client sends on its stream is not read, and does no harm.
    streams[0].connection.send("GET /events/b HTTP/1.1\r\n\r\n");
    drop(streams);
    node.metric_becomes("fantail_connections", 0.0);
    node.metric_becomes("fantail_http2_connections", 0.0);
}

#[test]
fn curl_reads_every_version() {
    let authority = Authority::new("curl");
    let node = secure_node(&authority, &["--heartbeat", "1s"]);
    node.metric_becomes("fantail_backplane_up", 1.0);
    assert_eq!(secure(node.listen, &authority).ask("POST", "/events/a", &[], b"hello").head.status, 201);
    for (version, words) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200"), ("--http1.0", "HTTP/1.1 200")] {
        let url = format!("https://{}/events/a?since=earliest", node.listen);
        let mut curl = Command::new("curl")
            .args(["-sSNi", version, "--cacert", &authority.file("ca.pem"), &url])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("curl");
        let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
        let out = curl.stdout.as_mut().expect("piped");
        while !String::from_utf8_lossy(&seen).contains("data: hello\n\n") {
            let n = out.read(&mut piece).expect("a pipe");
            assert!(n > 0, "{version}: {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&piece[..n]);
        }
        let _ = curl.kill();
        let _ = curl.wait();
        assert!(String::from_utf8_lossy(&seen).starts_with(words), "{version}: {}", String::from_utf8_lossy(&seen));
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_at_the_start_and_by_check() {
    let authority = Authority::new("unusable");
    let fantail = |command: &str, cert: &str, key: &str| {
        let (cert, key) = (authority.file(cert), authority.file(key));
        let flags =
            ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
        let output = program::fantail().arg(command).args(flags).output().expect("the binary");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = fantail("serve", "server.pem", "other.key");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("--tls-cert, --tls-key: ") && text.contains("do not belong together"), "{text}");
    let (code, text) = fantail("serve", "absent.pem", "server.key");
    assert!(code == Some(1) && text.contains("absent.pem: No such file"), "{text}");
    let (code, text) = fantail("check", "server.pem", "other.key");
    assert!(code == Some(1) && text.contains("FAIL  tls: "), "{text}");
    let (code, text) = fantail("check", "server.pem", "server.key");
    assert!(code == Some(0) && text.contains("ok    tls: the certificate of "), "{text}");
    let _ = std::io::stdout().flush();
}
