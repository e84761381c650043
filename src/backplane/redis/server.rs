//! One server as its parts see it: its connections, what is known of it, and what it refuses.
//!
//! It makes no connection by itself: `supervisor` brings the live one and takes it away, and `readers` and lazy
//! connections are made by whoever calls.

use super::address::{Address, Endpoint, Place};
use super::announced::Announced;
use super::connection::{Connection, IDLE};
use super::large::Large;
use super::lazy_connection::LazyConnection;
use super::prepared::Prepared;
use super::readers::Readers;
use super::refusals::{PROBE, Refusals};
use super::replica::Replicas;
use super::settings::{Observe, Settings};
use super::target::Target;
use crate::backplane::{Awaited, BackplaneError, Changes, Facts, Link, ReadFrom};
use crate::channel::Channel;
use crate::config::Follow;
use crate::outside::Outside;
use crate::watched as watch;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout};

/// Commands of the live connection that may be on their way.
const LIVE_CALLS: usize = 32;
/// Reads of streams with small entries that may be on their way.
const READS: usize = 4;
/// Questions to the primary that may be on their way while a replica is read.
const QUESTIONS: usize = 4;
/// Reads of streams with large entries that may be on their way.
const READS_APART: usize = 4;
/// Reads of history that may be on their way.
const READS_OF_HISTORY: usize = 8;
/// How long history pages and appends may wait for a busy server.
const SIDE_TIMEOUT: Duration = Duration::from_secs(3);
/// The time in which one complaint is logged once.
const QUIET: Duration = Duration::from_secs(30);

/// One answer for each part of a call; the outer error is the connection's.
pub type Answers<T> = Result<Vec<Result<T, BackplaneError>>, BackplaneError>;

/// Who is told of what happens at a server.
#[derive(Clone, Default)]
pub struct Reports {
    /// Streams that changed, and doubts.
    pub changes: Arc<Changes>,
    /// Rung whenever the link changes.
    pub turned: Arc<Notify>,
}

/// One Redis server: its connections, and what is known of it.
pub struct Server {
    /// What the settings name: this server, or what leads to it.
    pub address: Address,
    /// Where connections to the primary lead now.
    pub target: Arc<Target>,
    /// Where those lead that follow and read: to the primary, or to a replica of it.
    pub near: Arc<Target>,
    /// Its replicas, where they are to be read.
    pub replicas: Replicas,
    /// What sentinels say of the primary, where they are asked.
    pub announced: Announced,
    /// What precedes a channel's name in its stream's key.
    pub key_prefix: String,
    /// How the settings want changes to be learnt of.
    pub follow: Follow,
    /// Whether the server is one of a cluster's.
    pub cluster: bool,
    /// Whether the keys of one read must lie in one slot though it is none of a cluster's.
    pub split: AtomicBool,
    /// Entries that a stream keeps (about) when this node appends; 0: all.
    pub publish_maxlen: u64,
    /// How often in a row a new connection ended at RESP3, without a word.
    pub doubts_of_resp3: AtomicU32,
    /// Commands that the server refuses now.
    pub refusals: Refusals,
    /// Told of each batch of commands.
    pub observe: Observe,
    /// This node's clock and chance.
    pub outside: Outside,
    /// Tells this node's probe key from those of others.
    node: u64,
    /// Told of streams that changed, and of doubts.
    pub changes: Arc<Changes>,
    /// Whether there is a live connection.
    pub link: watch::Sender<Link>,
    turned: Arc<Notify>,
    live: Mutex<Option<Arc<Connection>>>,
    calls: Semaphore,
    /// Whether the live connection is told of changes.
    tracking: AtomicBool,
    /// Connections that read streams with small entries.
    pub readers: Arc<Readers>,
    /// Connections that read streams with large entries.
    pub apart: Arc<Readers>,
    /// Connections that read history.
    pub history: Arc<Readers>,
    /// Connections by which the primary is asked while a replica is read.
    pub judges: Arc<Readers>,
    /// The connection that measures, by way of the primary, how far the replica lags that is read.
    pub pulse: LazyConnection,
    /// Which streams have large entries.
    pub large: Large,
    /// Which streams remember keys for long enough.
    pub prepared: Prepared,
    /// A larger entry is announced, not delivered, in bytes.
    pub max_entry_bytes: usize,
    /// The connection that reads nodes' records.
    pub records: LazyConnection,
    /// The connection that appends, and writes this node's record.
    pub publish: LazyConnection,
    /// Told of the answers that the follower waits for.
    pub awaited: Awaited,
    facts: Mutex<Facts>,
    complaints: Mutex<Vec<(String, Instant)>>,
}

impl Server {
    /// A server that is not connected yet. `endpoint`: one server of a cluster; `None`: what the address names.
    pub fn new(
        settings: &Settings,
        address: Address,
        endpoint: Option<Endpoint>,
        reports: Reports,
        runtime: &Handle,
    ) -> Server {
        let Reports { changes, turned } = reports;
        let facts = Facts { name: address.to_string(), ..Facts::default() };
        let target = Arc::new(Target::new(endpoint.or_else(|| address.fixed())));
        let near = Arc::new(Target::new(target.get()));
        let at = |target: &Arc<Target>, patience, most| {
            Arc::new(Readers::new(target.clone(), changes.clone(), patience, most))
        };
        let patient =
            |patience| LazyConnection::new(target.clone(), patience, settings.outside.random.clone(), runtime.clone());
        let lazy = || patient(SIDE_TIMEOUT);
        Server {
            readers: at(&near, address.access.timeout, READS),
            apart: at(&near, address.access.timeout, READS_APART),
            history: at(&near, SIDE_TIMEOUT, READS_OF_HISTORY),
            judges: at(&target, SIDE_TIMEOUT, QUESTIONS),
            pulse: patient(address.access.timeout),
            near: near.clone(),
            replicas: Replicas::new(address.replicas.clone()),
            announced: Announced::default(),
            large: Large::default(),
            prepared: Prepared::default(),
            max_entry_bytes: settings.max_entry_bytes,
            tracking: AtomicBool::new(false),
            records: lazy(),
            publish: lazy(),
            cluster: matches!(address.place, Place::Cluster(_)),
            address,
            target: target.clone(),
            key_prefix: settings.key_prefix.clone(),
            follow: settings.follow,
            split: AtomicBool::new(false),
            doubts_of_resp3: AtomicU32::new(0),
            publish_maxlen: settings.publish_maxlen,
            refusals: Refusals::new(settings.refused.clone()),
            observe: settings.observe.clone(),
            outside: settings.outside.clone(),
            node: settings.outside.random.number(),
            changes: changes.clone(),
            link: watch::Sender::new(Link::Down),
            turned,
            live: Mutex::new(None),
            calls: Semaphore::new(LIVE_CALLS),
            awaited: settings.awaited.clone(),
            facts: Mutex::new(facts),
            complaints: Mutex::default(),
        }
    }

    /// A new live connection is there. `lives`: how many there were before it.
    ///
    /// Order matters: who hears of the doubt finds a connection, and who finds the connection is behind the doubt.
    pub fn begin(&self, connection: Arc<Connection>, version: Option<String>, tracking: bool, lives: u64) {
        let shown = version.clone().unwrap_or_else(|| "unknown".into());
        let follow = follow_label(tracking);
        {
            let mut facts = self.facts.lock();
            facts.version = version;
            facts.follow = Some(follow);
            facts.reconnects = lives;
            facts.trouble = None;
        }
        self.complaints.lock().clear();
        self.refusals.forget();
        self.prepared.forget_all();
        self.tracking.store(tracking, Ordering::Release);
        self.target.reserve(false);
        self.near.reserve(false);
        {
            let mut live = self.live.lock();
            *live = Some(connection);
            self.changes.doubt();
        }
        self.link.send_replace(Link::Up);
        self.turned.notify_one();
        match self.replicas.read() {
            None => tracing::info!(redis = %self.shown(), version = shown, follow, "redis: connected"),
            Some(replica) => {
                tracing::info!(redis = %self.shown(), %replica, version = shown, follow, "redis: connected, a replica is read");
            }
        }
        if let Some(why) = self.replicas.trouble() {
            tracing::warn!(redis = %self.shown(), %why, "redis: no replica can be read, the primary is");
        }
    }

    /// Notes the clock of the server minus this node's, in milliseconds: as measured, and at least.
    pub fn set_clock(&self, offset_ms: i64, least_ms: i64) {
        let mut facts = self.facts.lock();
        (facts.clock_offset_ms, facts.clock_least_ms) = (offset_ms, least_ms);
    }

    /// Notes for `/status` why the server cannot be used.
    pub fn set_trouble(&self, why: &str) {
        self.facts.lock().trouble = Some(why.to_owned());
    }

    /// Notes for `/status` that the primary is away, or back; the replica that is read is read on.
    pub fn set_primary_away(&self, why: Option<&str>) {
        self.replicas.set_primary_away(why.is_some());
        let told = why.map(|why| format!("the primary is away, its replica is read on: {why}"));
        let mut facts = self.facts.lock();
        if told.is_some() || facts.trouble.as_ref().is_some_and(|trouble| trouble.starts_with("the primary is away")) {
            facts.trouble = told;
        }
    }

    /// Ends the calls that read, but not those that append: what the server says is not to be believed any more.
    pub fn leave_reads(&self) {
        self.leave_near();
        self.judges.leave();
        self.pulse.leave();
        self.records.leave();
    }

    /// Ends the calls that read where streams are followed.
    pub fn leave_near(&self) {
        self.readers.leave();
        self.apart.leave();
        self.history.leave();
    }

    /// Looks whether idle connections still lead somewhere, so that the next request finds one that does.
    pub async fn look_at_idle(&self) {
        tokio::join!(
            self.readers.look(IDLE),
            self.apart.look(IDLE),
            self.history.look(IDLE),
            self.judges.look(IDLE),
            self.publish.look(),
            self.records.look()
        );
    }

    /// There is no live connection any more.
    pub fn end(&self) {
        *self.live.lock() = None;
        self.link.send_replace(Link::Down);
        self.turned.notify_one();
    }

    /// Says what is wrong though the connection works: once in the log for a while, and in `/status`.
    pub fn tell(&self, what: &str, why: &str) {
        self.facts.lock().trouble = Some(format!("{what}: {why}"));
        self.complain(what, why);
    }

    /// Logs a warning, the same one once in half a minute.
    pub fn complain(&self, what: &str, why: &str) {
        let text = format!("{what}: {why}");
        let now = Instant::now();
        let mut complaints = self.complaints.lock();
        complaints.retain(|(_, at)| now.duration_since(*at) < QUIET);
        if complaints.iter().all(|(said, _)| *said != text) && complaints.len() < 32 {
            tracing::warn!(redis = %self.shown(), %why, "redis: {what}");
            complaints.push((text, now));
        }
    }

    /// The address for log lines, and the server behind it where that is not the same.
    pub fn shown(&self) -> String {
        match (&self.address.place, self.target.get()) {
            (Place::Sentinel(..) | Place::Cluster(_), Some(endpoint)) => format!("{} at {endpoint}", self.address),
            _ => self.address.to_string(),
        }
    }

    /// The name of this node's probe key, without a slot's tag.
    pub fn probe_key_name(&self) -> String {
        format!("{}~{PROBE}:{:016x}", self.key_prefix, self.node)
    }

    /// The key of a channel's stream.
    pub fn key(&self, channel: &Channel) -> String {
        [self.key_prefix.as_str(), channel.as_str()].concat()
    }

    /// Whether this is the key of the channel's stream.
    pub fn is_key(&self, key: &[u8], channel: &Channel) -> bool {
        key.strip_prefix(self.key_prefix.as_bytes()) == Some(channel.as_str().as_bytes())
    }

    /// The live connection, where there is one.
    pub fn live(&self) -> Option<Arc<Connection>> {
        self.live.lock().clone()
    }

    /// What `/status` shows of the server.
    pub fn facts(&self) -> Facts {
        let mut facts = self.facts.lock().clone();
        facts.refused = self.refusals.list();
        facts.server = self.target.get().map(|endpoint| endpoint.to_string());
        if self.replicas.bound().is_some() {
            let primary = facts.server.clone().unwrap_or_default();
            let replica = self.replicas.read().map(|host| host.to_string());
            let lag_ms = self.replicas.lag().map(|lag| lag.as_millis() as u64);
            facts.reads.push(ReadFrom { primary, replica, lag_ms, why: self.replicas.trouble() });
        }
        facts
    }

    /// Runs one of a bounded number of calls on the live connection; `Down` where there is none.
    pub async fn on_live<T, F, C>(&self, call: C) -> Result<T, BackplaneError>
    where
        F: Future<Output = Result<T, BackplaneError>>,
        C: FnOnce(Arc<Connection>) -> F,
    {
        let Ok(Ok(_permit)) = timeout(SIDE_TIMEOUT, self.calls.acquire()).await else {
            return Err(BackplaneError::down("too many commands are on their way"));
        };
        let Some(connection) = self.live() else { return Err(BackplaneError::down("not connected")) };
        connection.run(call(connection.clone())).await
    }

    /// Whether changes are pushed to the live connection, of what it or who reports to it has read.
    pub fn is_tracking(&self) -> bool {
        self.tracking.load(Ordering::Acquire)
    }

    /// `Down` while there is no live connection.
    pub fn is_up(&self) -> Result<(), BackplaneError> {
        match self.live() {
            Some(_) => Ok(()),
            None => Err(BackplaneError::down("not connected")),
        }
    }
}

/// How changes are learnt of, as `/status` and `fantail check` name it.
pub fn follow_label(tracking: bool) -> &'static str {
    if tracking { "tracking" } else { "block" }
}
