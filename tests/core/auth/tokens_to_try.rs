//! `fantail token`: what it prints is taken by nodes, and the banner's lines work as they are.

use super::bearer;
use crate::support::jwt::{Folder, Pair, SECRET};
use crate::support::node::Node;
use crate::support::program;
use crate::support::stream::Stream;
use fantail::banner::banner;
use fantail::command::settings_of;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    program::fantail().args(arguments).output().expect("the binary")
}

/// What `fantail token` prints.
fn printed(arguments: &[&str]) -> String {
    let output = run(&[&["token"], arguments].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

fn status(node: &Node, target: &str, token: &str) -> u16 {
    let (name, value) = bearer(token);
    node.ask("HEAD", target, &[(name, &value)], "").head.status
}

#[test]
fn a_token_grants_what_was_asked_for_until_it_ends() {
    let folder = Folder::new();
    let key = folder.write("secret", SECRET);
    let names = ["--jwt-issuer", "https://i", "--jwt-audience", "events", "--claim-subscribe", "may.read"];
    let node = Node::start(&[&["--auth", "jwt", "--jwt-key", &key, "--token-expiring", "0s"][..], &names].concat());
    let asked = ["--key", &key, "--sub", "ann", "--subscribe", "user.{sub}.**,news.*", "--publish", "chat"];
    let token = printed(&[&asked[..], &names].concat());
    assert_eq!(["/events/user.ann.in", "/events/news.1"].map(|target| status(&node, target, &token)), [200, 200]);
    assert_eq!(["/events/user.bob.in", "/events/chat"].map(|target| status(&node, target, &token)), [403, 403]);
    let (name, value) = bearer(&token);
    assert_eq!(node.ask("POST", "/events/chat", &[(name, &value)], "x").head.status, 201);
    let short = printed(&[&asked[..], &names, &["--ttl", "2s"]].concat());
    let (name, value) = bearer(&short);
    let mut stream = Stream::open(node.listen, "/events/news.1", &[(name, &value)]);
    assert_eq!(stream.finish().1.last().map(|message| message.event.as_str()), Some("fantail.expired"));
}

#[test]
fn every_kind_of_key_signs() {
    let folder = Folder::new();
    let secret = std::str::from_utf8(SECRET).expect("text");
    let jwk = json!({"kty": "oct", "alg": "HS384", "k": "YSBzZWNyZXQgb2Ygc2l4dHktZm91ciBieXRlcywgc28gdGhhdCBpdCBpcyBsb25nIGVub3VnaCE"});
    let mut files = vec![(folder.write("secret", SECRET), None), (folder.write("secret.json", jwk.to_string()), None)];
    for (name, arguments) in [
        ("rsa", &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..]),
        ("p256", &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ("p384", &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        ("ed25519", &["ED25519"]),
    ] {
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).output().expect("openssl");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let private = folder.write(name, openssl(&[&["genpkey", "-algorithm"], arguments].concat()));
        let public = folder.write(&format!("{name}.pub"), openssl(&["pkey", "-pubout", "-in", &private]));
        files.push((private, Some(public)));
    }
    for (private, public) in &files {
        let node = Node::start(&["--auth", "jwt", "--jwt-key", public.as_ref().unwrap_or(private)]);
        assert_eq!(status(&node, "/events/a", &printed(&["--key", private, "--subscribe", "a"])), 200, "{private}");
    }
    let pss = printed(&["--key", &files[2].0, "--subscribe", "a", "--jwt-algorithm", "PS512"]);
    let node = Node::start(&["--auth", "jwt", "--jwt-key", files[2].1.as_ref().unwrap(), "--jwt-algorithm", "PS512"]);
    assert_eq!(status(&node, "/events/a", &pss), 200);
    for (file, why) in [
        (
            folder.write("public", Pair::p256().pem()),
            "it is a public key, which verifies tokens: the private one signs",
        ),
        (folder.write("short", "12345"), "the secret has 5 bytes; HS256 needs 32"),
        (folder.path().join("none").display().to_string(), "No such file"),
        (
            folder.write("broken", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "no private key of RSA",
        ),
    ] {
        let output = run(&["token", "--key", &file, "--subscribe", "a"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with(&format!("fantail: --key {file}: ")) && said.contains(why), "{said}");
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true));
        assert!(!said.contains(secret) && !said.contains("12345\""), "{said}");
    }
}

#[test]
fn the_banners_lines_work_as_they_are() {
    let folder = Folder::new();
    let key = folder.write("a secret", SECRET);
    let flags = ["--auth", "jwt", "--jwt-key", &key, "--jwt-issuer", "https://i", "--heartbeat", "1s"];
    let node = Node::start(&flags);
    let settings = settings_of(&flags).expect("good flags");
    let text = banner(&settings, &[node.listen], node.admin, "memory", Some("memory"));
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("  curl ")).collect();
    let [subscribe, publish] = lines[..] else { panic!("two lines: {text}") };
    let binary = Path::new(env!("CARGO_BIN_EXE_fantail")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let run = |line: &str| {
        let output = Command::new("sh").args(["-c", line]).env("PATH", &path).output().expect("sh");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let answer = run(publish);
    assert!(serde_json::from_str::<Value>(&answer).is_ok_and(|answer| answer["id"].is_string()), "{answer}");
    assert_eq!(run(&format!("{subscribe}?since=earliest | grep -m 1 hello")), "data: hello\n");
}
