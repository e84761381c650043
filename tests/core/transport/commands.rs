//! `fantail publish` and `fantail tail` over TLS: with a certificate that they can verify, and never without.

use super::secure_node;
use crate::support::authority::Authority;
use crate::support::jwt::{Folder, signed};
use serde_json::json;
use std::process::{Command, Output};

fn fantail(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fantail"));
    // The tester's own settings must not decide.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FANTAIL_")) {
        command.env_remove(name);
    }
    command.args(arguments).output().expect("the binary")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
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
