//! One server's connections: the live one with its supervisor, those that read entries, and the lazy one for publishing.
//!
//! Whatever ends the live connection, a new one is made; where Sentinel says which server is the primary, it is asked
//! before each attempt.

use super::address::{Address, Endpoint, Place};
use super::block::Blocks;
use super::capabilities::{self, Findings};
use super::commands::Commands;
use super::connection::{Backoff, Connection, IDLE, LazyConnection, Target};
use super::hot::Hot;
use super::large::Large;
use super::policy;
use super::probe_key::HealthCheck;
use super::reachable::wait_until_reachable;
use super::readers::Readers;
use super::reading::{self, Reading};
use super::refusals::Refusals;
use super::session::Session;
use super::{Observe, Settings, fault, pipeline, sentinel};
use crate::backplane::{
    Ask, BackplaneError, Changes, Entry, Examined, Facts, Fields, Link, Lookup, Note, Publication, Span, StreamState,
};
use crate::channel::Channel;
use crate::config::Follow;
use crate::position::Position;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

/// Commands of the live connection that may be on their way.
const LIVE_CALLS: usize = 32;
/// Reads at once: of streams with small entries, of those with large ones, of history.
const READS: usize = 4;
const READS_APART: usize = 4;
const READS_OF_HISTORY: usize = 8;
/// History pages and appends may wait for a busy server for so long.
const SIDE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that lived so long was a good one: the next attempt follows at once.
const GOOD_LIFE: Duration = Duration::from_secs(2);
/// The same complaint is logged once in this time.
const QUIET: Duration = Duration::from_secs(30);

/// One answer for each part of a call; the outer error is the connection's.
pub type Answers<T> = Result<Vec<Result<T, BackplaneError>>, BackplaneError>;

/// What connections, commands and the supervisor of one server share.
pub(crate) struct Server {
    pub address: Address,
    pub target: Arc<Target>,
    pub key_prefix: String,
    pub follow: Follow,
    /// Whether the server is one of a cluster's.
    pub cluster: bool,
    /// Whether the keys of one read must lie in one slot though it is none of a cluster's.
    pub split: AtomicBool,
    pub publish_maxlen: u64,
    /// How often in a row a new connection ended at RESP3, without a word.
    pub doubts_of_resp3: AtomicU32,
    /// What it refuses now.
    pub refusals: Refusals,
    pub observe: Observe,
    /// Tells this node's probe key from those of others.
    node: u64,
    pub changes: Arc<Changes>,
    pub link: watch::Sender<Link>,
    /// Told whenever the link changes.
    pub turned: Arc<Notify>,
    live: Mutex<Option<Arc<Connection>>>,
    calls: Semaphore,
    /// Whether the live connection is told of changes.
    tracking: AtomicBool,
    pub readers: Arc<Readers>,
    pub apart: Arc<Readers>,
    pub history: Arc<Readers>,
    pub large: Large,
    /// A larger entry is announced, not delivered, in bytes.
    pub max_entry_bytes: usize,
    records: LazyConnection,
    pub publish: LazyConnection,
    pub blocks: Blocks,
    pub hot: Hot,
    facts: Mutex<Facts>,
    complaints: Mutex<Vec<(String, Instant)>>,
}

/// One live connection after the other.
pub(crate) async fn supervise(server: Arc<Server>) {
    let mut backoff = Backoff::default();
    let mut lives = 0;
    loop {
        let why = match Session::open(&server).await {
            Ok(session) => {
                let begun = Instant::now();
                server.readers.report_to(reports(&session).await);
                server.came_up(&session, lives);
                lives += 1;
                let why = session.live(&server).await;
                server.went_down(&why);
                tracing::warn!(redis = %server.shown(), %why, "redis: connection lost");
                if begun.elapsed() > GOOD_LIFE {
                    backoff.reset();
                }
                why
            }
            Err(error) => {
                let why = fault::explain(&fault::reason(error));
                server.facts.lock().trouble = Some(why.clone());
                server.complain("no usable connection", &why);
                if fault::is_crowded(&why) {
                    server.give_way();
                }
                why
            }
        };
        // Behind a sentinel the next attempt may lead elsewhere.
        let is_silent = fault::is_silence(&why) && !matches!(server.address.place, Place::Sentinel(..));
        if let Some(endpoint) = server.target.get().filter(|_| is_silent) {
            wait_until_reachable(&endpoint).await;
            sleep(Backoff::default().next()).await;
        } else {
            sleep(backoff.next()).await;
        }
    }
}

impl Server {
    /// `endpoint`: one server of a cluster; `None`: what the address names.
    pub fn new(settings: &Settings, address: Address, endpoint: Option<Endpoint>, changes: Arc<Changes>) -> Server {
        let facts = Facts { name: address.to_string(), ..Facts::default() };
        let cluster = matches!(address.place, Place::Cluster(_));
        let target = Arc::new(Target::new(endpoint.or_else(|| address.fixed())));
        let readers = |most| Arc::new(Readers::new(target.clone(), changes.clone(), address.access.timeout, most));
        Server {
            readers: readers(READS),
            apart: readers(READS_APART),
            history: Arc::new(Readers::new(target.clone(), changes.clone(), SIDE_TIMEOUT, READS_OF_HISTORY)),
            large: Large::default(),
            max_entry_bytes: settings.max_entry_bytes,
            tracking: AtomicBool::new(false),
            records: LazyConnection::new(target.clone(), SIDE_TIMEOUT),
            publish: LazyConnection::new(target.clone(), SIDE_TIMEOUT),
            address,
            target,
            key_prefix: settings.key_prefix.clone(),
            follow: settings.follow,
            cluster,
            split: AtomicBool::new(false),
            doubts_of_resp3: AtomicU32::new(0),
            publish_maxlen: settings.publish_maxlen,
            refusals: Refusals::new(settings.refused.clone()),
            observe: settings.observe.clone(),
            node: fastrand::u64(..),
            changes,
            link: watch::Sender::new(Link::Down),
            turned: Arc::default(),
            live: Mutex::new(None),
            calls: Semaphore::new(LIVE_CALLS),
            blocks: Blocks::new(),
            hot: Hot::default(),
            facts: Mutex::new(facts),
            complaints: Mutex::default(),
        }
    }

    /// Which server to connect to now.
    pub async fn resolve(&self) -> Result<Endpoint, BackplaneError> {
        let endpoint = match &self.address.place {
            Place::Sentinel(hosts, master) => sentinel::primary(&self.address, hosts, master).await?,
            _ => self.target.get().ok_or_else(|| BackplaneError::Down("no server is known".into()))?,
        };
        if self.target.set(endpoint.clone()) {
            self.leave_reads();
            self.publish.leave();
        }
        Ok(endpoint)
    }

    pub async fn survey(&self, publishes: bool) -> Result<Findings, BackplaneError> {
        // There is one look alone.
        self.doubts_of_resp3.store(1, Ordering::Relaxed);
        let session = Session::open(self).await?;
        let client = &session.connection.client;
        let tried = capabilities::Tried { publishes, blocks: !session.tracking, several: !self.cluster };
        let rights = session.connection.run(capabilities::rights(client, &self.key_prefix, &tried)).await?;
        let cautions = session.connection.run(policy::cautions(client)).await?;
        let counted = capabilities::counts_entries(client, &self.key_prefix, session.version.as_deref());
        let exact = session.connection.run(counted).await?;
        Ok(Findings {
            name: self.address.to_string(),
            version: session.version.clone(),
            follow: session.follow(),
            clock_offset_ms: session.first_check.clock_offset_ms,
            rights,
            cautions,
            exact,
            shards: Vec::new(),
        })
    }

    /// Order matters: who hears of the doubt finds a connection, and blocking reads that take streams.
    fn came_up(&self, session: &Session, lives: u64) {
        let follow = session.follow();
        {
            let mut facts = self.facts.lock();
            facts.version.clone_from(&session.version);
            facts.follow = Some(follow);
            facts.reconnects = lives;
            facts.trouble = None;
        }
        self.complaints.lock().clear();
        self.refusals.forget();
        self.blocks.start(!session.tracking);
        self.hot.start(session.tracking && self.follow == Follow::Auto);
        self.tracking.store(session.tracking, Ordering::Release);
        *self.live.lock() = Some(session.connection.clone());
        self.target.reserve(false);
        self.link.send_replace(Link::Up);
        self.turned.notify_one();
        self.changes.doubt();
        let version = session.version.as_deref().unwrap_or("unknown");
        tracing::info!(redis = %self.shown(), version, follow, "redis: connected");
    }

    /// Where the server has no room, side connections end, and none is made before the live one is there.
    fn give_way(&self) {
        self.target.reserve(true);
        self.leave_reads();
        self.publish.renew();
    }

    /// Whether idle connections still lead somewhere, so that the next request finds one that does.
    pub async fn look_at_idle(&self) {
        tokio::join!(
            self.readers.look(IDLE),
            self.apart.look(IDLE),
            self.history.look(IDLE),
            self.publish.look(),
            self.records.look()
        );
    }

    fn went_down(&self, why: &str) {
        self.facts.lock().trouble = Some(why.to_owned());
        self.end();
        // Behind the same name there may be another server next, so nothing that is read of this one counts any more;
        // what is being appended finishes.
        self.leave_reads();
        self.publish.renew();
    }

    fn leave_reads(&self) {
        self.readers.leave();
        self.apart.leave();
        self.history.leave();
        self.records.leave();
        self.hot.leave();
    }

    /// No live connection any more.
    pub fn end(&self) {
        *self.live.lock() = None;
        self.link.send_replace(Link::Down);
        self.turned.notify_one();
    }

    pub fn checked(&self, check: &HealthCheck, clock_least_ms: Option<i64>) {
        self.readers.check();
        if let (Some(offset), Some(least)) = (check.clock_offset_ms, clock_least_ms) {
            let mut facts = self.facts.lock();
            (facts.clock_offset_ms, facts.clock_least_ms) = (offset, least);
        }
        if let Some(why) = check.refused.as_ref() {
            self.refusals.take("canary", &Err::<(), _>(BackplaneError::Refused(why.clone())));
        } else if check.written {
            self.refusals.take("canary", &Ok(()));
        }
        // Whatever else is refused: again as long as it is.
        for refused in self.refusals.list().iter().filter(|refused| refused.command != "SET") {
            self.complain(&format!("{} is refused", refused.command), &refused.why);
        }
        if let Some(why) = check.refused.as_ref().filter(|_| !self.cluster) {
            let consequence = "without its probe key, a flushed server is noticed late";
            self.complain(consequence, why);
        }
    }

    /// What is wrong though the connection works: once in the log for a while, and in `/status`.
    pub fn tell(&self, what: &str, why: &str) {
        self.facts.lock().trouble = Some(format!("{what}: {why}"));
        self.complain(what, why);
    }

    /// A warning, once in a while.
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

    /// The address, and the server behind it where that is not the same.
    fn shown(&self) -> String {
        match (&self.address.place, self.target.get()) {
            (Place::Sentinel(..) | Place::Cluster(_), Some(endpoint)) => format!("{} at {endpoint}", self.address),
            _ => self.address.to_string(),
        }
    }

    /// Without a slot's tag; see [`super::probe_key`].
    pub fn probe_key_name(&self) -> String {
        format!("{}~canary:{:016x}", self.key_prefix, self.node)
    }

    pub fn key(&self, channel: &Channel) -> String {
        [self.key_prefix.as_str(), channel.as_str()].concat()
    }

    pub fn live(&self) -> Option<Arc<Connection>> {
        self.live.lock().clone()
    }

    pub fn facts(&self) -> Facts {
        let mut facts = self.facts.lock().clone();
        facts.refused = self.refusals.list();
        facts.server = self.target.get().map(|endpoint| endpoint.to_string());
        facts
    }

    fn commands<'a>(&'a self, connection: &'a Connection, asking: bool) -> Commands<'a> {
        Commands {
            connection,
            key_prefix: &self.key_prefix,
            observe: &self.observe,
            cluster: self.cluster,
            split: &self.split,
            refusals: &self.refusals,
            asking,
        }
    }

    /// The live connection, for one of a bounded number of calls.
    async fn on_live<T, F, C>(&self, call: C) -> Result<T, BackplaneError>
    where
        F: Future<Output = Result<T, BackplaneError>>,
        C: FnOnce(Arc<Connection>) -> F,
    {
        let Ok(Ok(_permit)) = timeout(SIDE_TIMEOUT, self.calls.acquire()).await else {
            return Err(BackplaneError::Down("too many commands are on their way".into()));
        };
        let Some(connection) = self.live() else { return Err(BackplaneError::Down("not connected".into())) };
        connection.run(call(connection.clone())).await
    }

    /// Whether changes are pushed to the live connection, of what it or who reports to it has read.
    pub fn is_tracking(&self) -> bool {
        self.tracking.load(Ordering::Acquire)
    }

    /// See [`Commands::arm`].
    pub async fn arm(&self, channels: &[&Channel], asking: bool) -> Result<(), BackplaneError> {
        self.on_live(|c| async move { self.commands(&c, asking).arm(channels).await }).await
    }

    fn is_up(&self) -> Result<(), BackplaneError> {
        match self.live() {
            Some(_) => Ok(()),
            None => Err(BackplaneError::Down("not connected".into())),
        }
    }

    /// The calls of the contract; `asking`: for a slot that this server is taking over.
    pub async fn read(&self, asks: &[Ask], asking: bool) -> Answers<Vec<Entry>> {
        self.is_up()?;
        if let [ask] = asks
            && self.large.is_apart(&ask.channel)
        {
            return Reading::new(self, reading::Pool::Apart, asking).read(asks).await;
        }
        Reading::new(self, reading::Pool::Live, asking).read(asks).await
    }

    /// Run by themselves: whoever gives up waiting must not cost the connection by which others' streams are reported.
    pub async fn inspect(self: &Arc<Server>, channels: Vec<Channel>, asking: bool) -> Answers<Option<StreamState>> {
        self.is_up()?;
        let server = self.clone();
        by_itself(async move { Reading::new(&server, reading::Pool::Live, asking).inspect(&channels).await }).await
    }

    pub async fn examine(self: &Arc<Server>, asks: Vec<Ask>, asking: bool) -> Answers<Examined> {
        self.is_up()?;
        let server = self.clone();
        by_itself(async move {
            let apart = |ask: &Ask| server.large.is_apart(&ask.channel);
            let single = asks.first().filter(|_| asks.len() == 1);
            if single.is_none_or(|ask| !apart(ask)) {
                let answers = Reading::new(&server, reading::Pool::Live, asking).examine(&asks).await;
                if single.is_none_or(|ask| !apart(ask)) {
                    return answers;
                }
            }
            Reading::new(&server, reading::Pool::Apart, asking).examine(&asks).await
        })
        .await
    }

    pub async fn history(&self, spans: &[Span], asking: bool) -> Answers<Vec<Entry>> {
        Reading::new(self, reading::Pool::History, asking).history(spans).await
    }

    pub async fn note(&self, notes: &[Note], asking: bool) -> Answers<bool> {
        self.publish.run(|c| async move { self.commands(&c, asking).note(notes).await }).await
    }

    pub async fn noted(&self, lookups: &[Lookup], asking: bool) -> Answers<Fields> {
        self.records.run(|c| async move { self.commands(&c, asking).noted(lookups).await }).await
    }

    pub async fn append(&self, publications: &[Publication], asking: bool) -> Answers<Position> {
        let maxlen = self.publish_maxlen;
        let append = |c: Arc<Connection>| async move { self.commands(&c, asking).append(publications, maxlen).await };
        let answers = self.publish.run(append).await?;
        let demoted = |a: &Result<Position, BackplaneError>| match a {
            Err(BackplaneError::Refused(why)) => why.starts_with("READONLY"),
            _ => false,
        };
        if answers.iter().any(demoted) {
            // The name may lead to another server by now.
            self.publish.renew();
        }
        Ok(answers)
    }
}

async fn by_itself<T: Send + 'static>(call: impl Future<Output = Answers<T>> + Send + 'static) -> Answers<T> {
    match tokio::spawn(call).await {
        Ok(answers) => answers,
        Err(_) => Err(BackplaneError::Down("the node is ending".into())),
    }
}

/// The name of the live connection at the server, to which others have changes reported; `None` where it does not tell.
async fn reports(session: &Session) -> Option<String> {
    let connection = &session.connection;
    if !session.tracking {
        return None;
    }
    let id = connection.run(pipeline::one(&connection.client, &["CLIENT", "ID"])).await;
    id.ok()?.ok()?.into_string()
}
