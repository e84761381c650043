//! The Redis backplane: what the rest of a node sees of it, and the supervisor of its connections.
//!
//! One live connection reads and follows; history and publishing have connections of their own, so that a large
//! reply never delays live events. Only this folder knows fred.

pub mod address;
mod block;
mod canary;
mod commands;
mod connection;
mod decode;
mod fault;
pub mod once;
pub mod probe;
mod session;

use self::address::{Address, AddressError};
use self::block::Blocks;
use self::canary::Beat;
use self::commands::Commands;
use self::connection::{Backoff, Connection, Lane};
use self::probe::Findings;
use self::session::Session;
use super::{
    Answer, Ask, Backplane, BackplaneError, Changes, Entry, Examined, Facts, Link, Publication, Span, StreamState,
};
use crate::channel::Channel;
use crate::config::Follow;
use crate::position::Position;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

/// Told of each batch of commands: the command's name (`xread`, `xinfo`, `examine`, `xrange`, `xadd`, `canary`), how
/// long it took, and whether the server answered.
pub type Observe = Arc<dyn Fn(&'static str, Duration, bool) + Send + Sync>;

/// How a node uses its Redis.
#[derive(Clone)]
pub struct Settings {
    /// `redis://[[user]:password@]host[:port][/db]` or `unix:/path[?db=N]`.
    pub url: String,
    /// What precedes a channel's name in its stream's key.
    pub key_prefix: String,
    pub follow: Follow,
    /// Entries that a stream keeps (about) when this node appends; 0: all.
    pub publish_maxlen: u64,
    pub observe: Observe,
}

/// Calls of the live lane that may be on their way; each is one or more batches.
const LIVE_CALLS: usize = 32;
/// History pages and appends may wait for a busy server for so long.
const LANE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that lived so long was a good one: the next attempt follows at once.
const GOOD_LIFE: Duration = Duration::from_secs(2);
/// The same complaint is logged once in this time.
const QUIET: Duration = Duration::from_secs(30);

/// The backplane on a Redis server. Works on reconnecting for as long as it lives.
pub struct Redis {
    shared: Arc<Shared>,
    runtime: Handle,
    supervisor: AbortHandle,
}

/// What connections, commands and the supervisor share.
pub(crate) struct Shared {
    address: Address,
    key_prefix: String,
    follow: Follow,
    publish_maxlen: u64,
    observe: Observe,
    /// Tells this node's canary from those of others.
    node: u64,
    changes: Arc<Changes>,
    link: watch::Sender<Link>,
    live: Mutex<Option<Arc<Connection>>>,
    calls: Semaphore,
    history: Lane,
    publish: Lane,
    blocks: Blocks,
    facts: Mutex<Facts>,
    complaints: Mutex<Vec<(String, Instant)>>,
}

impl Redis {
    /// Starts to connect; only a bad URL is an error, an absent server is not.
    pub fn start(settings: Settings, runtime: &Handle) -> Result<Arc<Redis>, AddressError> {
        let shared = Arc::new(Shared::new(settings)?);
        let supervisor = runtime.spawn(supervise(shared.clone())).abort_handle();
        Ok(Arc::new(Redis { shared, runtime: runtime.clone(), supervisor }))
    }
}

/// Connects once, as a node would, and finds out what it could do there; `publishes`: whether it would also append.
///
/// Leaves nothing behind but two keys that expire. The outer error is the URL's, the inner one the server's.
pub async fn survey(settings: Settings, publishes: bool) -> Result<Result<Findings, BackplaneError>, AddressError> {
    let shared = Shared::new(settings)?;
    Ok(shared.survey(publishes).await)
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.supervisor.abort();
        self.shared.blocks.stop();
        self.shared.went_down();
    }
}

/// One live connection after the other.
async fn supervise(shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    let mut lives = 0;
    loop {
        match Session::open(&shared).await {
            Ok(session) => {
                let begun = Instant::now();
                shared.came_up(&session, lives);
                lives += 1;
                let why = session.live(&shared).await;
                shared.went_down();
                tracing::warn!(redis = %shared.address, %why, "redis: connection lost");
                if begun.elapsed() > GOOD_LIFE {
                    backoff.reset();
                }
            }
            Err(error) => shared.complain("no usable connection", &fault::reason(error)),
        }
        sleep(backoff.next()).await;
    }
}

impl Shared {
    fn new(settings: Settings) -> Result<Shared, AddressError> {
        let address = Address::parse(&settings.url)?;
        let facts = Facts { name: address.to_string(), ..Facts::default() };
        Ok(Shared {
            history: Lane::new(address.clone(), LANE_TIMEOUT),
            publish: Lane::new(address.clone(), LANE_TIMEOUT),
            address,
            key_prefix: settings.key_prefix,
            follow: settings.follow,
            publish_maxlen: settings.publish_maxlen,
            observe: settings.observe,
            node: fastrand::u64(..),
            changes: Default::default(),
            link: watch::Sender::new(Link::Down),
            live: Mutex::new(None),
            calls: Semaphore::new(LIVE_CALLS),
            blocks: Blocks::new(),
            facts: Mutex::new(facts),
            complaints: Default::default(),
        })
    }

    async fn survey(&self, publishes: bool) -> Result<Findings, BackplaneError> {
        let session = Session::open(self).await?;
        let client = &session.connection.client;
        let rights = session.connection.run(probe::rights(client, &self.key_prefix, publishes)).await?;
        Ok(Findings {
            name: self.address.to_string(),
            version: session.version.clone(),
            follow: session.follow(),
            clock_offset_ms: session.first_beat.clock_offset_ms,
            rights,
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
        }
        self.complaints.lock().clear();
        self.blocks.start(!session.tracking);
        *self.live.lock() = Some(session.connection.clone());
        self.link.send_replace(Link::Up);
        self.changes.doubt();
        let version = session.version.as_deref().unwrap_or("unknown");
        tracing::info!(redis = %self.address, version, follow, "redis: connected");
    }

    fn went_down(&self) {
        *self.live.lock() = None;
        self.link.send_replace(Link::Down);
        // Theirs is likely gone too; if not, what is on its way there finishes.
        self.history.renew();
        self.publish.renew();
    }

    fn beaten(&self, beat: &Beat) {
        if let Some(offset) = beat.clock_offset_ms {
            self.facts.lock().clock_offset_ms = offset;
        }
        if let Some(why) = &beat.refused {
            let consequence = "without its canary, a flushed server is noticed late";
            self.complain(consequence, why);
        }
    }

    /// A warning, once in a while.
    fn complain(&self, what: &str, why: &str) {
        let text = format!("{what}: {why}");
        let now = Instant::now();
        let mut complaints = self.complaints.lock();
        complaints.retain(|(_, at)| now.duration_since(*at) < QUIET);
        if complaints.iter().all(|(said, _)| *said != text) && complaints.len() < 32 {
            tracing::warn!(redis = %self.address, %why, "redis: {what}");
            complaints.push((text, now));
        }
    }

    fn canary_key(&self) -> String {
        format!("{}~canary:{:016x}", self.key_prefix, self.node)
    }

    fn key(&self, channel: &Channel) -> String {
        [self.key_prefix.as_str(), channel.as_str()].concat()
    }

    fn live(&self) -> Option<Arc<Connection>> {
        self.live.lock().clone()
    }

    fn commands<'a>(&'a self, connection: &'a Connection) -> Commands<'a> {
        Commands { client: &connection.client, key_prefix: &self.key_prefix, observe: &self.observe }
    }

    /// The live connection, for one of a bounded number of calls.
    async fn on_live<T, F, C>(&self, call: C) -> Result<T, BackplaneError>
    where
        F: Future<Output = Result<T, BackplaneError>>,
        C: FnOnce(Arc<Connection>) -> F,
    {
        let Ok(Ok(_permit)) = timeout(LANE_TIMEOUT, self.calls.acquire()).await else {
            return Err(BackplaneError::Down("too many commands are on their way".into()));
        };
        let Some(connection) = self.live() else { return Err(BackplaneError::Down("not connected".into())) };
        connection.run(call(connection.clone())).await
    }
}

impl Backplane for Redis {
    fn read(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        let shared = &self.shared;
        Box::pin(async move {
            let asks = &asks;
            shared.on_live(|c| async move { shared.commands(&c).read(asks).await }).await
        })
    }

    fn inspect(&self, channels: Vec<Channel>) -> Answer<'_, Vec<Result<Option<StreamState>, BackplaneError>>> {
        let shared = &self.shared;
        Box::pin(async move {
            let channels = &channels;
            shared.on_live(|c| async move { shared.commands(&c).inspect(channels).await }).await
        })
    }

    fn examine(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Examined, BackplaneError>>> {
        let shared = &self.shared;
        Box::pin(async move {
            let asks = &asks;
            shared.on_live(|c| async move { shared.commands(&c).examine(asks).await }).await
        })
    }

    fn history(&self, spans: Vec<Span>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        let shared = &self.shared;
        Box::pin(async move {
            let spans = &spans;
            shared.history.run(|c| async move { shared.commands(&c).history(spans).await }).await
        })
    }

    fn append(&self, publications: Vec<Publication>) -> Answer<'_, Vec<Result<Position, BackplaneError>>> {
        let (shared, maxlen) = (&self.shared, self.shared.publish_maxlen);
        Box::pin(async move {
            let publications = &publications;
            let answers =
                shared.publish.run(|c| async move { shared.commands(&c).append(publications, maxlen).await }).await?;
            let demoted = |a: &Result<Position, BackplaneError>| match a {
                Err(BackplaneError::Refused(why)) => why.starts_with("READONLY"),
                _ => false,
            };
            if answers.iter().any(demoted) {
                // The name may lead to another server by now.
                shared.publish.renew();
            }
            Ok(answers)
        })
    }

    fn followed(&self, channel: &Channel, position: Position) {
        self.shared.blocks.followed(&self.shared, &self.runtime, channel, position);
    }

    fn unfollowed(&self, channel: &Channel) {
        self.shared.blocks.unfollowed(channel);
    }

    fn changes(&self) -> &Arc<Changes> {
        &self.shared.changes
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    fn facts(&self) -> Facts {
        self.shared.facts.lock().clone()
    }
}
