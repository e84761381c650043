//! The backplane contract: what nodes share, and all that the rest of a node knows of it.
//!
//! A backplane holds one stream of entries per channel, as Redis Streams define them. It is asked for entries,
//! and it tells through [`Changes`] that a stream may have new ones. What the answers mean for a subscriber
//! (continuous, gap, reset) is decided in [`continuity`], the same way for every backplane.

mod awaited;
pub mod continuity;
pub mod error;
pub mod memory;
pub mod metrics;
pub mod redis;
mod relayed;

pub use self::awaited::Awaited;
pub use self::error::BackplaneError;
pub use self::relayed::Relayed;

use crate::channel::Channel;
pub use crate::entry::{DIGESTED, Entry, KEYS_KEPT, KEYS_MOST, Keeping, Once, Publication, may_hold_more};
use crate::hash::HashSet;
use crate::position::Position;
use crate::watched as watch;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// The default of `--max-entry-bytes`.
pub const MAX_ENTRY_BYTES: usize = 64 << 20;
/// What a stream tells of itself (`XINFO STREAM`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Entries it holds now.
    pub length: u64,
    /// The greatest id it ever gave (`last-generated-id`); survives trimming, not deletion of the key.
    pub last: Position,
    /// The oldest entry it still holds.
    pub first: Option<Position>,
    /// Entries ever added (`entries-added`); `None` before Redis 7.0.
    pub added: Option<u64>,
    /// The greatest id ever removed by `XDEL` (`max-deleted-entry-id`), not by trimming; `None` before Redis 7.0.
    pub max_deleted: Option<Position>,
    /// Whether the newest entry it holds is its last given id and [closes](crate::event::closes) the channel.
    pub finished: bool,
}

impl StreamState {
    /// The oldest entry it holds, or the first id that it may give where it holds none: what is older is of another stream.
    pub fn begins(&self) -> Position {
        self.first.unwrap_or(self.last.after())
    }
}

/// Entries of one channel after a position, oldest first.
#[derive(Clone, Debug)]
pub struct Ask {
    pub channel: Channel,
    /// Exclusive.
    pub after: Position,
    /// At most so many entries; fewer where they are large, and then a change of the stream is reported.
    pub count: usize,
}

/// Which end of a [`Span`] is read when it holds more than its count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// From the oldest on (`XRANGE`).
    Newest,
    /// From the newest back (`XREVRANGE`); the answer is still oldest first.
    Oldest,
}

/// A piece of one channel's history; both bounds inclusive.
#[derive(Clone, Debug)]
pub struct Span {
    pub channel: Channel,
    pub oldest: Position,
    pub newest: Position,
    /// At most so many entries; fewer where they are large, see [`may_hold_more`].
    pub count: usize,
    pub toward: Toward,
}

/// A stream's state and its entries after the asked position, both of the same instant.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    /// `None` where there is no such stream.
    pub state: Option<StreamState>,
    pub entries: Vec<Entry>,
}

/// Fields to keep for a while under one of the cluster's own names, which is no stream.
#[derive(Clone, Debug)]
pub struct Note {
    pub channel: Channel,
    pub set: Vec<(Bytes, Bytes)>,
    pub remove: Vec<Bytes>,
    /// All of it is forgotten if nothing more is noted there within this time.
    pub keep: Duration,
}

/// Fields that were noted: these, or all.
#[derive(Clone, Debug)]
pub struct Lookup {
    pub channel: Channel,
    pub fields: Option<Vec<Bytes>>,
}

/// Fields with their values.
pub type Fields = Vec<(Bytes, Bytes)>;

pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackplaneError>> + Send + 'a>>;

/// Whether the backplane can be read from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Up,
    Down,
}

/// Facts about the backplane for `/status`, the banner and `fantail check`.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Facts {
    /// `memory`, or the address without credentials: `redis://127.0.0.1:6379/0`.
    pub name: String,
    /// The server's version, as it says it.
    pub version: Option<String>,
    /// `memory`, `tracking` or `block`.
    pub follow: Option<&'static str>,
    /// Backplane clock minus this node's clock, in milliseconds.
    pub clock_offset_ms: i64,
    /// What that is at least, of every server, as answers take their time.
    #[serde(skip)]
    pub clock_least_ms: i64,
    /// Connections made after the first.
    pub reconnects: u64,
    /// The server behind the name now, where it is one.
    pub server: Option<String>,
    /// Why it cannot be used, or not all of it.
    pub trouble: Option<String>,
    /// What it refuses though it can be read: commands with the reason, each until it is taken again.
    pub refused: Vec<Refused>,
    /// The parts of a backplane that can fail one by one; empty where it is whole.
    pub shards: Vec<Shard>,
    /// From where its servers are read, where replicas are to be read; empty where they are not.
    pub reads: Vec<ReadFrom>,
}

/// From where a server's streams are read, where replicas are to be read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ReadFrom {
    /// The primary.
    pub primary: String,
    /// The replica that is read; `None`: the primary is.
    pub replica: Option<String>,
    /// How far the replica lags, at most, as far as that is known.
    pub lag_ms: Option<u64>,
    /// Why none is read.
    pub why: Option<String>,
}

/// A command that a backplane refuses now.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Refused {
    /// Its name, such as `XADD`.
    pub command: &'static str,
    /// What was said, which begins with a code such as `MISCONF`.
    pub why: String,
}

/// A part of a backplane that holds some of the channels.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shard {
    pub name: String,
    pub up: bool,
}

/// What nodes share. Shared behind an [`Arc`]; every call takes whole batches.
///
/// Batched answers are in the order of the asks. An `Err` for the whole call means that nothing is known of any
/// of them; an `Err` for one ask concerns that channel alone. A `Down` for one ask: the part of the backplane that holds
/// the channel is down, and the rest works; when it is back, that is a doubt.
pub trait Backplane: Send + Sync + 'static {
    /// Reads what is new, for the follower, of each stream once. After an answer the backplane reports later changes of these streams
    /// through [`Changes`], each at least once until the next read of it.
    fn read(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>>;

    /// Whether the stream has large entries, so that it is better asked for alone: others would have to wait.
    fn reads_apart(&self, _: &Channel) -> bool {
        false
    }

    /// Whether `read_next` can be asked now; it may be so later.
    fn waits(&self) -> bool {
        false
    }

    /// Reads one stream as `read` does, but waits, for a second at most, until something follows the entry after the asked
    /// position. Promises no reports.
    fn read_next(&self, _: Ask) -> Answer<'_, Vec<Entry>> {
        Box::pin(async { Err(BackplaneError::refused("not waited at")) })
    }

    /// What each stream tells of itself; `None` where there is no such stream. Reports later changes as `read` does.
    fn inspect(&self, channels: Vec<Channel>) -> Answer<'_, Vec<Result<Option<StreamState>, BackplaneError>>>;

    /// State and entries of one instant, for the moments when it must be decided whether something was lost.
    /// Reports later changes as `read` does.
    fn examine(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Examined, BackplaneError>>>;

    /// Reads history, apart from the follower's traffic; promises no reports.
    fn history(&self, spans: Vec<Span>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>>;

    /// Appends entries; each is appended at most once, and the answer is its id. Where it is [`Once`] that of the entry which
    /// has been appended under that name, if there is one.
    fn append(&self, publications: Vec<Publication>) -> Answer<'_, Vec<Result<Position, BackplaneError>>>;

    /// Whether it keeps notes; a backplane that is one process's own has nobody to keep them for.
    fn keeps_notes(&self) -> bool {
        false
    }

    /// Keeps notes; whether anything was noted there before.
    fn note(&self, notes: Vec<Note>) -> Answer<'_, Vec<Result<bool, BackplaneError>>> {
        Box::pin(async move { Ok(notes.iter().map(|_| Ok(false)).collect()) })
    }

    /// Reads notes; fields that are not there are left out.
    fn noted(&self, lookups: Vec<Lookup>) -> Answer<'_, Vec<Result<Fields, BackplaneError>>> {
        Box::pin(async move { Ok(lookups.iter().map(|_| Ok(Vec::new())).collect()) })
    }

    /// The follower has everything of `channel` up to `position` and wants reports of what comes later.
    fn followed(&self, channel: &Channel, position: Position);

    /// Nobody here wants reports of this channel any more.
    fn unfollowed(&self, channel: &Channel);

    /// Whether nodes may pass on to each other what they read, through [`Changes`].
    fn may_relay(&self) -> bool {
        false
    }

    /// Whether the stream is busy, so that this node would have passed on to it what is new there, or pass it on itself.
    fn busy(&self, _: &Channel, _is: bool) {}

    /// Whether this node is the one that passes on what it reads of the stream.
    fn relays(&self, _: &Channel) -> bool {
        false
    }

    /// Passes on what was read, unless a doubt about all streams has been stated since there had been so many.
    fn relay(&self, _: Relayed, _doubts: u32) {}

    /// What may have changed.
    fn changes(&self) -> &Arc<Changes>;

    /// Whether it can be read now.
    fn link(&self) -> watch::Receiver<Link>;

    fn facts(&self) -> Facts;
}

/// Streams that may have new entries, collected until the follower takes them.
///
/// A set, so it is bounded by the number of followed streams however fast they change.
#[derive(Default)]
pub struct Changes {
    pending: parking_lot::Mutex<Pending>,
    bell: Notify,
    /// How many doubts have been stated, those about one stream included.
    stated: AtomicU32,
    /// How many had been stated with the last one about all streams.
    about_all: AtomicU32,
    /// Who hears of a stream instead of the follower.
    listeners: parking_lot::Mutex<Vec<(Channel, Arc<Notify>)>>,
}

/// What [`Changes::take`] hands over.
#[derive(Default, Debug)]
pub struct Pending {
    pub channels: HashSet<Channel>,
    /// Reports may have been lost (new connection, emptied tracking table, lagged receiver): everything followed
    /// must be verified.
    pub doubt: bool,
    /// What others have read of streams, in the order in which it came; of behind the last doubt.
    pub relayed: Vec<Relayed>,
    relayed_bytes: usize,
}

/// What others pass on and nobody has taken yet, in bytes and at most so many; of further ones it is only told that there are
/// new entries.
const RELAYED_BYTES: usize = 4 << 20;
const RELAYED: usize = 4_096;

impl Changes {
    /// These streams changed.
    pub fn changed(&self, channels: impl IntoIterator<Item = Channel>) {
        let listeners = self.listeners.lock();
        let mut pending = self.pending.lock();
        for channel in channels {
            match listeners.iter().find(|(listened, _)| *listened == channel) {
                Some((_, bell)) => bell.notify_one(),
                None => drop(pending.channels.insert(channel)),
            }
        }
        if !pending.channels.is_empty() {
            self.bell.notify_one();
        }
    }

    /// Another node has passed this on, by a connection that may have `ended`: what is behind its end may be of before a doubt.
    pub fn relayed(&self, relayed: Relayed, ended: &AtomicBool) {
        let mut pending = self.pending.lock();
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let bytes = pending.relayed_bytes + relayed.size();
        if bytes > RELAYED_BYTES || pending.relayed.len() == RELAYED {
            pending.channels.insert(relayed.channel);
        } else {
            pending.relayed_bytes = bytes;
            pending.relayed.push(relayed);
        }
        self.bell.notify_one();
    }

    /// Any stream may have changed in any way. Stated before anybody can read what it is about, so that no answer of behind it
    /// meets a log of before it.
    pub fn doubt(&self) {
        let number = self.stated.fetch_add(1, Ordering::SeqCst) + 1;
        self.about_all.fetch_max(number, Ordering::SeqCst);
        {
            let mut pending = self.pending.lock();
            pending.doubt = true;
            // What was read before it is not of behind it.
            (pending.relayed, pending.relayed_bytes) = (Vec::new(), 0);
        }
        self.bell.notify_one();
        self.listeners.lock().iter().for_each(|(_, bell)| bell.notify_one());
    }

    /// States a doubt about one stream, which nobody else hears of; its number.
    pub fn doubt_of_one(&self) -> u32 {
        self.stated.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// How many doubts have been stated so far: what is read from now on is of behind them all.
    pub fn stated(&self) -> u32 {
        self.stated.load(Ordering::SeqCst)
    }

    /// The number of the last doubt about all streams; 0: there was none.
    pub fn about_all(&self) -> u32 {
        self.about_all.load(Ordering::SeqCst)
    }

    /// What rings when this stream, which is no subscriber's, has changed or may have. For a few streams.
    pub fn listen(&self, channel: Channel) -> Arc<Notify> {
        let bell = Arc::new(Notify::new());
        self.listeners.lock().push((channel, bell.clone()));
        bell
    }

    /// Waits until there is something to take. Cancel safe.
    pub async fn wait(&self) {
        self.bell.notified().await;
    }

    /// Takes all that is pending.
    pub fn take(&self) -> Pending {
        std::mem::take(&mut self.pending.lock())
    }
}
