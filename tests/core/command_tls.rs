//! `publish` and `tail` against a node that speaks TLS itself.

use crate::support::authority::Authority;
use crate::support::node::Node;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

fn fantail(authority: &Authority, node: &Node, words: &[&str]) -> Command {
    // With the test, whatever becomes of it.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_fantail")]).args(words);
    command.env_clear().env("FANTAIL_CA", authority.file("ca.pem"));
    command.env("FANTAIL_URL", format!("https://{}", node.listen)).stdin(Stdio::null());
    command
}

fn node(authority: &Authority, certificate: &str) -> Node {
    let (pem, key) = (authority.file(&format!("{certificate}.pem")), authority.file(&format!("{certificate}.key")));
    Node::start(&["--publish", "on", "--tls-cert", &pem, "--tls-key", &key])
}

/// Publishes the channel's only event and reads it.
fn there_and_back(authority: &Authority, node: &Node, flags: &[&str]) {
    let run = |words: &[&str]| -> Output {
        let output = fantail(authority, node, &[words, flags].concat()).output().expect("the binary");
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    };
    let id = run(&["publish", "a", "it works", "--final"]);
    assert!(!id.stdout.is_empty());
    let read = run(&["tail", "a", "--since", "earliest"]);
    assert!(String::from_utf8_lossy(&read.stdout).contains("it works"), "{read:?}");
}

#[test]
fn publish_and_tail_speak_tls_with_an_own_authority() {
    let authority = Authority::new("commands");
    there_and_back(&authority, &node(&authority, "server"), &[]);
}

#[test]
fn the_name_in_the_certificate_may_be_another_than_that_in_the_url() {
    let authority = Authority::new("names");
    let node = node(&authority, "other");
    there_and_back(&authority, &node, &["--server-name", "another.example"]);
    let refused = fantail(&authority, &node, &["publish", "a", "x"]).output().expect("the binary");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && why.contains("certificate"), "{refused:?}");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_not_believed() {
    let (authority, foreign) = (Authority::new("known"), Authority::new("unknown"));
    let node = node(&foreign, "server");
    let mut tail = fantail(&authority, &node, &["tail", "a"]).stderr(Stdio::piped()).spawn().expect("the binary");
    let first = BufReader::new(tail.stderr.take().expect("piped")).lines().next().expect("a line").expect("text");
    assert!(first.contains("certificate"), "{first}");
    tail.kill().expect("an own child");
    tail.wait().expect("an own child");

    let file = authority.file("missing.pem");
    let wrong = fantail(&authority, &node, &["publish", "a", "x", "--ca", &file]).output().expect("the binary");
    let why = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(1) && why.contains(&file), "{wrong:?}");
}
