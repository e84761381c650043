//! TLS and credentials to Redis: who is trusted, who is not, and what `fantail check` says of it.

use crate::redis::{PATIENCE, ask, channel, linked};
use crate::support::authority::Authority;
use crate::support::node::{Node, eventually};
use crate::support::program;
use crate::support::redis::Redis as Server;
use crate::support::topology::{Cluster, Sentinels};
use fantail::backplane::redis::access::Access;
use fantail::backplane::redis::{Redis, Settings, survey};
use fantail::backplane::{Backplane, Link, Publication};
use fantail::banner::banner;
use fantail::command::settings_of;
use fantail::position::Position;
use std::path::Path;
use std::process::Command;
use tokio::runtime::Handle;

/// Primary and replica that speak TLS and want passwords, and the sentinel.
struct Watched {
    primary: Server,
    primary_port: u16,
    replica: Server,
    replica_port: u16,
    sentinel: Server,
    port: u16,
}

impl Watched {
    fn start(ours: &Authority) -> Watched {
        let secret =
            ["--tls-replication", "yes", "--tls-auth-clients", "no", "--requirepass", "data", "--masterauth", "data"];
        let (primary, primary_port) =
            Server::start_tls(&ours.folder, &[&secret[..], &["--repl-diskless-sync-delay", "0"]].concat());
        let (replica, replica_port) = Server::start_tls(
            &ours.folder,
            &[&secret[..], &["--replicaof", "127.0.0.1", &primary_port.to_string()]].concat(),
        );
        let lines = "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 4000\n\
                     sentinel auth-pass main data\nrequirepass boss\nuser watcher on >watch allchannels ~* +@all";
        let (sentinel, port) = Server::start_tls_sentinel(&ours.folder, primary_port, lines);
        let all = Watched { primary, primary_port, replica, replica_port, sentinel, port };
        eventually("a replica that the sentinel knows", || {
            let replies = all.sentinel.pipeline(&[&["AUTH", "boss"], &["SENTINEL", "REPLICAS", "main"]]);
            let linked = all.replica.pipeline(&[&["AUTH", "data"], &["INFO", "replication"]]);
            !replies[1].list().is_empty() && linked[1].text().contains("master_link_status:up")
        });
        all
    }
}

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
    let greeted = trouble(&format!("redis://127.0.0.1:{port}")).await;
    assert!(greeted.contains("does this port want TLS? rediss://"), "{greeted}");
    let missing = trouble(&format!("rediss://127.0.0.1:{port}?ca=/nonexistent.pem")).await;
    assert!(missing.contains("/nonexistent.pem"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_rotated_in_its_file() {
    let server = Server::start_with(&["--requirepass", "one"]);
    let folder = Authority::new("password");
    let file = folder.folder.join("password");
    write(&file, "one");
    let settings = Settings {
        access: Access { password_file: Some(file.clone()), ..Access::default() },
        ..Settings::new(&server.url())
    };
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

#[test]
fn sentinels_behind_tls_with_a_user_of_their_own() {
    let ours = Authority::new("sentinels");
    let watched = Watched::start(&ours);
    let (ca, data, watch) = (ours.file("ca.pem"), ours.file("data"), ours.file("watch"));
    write(Path::new(&data), "data");
    write(Path::new(&watch), "watch");
    let url = format!("rediss-sentinel://127.0.0.1:{}/main", watched.port);
    let flags = ["--redis", &url, "--redis-ca", &ca, "--redis-password-file", &data];
    let flags =
        [&flags[..], &["--redis-sentinel-username", "watcher", "--redis-sentinel-password-file", &watch]].concat();
    let node = Node::start(&flags);
    node.metric_becomes("fantail_backplane_up", 1.0);
    let mut stream = node.subscribe("/events/a").begun();
    let publish = |data: &str| {
        let mut command = program::fantail();
        let output = command.arg("publish").args(&flags).args(["a", data]).output().expect("the binary");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    publish("1");
    assert_eq!(stream.next().data, "1");
    // What is in the URL counts as well, for both.
    let inline = format!(
        "rediss-sentinel://:data@127.0.0.1:{}/main?ca={ca}&sentinel_user=watcher&sentinel_password=watch",
        watched.port
    );
    assert!(check(&["--redis", &inline]).0);
    let (works, said) = check(&[&flags[..4], &["--redis-password-file", &data]].concat());
    assert!(!works && said.contains("the sentinels want a password of their own"), "{said}");
    let (works, said) = check(&[&flags[..4], &flags[6..]].concat());
    assert!(!works && said.contains("the server wants a password"), "{said}");
    eventually("the event on the replica, which may follow later", || {
        let replies = watched.replica.pipeline(&[&["AUTH", "data"], &["EXISTS", "sse:a"]]);
        replies[1].number() == 1
    });
    watched.primary.stop();
    node.logs(&["redis: connected", "at 127.0.0.1:"]);
    node.metric_becomes("fantail_backplane_up", 0.0);
    node.metric_becomes("fantail_backplane_up", 1.0);
    publish("2");
    assert_eq!(stream.next().data, "2");
    let log = node.log();
    assert!(!log.contains("data@") && !log.contains("watch@"), "{log}");
}

/// A replica is reached as its primary is: by TLS and with the same password, whoever names it. One that wants another password
/// is not read, which is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_behind_tls_with_the_password_of_its_primary() {
    let ours = Authority::new("replica");
    let watched = Watched::start(&ours);
    let (ca, replica) = (ours.file("ca.pem"), format!("127.0.0.1:{}", watched.replica_port));
    let plain = format!("rediss://:data@127.0.0.1:{}?ca={ca}&read=replica&replica={replica}", watched.primary_port);
    let sentinel = format!(
        "rediss-sentinel://:data@127.0.0.1:{}/main?ca={ca}&sentinel_user=watcher&sentinel_password=watch&read=replica",
        watched.port
    );
    let reads = |node: &Redis| node.facts().reads.first().cloned();
    for (url, name) in [(&plain, "plain"), (&sentinel, "sentinel")] {
        let node = Redis::start(Settings::new(url), &Handle::current()).unwrap();
        linked(&node, Link::Up, PATIENCE).await;
        let is_read = || reads(&node).is_some_and(|read| read.replica.as_ref() == Some(&replica));
        eventually("the replica is read", || *node.link().borrow() == Link::Up && is_read());
        let publication = Publication::new(channel(name), vec![("data".into(), "1".into())]);
        let id = node.append(vec![publication]).await.unwrap().remove(0).unwrap();
        eventually("the event on the replica", || {
            let replies = watched.replica.pipeline(&[&["AUTH", "data"], &["EXISTS", &format!("sse:{name}")]]);
            replies[1].number() == 1
        });
        let read = node.read(vec![ask(name, Position::ZERO)]).await.unwrap().remove(0).unwrap();
        assert_eq!(read.iter().map(|entry| entry.position).collect::<Vec<_>>(), [id]);
    }
    watched.replica.pipeline(&[&["AUTH", "data"], &["CONFIG", "SET", "requirepass", "other"]]);
    let node = Redis::start(Settings::new(&plain), &Handle::current()).unwrap();
    linked(&node, Link::Up, PATIENCE).await;
    let read = reads(&node).expect("replicas are to be read");
    assert_eq!(read.replica, None);
    let why = read.why.unwrap_or_default();
    assert!(why.contains(&replica) && why.contains("WRONGPASS") && !why.contains("data"), "{why}");
}

/// `fantail check`: whether a node would work, and what is said.
fn check(flags: &[&str]) -> (bool, String) {
    let output = program::fantail().arg("check").args(flags).output().expect("the binary");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_behind_tls() {
    let ours = Authority::new("cluster");
    let own = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--tls-cluster", "yes"];
    let arguments = [&own[..], &["--tls-auth-clients", "yes", "--tls-replication", "yes"]].concat();
    let servers: Vec<(Server, u16)> = (0..3).map(|_| Server::start_tls(&ours.folder, &arguments)).collect();
    let (ca, cert, key) = (ours.file("ca.pem"), ours.file("client.pem"), ours.file("client.key"));
    let hosts: Vec<String> = servers.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
    let mut create = Command::new("redis-cli");
    create.args(["--tls", "--cacert", &ca, "--cert", &cert, "--key", &key, "--cluster-yes", "--cluster", "create"]);
    let output = create.args(&hosts).output().expect("redis-cli is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let whole = |server: &Server| server.command(&["CLUSTER", "INFO"]).text().contains("cluster_state:ok");
    eventually("a cluster that is whole", || servers.iter().all(|(server, _)| whole(server)));
    let url = format!("rediss-cluster://{}?ca={ca}&cert={cert}&key={key}", hosts[0]);
    let node = Redis::start(Settings::new(&url), &Handle::current()).unwrap();
    linked(&node, Link::Up, PATIENCE).await;
    eventually("three shards", || node.facts().shards.iter().filter(|shard| shard.up).count() == 3);
    let names: Vec<String> = (0..30).map(|i| format!("c{i}")).collect();
    let publication = |name: &String| Publication::new(channel(name), vec![("data".into(), name.clone().into())]);
    let ids = node.append(names.iter().map(publication).collect()).await.unwrap();
    let read = node.read(names.iter().map(|name| ask(name, Position::ZERO)).collect()).await.unwrap();
    for ((id, read), name) in ids.into_iter().zip(read).zip(&names) {
        let entry = &read.unwrap()[0];
        assert_eq!((entry.position, entry.fields[0].1.as_ref()), (id.unwrap(), name.as_bytes()));
    }
    let found = survey(Settings::new(&url), true).await.unwrap().unwrap();
    assert!(found.shards.len() == 3 && found.shards.iter().all(|(_, trouble)| trouble.is_none()), "{found:?}");
    let without = trouble(&format!("rediss-cluster://{}?ca={ca}", hosts[0])).await;
    assert!(without.contains("the server wants a client certificate"), "{without}");
}

/// The line of the banner that publishes works as it is, but for the password.
#[test]
fn the_banner_says_how_to_publish() {
    let (server, ours) = (Server::start(), Authority::new("banner"));
    let (secure, tls) = Server::start_tls(&ours.folder, &["--tls-auth-clients", "no", "--requirepass", "PASSWORD"]);
    let (sentinels, cluster) = (Sentinels::start(), Cluster::start());
    let urls = [
        server.url(),
        format!("unix:{}?db=2", server.socket().display()),
        format!("rediss://:PASSWORD@127.0.0.1:{tls}?ca={}", ours.file("ca.pem")),
        sentinels.url(),
        cluster.url(),
    ];
    for url in urls {
        let settings = settings_of(&["--redis", &url]).unwrap();
        let listen = ["127.0.0.1:8080".parse().unwrap()];
        let text = banner(&settings, &listen, "127.0.0.1:9090".parse().unwrap(), "redis", None);
        let line = text.lines().last().unwrap();
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.trim().parse::<Position>().is_ok(), "{line}\n{said}{}", String::from_utf8_lossy(&output.stderr));
    }
    drop(secure);
}
