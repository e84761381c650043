//! A proxy beyond the four, as `docs/proxies` has it, before one node or two.

use crate::far_kinds::{FAR, Far, Front};
use crate::site::{free_port, replace, run};
use crate::support::authority::Authority;
use crate::support::client::Connection;
use crate::support::node::{Node, eventually, within};
use crate::support::raw::{Raw, trusting};
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use rustix::process::{Pid, Signal, kill_process};
use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::time::Duration;

/// A proxy that runs.
pub struct FarSite {
    pub far: &'static Far,
    pub nodes: Vec<Node>,
    pub address: SocketAddr,
    authority: Authority,
    child: Child,
}

impl FarSite {
    /// Before one node.
    pub fn start(name: &str, flags: &[&str]) -> FarSite {
        FarSite::before(name, flags, |flags| vec![Node::start(flags)])
    }

    /// Before two nodes of a cluster, or one where it knows no more.
    pub fn pair(name: &str, flags: &[&str], redis: &Redis) -> FarSite {
        FarSite::before(name, flags, |flags| (0..2).map(|_| Node::on(redis, flags)).collect())
    }

    fn before(name: &str, flags: &[&str], nodes: impl Fn(&[&str]) -> Vec<Node>) -> FarSite {
        let far = FAR.iter().find(|far| far.name == name).expect("a known proxy");
        let authority = Authority::new(&format!("far-{name}-{}", fastrand::u32(..)));
        let nodes = nodes(&[&["--trusted-proxies", "127.0.0.1"], far.flags, flags].concat());
        let address = free_port();
        // They run as users of their own.
        std::fs::set_permissions(&authority.folder, std::fs::Permissions::from_mode(0o777)).expect("an own folder");
        let (certificate, key) = (authority.file("server.pem"), authority.file("server.key"));
        let both = [&certificate, &key].map(|path| std::fs::read_to_string(path).expect("a file")).concat();
        std::fs::write(authority.file("both.pem"), both).expect("a file");
        let listen: Vec<SocketAddr> = nodes.iter().map(|node| node.listen).collect();
        let file = authority.folder.join("proxy.conf");
        std::fs::write(&file, configured(far, &authority, address, &listen)).expect("a file");
        let child = run((far.start)(&authority.folder, &file, address, &listen), &authority.folder);
        let site = FarSite { far, nodes, address, authority, child };
        eventually("the proxy", || site.takes_connections());
        site
    }

    /// hitch listens for a moment to see whether it may, stops, and listens for good in another process. So TLS begins once, too.
    fn takes_connections(&self) -> bool {
        let Ok(socket) = TcpStream::connect(self.address) else { return false };
        let trust = || trusting(&self.authority, &["http/1.1"], &[TLSv1_2, TLSv1_3]);
        self.far.front == Front::Plain || Raw::secure(socket, trust()).is_ok()
    }

    /// A browser's connection.
    pub fn open(&self) -> Connection {
        self.secured(Connection::open(self.address))
    }

    /// A browser's connection over a socket of its own.
    pub fn secured(&self, connection: Connection) -> Connection {
        let trust = |protocol| trusting(&self.authority, &[protocol], &[TLSv1_2, TLSv1_3]);
        match self.far.front {
            Front::Plain => connection,
            Front::Tls => connection.secure(trust("http/1.1")),
            Front::Http2 => connection.secure(trust("h2")).http2(),
        }
    }

    pub fn subscribe(&self, target: &str, headers: &[(&str, &str)]) -> Stream {
        Stream::on(self.open(), target, headers).begun()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.authority.folder.join("proxy.log")).unwrap_or_default()
    }
}

/// Its configuration with addresses and files of the test in place of those that are shown.
fn configured(far: &Far, authority: &Authority, address: SocketAddr, nodes: &[SocketAddr]) -> String {
    let paired: Vec<String> = far.configuration.lines().map(|line| second(line, nodes.len() > 1)).collect();
    let folder = authority.folder.display().to_string();
    let marked = replace(
        &paired.join("\n"),
        &[
            ("8443", "@FRONT@"),
            ("8000", "@FRONT@"),
            ("8080", "@ONE@"),
            ("8081", "@TWO@"),
            ("/etc/fantail/tls.crt", &authority.file("server.pem")),
            ("/etc/fantail/tls.key", &authority.file("server.key")),
            ("/etc/fantail/tls.pem", &authority.file("both.pem")),
            ("/var/log/apache2/error.log", "/dev/stderr"),
            ("/run/apache2", &folder),
            ("/run/squid.pid", &format!("{folder}/squid.pid")),
            ("/var/log/squid/cache.log", &format!("stdio:{folder}/proxy.log")),
            ("server.errorlog = \"/var/log/lighttpd/error.log\"", ""),
            ("/var/empty", &folder),
        ],
    );
    let port = |at: usize| nodes.get(at).map_or(String::new(), |node| node.port().to_string());
    let ports = [("@FRONT@", address.port().to_string()), ("@ONE@", port(0)), ("@TWO@", port(1))];
    ports.iter().fold(marked, |text, (mark, port)| text.replace(mark, port)) + "\n"
}

/// A line that is there for a second node, if there is one.
fn second(line: &str, pair: bool) -> String {
    let comment = line.trim_start();
    let of_second = comment.contains("10.0.0.2") || comment.contains("add_backend(two)");
    match comment.strip_prefix("# ").or(comment.strip_prefix("; ")) {
        Some(inside) if pair && of_second && !inside.contains('`') => {
            inside.replace("10.0.0.2", "127.0.0.1").replace("8080", "8081")
        }
        _ => line.to_owned(),
    }
}

impl Drop for FarSite {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.far.name, self.log());
        }
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        if !within(Duration::from_secs(5), || matches!(self.child.try_wait(), Ok(Some(_)))) {
            let _ = (self.child.kill(), self.child.wait());
        }
    }
}
