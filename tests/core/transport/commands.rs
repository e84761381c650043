//! `fantail publish` and `fantail tail` over TLS: with a certificate that they can verify, and never without.

use super::secure_node;
use crate::support::authority::Authority;
use crate::support::jwt::{Folder, signed};
use crate::support::node::Node;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

/// The binary with nothing of the tester's settings; it goes with the test, whatever becomes of that.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_fantail")]).args(arguments);
    command.env_clear().stdin(Stdio::null());
    command
}

fn fantail(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary")
}

/// With the node and the authority named by the environment.
fn fantail_at(authority: &Authority, node: &Node, arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    command.env("FANTAIL_CA", authority.file("ca.pem")).env("FANTAIL_URL", format!("https://{}", node.listen));
    command
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Publishes the channel's only event and reads it.
fn there_and_back(authority: &Authority, node: &Node, flags: &[&str]) {
    let run = |words: &[&str]| -> Output {
        let output = fantail_at(authority, node, &[words, flags].concat()).output().expect("the binary");
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    };
    let id = run(&["publish", "a", "it works", "--final"]);
    assert!(!id.stdout.is_empty());
    let read = run(&["tail", "a", "--since", "earliest"]);
    assert!(String::from_utf8_lossy(&read.stdout).contains("it works"), "{read:?}");
}

#[test]
fn publish_and_tail_speak_https_and_show_their_token() {
    let (authority, folder) = (Authority::new("commands"), Folder::new());
    let secret = folder.write("secret", crate::support::jwt::SECRET);
    let node = secure_node(&authority, &["--auth", "jwt", "--jwt-key", &secret, "--publish", "on"]);
    let claims = json!({"fantail": {"subscribe": ["a"], "publish": ["a"]}});
    let (token, ca) = (folder.write("token", signed(claims)), authority.file("ca.pem"));
    let url = format!("https://{}/", node.listen);
    let access = ["--url", &url, "--ca", &ca, "--token-file", &token];
    let published = fantail(&[&["publish", "a", "hello", "--final"], &access[..]].concat());
    assert!(published.status.success(), "{}", told(&published));
    let id = String::from_utf8_lossy(&published.stdout).trim().to_owned();
    let read = fantail(&[&["tail", "a", "--since", "earliest"], &access[..]].concat());
    assert_eq!(String::from_utf8_lossy(&read.stdout), format!("{id} message hello\n"), "{}", told(&read));
    assert!(read.status.success(), "{}", told(&read));
    let refused = fantail(&["publish", "a", "x", "--url", &url, "--ca", &ca]);
    assert!(told(&refused).contains("401 unauthorized"), "{}", told(&refused));
}

#[test]
fn a_certificate_that_cannot_be_verified_is_not_talked_to() {
    let (authority, stranger) = (Authority::new("verified"), Authority::new("unverified"));
    let node = secure_node(&authority, &[]);
    let (url, wrong) = (format!("https://{}", node.listen), stranger.file("ca.pem"));
    for ca in [&["--ca", wrong.as_str()][..], &[]] {
        let output = fantail(&[&["publish", "a", "x", "--url", &url], ca].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(told(&output).contains("invalid peer certificate: UnknownIssuer"), "{}", told(&output));
    }
    // A name that the certificate is not for.
    authority.issue("server", "another.example");
    node.logs(&["another certificate is shown"]);
    let output = fantail(&["publish", "a", "x", "--url", &url, "--ca", &authority.file("ca.pem")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("certificate not valid for name"), "{}", told(&output));
    assert_eq!(node.metric("fantail_publish_requests_total{outcome=\"ok\"}"), 0.0);
}

#[test]
fn a_certificate_that_is_its_own_authority_is_told_in_words() {
    let authority = Authority::new("its-own");
    authority.issue_by_itself("server", "127.0.0.1");
    let node = secure_node(&authority, &[]);
    let (url, own) = (format!("https://{}", node.listen), authority.file("server.pem"));
    let output = fantail(&["publish", "a", "x", "--url", &url, "--ca", &own]);
    let said = told(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is that of an authority") && said.contains("CA:FALSE"), "{said}");
    assert!(!said.contains("CaUsedAsEndEntity"), "{said}");
}

#[test]
fn a_file_of_authorities_that_cannot_be_used_is_named() {
    let authority = Authority::new("authorities");
    let (absent, key) = (authority.file("absent.pem"), authority.file("server.key"));
    for (command, ca, why) in [
        (["publish", "a", "x"], &absent, "No such file"),
        (["tail", "a", "--json"], &key, "there is no certificate in it"),
        (["top", "--once", "--every=5s"], &absent, "No such file"),
    ] {
        let output = fantail(&[&command[..], &["--url", "https://127.0.0.1:1", "--ca", ca]].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(told(&output).contains(&format!("--ca {ca}: ")) && told(&output).contains(why), "{}", told(&output));
    }
}

#[test]
fn the_environment_may_name_node_and_authority() {
    let authority = Authority::new("environment");
    there_and_back(&authority, &secure_node(&authority, &["--publish", "on"]), &[]);
}

#[test]
fn the_name_in_the_certificate_may_be_another_than_that_in_the_url() {
    let authority = Authority::new("names");
    authority.issue("server", "another.example");
    let node = secure_node(&authority, &["--publish", "on"]);
    there_and_back(&authority, &node, &["--server-name", "another.example"]);
    let refused = fantail_at(&authority, &node, &["publish", "a", "x"]).output().expect("the binary");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && why.contains("certificate"), "{refused:?}");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_not_believed() {
    let (authority, foreign) = (Authority::new("known"), Authority::new("unknown"));
    let node = secure_node(&foreign, &["--publish", "on"]);
    let mut tail = fantail_at(&authority, &node, &["tail", "a"]).stderr(Stdio::piped()).spawn().expect("the binary");
    let first = BufReader::new(tail.stderr.take().expect("piped")).lines().next().expect("a line").expect("text");
    assert!(first.contains("certificate"), "{first}");
    tail.kill().expect("an own child");
    tail.wait().expect("an own child");

    let file = authority.file("missing.pem");
    let wrong = fantail_at(&authority, &node, &["publish", "a", "x", "--ca", &file]).output().expect("the binary");
    let why = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(1) && why.contains(&file), "{wrong:?}");
}
