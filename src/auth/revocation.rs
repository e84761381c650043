//! Revocations: who is disconnected by an entry of the control stream, and who is kept out afterwards. Pure.
//!
//! An entry has the fields `disconnect` (`subject`, `channel`, `token` or `subscriber`) and `name`, and may have `until`, in
//! Unix seconds: up to then a subject or token is refused. A token is kept out for a day where `until` is not given. All times
//! are by the backplane's clock, which dates the entries: how far it is from the node's is told by [`Revocations::set_clock`].

use super::grant::Identity;
use crate::backplane::Entry;
use crate::channel::Channel;
use crate::clock::Clock;
use crate::hash::HashMap;
use crate::watched as watch;
use parking_lot::Mutex;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long a token is kept out where the entry does not say: longer than tokens of sessions live.
pub const TOKEN_MEMORY_MS: u64 = 24 * 3_600_000;
/// Subjects and tokens that are kept out at most; beyond that, those whose time ends first are let go.
const MAX_BARRED: usize = 100_000;
/// Disconnects that are remembered for those who are on their way to a courier.
const MAX_RECENT: usize = 1_024;
/// Longest name, as that of a claim.
const MAX_NAME: usize = 256;

/// Whom a disconnect concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    Subject,
    Channel,
    Token,
    /// One stream, by the id that its node gave it.
    Subscriber,
}

impl Target {
    pub const ALL: [Target; 4] = [Target::Subject, Target::Channel, Target::Token, Target::Subscriber];

    /// As it stands in entries, events and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Target::Subject => "subject",
            Target::Channel => "channel",
            Target::Token => "token",
            Target::Subscriber => "subscriber",
        }
    }

    /// Whether it can be kept out, not only ended.
    const fn is_kept_out(self) -> bool {
        matches!(self, Target::Subject | Target::Token)
    }
}

/// One order to disconnect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    pub target: Target,
    pub name: Arc<str>,
    /// In Unix milliseconds; `None`: who is disconnected may come back at once.
    pub until_ms: Option<u64>,
}

/// Why an entry of the control stream is no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    #[error("{0}: no text")]
    NoText(&'static str),
    #[error("{0} is given twice")]
    Twice(&'static str),
    #[error("it has no field {0}")]
    Missing(&'static str),
    #[error("disconnect is neither subject, channel, token nor subscriber")]
    UnknownTarget,
    #[error("name has {0} bytes; 1 to {MAX_NAME} are taken")]
    NameBytes(usize),
    #[error("until is no number of seconds")]
    NoSeconds,
    #[error("it is more than one order")]
    Several,
    #[error("it names neither a subject nor a token, or both")]
    NoTarget,
    #[error("it names what is no channel that clients may have")]
    BadChannel,
    #[error("it names more than 100 channels")]
    TooManyChannels,
}

/// The text of an entry's field, which it may have once.
pub(super) fn field<'a>(entry: &'a Entry, name: &'static str) -> Result<Option<&'a str>, OrderError> {
    let mut found = entry.fields.iter().filter(|(field, _)| field == name.as_bytes());
    match (found.next(), found.next()) {
        (Some((_, value)), None) => std::str::from_utf8(value).map(Some).map_err(|_| OrderError::NoText(name)),
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(OrderError::Twice(name)),
    }
}

/// The name of a subject or a token.
pub(super) fn name(text: &str) -> Result<Arc<str>, OrderError> {
    match text.len() {
        1..=MAX_NAME => Ok(text.into()),
        bytes => Err(OrderError::NameBytes(bytes)),
    }
}

impl Disconnect {
    /// Reads an entry of the control stream.
    ///
    /// `now_ms` by the backplane's clock: an id that is no time of the last day, as ids by hand may be, counts as now, so
    /// that a token stays out for a day from when it is known.
    pub fn from_entry(entry: &Entry, now_ms: u64) -> Result<Disconnect, OrderError> {
        let field = |name: &'static str| field(entry, name);
        let kind = field("disconnect")?.ok_or(OrderError::Missing("disconnect"))?;
        let target = Target::ALL.into_iter().find(|target| target.label() == kind);
        let target = target.ok_or(OrderError::UnknownTarget)?;
        let name = name(field("name")?.ok_or(OrderError::Missing("name"))?)?;
        let until_ms = match field("until")? {
            Some(text) => {
                let seconds: u64 = text.parse().map_err(|_| OrderError::NoSeconds)?;
                Some(seconds.saturating_mul(1000))
            }
            None if target == Target::Token => Some(time_of(entry, now_ms).saturating_add(TOKEN_MEMORY_MS)),
            None => None,
        };
        Ok(Disconnect { target, name, until_ms: until_ms.filter(|_| target.is_kept_out()) })
    }

    /// Whether it concerns a subscriber with this identity and these channels. Who is named by an id is known to its courier
    /// alone.
    pub fn concerns(&self, identity: Option<&Identity>, mut channels: impl Iterator<Item = impl AsRef<str>>) -> bool {
        let named = |name: Option<&Arc<str>>| name.is_some_and(|name| **name == *self.name);
        match self.target {
            Target::Subject => named(identity.and_then(|identity| identity.subject.as_ref())),
            Target::Token => identity.is_some_and(|identity| identity.has_token(&self.name)),
            Target::Channel => channels.any(|channel| *channel.as_ref() == *self.name),
            Target::Subscriber => false,
        }
    }
}

/// When an entry was made, in Unix milliseconds.
fn time_of(entry: &Entry, now_ms: u64) -> u64 {
    let ms = entry.position.ms;
    if is_time(ms) { ms.min(now_ms) } else { now_ms }
}

/// Whether the first part of an id can be a time that a clock showed; ids by hand are often small numbers.
pub fn is_time(ms: u64) -> bool {
    /// Redis has had streams since 2018.
    const STREAMS_SINCE_MS: u64 = 1_500_000_000_000;
    ms >= STREAMS_SINCE_MS
}

/// What the control stream has said so far.
pub struct Revocations {
    state: Mutex<State>,
    count: AtomicU64,
    /// Whether the stream's history has been read since the start.
    known: watch::Sender<bool>,
    /// Since when the stream cannot be read.
    blind_since: Mutex<Option<Instant>>,
    clock: Clock,
}

#[derive(Default)]
struct State {
    barred: HashMap<(Target, Arc<str>), u64>,
    /// Who is barred, by the end of the time.
    ends: BTreeSet<(u64, Target, Arc<str>)>,
    recent: VecDeque<Arc<Disconnect>>,
}

impl Revocations {
    /// Nothing is revoked yet, and it is not known whether that is so. `clock` says when an order is over.
    pub fn new(clock: Clock) -> Revocations {
        Revocations {
            state: Mutex::default(),
            count: AtomicU64::new(0),
            known: watch::Sender::new(false),
            blind_since: Mutex::new(Some(Instant::now())),
            clock,
        }
    }

    /// Takes one in, before couriers are told. Whether somebody had to be let go of for it.
    pub fn add(&self, disconnect: &Arc<Disconnect>, now_ms: u64) -> bool {
        let mut state = self.state.lock();
        let full = state.bar(disconnect, now_ms);
        if state.recent.len() == MAX_RECENT {
            state.recent.pop_front();
        }
        state.recent.push_back(disconnect.clone());
        // Under the lock, so that who sees the number sees the disconnect.
        self.count.fetch_add(1, Ordering::Release);
        full
    }

    /// Takes one in that was carried out before this node was there: what is left of it is who is kept out.
    pub fn recall(&self, disconnect: &Arc<Disconnect>, now_ms: u64) -> bool {
        self.state.lock().bar(disconnect, now_ms)
    }

    /// How many there have been.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Subjects and tokens that are kept out now.
    pub fn barred(&self, now_ms: u64) -> usize {
        let mut state = self.state.lock();
        state.forget_until(now_ms);
        state.barred.len()
    }

    /// Whether a subject or token is kept out now.
    pub fn bars(&self, subject: Option<&Arc<str>>, token_id: Option<&Arc<str>>) -> bool {
        self.bars_at(subject, token_id, self.now_ms())
    }

    fn bars_at(&self, subject: Option<&Arc<str>>, token_id: Option<&Arc<str>>, now_ms: u64) -> bool {
        if subject.is_none() && token_id.is_none() {
            return false;
        }
        let state = self.state.lock();
        let bars = |target, name: Option<&Arc<str>>| {
            name.and_then(|name| state.barred.get(&(target, name.clone()))).is_some_and(|until| *until > now_ms)
        };
        bars(Target::Subject, subject) || bars(Target::Token, token_id)
    }

    /// Whether a subscriber that was admitted when there were `seen` disconnects has been meant by a later one. Where
    /// that cannot be told any more it is assumed: the client comes back and is judged afresh.
    pub fn missed(&self, seen: u64, identity: Option<&Identity>, channels: &[Channel]) -> Option<Target> {
        if self.count() == seen {
            return None;
        }
        let state = self.state.lock();
        let later = self.count().saturating_sub(seen) as usize;
        if later > state.recent.len() {
            return Some(Target::Subject);
        }
        let recent = state.recent.iter().rev().take(later);
        let concerns = |d: &&Arc<Disconnect>| d.concerns(identity, channels.iter().map(Channel::as_str));
        recent.into_iter().find(concerns).map(|disconnect| disconnect.target)
    }

    /// All that the stream has was read.
    pub fn set_known(&self) {
        *self.blind_since.lock() = None;
        self.known.send_replace(true);
    }

    /// The stream could not be read.
    pub fn set_blind(&self) {
        self.blind_since.lock().get_or_insert_with(Instant::now);
    }

    /// How long orders have not been known, whether they never were or no longer are; `None`: they are.
    pub fn blind_for(&self) -> Option<Duration> {
        self.blind_since.lock().map(|since| since.elapsed())
    }

    /// The clock that says when an order is over.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Takes over how far the backplane's clock is ahead of this node's.
    pub fn set_clock(&self, offset_ms: i64) {
        self.clock.set_ahead_ms(offset_ms);
    }

    /// The time by the backplane's clock, which dates orders, in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.clock.backplane_ms()
    }

    /// Whether the history has been read.
    pub fn is_known(&self) -> bool {
        *self.known.borrow()
    }

    /// Waits until the history has been read once.
    pub async fn known(&self) {
        if *self.known.borrow() {
            return;
        }
        // The sender lives as long as self.
        let _ = self.known.subscribe().wait_for(|known| *known).await;
    }
}

impl State {
    /// Keeps out whom an order keeps out; whether somebody else had to be let go of for it.
    fn bar(&mut self, disconnect: &Disconnect, now_ms: u64) -> bool {
        self.forget_until(now_ms);
        if let Some(until) = disconnect.until_ms.filter(|until| *until > now_ms) {
            let key = (disconnect.target, disconnect.name.clone());
            let before = self.barred.get(&key).copied();
            // Of several orders the one that lasts longest counts: who gives one may not know of the others.
            let until = before.map_or(until, |before| before.max(until));
            if let Some(before) = before {
                self.ends.remove(&(before, key.0, key.1.clone()));
            }
            self.barred.insert(key.clone(), until);
            self.ends.insert((until, key.0, key.1));
        }
        let full = self.barred.len() > MAX_BARRED;
        if full && let Some((_, target, name)) = self.ends.pop_first() {
            self.barred.remove(&(target, name));
        }
        full
    }

    fn forget_until(&mut self, now_ms: u64) {
        while self.ends.first().is_some_and(|(until, ..)| *until <= now_ms) {
            if let Some((_, target, name)) = self.ends.pop_first() {
                self.barred.remove(&(target, name));
            }
        }
    }
}

#[cfg(test)]
mod tests;
