//! Caches as Debian has them, with the least that makes them one: nobody gets what was another client's.

use crate::site::{free_port, run};
use crate::support::client::Connection;
use crate::support::node::{Node, eventually, within};
use crate::support::stream::Stream;
use rustix::process::{Pid, Signal, kill_process};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

/// A cache that runs before a node.
struct Cache {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Cache {
    /// `text` is its configuration, with LISTEN, NODE and FOLDER to be filled in.
    fn start(name: &str, node: &Node, text: &str, command: impl Fn(&Path, &Path, SocketAddr) -> Command) -> Cache {
        let folder = std::env::temp_dir().join(format!("fantail-{name}-{}", fastrand::u64(..)));
        std::fs::create_dir(&folder).expect("a folder");
        // They run as users of their own.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).expect("an own folder");
        let (address, file) = (free_port(), folder.join("cache.conf"));
        let text = text
            .replace("LISTEN", &address.to_string())
            .replace("NODE_PORT", &node.listen.port().to_string())
            .replace("FOLDER", &folder.display().to_string());
        std::fs::write(&file, text).expect("a file");
        let child = run(command(&folder, &file, address), &folder);
        let cache = Cache { child, folder, address };
        eventually("the cache", || TcpStream::connect(address).is_ok());
        cache
    }

    fn open(&self) -> Connection {
        Connection::open(self.address)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.folder.join("proxy.log")).unwrap_or_default());
        }
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        if !within(Duration::from_secs(5), || matches!(self.child.try_wait(), Ok(Some(_)))) {
            let _ = (self.child.kill(), self.child.wait());
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn varnish(node: &Node) -> Cache {
    let text = "vcl 4.1;\nbackend default { .host = \"127.0.0.1\"; .port = \"NODE_PORT\"; }\n";
    Cache::start("varnish", node, text, |folder, file, address| {
        let mut command = Command::new("varnishd");
        command.args(["-F", "-s", "malloc,16m", "-a", &address.to_string(), "-n"]).arg(folder.join("state"));
        command.arg("-f").arg(file);
        command
    })
}

fn nginx(node: &Node) -> Cache {
    let text = "events {}\nhttp {\n  access_log off;\n  proxy_cache_path FOLDER/cache keys_zone=all:1m;\n  server {\n    listen LISTEN;\n    \
                location / {\n      proxy_pass http://127.0.0.1:NODE_PORT;\n      proxy_http_version 1.1;\n      proxy_cache all;\n      \
                proxy_cache_valid any 1m;\n    }\n  }\n}\n";
    Cache::start("nginx-cache", node, text, |folder, file, _| {
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(file)
            .args(["-g", "daemon off; pid nginx.pid; error_log stderr notice;"]);
        command
    })
}

fn squid(node: &Node) -> Cache {
    let text = "http_port LISTEN accel defaultsite=localhost no-vhost\ncache_peer 127.0.0.1 parent NODE_PORT 0 no-query originserver\n\
                http_access allow all\ncollapsed_forwarding on\ncache_mem 16 MB\npid_filename FOLDER/squid.pid\naccess_log none\n\
                cache_log stdio:FOLDER/proxy.log\ncoredump_dir FOLDER\nshutdown_lifetime 0 seconds\nmax_filedescriptors 1024\n";
    Cache::start("squid", node, text, |_, file, _| {
        let mut command = Command::new("squid");
        command.args(["-N", "-f"]).arg(file);
        command
    })
}

/// Two clients of one finished channel: one has had all of it, the other has not.
fn a_204_is_for_one_client(start: fn(&Node) -> Cache) {
    let node = Node::start(&["--heartbeat", "1s"]);
    let first = node.publish("/events/job", "1");
    let last = node.publish("/events/job?final=1", "2");
    let cache = start(&node);
    for _ in 0..2 {
        let over = cache.open().ask("GET", "/events/job", &[("Last-Event-ID", &last)], b"");
        assert_eq!((over.head.status, over.head.header("cache-control")), (204, Some("no-store")));
        let mut behind = Stream::on(cache.open(), "/events/job", &[("Last-Event-ID", &first)]);
        assert_eq!(behind.numbers(1), [2]);
        let options = cache.open().ask("OPTIONS", "/events/job", &[], b"").head;
        assert_eq!(options.header("cache-control"), Some("no-store"));
    }
}

/// Clients that ask for the same at once, each from where it was.
fn each_has_a_stream_of_its_own(start: fn(&Node) -> Cache) {
    const CLIENTS: usize = 8;
    let node = Node::start(&["--heartbeat", "1s"]);
    let ids: Vec<String> = (0..CLIENTS).map(|number| node.publish("/events/a", &number.to_string())).collect();
    let cache = start(&node);
    let asked: Vec<Connection> = ids
        .iter()
        .map(|id| {
            let mut connection = cache.open();
            connection.send_request("GET", "/events/a", &[("Last-Event-ID", id)], b"");
            connection
        })
        .collect();
    let mut streams: Vec<Stream> = asked.into_iter().map(Stream::answered).collect();
    node.metric_becomes("fantail_connections", CLIENTS as f64);
    node.publish("/events/a", &CLIENTS.to_string());
    for (number, stream) in streams.iter_mut().enumerate() {
        let expected: Vec<u64> = (number as u64 + 1..=CLIENTS as u64).collect();
        assert_eq!(stream.numbers(expected.len()), expected);
    }
}

#[test]
fn varnish_keeps_no_204_for_others() {
    a_204_is_for_one_client(varnish);
}

#[test]
fn nginx_that_keeps_any_answer_keeps_no_204_for_others() {
    a_204_is_for_one_client(nginx);
}

#[test]
fn squid_keeps_no_204_for_others() {
    a_204_is_for_one_client(squid);
}

#[test]
fn varnish_gives_nobody_the_stream_of_another() {
    each_has_a_stream_of_its_own(varnish);
}

#[test]
fn nginx_that_keeps_any_answer_gives_nobody_the_stream_of_another() {
    each_has_a_stream_of_its_own(nginx);
}

#[test]
fn squid_that_joins_requests_gives_nobody_the_stream_of_another() {
    each_has_a_stream_of_its_own(squid);
}
