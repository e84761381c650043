//! Reads the control stream once from end to end, across whatever happens to it.
//!
//! As of a channel, the newest known entry is read again each time, as a witness: if it does not come back as it was, the
//! stream was trimmed, deleted or made anew, and ids may have gone back. Then what it has of the last day is read again,
//! and what was not handed out before is. So nothing depends on ids that grow.

use crate::auth::revocation::{TOKEN_MEMORY_MS, is_time};
use crate::backplane::{Ask, Backplane, BackplaneError, Entry, Span, Toward};
use crate::channel::Channel;
use crate::planted::{self, Fault};
use crate::position::Position;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Entries of one read beside the witness.
const PAGE: usize = 1_000;
/// Entries that are known again when they are read again; of more, the oldest would be handed out twice, which costs those
/// whom they name a reconnect.
const MAX_SEEN: usize = 10_000;
/// For one read that tells of later changes; then it is read without.
const TELLING_TIMEOUT: Duration = Duration::from_millis(500);
/// For one read; the backplane has shorter limits of its own.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Page {
    /// What was not handed out before; `whole`: there is no more now.
    Entries { entries: Vec<Entry>, whole: bool },
    /// The newest known entry, which this is, is not there any more as it was.
    Anew(Position),
}

/// Reads the control stream page by page, and notices when it was cut or made anew.
pub struct Reading {
    backplane: Arc<dyn Backplane>,
    channel: Channel,
    place: Place,
    /// Digests of what was handed out.
    seen: BTreeMap<Position, u64>,
    digests: RandomState,
    /// What is there is read again; of that, what is older than a day is nobody's order.
    again: bool,
    told: bool,
}

/// Where the next read begins.
#[derive(Clone, Copy)]
enum Place {
    /// Still to be found.
    Unknown,
    /// After a position at which no entry is known; exclusive.
    After(Position),
    /// At the newest known entry, with its digest.
    At(Position, u64),
}

impl Reading {
    pub fn new(backplane: Arc<dyn Backplane>, channel: Channel) -> Reading {
        let (seen, digests) = (BTreeMap::new(), RandomState::new());
        Reading { backplane, channel, place: Place::Unknown, seen, digests, again: false, told: false }
    }

    /// Whether the latest read was by the connection that tells of what comes next.
    pub fn told(&self) -> bool {
        self.told
    }

    /// What comes next. `now_ms` is by the backplane's clock. An error leaves all as it was.
    pub async fn next(&mut self, now_ms: u64) -> Result<Page, BackplaneError> {
        if let Place::Unknown = self.place {
            self.place = self.begin(now_ms).await?;
        }
        let (after, witness) = match self.place {
            Place::After(after) => (after, None),
            Place::At(at, _) if planted::is(Fault::OrdersGoOn) => (at, None),
            Place::At(at, digest) => (at.before(), Some((at, digest))),
            Place::Unknown => (Position::ZERO, None),
        };
        let mut entries = self.read(after).await?;
        let whole = entries.len() <= PAGE;
        if let Some((at, digest)) = witness {
            if entries.first().is_none_or(|first| first.position != at || self.digest(first) != digest) {
                (self.place, self.again) = (Place::Unknown, true);
                return Ok(Page::Anew(at));
            }
            entries.remove(0);
        }
        match (entries.last(), witness) {
            (Some(last), _) => self.place = Place::At(last.position, self.digest(last)),
            // The stream may have had entries when its beginning was looked for.
            (None, None) if after != Position::ZERO && !planted::is(Fault::OrdersGoOn) => self.place = Place::Unknown,
            (None, _) => {}
        }
        let day_ago = now_ms.saturating_sub(TOKEN_MEMORY_MS);
        let over = |entry: &Entry| is_time(entry.position.ms) && entry.position.ms < day_ago;
        let again = self.again;
        entries.retain(|entry| self.is_new(entry) && !(again && over(entry)));
        self.again &= !whole;
        Ok(Page::Entries { entries, whole })
    }

    /// Where the last day begins. Ids that are no times are in it: so the beginning is that of the stream where its newest id
    /// is none, and when it is read again, for any may be in a stream that was made anew.
    async fn begin(&self, now_ms: u64) -> Result<Place, BackplaneError> {
        let newest = self.history(Position::ZERO, Toward::Oldest, 1).await?.pop();
        let Some(newest) = newest.filter(|newest| !self.again && is_time(newest.position.ms)) else {
            return Ok(Place::After(Position::ZERO));
        };
        let day_ago = now_ms.saturating_sub(TOKEN_MEMORY_MS);
        Ok(match newest.position.ms < day_ago {
            true => Place::At(newest.position, self.digest(&newest)),
            false => Place::After(Position::new(day_ago, 0)),
        })
    }

    /// Entries after a position, one more than a page at most.
    async fn read(&mut self, after: Position) -> Result<Vec<Entry>, BackplaneError> {
        self.told = false;
        if self.backplane.facts().follow != Some("block") {
            let ask = Ask { channel: self.channel.clone(), after, count: PAGE + 1 };
            let answers = timeout(TELLING_TIMEOUT, self.backplane.read(vec![ask])).await;
            if let Some(Ok(entries)) = answers.ok().and_then(Result::ok).and_then(|mut answers| answers.pop()) {
                self.told = true;
                return Ok(entries);
            }
        }
        self.history(after.after(), Toward::Newest, PAGE + 1).await
    }

    /// Reads apart from the follower's traffic, which nothing that a failover, a full tail or a busy follower does could
    /// hold up.
    async fn history(&self, oldest: Position, toward: Toward, count: usize) -> Result<Vec<Entry>, BackplaneError> {
        let silent = || BackplaneError::down("no answer");
        let span = Span { channel: self.channel.clone(), oldest, newest: Position::MAX, count, toward };
        let answers = timeout(READ_TIMEOUT, self.backplane.history(vec![span])).await;
        answers.map_err(|_| silent())??.pop().unwrap_or_else(|| Err(silent()))
    }

    /// Remembers an entry; whether it was not known.
    fn is_new(&mut self, entry: &Entry) -> bool {
        let digest = self.digest(entry);
        let new = self.seen.insert(entry.position, digest) != Some(digest);
        if self.seen.len() > MAX_SEEN {
            self.seen.pop_first();
        }
        new
    }

    fn digest(&self, entry: &Entry) -> u64 {
        self.digests.hash_one((entry.position.ms, entry.position.seq, &entry.fields))
    }
}

#[cfg(test)]
mod tests;
