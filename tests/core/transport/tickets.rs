//! Tickets of TLS by keys from a file: taken by every node that has it, after a restart too, for as long as the key is there.

use super::secure_node;
use crate::support::authority::Authority;
use crate::support::client::Connection;
use crate::support::node::Node;
use crate::support::program;
use crate::support::raw::trusting;
use crate::support::stream::Stream;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::ClientConfig;
use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
use std::process::{Command, Stdio};
use std::sync::Arc;

const RESUMED: &str = "fantail_tls_handshakes_total{outcome=\"resumed\"}";
const FULL: &str = "fantail_tls_handshakes_total{outcome=\"full\"}";
const TAKEN: &str = "fantail_tls_ticket_reloads_total{outcome=\"ok\"}";
const REFUSED: &str = "fantail_tls_ticket_reloads_total{outcome=\"failed\"}";

/// An authority with a file of ticket keys beside its certificates.
struct Site {
    authority: Authority,
}

impl Site {
    fn new(name: &str, keys: &[u8]) -> Site {
        let site = Site { authority: Authority::new(name) };
        site.write(keys);
        site
    }

    fn write(&self, keys: &[u8]) {
        let lines: Vec<String> = keys.iter().map(|byte| BASE64_STANDARD.encode([*byte; 32])).collect();
        std::fs::write(self.file(), lines.join("\n")).expect("a folder");
    }

    fn file(&self) -> String {
        self.authority.file("ticket.keys")
    }

    fn node(&self) -> Node {
        secure_node(&self.authority, &["--tls-ticket-keys", &self.file()])
    }
}

/// Subscribes, so that the ticket behind the handshake is read; how the handshake was.
fn comes(node: &Node, client: &Arc<ClientConfig>) -> &'static str {
    let before = (node.metric(FULL), node.metric(RESUMED));
    let connection = Connection::open(node.listen).secure(client.clone());
    let stream = Stream::on(connection, "/events/a", &[]).begun();
    assert_eq!(stream.head.status, 200);
    match (node.metric(FULL) - before.0, node.metric(RESUMED) - before.1) {
        (1.0, 0.0) => "full",
        (0.0, 1.0) => "resumed",
        other => panic!("one handshake: {other:?}"),
    }
}

#[test]
fn a_session_is_resumed_at_another_node_and_after_a_restart() {
    let site = Site::new("nodes", &[1]);
    let (first, second) = (site.node(), site.node());
    let alone = secure_node(&site.authority, &[]);
    for version in [TLSv1_3, TLSv1_2] {
        let client = trusting(&site.authority, &["http/1.1"], &[version]);
        assert_eq!(comes(&first, &client), "full", "{version:?}");
        assert_eq!(comes(&second, &client), "resumed", "{version:?}");
        assert_eq!(comes(&first, &client), "resumed", "{version:?}");
        assert_eq!(comes(&alone, &client), "full", "a node without the file: {version:?}");
    }
    let client = trusting(&site.authority, &["http/1.1"], &[TLSv1_3]);
    assert_eq!(comes(&first, &client), "full");
    drop(first);
    assert_eq!(comes(&site.node(), &client), "resumed", "another process");
}

#[test]
fn keys_are_changed_in_steps_and_a_bad_file_keeps_the_old_ones() {
    let site = Site::new("steps", &[1]);
    let node = site.node();
    let client = trusting(&site.authority, &["http/1.1"], &[TLSv1_3]);
    assert_eq!(comes(&node, &client), "full");
    site.write(&[2, 1]);
    node.metric_becomes(TAKEN, 1.0);
    assert_eq!(comes(&node, &client), "resumed", "by the key that made way");
    std::fs::write(site.file(), "no key").expect("a folder");
    node.metric_becomes(REFUSED, 1.0);
    node.logs(&["the old keys stay", "line 1 is no base64 of 32 bytes"]);
    assert_eq!(comes(&node, &client), "resumed");
    // The ticket in hand is of the second key now.
    site.write(&[2]);
    node.metric_becomes(TAKEN, 2.0);
    assert_eq!(comes(&node, &client), "resumed");
    site.write(&[3]);
    node.metric_becomes(TAKEN, 3.0);
    assert_eq!(comes(&node, &client), "full");
}

#[test]
fn openssl_resumes_at_another_node() {
    let site = Site::new("openssl-tickets", &[1]);
    let (first, second) = (site.node(), site.node());
    let session = site.authority.file("session.pem");
    let client = |node: &Node, way: &str| {
        let mut child = Command::new("openssl")
            .args(["s_client", "-tls1_3", "-ign_eof", "-CAfile", &site.authority.file("ca.pem")])
            .args(["-connect", &node.listen.to_string(), way, &session])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let ask = b"GET /nothing HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
        std::io::Write::write_all(&mut child.stdin.take().expect("piped"), ask).expect("a pipe");
        String::from_utf8_lossy(&child.wait_with_output().expect("openssl").stdout).into_owned()
    };
    let output = client(&first, "-sess_out");
    assert!(output.contains("New, TLSv1.3"), "{output}");
    let output = client(&second, "-sess_in");
    assert!(output.contains("Reused, TLSv1.3") && output.contains("404"), "{output}");
    second.metric_becomes(RESUMED, 1.0);
}

#[test]
fn a_file_that_cannot_be_used_is_named_at_the_start_and_by_check() {
    let site = Site::new("unusable-tickets", &[1, 2, 3, 4, 5]);
    let fantail = |command: &str, flags: &[&str]| {
        let own = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let output = program::fantail().arg(command).args(own).args(flags).output().expect("the binary");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), text)
    };
    let (cert, key, keys) = (site.authority.file("server.pem"), site.authority.file("server.key"), site.file());
    let all = ["--tls-cert", &cert, "--tls-key", &key, "--tls-ticket-keys", &keys];
    let (code, text) = fantail("serve", &all);
    assert!(code == Some(1) && text.contains("--tls-ticket-keys: ") && text.contains("it has 5 keys"), "{text}");
    let (code, text) = fantail("check", &all);
    assert!(code == Some(1) && text.contains("FAIL  ticket keys: "), "{text}");
    site.write(&[1, 2]);
    let (code, text) = fantail("check", &all);
    assert!(code == Some(0) && text.contains("ok    ticket keys: 2 of 4"), "{text}");
    let (code, text) = fantail("serve", &all[4..]);
    assert!(code != Some(0) && text.contains("--tls-ticket-keys: it needs --tls-cert"), "{text}");
}
