//! TLS and credentials to Redis: who is trusted, who is not, and what `fantail check` says of it.

use crate::redis::{PATIENCE, linked};
use crate::support::authority::Authority;
use crate::support::redis::Redis as Server;
use fantail::backplane::redis::{Redis, Settings, survey};
use fantail::backplane::{Backplane, Link};
use std::path::Path;
use tokio::runtime::Handle;

async fn trouble(url: &str) -> String {
    survey(Settings::new(url), true).await.unwrap().expect_err("it must not work").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_certificate_of_its_own() {
    let ours = Authority::new("mutual");
    let (_server, port) = Server::start_tls(&ours.folder, &["--tls-auth-clients", "yes", "--requirepass", "secret"]);
    let (ca, cert, key) = (ours.file("ca.pem"), ours.file("client.pem"), ours.file("client.key"));
    let url = format!("rediss://:secret@127.0.0.1:{port}?ca={ca}&cert={cert}&key={key}");
    let node = Redis::start(Settings::new(&url), &Handle::current()).unwrap();
    linked(&node, Link::Up, PATIENCE).await;
    assert_eq!(node.facts().follow, Some("tracking"));
    let without = trouble(&format!("rediss://:secret@127.0.0.1:{port}?ca={ca}")).await;
    assert!(without.contains("the server wants a client certificate"), "{without}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_trusted_is_told_apart() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (server, port) = Server::start_tls(&ours.folder, &["--tls-auth-clients", "no"]);
    let ca = ours.file("ca.pem");
    assert!(survey(Settings::new(&format!("rediss://127.0.0.1:{port}?ca={ca}")), true).await.unwrap().is_ok());
    let foreign = trouble(&format!("rediss://127.0.0.1:{port}?ca={}", theirs.file("ca.pem"))).await;
    assert!(foreign.contains("the certificate is not trusted"), "{foreign}");
    let renamed = trouble(&format!("rediss://localhost:{port}?ca={ca}")).await;
    assert!(renamed.contains("the certificate is for another name"), "{renamed}");
    let plain = trouble(&format!("rediss://127.0.0.1:{}?ca={ca}", server.port())).await;
    assert!(plain.contains("TLS"), "{plain}");
    let missing = trouble(&format!("rediss://127.0.0.1:{port}?ca=/nonexistent.pem")).await;
    assert!(missing.contains("/nonexistent.pem"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_rotated_in_its_file() {
    let server = Server::start_with(&["--requirepass", "one"]);
    let folder = Authority::new("password");
    let file = folder.folder.join("password");
    write(&file, "one");
    let settings = Settings { password_file: Some(file.clone()), ..Settings::new(&server.url()) };
    let node = Redis::start(settings.clone(), &Handle::current()).unwrap();
    linked(&node, Link::Up, PATIENCE).await;
    server.pipeline(&[&["AUTH", "one"], &["CONFIG", "SET", "requirepass", "two"]]);
    let refused = survey(settings, true).await.unwrap().unwrap_err().to_string();
    assert!(refused.contains("wrong user or password"), "{refused}");
    write(&file, "two\n");
    server.pipeline(&[&["AUTH", "two"], &["CLIENT", "KILL", "TYPE", "normal"]]);
    linked(&node, Link::Down, PATIENCE).await;
    linked(&node, Link::Up, PATIENCE).await;
    assert!(!format!("{:?}", node.facts()).contains("two"));
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
}
