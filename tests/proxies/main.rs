//! Real proxies in front of a node, each with the configuration that `docs/proxies` shows.
//!
//! Only addresses and files are replaced, so what is documented is what is tested.

#[path = "../core/support/mod.rs"]
mod support;

use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::authority::Authority;
use support::client::Connection;
use support::node::{Node, eventually};
use support::raw::trusting;
use support::stream::Stream;

/// A proxy and how it is run.
struct Proxy {
    name: &'static str,
    configuration: &'static str,
    /// What the node is told besides its trust.
    flags: &'static [&'static str],
    start: fn(&Path, &Path) -> Command,
    /// What it says when that is done.
    reloaded: &'static str,
    /// Makes a running one read its configuration anew; the process that goes on where it is another one.
    reload: fn(&Site) -> Option<Child>,
}

const PROXIES: [Proxy; 4] = [
    Proxy {
        name: "nginx",
        configuration: include_str!("../../docs/proxies/nginx.conf"),
        flags: &[],
        start: |folder, file| nginx(folder, file, &["-g", "daemon off; pid nginx.pid; error_log stderr notice;"]),
        reloaded: "gracefully shutting down",
        reload: |site| {
            let arguments = ["-g", "daemon off; pid nginx.pid; error_log stderr notice;", "-s", "reload"];
            assert!(nginx(site.folder(), &site.file, &arguments).status().expect("nginx").success());
            None
        },
    },
    Proxy {
        name: "haproxy",
        configuration: include_str!("../../docs/proxies/haproxy.cfg"),
        flags: &["--proxy-protocol"],
        start: |folder, file| {
            let mut command = Command::new("haproxy");
            command.args(["-W", "-db", "-S"]).arg(folder.join("master.sock")).arg("-f").arg(file);
            command
        },
        reloaded: "New worker",
        reload: |site| {
            // Its workers serve before its first process heeds signals, and one that comes too early is lost.
            eventually("an answer of the master", || {
                heeds(&site.folder().join("master.sock")).is_ok_and(|heeds| heeds)
            });
            let pid = rustix::process::Pid::from_child(&site.child);
            rustix::process::kill_process(pid, rustix::process::Signal::USR2).expect("an own child");
            None
        },
    },
    Proxy {
        name: "caddy",
        configuration: include_str!("../../docs/proxies/Caddyfile"),
        flags: &[],
        start: |folder, file| caddy(folder, file, "run"),
        reloaded: "load complete",
        reload: |site| {
            // By force, for nothing in the file has changed.
            let done = caddy(site.folder(), &site.file, "reload").arg("--force").output().expect("caddy");
            assert!(done.status.success(), "{done:?}");
            None
        },
    },
    Proxy {
        name: "envoy",
        configuration: include_str!("../../docs/proxies/envoy.yaml"),
        flags: &[],
        start: |folder, file| envoy(folder, file, 0),
        reloaded: "starting main dispatch loop",
        // Another process takes the sockets over, and ends the first one when its time is up.
        reload: |site| Some(run(envoy(site.folder(), &site.file, 1), site.folder())),
    },
];

/// Whether HAProxy's first process answers at its own socket.
fn heeds(socket: &Path) -> std::io::Result<bool> {
    let mut master = UnixStream::connect(socket)?;
    master.set_read_timeout(Some(support::node::PATIENCE))?;
    master.write_all(b"show version\n")?;
    // It answers on while more might be asked.
    master.shutdown(Shutdown::Write)?;
    Ok(master.read_to_string(&mut String::new())? > 0)
}

fn caddy(folder: &Path, file: &Path, what: &str) -> Command {
    let mut command = Command::new("caddy");
    command.args([what, "--adapter", "caddyfile", "--config"]).arg(file);
    command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    command
}

/// The first process of its kind, or the next one, which finds it by their number.
fn envoy(folder: &Path, file: &Path, epoch: u32) -> Command {
    let number = folder.to_string_lossy().bytes().fold(0, |sum: u32, byte| sum.wrapping_mul(31) + u32::from(byte));
    let (number, epoch) = ((number % 100_000_000).to_string(), epoch.to_string());
    let mut command = Command::new("envoy");
    command.args(["--base-id", &number, "--restart-epoch", &epoch, "--concurrency", "2"]);
    command.args(["--drain-time-s", "1", "--parent-shutdown-time-s", "3", "--config-path"]).arg(file);
    command
}

fn nginx(folder: &Path, file: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(file).args(arguments);
    command
}

/// A proxy that runs before a node.
struct Site {
    proxy: &'static Proxy,
    authority: Authority,
    node: Node,
    address: SocketAddr,
    file: PathBuf,
    child: Child,
    /// The process before a reload.
    before: Option<Child>,
}

impl Site {
    fn start(name: &str, flags: &[&str]) -> Site {
        let proxy = PROXIES.iter().find(|proxy| proxy.name == name).expect("a known proxy");
        let authority = Authority::new(&format!("proxy-{name}-{}", fastrand::u32(..)));
        let node = Node::start(&[&["--trusted-proxies", "127.0.0.1"], proxy.flags, flags].concat());
        let address = free_port();
        let (certificate, key) = (authority.file("server.pem"), authority.file("server.key"));
        let both = [&certificate, &key].map(|path| std::fs::read_to_string(path).expect("a file")).concat();
        std::fs::write(authority.file("both.pem"), both).expect("a file");
        let configuration = replace(
            proxy.configuration,
            &[
                ("127.0.0.1:8080", &node.listen.to_string()),
                ("127.0.0.1:8443", &address.to_string()),
                // Any name: the tests' client has one of its own.
                ("localhost:8443", &format!(":{}", address.port())),
                ("/etc/fantail/tls.crt", &certificate),
                ("/etc/fantail/tls.key", &key),
                ("/etc/fantail/tls.pem", &authority.file("both.pem")),
                ("/run/caddy/admin.sock", &authority.file("admin.sock")),
                // The same in YAML.
                ("127.0.0.1, port_value: 8080", &format!("127.0.0.1, port_value: {}", node.listen.port())),
                ("127.0.0.1, port_value: 8443", &format!("127.0.0.1, port_value: {}", address.port())),
            ],
        );
        // Envoy goes by the name.
        let file = authority.folder.join(if name == "envoy" { "proxy.yaml" } else { "proxy.conf" });
        std::fs::write(&file, configuration).expect("a file");
        let child = run((proxy.start)(&authority.folder, &file), &authority.folder);
        let site = Site { proxy, authority, node, address, file, child, before: None };
        eventually("the proxy", || TcpStream::connect(address).is_ok());
        site
    }

    fn folder(&self) -> &Path {
        &self.authority.folder
    }

    /// A browser's connection: TLS and HTTP/2.
    fn browser(&self) -> Connection {
        let config = trusting(&self.authority, &["h2", "http/1.1"], &[TLSv1_2, TLSv1_3]);
        Connection::open(self.address).secure(config).http2()
    }

    fn subscribe(&self, target: &str, headers: &[(&str, &str)]) -> Stream {
        let stream = Stream::on(self.browser(), target, headers).begun();
        assert_eq!(stream.head.version, "HTTP/2", "{}", self.proxy.name);
        stream
    }

    fn publish(&self, data: &str) {
        assert_eq!(self.browser().ask("POST", "/events/a", &[], data.as_bytes()).head.status, 201);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.authority.folder.join("proxy.log")).unwrap_or_default()
    }

    fn reload(&mut self) {
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

fn run(command: Command, folder: &Path) -> Child {
    let mut guarded = Command::new("setpriv");
    guarded.args(["--pdeathsig", "TERM"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        guarded.env(name, value.expect("a value"));
    }
    let log = std::fs::File::options().create(true).append(true).open(folder.join("proxy.log")).expect("a file");
    guarded.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
    guarded.spawn().expect("the proxy starts")
}

fn replace(text: &str, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

fn streams_as_they_come(name: &str) {
    let site = Site::start(name, &["--heartbeat", "1s"]);
    let mut streams: Vec<Stream> = (0..5).map(|_| site.subscribe("/events/a", &[])).collect();
    for number in 0..20_u64 {
        // The next event is published only when this one has come, so nothing is kept back for more.
        site.publish(&number.to_string());
        streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [number], "{name}"));
    }
    // A quiet stream lives on its heartbeats.
    let quiet = &mut streams[0];
    quiet.read_until("heartbeats", |stream| String::from_utf8_lossy(&stream.raw).matches("\n:\n\n").count() >= 3);
    site.publish("20");
    assert_eq!(quiet.numbers(1), [20]);
    drop(streams);
    site.node.metric_becomes("fantail_connections", 0.0);
}

/// Longer than any of the configurations lets a stream be silent, and than most proxies do of themselves.
fn a_long_quiet_stream_lives_on(name: &str) {
    let site = Site::start(name, &["--heartbeat", "10s"]);
    let mut stream = site.subscribe("/events/a", &[]);
    for count in 1..=8 {
        stream.read_until("a heartbeat", |stream| stream.parser.comments() >= count);
    }
    site.publish("1");
    assert_eq!(stream.numbers(1), [1], "{name}");
    assert_eq!(site.node.metric("fantail_connections"), 1.0, "{name}: nobody had to come back");
}

fn the_client_is_known(name: &str) {
    let site = Site::start(name, &["--max-connections-per-address", "2"]);
    let from = |client: &str| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let client: SocketAddr = format!("{client}:0").parse().expect("an address");
        socket.bind(&client.into()).expect("an address of this machine");
        socket.connect(&site.address.into()).expect("the proxy");
        let config = trusting(&site.authority, &["h2"], &[TLSv1_3]);
        Connection::of(socket.into()).secure(config).http2()
    };
    let one = Stream::on(from("127.0.0.2"), "/events/a", &[]).begun();
    // Who claims to be another is still himself.
    let forged = [("X-Forwarded-For", "203.0.113.99"), ("Forwarded", "for=203.0.113.99")];
    let two = Stream::on(from("127.0.0.2"), "/events/a", &forged).begun();
    let refused = from("127.0.0.2").ask("GET", "/events/a", &forged, b"");
    assert!(refused.problem(429, "too_many_connections").contains("127.0.0.2"), "{name}");
    let other = Stream::on(from("127.0.0.3"), "/events/a", &[]).begun();
    drop((one, two, other));
}

fn a_reload_costs_no_event(name: &str) {
    let mut site = Site::start(name, &[]);
    let mut stream = site.subscribe("/events/a", &[]);
    site.publish("1");
    assert_eq!(stream.numbers(1), [1]);
    let id = stream.last_event_id();
    site.reload();
    site.node.publish_behind_proxy("2", site.proxy.flags);
    eventually("the new proxy", || TcpStream::connect(site.address).is_ok());
    let mut resumed = site.subscribe("/events/a", &[("Last-Event-ID", &id)]);
    assert_eq!(resumed.numbers(1), [2], "{name}");
    site.publish("3");
    assert_eq!(resumed.numbers(1), [3], "{name}");
}

/// Publishing to the node itself, with what a proxy would say first.
trait BehindProxy {
    fn publish_behind_proxy(&self, data: &str, flags: &[&str]);
}

impl BehindProxy for Node {
    fn publish_behind_proxy(&self, data: &str, flags: &[&str]) {
        let mut connection = Connection::open(self.listen);
        if flags.contains(&"--proxy-protocol") {
            connection.send("PROXY UNKNOWN\r\n");
        }
        assert_eq!(connection.ask("POST", "/events/a", &[], data.as_bytes()).head.status, 201);
    }
}

macro_rules! proxies {
    ($($name:ident),*) => {$(
        mod $name {
            #[test]
            fn events_come_as_they_are_published_and_quiet_streams_live_on() {
                super::streams_as_they_come(stringify!($name));
            }

            #[test]
            fn a_stream_without_events_lives_on_for_eighty_seconds() {
                super::a_long_quiet_stream_lives_on(stringify!($name));
            }

            #[test]
            fn limits_count_the_client_and_not_the_proxy() {
                super::the_client_is_known(stringify!($name));
            }

            #[test]
            fn after_a_reload_clients_go_on_where_they_were() {
                super::a_reload_costs_no_event(stringify!($name));
            }
        }
    )*};
}

proxies!(nginx, haproxy, caddy, envoy);
