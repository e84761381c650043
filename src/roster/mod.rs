//! The roster: which nodes the cluster has, what each says of itself, and how many subscribers a channel has on all.
//!
//! Each node writes a [`Record`] into a hash of the backplane every two seconds, and how many subscribers its channels
//! have into a hash of its own. Both are for people and for answers that may be a little wrong: no node needs
//! another's, and delivery does not know of them. A node whose backplane keeps no notes has only its own record.
//!
//! | key | field | value |
//! |---|---|---|
//! | `<key-prefix>~nodes` | the node's id | its record, JSON; counts for ten seconds after its `at_ms` |
//! | `<key-prefix>~subscribers:<id>` | channel | subscribers on that node |
//!
//! Both expire half a minute after the last node, or that node, has written.

mod counts;
mod past;
pub mod record;
mod sample;

pub use record::{Record, events_in};
pub use sample::{Sources, tenths};

use crate::backplane::{BackplaneError, Link, Lookup, Note};
use crate::channel::Channel;
use crate::clock::Clock;
use crate::outside::Outside;
use crate::pace;
use counts::{Counts, KEEP};
use parking_lot::Mutex;
use sample::Sampler;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Between records.
pub const BEAT: Duration = Duration::from_secs(2);
/// A record counts for so long.
const FRESH_MS: u64 = 10_000;
/// Others' records are not read more often than this.
const REREAD: Duration = Duration::from_secs(1);
/// Where the backplane refuses to keep notes, it is asked again after this: a full disk or memory passes, and until then this
/// node is missing in other consoles, and the refusal stands in `/status`.
const SULK: Duration = Duration::from_secs(10);

/// Which nodes there are, this one among them.
pub struct Roster {
    id: String,
    /// Known when the node listens.
    name: OnceLock<String>,
    sources: Sources,
    clock: Clock,
    own: watch::Sender<Arc<Record>>,
    /// Held while others' records are read, so that many ask once.
    others: tokio::sync::Mutex<Others>,
    /// Ids of nodes that are long gone.
    gone: Mutex<Vec<String>>,
}

/// Others' records as they were read last.
#[derive(Default)]
struct Others {
    asked: Option<Instant>,
    records: Vec<Record>,
    /// Until when they count however old they are: the backplane could not be read, or others may not have written again.
    kept_until: Option<Instant>,
}

/// How clients come in, for the record.
pub struct Entrance {
    /// For the node's name.
    pub port: u16,
    /// A URL without a slash at its end.
    pub address: String,
    /// The name of the way to authorize.
    pub auth: String,
}

/// How many subscribers a channel has, as far as nodes have said.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Audience {
    pub subscribers: u64,
    /// By the node's name.
    pub nodes: BTreeMap<String, u64>,
}

impl Roster {
    /// A roster of this node alone, whose id is new.
    pub fn new(sources: Sources, outside: &Outside) -> Arc<Roster> {
        Arc::new(Roster {
            id: format!("{:016x}", outside.random.number()),
            name: OnceLock::new(),
            sources,
            clock: outside.clock.clone(),
            own: watch::Sender::new(Arc::default()),
            others: tokio::sync::Mutex::default(),
            gone: Mutex::default(),
        })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// This node's record, each time it is made.
    pub fn own(&self) -> watch::Receiver<Arc<Record>> {
        self.own.subscribe()
    }

    /// This node's name; its id until it listens.
    pub fn name(&self) -> &str {
        self.name.get().unwrap_or(&self.id)
    }

    /// Makes records and writes them until the node ends.
    pub async fn run(self: Arc<Roster>, entrance: Entrance) {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let _ = self.name.set(format!("{host}:{}", entrance.port));
        let mut sampler = Sampler::new(&self.sources);
        let mut counts = Counts::new(&self.id);
        let mut every = pace::in_step(&self.clock, BEAT);
        let mut refused: Option<Instant> = None;
        loop {
            let mut record = sampler.sample(&self.sources);
            record.id.clone_from(&self.id);
            self.name().clone_into(&mut record.name);
            record.address.clone_from(&entrance.address);
            record.auth.clone_from(&entrance.auth);
            record.at_ms = self.now_ms();
            record.read = Some(self.sources.hub.distinct.told(record.at_ms));
            self.own.send_replace(Arc::new(record.clone()));
            let shared = self.sources.hub.backplane.keeps_notes();
            if shared && refused.is_none_or(|at| at.elapsed() >= SULK) {
                match self.write(&record, &mut counts).await {
                    Err(BackplaneError::Refused { text: why, .. }) => {
                        if refused.is_none() {
                            tracing::info!(%why, "the backplane keeps no records of nodes: each console shows its own node");
                        }
                        refused = Some(Instant::now());
                    }
                    // Delivery has told that it is down.
                    Err(BackplaneError::Down { .. }) => {}
                    Ok(()) => refused = None,
                }
            }
            every.tick().await;
        }
    }

    async fn write(&self, record: &Record, counts: &mut Counts) -> Result<(), BackplaneError> {
        let backplane = &self.sources.hub.backplane;
        let gone = std::mem::take(&mut *self.gone.lock());
        let text = serde_json::to_string(record).expect("plain fields");
        let nodes = Note {
            channel: nodes(),
            set: vec![(self.id.clone().into(), text.into())],
            remove: gone.into_iter().map(Into::into).collect(),
            keep: KEEP,
        };
        let hub = &self.sources.hub;
        let mut notes = vec![nodes];
        for _ in 0..counts::ROUNDS {
            let (changed, gone) = hub.recounted(counts::CHANGES, counts.room());
            let full = changed.len() == counts::CHANGES;
            notes.push(counts.change(changed, gone));
            let mut answers = backplane.note(std::mem::take(&mut notes)).await?;
            let known = answers.pop().transpose();
            answers.pop().transpose()?;
            if !known?.unwrap_or(false) {
                counts.lost();
                hub.recount_all();
            }
            counts.written();
            if !full && !counts.owes_removals() {
                break;
            }
        }
        Ok(())
    }

    /// All nodes, this one first, the others by name.
    pub async fn nodes(&self) -> Vec<Record> {
        let mut own = self.own.borrow().as_ref().clone();
        self.sources.refresh(&mut own);
        let mut all = vec![own];
        all.extend(self.others().await);
        all
    }

    /// While the backplane is away nobody can be heard, which says nothing of them: they stay as they were.
    async fn others(&self) -> Vec<Record> {
        let mut known = self.others.lock().await;
        if known.asked.is_none_or(|at| at.elapsed() >= REREAD) {
            match self.read_others().await {
                Some(read) => known.take(read, Instant::now()),
                None => known.kept_until = Some(Instant::now() + Duration::from_millis(FRESH_MS)),
            }
            known.asked = Some(Instant::now());
        }
        let (now, kept) = (self.now_ms(), known.are_kept(Instant::now()));
        known.records.iter().filter(|record| kept || is_fresh(record, now)).cloned().collect()
    }

    async fn read_others(&self) -> Option<Vec<Record>> {
        let backplane = &self.sources.hub.backplane;
        if *backplane.link().borrow() == Link::Down {
            return None;
        }
        let lookup = Lookup { channel: nodes(), fields: None };
        match backplane.noted(vec![lookup]).await.ok()?.pop()? {
            Ok(fields) => Some(self.read(fields)),
            // It keeps no notes for this node.
            Err(BackplaneError::Refused { .. }) => Some(Vec::new()),
            Err(BackplaneError::Down { .. }) => None,
        }
    }

    fn read(&self, fields: Vec<(bytes::Bytes, bytes::Bytes)>) -> Vec<Record> {
        let now = self.now_ms();
        let mut others = Vec::new();
        let mut gone = Vec::new();
        for (id, text) in fields {
            let id = String::from_utf8_lossy(&id).into_owned();
            match serde_json::from_slice::<Record>(&text) {
                Ok(record) if is_fresh(&record, now) => {
                    if id != self.id {
                        others.push(Record { id, ..record });
                    }
                }
                _ => gone.push(id),
            }
        }
        *self.gone.lock() = gone;
        others
    }

    /// How many subscribers a channel has on all nodes: here exactly, elsewhere as of the last seconds.
    pub async fn audience(&self, channel: &Channel) -> Audience {
        let mut audience = Audience::default();
        let mut add = |name: &str, count: u64| {
            if count > 0 {
                audience.subscribers += count;
                *audience.nodes.entry(name.to_owned()).or_default() += count;
            }
        };
        add(self.name(), u64::from(self.sources.hub.legs(channel)));
        let others = self.others().await;
        let lookups = others.iter().filter_map(|other| {
            let fields = Some(vec![bytes::Bytes::copy_from_slice(channel.as_str().as_bytes())]);
            Some(Lookup { channel: counts::key(&other.id)?, fields })
        });
        let answers = self.sources.hub.backplane.noted(lookups.collect()).await.unwrap_or_default();
        for (other, answer) in others.iter().zip(answers) {
            let fields = answer.unwrap_or_default();
            let count = fields.first().and_then(|(_, count)| std::str::from_utf8(count).ok()?.parse().ok());
            add(&other.name, count.unwrap_or(0));
        }
        audience
    }

    fn now_ms(&self) -> u64 {
        self.clock.backplane_ms()
    }
}

impl Others {
    /// Takes in what was read. After an outage those who have not written again stay for a while.
    fn take(&mut self, mut read: Vec<Record>, now: Instant) {
        if self.are_kept(now) {
            let silent = |old: &Record| !read.iter().any(|new| new.id == old.id);
            let (silent, _): (Vec<_>, Vec<_>) = std::mem::take(&mut self.records).into_iter().partition(silent);
            read.extend(silent);
        }
        read.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
        self.records = read;
    }

    fn are_kept(&self, now: Instant) -> bool {
        self.kept_until.is_some_and(|until| now < until)
    }
}

fn is_fresh(record: &Record, now_ms: u64) -> bool {
    record.at_ms.abs_diff(now_ms) <= FRESH_MS
}

fn nodes() -> Channel {
    Channel::new("~nodes").expect("a good name")
}
