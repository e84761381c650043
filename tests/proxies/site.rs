//! A proxy before nodes: started with the documented configuration, in which only addresses and files are replaced.

use crate::kinds::{PROXIES, Proxy};
use crate::support;
use crate::support::authority::Authority;
use crate::support::client::Connection;
use crate::support::node::{Node, eventually};
use crate::support::raw::trusting;
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A proxy that runs before a node.
pub struct Site {
    pub proxy: &'static Proxy,
    pub authority: Authority,
    pub nodes: Vec<Node>,
    /// Where browsers connect.
    pub address: SocketAddr,
    /// The same without TLS.
    pub plain: SocketAddr,
    pub file: PathBuf,
    pub child: Child,
    /// The process before a reload.
    before: Option<Child>,
}

impl Site {
    /// Before one node.
    pub fn start(name: &str, flags: &[&str]) -> Site {
        Site::new(name, flags, None, &[])
    }

    /// Before two nodes of a cluster; `changes` are made in the configuration.
    pub fn pair(name: &str, flags: &[&str], redis: &Redis, changes: &[(&str, &str)]) -> Site {
        Site::new(name, flags, Some(redis), changes)
    }

    /// `changes` are made in the configuration before addresses are.
    pub fn new(name: &str, flags: &[&str], redis: Option<&Redis>, changes: &[(&str, &str)]) -> Site {
        let proxy = PROXIES.iter().find(|proxy| proxy.name == name).expect("a known proxy");
        let authority = Authority::new(&format!("proxy-{name}-{}", fastrand::u32(..)));
        let flags = [&["--trusted-proxies", "127.0.0.1"], proxy.flags, flags].concat();
        let nodes: Vec<Node> = match redis {
            None => vec![Node::start(&flags)],
            Some(redis) => (0..2).map(|_| Node::on(redis, &flags)).collect(),
        };
        let (address, plain) = (free_port(), free_port());
        let text = (proxy.plain)(&replace(proxy.configuration, changes));
        let text = if redis.is_some() { (proxy.pair)(&text) } else { text };
        let (first, second) = (nodes[0].listen, nodes[nodes.len() - 1].listen);
        let (certificate, key) = (authority.file("server.pem"), authority.file("server.key"));
        let both = [&certificate, &key].map(|path| std::fs::read_to_string(path).expect("a file")).concat();
        std::fs::write(authority.file("both.pem"), both).expect("a file");
        let configuration = replace(
            &text,
            &[
                ("127.0.0.1:8080", &first.to_string()),
                ("127.0.0.1:8081", &second.to_string()),
                ("127.0.0.1:8443", &address.to_string()),
                ("127.0.0.1:8000", &plain.to_string()),
                // Any name: the tests' client has one of its own.
                ("localhost:8443", &format!(":{}", address.port())),
                ("localhost:8000", &format!(":{}", plain.port())),
                ("/etc/fantail/tls.crt", &certificate),
                ("/etc/fantail/tls.key", &key),
                ("/etc/fantail/tls.pem", &authority.file("both.pem")),
                ("/run/caddy/admin.sock", &authority.file("admin.sock")),
                // The same in YAML.
                ("127.0.0.1, port_value: 8080", &format!("127.0.0.1, port_value: {}", first.port())),
                ("127.0.0.1, port_value: 8081", &format!("127.0.0.1, port_value: {}", second.port())),
                ("127.0.0.1, port_value: 8443", &format!("127.0.0.1, port_value: {}", address.port())),
                ("127.0.0.1, port_value: 8000", &format!("127.0.0.1, port_value: {}", plain.port())),
            ],
        );
        // Envoy goes by the name.
        let file = authority.folder.join(if name == "envoy" { "proxy.yaml" } else { "proxy.conf" });
        std::fs::write(&file, configuration).expect("a file");
        let child = run((proxy.start)(&authority.folder, &file), &authority.folder);
        let site = Site { proxy, authority, nodes, address, plain, file, child, before: None };
        eventually("the proxy", || TcpStream::connect(address).is_ok() && TcpStream::connect(plain).is_ok());
        site
    }

    pub fn node(&self) -> &Node {
        &self.nodes[0]
    }

    pub fn folder(&self) -> &Path {
        &self.authority.folder
    }

    /// A browser's connection: TLS and HTTP/2.
    pub fn browser(&self) -> Connection {
        let config = trusting(&self.authority, &["h2", "http/1.1"], &[TLSv1_2, TLSv1_3]);
        Connection::open(self.address).secure(config).http2()
    }

    pub fn subscribe(&self, target: &str, headers: &[(&str, &str)]) -> Stream {
        let stream = Stream::on(self.browser(), target, headers).begun();
        assert_eq!(stream.head.version, "HTTP/2", "{}", self.proxy.name);
        stream
    }

    pub fn publish(&self, data: &str) {
        assert_eq!(self.browser().ask("POST", "/events/a", &[], data.as_bytes()).head.status, 201);
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.authority.folder.join("proxy.log")).unwrap_or_default()
    }

    pub fn reload(&mut self) {
        let before = self.log().matches(self.proxy.reloaded).count();
        if let Some(next) = (self.proxy.reload)(self) {
            // The old one lives on for its streams.
            self.before = Some(std::mem::replace(&mut self.child, next));
        }
        // A connection to what is about to go would be one that a client has to repeat.
        eventually("the reload", || self.log().matches(self.proxy.reloaded).count() > before);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.proxy.name, self.log());
        }
        for child in self.before.iter_mut().chain([&mut self.child]) {
            // Its own children go with it; it is killed where it does not.
            let _ =
                rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::TERM);
            let gone = support::node::within(Duration::from_secs(5), || matches!(child.try_wait(), Ok(Some(_))));
            if !gone {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

pub fn run(command: Command, folder: &Path) -> Child {
    let mut guarded = Command::new("setpriv");
    guarded.args(["--pdeathsig", "TERM"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        guarded.env(name, value.expect("a value"));
    }
    let log = std::fs::File::options().create(true).append(true).open(folder.join("proxy.log")).expect("a file");
    guarded.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
    guarded.spawn().expect("the proxy starts")
}

pub fn replace(text: &str, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}
