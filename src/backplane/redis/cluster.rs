//! Redis Cluster: a live connection to each primary, and who of them owns what.
//!
//! Never through fred's cluster client: one dead primary stops all its commands. Here each primary is a
//! server of its own, and what is down harms only the slots it owns. Commands are routed in `route`.

pub mod route;

use super::address::{Address, Host, Place};
use super::capabilities::Findings;
use super::connection::Connection;
use super::fault::Failures;
use super::server::{Reports, Server};
use super::settings::Settings;
use super::slots::Topology;
use super::supervisor::Supervisor;
use super::{decode, fault, pipeline};
use crate::backplane::{BackplaneError, Changes, Facts, Link, Shard};
use crate::hash::HashMap;
use crate::watched as watch;
use fred::types::{RespVersion, Value};
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

/// Between looks at the topology while nothing hints at a change.
const EVERY: Duration = Duration::from_secs(10);
/// Between looks at the topology while something is wrong.
const SOON: Duration = Duration::from_millis(300);
/// Between looks at the topology, however many hints there are.
const LEAST: Duration = Duration::from_millis(50);
/// Live primaries that are asked what they believe.
const WITNESSES: usize = 3;
/// How much later than the one before it a host is asked.
const STAGGER: Duration = Duration::from_millis(250);
/// A server without slots is kept for so long after a command was sent there.
const KEPT: Duration = Duration::from_secs(10);

/// The primaries of a Redis Cluster, and what each of them owns.
pub struct Cluster {
    settings: Settings,
    address: Address,
    runtime: Handle,
    /// Streams that changed, and doubts, of all shards.
    pub changes: Arc<Changes>,
    /// Up while any shard is.
    pub link: watch::Sender<Link>,
    map: Mutex<Map>,
    /// A command or a connection hints that the topology has changed.
    stale: Notify,
    turned: Arc<Notify>,
    trouble: Mutex<Option<String>>,
}

#[derive(Default)]
struct Map {
    topology: Topology,
    members: HashMap<Host, Member>,
    /// Reconnects of members that are gone.
    reconnects: u64,
}

struct Member {
    supervisor: Arc<Supervisor>,
    task: AbortHandle,
    wanted: Instant,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
        self.supervisor.end();
    }
}

/// A topology, and how new it is.
struct View {
    epoch: u64,
    topology: Topology,
}

impl Cluster {
    /// A cluster of which nothing is known yet; its tasks run on `runtime`.
    pub fn new(settings: Settings, address: Address, runtime: Handle) -> Cluster {
        Cluster {
            settings,
            address,
            runtime,
            changes: Arc::default(),
            link: watch::Sender::new(Link::Down),
            map: Mutex::default(),
            stale: Notify::new(),
            turned: Arc::default(),
            trouble: Mutex::default(),
        }
    }

    /// Follows the topology for as long as the node lives.
    pub async fn tend(self: Arc<Cluster>) {
        loop {
            match self.look().await {
                Ok(topology) => self.adopt(topology),
                Err(error) => {
                    let why = fault::explain(error).text().to_owned();
                    if self.trouble.lock().replace(why.clone()).as_ref() != Some(&why) {
                        tracing::warn!(redis = %self.address, %why, "redis: the cluster's topology is not known");
                    }
                }
            }
            let pause = if self.troubled() { SOON } else { EVERY };
            let _ = timeout(pause, self.stale.notified()).await;
            sleep(LEAST).await;
        }
    }

    /// Keeps the link true: up while any shard is.
    pub async fn watch(self: Arc<Cluster>) {
        loop {
            self.turned.notified().await;
            let up = self.shards().iter().any(|shard| shard.up);
            let link = if up { Link::Up } else { Link::Down };
            self.link.send_if_modified(|known| std::mem::replace(known, link) != link);
            self.stale.notify_one();
        }
    }

    fn troubled(&self) -> bool {
        self.trouble.lock().is_some() || self.shards().iter().any(|shard| !shard.up)
    }

    /// The owners of slots, and whether each can be used.
    pub fn shards(&self) -> Vec<Shard> {
        let map = self.map.lock();
        let up = |host: &Host| map.members.get(host).is_some_and(|m| *m.supervisor.server.link.borrow() == Link::Up);
        let owners: BTreeSet<&Host> = map.topology.owners().into_keys().collect();
        owners.into_iter().map(|host| Shard { name: host.to_string(), up: up(host) }).collect()
    }

    /// What `/status` shows of all shards together.
    pub fn facts(&self) -> Facts {
        let shards = self.shards();
        let map = self.map.lock();
        let members: Vec<Facts> = map.members.values().map(|member| member.supervisor.server.facts()).collect();
        let known = members.iter().find(|facts| facts.version.is_some()).cloned().unwrap_or_default();
        let trouble = self.trouble.lock().clone().or_else(|| {
            let down: Vec<&str> = shards.iter().filter(|shard| !shard.up).map(|shard| shard.name.as_str()).collect();
            (!down.is_empty()).then(|| format!("down: {}", down.join(", ")))
        });
        let reads = members.iter().flat_map(|facts| facts.reads.clone()).collect();
        let of_live = members.iter().filter(|facts| facts.version.is_some()).map(|facts| facts.clock_least_ms);
        Facts {
            name: self.address.to_string(),
            version: known.version,
            follow: known.follow,
            clock_offset_ms: known.clock_offset_ms,
            clock_least_ms: of_live.min().unwrap_or_default(),
            reconnects: map.reconnects + members.iter().map(|facts| facts.reconnects).sum::<u64>(),
            server: None,
            trouble,
            refused: members
                .into_iter()
                .find_map(|facts| Some(facts.refused).filter(|r| !r.is_empty()))
                .unwrap_or_default(),
            shards,
            reads,
        }
    }

    /// Asks what the live primaries believe, and takes the newest belief; where there are none, whoever answers.
    async fn look(&self) -> Result<Topology, BackplaneError> {
        let live: Vec<(Host, Arc<Connection>)> = {
            let map = self.map.lock();
            let live =
                map.members.iter().filter_map(|(host, member)| Some((host.clone(), member.supervisor.server.live()?)));
            live.take(WITNESSES).collect()
        };
        let asked = live.iter().map(|(host, connection)| view(connection, host));
        let views = futures_util::future::join_all(asked).await;
        let newest = views.into_iter().filter_map(Result::ok).max_by_key(|view| view.epoch);
        match newest {
            Some(view) => Ok(view.topology),
            None => self.search().await,
        }
    }

    /// Asks every host that was ever named, one after the other, until one answers.
    async fn search(&self) -> Result<Topology, BackplaneError> {
        let Place::Cluster(seeds) = &self.address.place else {
            return Err(BackplaneError::refused("not a cluster's address"));
        };
        let mut hosts: Vec<Host> = self.map.lock().members.keys().cloned().collect();
        hosts.extend(seeds.iter().filter(|seed| !hosts.contains(seed)).cloned().collect::<Vec<_>>());
        let mut asked: FuturesUnordered<_> = hosts
            .iter()
            .zip(0..)
            .map(|(host, turn)| async move {
                sleep(STAGGER * turn).await;
                let endpoint = self.address.endpoint(host);
                let timeout = endpoint.access.timeout;
                let result = match Connection::open(&endpoint, RespVersion::RESP2, timeout).await {
                    Ok(connection) => view(&connection, host).await,
                    Err(unopened) => Err(unopened.error),
                };
                (host, result)
            })
            .collect();
        let mut failures = Failures::default();
        while let Some((host, result)) = asked.next().await {
            match result {
                Ok(view) => return Ok(view.topology),
                Err(error) => failures.add(host, &error),
            }
        }
        Err(failures.into_error(""))
    }

    fn adopt(&self, topology: Topology) {
        *self.trouble.lock() = None;
        let mut map = self.map.lock();
        let moved = topology.moved(&map.topology);
        map.topology = topology;
        let owners: Vec<Host> = map.topology.owners().into_keys().cloned().collect();
        for host in &owners {
            let replicas = map.topology.replicas(host);
            self.member(&mut map, host).replicas.set_known(replicas);
        }
        let now = Instant::now();
        let unwanted = |host: &Host, m: &Member| !owners.contains(host) && now.duration_since(m.wanted) > KEPT;
        let Map { members, reconnects, .. } = &mut *map;
        members.retain(|host, member| {
            let unwanted = unwanted(host, member);
            *reconnects += if unwanted { member.supervisor.server.facts().reconnects } else { 0 };
            !unwanted
        });
        drop(map);
        // Owners may have come or gone.
        self.turned_without_hint();
        if moved {
            tracing::info!(redis = %self.address, "redis: slots have moved; verifying all");
            self.changes.doubt();
        }
    }

    fn turned_without_hint(&self) {
        let up = self.shards().iter().any(|shard| shard.up);
        let link = if up { Link::Up } else { Link::Down };
        self.link.send_if_modified(|known| std::mem::replace(known, link) != link);
    }

    fn member(&self, map: &mut Map, host: &Host) -> Arc<Server> {
        if let Some(member) = map.members.get_mut(host) {
            member.wanted = Instant::now();
            return member.supervisor.server.clone();
        }
        let supervisor = Arc::new(self.supervisor(host));
        let (server, task) = (supervisor.server.clone(), self.runtime.spawn(supervisor.clone().run()).abort_handle());
        map.members.insert(host.clone(), Member { supervisor, task, wanted: Instant::now() });
        server
    }

    /// The supervisor of one of the cluster's servers, which is not connected yet.
    fn supervisor(&self, host: &Host) -> Supervisor {
        let endpoint = Some(self.address.endpoint(host));
        let reports = Reports { changes: self.changes.clone(), turned: self.turned.clone() };
        Supervisor::new(&self.settings, self.address.clone(), endpoint, reports, &self.runtime)
    }

    /// Ends all connections, for good.
    pub fn end(&self) {
        self.map.lock().members.clear();
        self.link.send_replace(Link::Down);
    }

    /// Connects to each primary once, and finds out what a node could do there.
    pub async fn survey(&self, publishes: bool) -> Result<Findings, BackplaneError> {
        let topology = self.search().await?;
        let mut found: Option<Findings> = None;
        let (mut shards, mut replicas, mut failures) = (Vec::new(), Vec::new(), Failures::default());
        let owners: BTreeSet<Host> = topology.owners().into_keys().cloned().collect();
        for host in owners {
            let supervisor = self.supervisor(&host);
            supervisor.server.replicas.set_known(topology.replicas(&host));
            let answer = supervisor.survey(publishes).await;
            let (findings, why) = match answer {
                Ok(mut findings) => {
                    replicas.append(&mut findings.replicas);
                    (Some(findings), None)
                }
                Err(error) => {
                    failures.add(&host, &error);
                    (None, Some(fault::explain(error).text().to_owned()))
                }
            };
            shards.push((host.to_string(), why));
            found = found.or(findings);
        }
        match found {
            Some(findings) => Ok(Findings { shards, replicas, ..findings }),
            None => Err(failures.into_error("")),
        }
    }
}

async fn view(connection: &Connection, asked: &Host) -> Result<View, BackplaneError> {
    let client = &connection.client;
    let slots = connection.run(pipeline::one(client, &["CLUSTER", "SLOTS"])).await??;
    let info = connection.run(pipeline::one(client, &["CLUSTER", "INFO"])).await?;
    let epoch = info.as_ref().ok().and_then(epoch).unwrap_or(0);
    match Topology::read(&slots, asked) {
        Some(topology) => Ok(View { epoch, topology }),
        None => Err(BackplaneError::down("it knows no slots of the cluster")),
    }
}

fn epoch(info: &Value) -> Option<u64> {
    decode::str(info)?.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"))?.trim().parse().ok()
}
