//! Sets of keys as key servers have them: with keys that are of no use here, and with many.

use super::bearer;
use crate::support::client::Connection;
use crate::support::jwt::{Folder, Pair, SECRET, hs256, now, signed, token};
use crate::support::node::{Node, eventually};
use crate::support::program;
use crate::support::stream::Stream;
use crate::support::web::Web;
use serde_json::{Value, json};

fn status(node: &Node, token: &str) -> u16 {
    let (name, value) = bearer(token);
    node.ask("HEAD", "/events/a", &[(name, &value)], "").head.status
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

#[test]
fn a_key_that_cannot_be_used_takes_no_other_key_away() {
    let good = Pair::p256();
    let mut small = Pair::rsa().jwk();
    small["n"] = json!("AQAB");
    small["kid"] = json!("small");
    let secret = json!({"kty": "oct", "kid": "secret", "k": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE"});
    let keys = set(&[small.clone(), secret, json!({"kty": "AKP", "alg": "ML-DSA-65", "pub": "x"}), good.jwk()]);
    let server = Web::start();
    server.answers(200, "application/json", &keys);
    let node = Node::start(&["--auth", "jwt", "--jwt-jwks-url", &server.url("/keys")]);
    eventually("the keys are there", || node.page("/readyz").head.status == 200);
    assert_eq!(status(&node, &good.token("ES256", None)), 200);
    assert_eq!((node.metric("fantail_auth_keys"), node.metric("fantail_auth_keys_skipped")), (1.0, 2.0));
    node.logs(&["cannot be used", "small", "bits"]);
    node.logs(&["cannot be used", "secret"]);
    assert!(!node.log().contains("QUFB"), "what is secret is not said");
    let output = program::fantail()
        .args(["check", "--auth", "jwt", "--jwt-jwks-url", &server.url("/keys")])
        .output()
        .expect("the binary");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.lines().any(|line| line.starts_with("warn") && line.contains("small")), "{text}");
    // The same in a file.
    let folder = Folder::new();
    let keys = set(&[small, good.jwk()]);
    let by_file = Node::start(&["--auth", "jwt", "--jwt-key", &folder.write("keys.json", keys)]);
    assert_eq!(status(&by_file, &good.token("ES256", None)), 200);
}

#[test]
fn a_token_without_kid_is_tried_with_every_key() {
    let (last, folder) = (Pair::p256(), Folder::new());
    let mut keys: Vec<Value> = (0..99).map(|_| Pair::p256().jwk()).collect();
    keys.push(last.jwk());
    for (n, key) in keys.iter_mut().enumerate() {
        key["kid"] = json!(n.to_string());
    }
    let node = Node::start(&["--auth", "jwt", "--jwt-key", &folder.write("keys.json", set(&keys))]);
    assert_eq!(node.metric("fantail_auth_keys"), 100.0);
    assert_eq!(status(&node, &last.token("ES256", None)), 200);
    assert_eq!(status(&node, &Pair::p256().token("ES256", None)), 401);
}

#[test]
fn connections_of_a_token_are_limited_without_a_subject() {
    let folder = Folder::new();
    let node = super::node(&folder, &[]);
    let limits = json!({"subscribe": ["a"], "limits": {"connections": 2}});
    let open = |token: &str| {
        let (name, value) = bearer(token);
        Stream::open(node.listen, "/events/a", &[(name, &value)]).begun()
    };
    let full = |token: &str| {
        let (name, value) = bearer(token);
        node.ask("GET", "/events/a", &[(name, &value)], "").problem(429, "too_many_connections");
    };
    // By its id, whichever of its copies comes.
    let by_id = [1, 2].map(|n| signed(json!({"jti": "t1", "exp": now() + 600 + n, "fantail": limits})));
    let streams = [open(&by_id[0]), open(&by_id[1])];
    full(&by_id[0]);
    // A subject of that name, and another token, have their own.
    drop(open(&signed(json!({"sub": "t1", "fantail": limits}))));
    drop(open(&signed(json!({"jti": "t2", "fantail": limits}))));
    // Without an id by itself.
    let bare = signed(json!({"exp": now() + 700, "fantail": limits}));
    let more = [open(&bare), open(&bare)];
    full(&bare);
    drop(open(&signed(json!({"exp": now() + 701, "fantail": limits}))));
    drop(streams);
    eventually("a place is free", || {
        let (name, value) = bearer(&by_id[0]);
        let mut connection = Connection::open(node.listen);
        connection.send_request("GET", "/events/a", &[(name, &value)], b"");
        connection.head().status == 200
    });
    drop(more);
    let none =
        token(&json!({"alg": "HS256"}), &json!({"exp": now() + 60, "fantail": {"subscribe": ["a"]}}), |message| {
            hs256(SECRET, message)
        });
    drop([open(&none), open(&none), open(&none)]);
}
