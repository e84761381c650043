//! Several redis-servers that work together: a primary with replicas and sentinels, and a cluster.

use super::node::{eventually, within};
use super::redis::{Redis, Reply};
use std::process::Command;
use std::time::Duration;

/// One primary, two replicas, three sentinels that call it `main`.
pub struct Sentinels {
    pub servers: Vec<Redis>,
    pub sentinels: Vec<Redis>,
}

impl Sentinels {
    pub fn start() -> Sentinels {
        Sentinels::start_from(&[], "")
    }

    /// Connections between them come from an address of the loopback network, by which a firewall tells them from
    /// those of clients.
    pub fn start_on(source: &str) -> Sentinels {
        // What does not come from 127.0.0.1 is protected against.
        let own = ["--bind-source-addr", source, "--replica-announce-ip", "127.0.0.1", "--protected-mode", "no"];
        Sentinels::start_from(&own, &format!("bind-source-addr {source}\nsentinel announce-ip 127.0.0.1\n"))
    }

    fn start_from(arguments: &[&str], lines: &str) -> Sentinels {
        let quick = [&["--repl-diskless-sync-delay", "0"], arguments].concat();
        let primary = Redis::start_with(&quick);
        let port = primary.port().to_string();
        let replica = || Redis::start_with(&[&["--replicaof", "127.0.0.1", &port][..], &quick].concat());
        let servers = vec![primary, replica(), replica()];
        let sentinel = |_| Redis::start_sentinel_with(servers[0].port(), 2, lines);
        let sentinels: Vec<Redis> = (0..3).map(sentinel).collect();
        let all = Sentinels { servers, sentinels };
        eventually("two replicas in step", || {
            all.servers[1..].iter().all(|replica| info(replica).contains("master_link_status:up"))
        });
        eventually("sentinels that know all others", || {
            all.sentinels.iter().all(|sentinel| {
                let state = sentinel.command(&["SENTINEL", "MASTER", "main"]);
                let value = |name: &str| {
                    let list = state.list();
                    list.iter().position(|field| field.text() == name).map(|at| list[at + 1].text().to_owned())
                };
                value("num-slaves").as_deref() == Some("2") && value("num-other-sentinels").as_deref() == Some("2")
            })
        });
        all
    }

    /// `redis-sentinel://…/main`
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|s| format!("127.0.0.1:{}", s.port())).collect();
        format!("redis-sentinel://{}/main", hosts.join(","))
    }

    /// The port of the primary, as most sentinels see it.
    pub fn primary(&self) -> u16 {
        let says = |sentinel: &Redis| {
            let reply = sentinel.try_pipeline(&[&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]]).ok()?;
            reply[0].list()[1].text().parse::<u16>().ok()
        };
        let said: Vec<u16> = self.sentinels.iter().filter_map(says).collect();
        *said.iter().max_by_key(|port| said.iter().filter(|p| p == port).count()).expect("a sentinel answers")
    }

    /// The server on a port.
    pub fn server(&self, port: u16) -> &Redis {
        self.servers.iter().find(|server| server.port() == port).expect("one of these servers")
    }

    /// Waits until another server is the primary, and returns it.
    pub fn promoted(&self, old: u16) -> &Redis {
        eventually("a promotion", || {
            let port = self.primary();
            port != old && info(self.server(port)).contains("role:master")
        });
        self.server(self.primary())
    }
}

fn info(server: &Redis) -> String {
    match server.try_pipeline(&[&["INFO", "replication"]]) {
        Ok(replies) => replies[0].text().to_owned(),
        Err(_) => String::new(),
    }
}

/// Primaries that share the slots; each may have a replica.
pub struct Cluster {
    pub servers: Vec<Redis>,
}

impl Cluster {
    /// Three primaries without replicas; what one of them loses, the others do not mind.
    pub fn start() -> Cluster {
        Cluster::start_with(3, 0)
    }

    pub fn start_with(primaries: usize, replicas: usize) -> Cluster {
        Cluster::start_from(primaries, replicas, |_| Vec::new())
    }

    /// Further arguments for each server, by its index.
    pub fn start_from(primaries: usize, replicas: usize, more: impl Fn(usize) -> Vec<String>) -> Cluster {
        let count = primaries * (1 + replicas);
        let node = |index| {
            let own = ["--cluster-require-full-coverage".to_owned(), "no".into()];
            let all = [&own[..], &more(index)].concat();
            Redis::start_cluster_node(&all.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let cluster = Cluster { servers: (0..count).map(node).collect() };
        let hosts: Vec<String> = cluster.servers.iter().map(|s| format!("127.0.0.1:{}", s.port())).collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(&hosts);
        create.args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"]);
        let output = create.output().expect("redis-cli is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        eventually("a cluster that is whole", || cluster.servers.iter().all(|server| cluster.is_whole(server)));
        cluster
    }

    fn is_whole(&self, server: &Redis) -> bool {
        let info = server.command(&["CLUSTER", "INFO"]);
        let nodes = server.command(&["CLUSTER", "NODES"]);
        let known = nodes.text().lines().filter(|line| line.contains("connected") && !line.contains("disconnected"));
        info.text().contains("cluster_state:ok") && known.count() == self.servers.len()
    }

    /// `redis-cluster://…`, some of its hosts.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.servers.iter().take(2).map(|s| format!("127.0.0.1:{}", s.port())).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    /// The index of the server that owns a key.
    pub fn owner(&self, key: &str) -> usize {
        let mut found = None;
        let owned = within(Duration::from_secs(15), || {
            found = self.servers.iter().position(|server| {
                server.try_pipeline(&[&["EXISTS", key]]).is_ok_and(|replies| matches!(replies[0], Reply::Number(_)))
            });
            found.is_some()
        });
        assert!(owned, "nobody owns {key}");
        found.expect("just seen")
    }

    pub fn of(&self, key: &str) -> &Redis {
        &self.servers[self.owner(key)]
    }

    pub fn id(&self, server: usize) -> String {
        self.servers[server].command(&["CLUSTER", "MYID"]).text().to_owned()
    }
}
