//! Keys: every algorithm from every kind of file, files that change, and a key server that rotates and fails.

use super::bearer;
use crate::support::jwt::{Folder, Pair, SECRET, now, subscriber, token};
use crate::support::node::{Node, eventually};
use crate::support::program;
use crate::support::web::Web;
use serde_json::{Value, json};

fn status(node: &Node, token: &str) -> u16 {
    let (name, value) = bearer(token);
    node.ask("HEAD", "/events/a", &[(name, &value)], "").head.status
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn with(mut jwk: Value, more: Value) -> Value {
    for (name, value) in more.as_object().expect("an object") {
        jwk[name] = value.clone();
    }
    jwk
}

#[test]
fn every_algorithm_is_verified_by_pem_and_by_jwk() {
    let folder = Folder::new();
    let pairs = [Pair::rsa(), Pair::p256(), Pair::p384(), Pair::ed25519()];
    let pem: String = pairs.iter().map(Pair::pem).collect();
    let jwks: Vec<Value> = pairs.iter().map(Pair::jwk).collect();
    let by_pem = Node::start(&["--auth", "jwt", "--jwt-key", &folder.write("keys.pem", pem)]);
    let by_jwk = Node::start(&["--auth", "jwt", "--jwt-key", &folder.write("keys.json", set(&jwks))]);
    let stranger = [Pair::p256(), Pair::p384(), Pair::ed25519()];
    for node in [&by_pem, &by_jwk] {
        assert_eq!(node.metric("fantail_auth_keys"), 4.0);
        for pair in &pairs {
            assert_eq!(status(node, &pair.token(pair.algorithm(), None)), 200, "{}", pair.algorithm());
        }
        for pair in &stranger {
            assert_eq!(status(node, &pair.token(pair.algorithm(), None)), 401, "{}", pair.algorithm());
        }
    }
    let rsa = &pairs[0];
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        let file = folder.write("one.json", with(rsa.jwk(), json!({ "alg": algorithm })).to_string());
        let node = Node::start(&["--auth", "jwt", "--jwt-key", &file]);
        assert_eq!(status(&node, &rsa.token(algorithm, None)), 200, "{algorithm}");
        let other = if algorithm == "PS256" { "RS256" } else { "PS256" };
        assert_eq!(status(&node, &rsa.token(other, None)), 401, "{other} for {algorithm}");
    }
}

#[test]
fn longer_secrets_have_longer_hashes() {
    let folder = Folder::new();
    let file = folder.write("secret", SECRET);
    for (name, hash) in [("HS384", ring::hmac::HMAC_SHA384), ("HS512", ring::hmac::HMAC_SHA512)] {
        let node = Node::start(&["--auth", "jwt", "--jwt-key", &file, "--jwt-algorithm", name]);
        let claims = json!({"exp": now() + 60, "fantail": {"subscribe": ["a"]}});
        let sign = |message: &[u8]| ring::hmac::sign(&ring::hmac::Key::new(hash, SECRET), message).as_ref().to_vec();
        assert_eq!(status(&node, &token(&json!({ "alg": name }), &claims, sign)), 200);
        assert_eq!(status(&node, &subscriber(&["a"])), 401, "HS256 is another algorithm");
    }
}

#[test]
fn files_are_read_again_when_they_change() {
    let folder = Folder::new();
    let (old, new) = (Pair::p256(), Pair::ed25519());
    let file = folder.write("keys.pem", old.pem());
    let node = Node::start(&["--auth", "jwt", "--jwt-key", &file]);
    let (old_token, new_token) = (old.token("ES256", None), new.token("EdDSA", None));
    assert_eq!((status(&node, &old_token), status(&node, &new_token)), (200, 401));
    folder.write("keys.pem", new.pem() + &old.pem());
    eventually("the new key is taken", || status(&node, &new_token) == 200);
    assert_eq!(status(&node, &old_token), 200);
    folder.write("keys.pem", new.pem());
    eventually("the old key is dropped", || status(&node, &old_token) == 401);
    folder.write("keys.pem", "nonsense");
    node.metric_becomes("fantail_auth_key_reads_total{outcome=\"failed\"}", 1.0);
    node.logs(&["keys for tokens cannot be read", "keys.pem"]);
    assert_eq!(status(&node, &new_token), 200, "the last good ones are kept");
    std::fs::remove_file(&file).expect("it was there");
    node.metric_becomes("fantail_auth_key_reads_total{outcome=\"failed\"}", 2.0);
    assert_eq!(status(&node, &new_token), 200);
}

#[test]
fn a_key_server_rotates_and_fails() {
    let (old, new) = (Pair::p256(), Pair::p384());
    let named = |pair: &Pair, kid: &str| with(pair.jwk(), json!({ "kid": kid }));
    let server = Web::start();
    server.answers(200, "application/json", &set(&[named(&old, "old")]));
    let node = Node::start(&["--auth", "jwt", "--jwt-jwks-url", &server.url("/keys"), "--jwt-refresh", "1h"]);
    eventually("the keys are there", || node.page("/readyz").head.status == 200);
    let (old_token, new_token) = (old.token("ES256", Some("old")), new.token("ES384", Some("new")));
    assert_eq!(status(&node, &old_token), 200);
    server.answers(200, "application/json", &set(&[named(&old, "old"), named(&new, "new")]));
    // Unknown ids cause a fetch, but not each of them.
    let before = server.asked();
    eventually("the unknown key is fetched", || status(&node, &new_token) == 200);
    for n in 0..200 {
        assert_eq!(status(&node, &old.token("ES256", Some(&format!("x{n}")))), 401);
    }
    assert!(server.asked() - before <= 4, "{} fetches", server.asked() - before);
    server.answers(500, "text/plain", "no");
    eventually("a fetch has failed", || {
        status(&node, &old.token("ES256", Some("unknown")));
        node.metric("fantail_auth_key_reads_total{outcome=\"failed\"}") >= 1.0
    });
    assert_eq!((status(&node, &old_token), status(&node, &new_token)), (200, 200), "the last good ones are kept");
}

#[test]
fn without_keys_nobody_comes_in_and_readiness_says_so() {
    let server = Web::start();
    server.answers(200, "application/json", "{\"keys\":[]}");
    let pair = Pair::p256();
    let url = server.url("/");
    let node = Node::start(&["--auth", "jwt", "--jwt-jwks-url", &url]);
    let token = pair.token("ES256", None);
    let (name, value) = bearer(&token);
    node.ask("GET", "/events/a", &[(name, &value)], "").problem(503, "auth_down");
    assert!(node.page("/readyz").text().contains("no keys"));
    let patient =
        Node::start(&["--auth", "jwt", "--jwt-jwks-url", &url, "--when-full", "retry", "--retry", "10ms..10ms"]);
    let mut stream = crate::support::stream::Stream::open(patient.listen, "/events/a", &[(name, &value)]);
    assert_eq!(stream.finish().1.len(), 0, "it is told to come back, and gets nothing");
    server.answers(200, "application/json", &set(&[pair.jwk()]));
    eventually("the keys are there", || node.page("/readyz").head.status == 200);
    assert_eq!(status(&node, &token), 200);
}

#[test]
fn what_cannot_be_used_is_named_at_start_and_by_check() {
    let folder = Folder::new();
    let good = folder.write("good", SECRET);
    let server = Web::start();
    server.answers(
        200,
        "application/json",
        &set(&[json!({"kty": "oct", "k": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE"})]),
    );
    for (flags, part) in [
        (vec!["--jwt-key", "/nonexistent/key"], "--jwt-key /nonexistent/key: No such file"),
        (vec!["--jwt-key", &folder.write("short", "short")], "5 bytes; HS256 needs 32"),
        (vec!["--jwt-key", &good, "--jwt-algorithm", "ES256"], "not ES256"),
        (vec!["--jwt-key", &folder.write("private.pem", include_str!("../support/rsa.pem"))], "it is a private key"),
        (vec!["--jwt-jwks-url", &server.url("/k")], "a shared secret"),
        (vec!["--jwt-jwks-url", "http://127.0.0.1:1/"], "Connection refused"),
        (vec!["--jwt-jwks-url", "https://127.0.0.1:1/", "--auth-ca", "/nonexistent/ca"], "--auth-ca /nonexistent/ca"),
    ] {
        let output = program::fantail().args(["check", "--auth", "jwt"]).args(&flags).output().expect("the binary");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with("FAIL  auth: ")).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains(part) && output.status.code() == Some(1), "{line}");
    }
    let output = program::fantail()
        .args(["serve", "--auth", "jwt", "--jwt-key", "/nonexistent/key", "--listen", "127.0.0.1:0"])
        .output()
        .expect("the binary");
    assert!(String::from_utf8_lossy(&output.stderr).contains("fantail: --jwt-key /nonexistent/key"), "{output:?}");
}
