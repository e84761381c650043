//! TCP proxies between nodes and their Redis, as `docs/proxies` has them.

use crate::site::{free_port, replace, run};
use crate::support::authority::Authority;
use crate::support::node::{Node, eventually, within};
use crate::support::program;
use crate::support::redis::Redis;
use rustix::process::{Pid, Signal, kill_process};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

/// A proxy with its program and configuration.
struct Kind {
    name: &'static str,
    configuration: &'static str,
    tls: bool,
    start: fn(&PathBuf) -> Command,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "haproxy",
        configuration: include_str!("../../docs/proxies/redis-haproxy.cfg"),
        tls: false,
        start: |file| with("haproxy", &["-db", "-f"], file),
    },
    Kind {
        name: "stunnel",
        configuration: include_str!("../../docs/proxies/redis-stunnel.conf"),
        tls: true,
        start: |file| with("stunnel", &[], file),
    },
    Kind {
        name: "envoy",
        configuration: include_str!("../../docs/proxies/redis-envoy.yaml"),
        tls: false,
        start: |file| with("envoy", &["--use-dynamic-base-id", "--concurrency", "1", "--config-path"], file),
    },
];

fn with(program: &str, arguments: &[&str], file: &PathBuf) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg(file);
    command
}

/// A proxy that runs in front of servers.
struct Front {
    kind: &'static Kind,
    authority: Authority,
    address: SocketAddr,
    child: Option<Child>,
}

impl Front {
    /// `changes` are made in the configuration before addresses are.
    fn start(name: &str, servers: &[&Redis], changes: &[(&str, &str)]) -> Front {
        let kind = KINDS.iter().find(|kind| kind.name == name).expect("a known proxy");
        let authority = Authority::new(&format!("front-{name}-{}", fastrand::u32(..)));
        let (address, ports) = (free_port(), [0, servers.len() - 1].map(|at| servers[at].port().to_string()));
        let text = replace(
            &replace(kind.configuration, changes),
            &[
                ("6380", &address.port().to_string()),
                ("127.0.0.1:6379", &format!("127.0.0.1:{}", ports[0])),
                ("10.0.0.2:6379", &format!("127.0.0.1:{}", ports[1])),
                ("port_value: 6379", &format!("port_value: {}", ports[0])),
                ("/etc/fantail/tls.crt", &authority.file("server.pem")),
                ("/etc/fantail/tls.key", &authority.file("server.key")),
            ],
        );
        // Envoy goes by the name.
        std::fs::write(authority.folder.join("front.yaml"), text).expect("a file");
        let mut front = Front { kind, authority, address, child: None };
        front.run();
        front
    }

    fn run(&mut self) {
        let folder = &self.authority.folder;
        self.child = Some(run((self.kind.start)(&folder.join("front.yaml")), folder));
        eventually("the proxy", || TcpStream::connect(self.address).is_ok());
    }

    /// Without a word to anybody, as in a crash.
    fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let _ = (child.kill(), child.wait());
        eventually("it is gone", || TcpStream::connect(self.address).is_err());
    }

    fn flags(&self) -> Vec<String> {
        let scheme = if self.kind.tls { "rediss" } else { "redis" };
        let flags = ["--redis".to_owned(), format!("{scheme}://{}", self.address)];
        let ca = ["--redis-ca".to_owned(), self.authority.file("ca.pem")];
        flags.into_iter().chain(ca.into_iter().filter(|_| self.kind.tls)).collect()
    }

    fn node(&self, more: &[&str]) -> Node {
        Node::start(&self.flags().iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>())
    }

    /// What `fantail check` says, and its code.
    fn check(&self) -> (String, Option<i32>) {
        let flags = self.flags();
        let mut command = program::fantail();
        let output = command.arg("check").args(flags).args(["--publish", "on"]).output().expect("a program");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.authority.folder.join("proxy.log")).unwrap_or_default();
            eprintln!("log of {}:\n{log}", self.kind.name);
        }
        let Some(child) = &mut self.child else { return };
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
        if !within(Duration::from_secs(5), || matches!(child.try_wait(), Ok(Some(_)))) {
            let _ = (child.kill(), child.wait());
        }
    }
}

fn add(server: &Redis, number: u64) {
    server.command(&["XADD", "sse:a", "*", "data", &number.to_string()]);
}

/// The node follows by tracking; what was published while the proxy was away comes when it is back, once and in order.
pub fn a_killed_proxy_costs_nothing(name: &str) {
    let server = Redis::start();
    let mut front = Front::start(name, &[&server], &[]);
    let (said, code) = front.check();
    assert!(code == Some(0) && said.contains("ok    follow: tracking"), "{name}: {said}");
    let nodes = [front.node(&[]), front.node(&["--follow", "block"])];
    let mut streams = [0, 1].map(|at: usize| nodes[at].subscribe("/events/a").begun());
    for number in 0..10 {
        add(&server, number);
        streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [number], "{name}"));
    }
    for round in 1..=3_u64 {
        front.kill();
        (0..10).for_each(|number| add(&server, 10 * round + number));
        front.run();
        let expected: Vec<u64> = (10 * round..10 * round + 10).collect();
        streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(10), expected, "{name}"));
    }
}

/// For longer than the proxy lets a connection be silent.
pub fn quiet_connections_live_on() {
    std::thread::scope(|scope| {
        for kind in &KINDS {
            scope.spawn(|| {
                let server = Redis::start();
                let shorter = [("30s", "15s"), ("TIMEOUTidle = 30", "TIMEOUTidle = 15")];
                let front = Front::start(kind.name, &[&server], &shorter);
                let node = front.node(&["--heartbeat", "10s", "--publish", "on"]);
                let mut stream = node.subscribe("/events/a").begun();
                node.publish("/events/a", "1");
                assert_eq!(stream.numbers(1), [1], "{}", kind.name);
                for count in 1..=4 {
                    stream.read_until("a heartbeat", |stream| stream.parser.comments() >= count);
                }
                node.publish("/events/a", "2");
                assert_eq!(stream.numbers(1), [2], "{}", kind.name);
                assert_eq!(node.metric("fantail_backplane_reconnects_total"), 0.0, "{}", kind.name);
            });
        }
    });
}

/// Its primary dies, and its replica is made the primary: the proxy leads there, and nothing is lost that the replica has.
#[test]
fn haproxy_leads_to_the_new_primary() {
    let primary = Redis::start();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    eventually("a replica", || replica.command(&["INFO", "replication"]).text().contains("master_link_status:up"));
    let front = Front::start("haproxy", &[&primary, &replica], &[("# server two", "server two")]);
    let node = front.node(&[]);
    let mut stream = node.subscribe("/events/a").begun();
    (0..5).for_each(|number| add(&primary, number));
    assert_eq!(stream.numbers(5), [0, 1, 2, 3, 4]);
    eventually("the replica has it", || replica.command(&["XLEN", "sse:a"]).number() == 5);
    primary.stop();
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    (5..10).for_each(|number| add(&replica, number));
    assert_eq!(stream.numbers(5), [5, 6, 7, 8, 9]);
}

/// Envoy's other proxy reads commands, and knows too few.
#[test]
fn a_proxy_that_reads_commands_is_refused_by_check() {
    let server = Redis::start();
    let plain = KINDS[2].configuration;
    let from = plain.find("      - name: envoy.filters.network.tcp_proxy").expect("the filter");
    let filter = &plain[from..plain.find("  clusters:").expect("clusters")];
    let reading = "      - name: envoy.filters.network.redis_proxy
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy
          stat_prefix: redis
          settings: {op_timeout: 5s}
          prefix_routes: {catch_all_route: {cluster: redis}}\n";
    let front = Front::start("envoy", &[&server], &[(filter, reading)]);
    // It says that it is one of a cluster's, and then that it is not.
    for scheme in ["redis", "redis-cluster"] {
        let url = format!("{scheme}://{}", front.address);
        let output = program::fantail().args(["check", "--redis", &url]).output().expect("a program");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code() == Some(1) && said.contains("FAIL  redis: "), "{said}");
    }
}
