//! All streams of the in-process backplane: a sharded map, its bounds, and which streams are watched for changes.
//!
//! Bounds: a new stream beyond [`Settings::max_streams`] is refused; an entry that brings the whole beyond
//! [`Settings::max_bytes`] first makes room, which costs the streams that hold most their older halves.

use super::settings::Settings;
use super::stream::{Stream, cost, refused};
use crate::backplane::{BackplaneError, Changes, Keeping};
use crate::channel::Channel;
use crate::clock::Clock;
use crate::hash::HashMap;
use crate::hash::State;
use crate::position::Position;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// More than threads that would wait for each other.
const SHARDS: usize = 32;

/// What a stream takes beside its entries, its name included, in bytes.
const SLOT_OVERHEAD: usize = 384;

/// A stream, or the wish to hear of one.
#[derive(Default)]
pub(super) struct Slot {
    /// Boxed, since most channels that are followed have none.
    pub(super) stream: Option<Box<Stream>>,
    /// The next change is to be reported. Reporting ends it, as Redis' tracking does.
    pub(super) watched: bool,
}

impl Slot {
    fn bytes(&self) -> usize {
        self.stream.as_ref().map_or(0, |stream| stream.bytes())
    }
}

pub(super) struct Store {
    shards: Box<[Mutex<HashMap<Channel, Slot>>]>,
    hasher: State,
    settings: Settings,
    /// Dates the entries that bring no id of their own.
    clock: Clock,
    slots: AtomicUsize,
    bytes: AtomicUsize,
    /// One at a time makes room: two would remove twice as much.
    making_room: Mutex<()>,
    trimmed_for_room: AtomicU64,
    /// Streams that are to go, by their time in Unix milliseconds.
    expiries: Mutex<BTreeSet<(u64, Channel)>>,
    /// The first of these times.
    next_expiry_ms: AtomicU64,
    changes: Arc<Changes>,
}

impl Store {
    pub(super) fn new(settings: Settings, clock: Clock) -> Store {
        Store {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: State::default(),
            settings,
            clock,
            slots: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            making_room: Mutex::new(()),
            trimmed_for_room: AtomicU64::new(0),
            expiries: Mutex::default(),
            next_expiry_ms: AtomicU64::new(u64::MAX),
            changes: Arc::default(),
        }
    }

    pub(super) fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// Entries removed so far because all streams together were too big.
    #[cfg(test)]
    pub(super) fn trimmed_for_room(&self) -> u64 {
        self.trimmed_for_room.load(Ordering::Relaxed)
    }

    /// Memory that all takes now, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Looks at a stream, and watches it from then on.
    pub(super) fn watch<R>(
        &self,
        channel: &Channel,
        look: impl FnOnce(Option<&Stream>) -> R,
    ) -> Result<R, BackplaneError> {
        self.expire();
        self.with(channel, |slot| {
            slot.watched = true;
            look(slot.stream.as_deref())
        })
    }

    /// Looks at a stream.
    pub(super) fn look<R>(&self, channel: &Channel, look: impl FnOnce(Option<&Stream>) -> R) -> R {
        self.expire();
        look(self.shard(channel).lock().get(channel).and_then(|slot| slot.stream.as_deref()))
    }

    pub(super) fn unwatch(&self, channel: &Channel) {
        self.change(channel, |slot| slot.watched = false);
    }

    #[cfg(feature = "testing")]
    pub(super) fn unwatch_all(&self) {
        for shard in &self.shards {
            let mut slots = shard.lock();
            let before = slots.len();
            slots.retain(|_, slot| {
                slot.watched = false;
                slot.stream.is_some()
            });
            self.forget_slots(before - slots.len());
        }
    }

    /// Appends an entry under an id of its own (`at`) or the next one, unless it has been, and trims as the producer or
    /// [`Settings::maxlen`] says.
    pub(super) fn append(
        &self,
        channel: &Channel,
        at: Option<Position>,
        fields: &[(Bytes, Bytes)],
        keeping: &Keeping,
    ) -> Result<Position, BackplaneError> {
        self.expire();
        self.make_room(cost(fields) + SLOT_OVERHEAD)?;
        let now_ms = self.clock.unix_ms();
        let (answer, report) = self.with(channel, |slot| {
            let missing = slot.stream.is_none();
            let stream = slot.stream.get_or_insert_default();
            if let Some(ttl) = keeping.ttl {
                self.expire_at(channel, stream, now_ms.saturating_add(ttl.as_millis() as u64));
            }
            if let Some(known) = keeping.once.as_ref().and_then(|once| stream.keys.find(once, now_ms)) {
                return (Ok(known), false);
            }
            let answer = match at {
                Some(position) => stream.append_at(position, fields),
                None => stream.append(now_ms, fields),
            };
            if let (Some(once), Ok(position)) = (&keeping.once, &answer) {
                stream.keys.insert(once, *position, now_ms);
            }
            match keeping.maxlen.unwrap_or(self.settings.maxlen) {
                0 => {}
                maxlen => {
                    stream.trim(maxlen);
                }
            }
            if missing && answer.is_err() {
                slot.stream = None;
            }
            let report = answer.is_ok() && std::mem::take(&mut slot.watched);
            (answer, report)
        })?;
        self.report(channel, report);
        answer
    }

    /// Lets a stream go at a time, whatever was said before.
    fn expire_at(&self, channel: &Channel, stream: &mut Stream, at_ms: u64) {
        let mut expiries = self.expiries.lock();
        if let Some(before) = stream.expires_ms.replace(at_ms) {
            expiries.remove(&(before, channel.clone()));
        }
        expiries.insert((at_ms, channel.clone()));
        self.next_expiry_ms.fetch_min(at_ms, Ordering::Relaxed);
    }

    /// Lets streams go whose time is over. Whoever looks at any stream does this; followed ones are looked at by themselves.
    fn expire(&self) {
        let now_ms = self.clock.unix_ms();
        if now_ms < self.next_expiry_ms.load(Ordering::Relaxed) {
            return;
        }
        let mut due = Vec::new();
        {
            let mut expiries = self.expiries.lock();
            while expiries.first().is_some_and(|(at, _)| *at <= now_ms) {
                due.extend(expiries.pop_first());
            }
            let next = expiries.first().map_or(u64::MAX, |(at, _)| *at);
            self.next_expiry_ms.store(next, Ordering::Relaxed);
        }
        for (at, channel) in due {
            let report = self.change(&channel, |slot| {
                let over = slot.stream.as_ref().is_some_and(|stream| stream.expires_ms == Some(at));
                if over {
                    slot.stream = None;
                }
                over && std::mem::take(&mut slot.watched)
            });
            self.report(&channel, report.unwrap_or(false));
        }
    }

    /// Changes a stream and reports it where `edit` says that it did. Nothing happens where there is no stream.
    #[cfg(feature = "testing")]
    pub(super) fn edit<R>(&self, channel: &Channel, edit: impl FnOnce(&mut Slot) -> (R, bool)) -> Option<R> {
        let edited = self.change(channel, |slot| {
            slot.stream.as_ref()?;
            let (answer, changed) = edit(slot);
            Some((answer, changed && std::mem::take(&mut slot.watched)))
        });
        let (answer, report) = edited.flatten()?;
        self.report(channel, report);
        Some(answer)
    }

    fn report(&self, channel: &Channel, report: bool) {
        if report {
            self.changes.changed([channel.clone()]);
        }
    }

    fn shard(&self, channel: &Channel) -> &Mutex<HashMap<Channel, Slot>> {
        &self.shards[self.hasher.hash_one(channel) as usize % SHARDS]
    }

    /// Runs `f` on the slot of a channel, which is made where it is missing.
    fn with<R>(&self, channel: &Channel, f: impl FnOnce(&mut Slot) -> R) -> Result<R, BackplaneError> {
        let mut slots = self.shard(channel).lock();
        if !slots.contains_key(channel) {
            self.take_slot()?;
            slots.insert(channel.clone(), Slot::default());
        }
        Ok(self.account(&mut slots, channel, f).expect("it is there"))
    }

    /// Runs `f` on the slot of a channel where there is one.
    fn change<R>(&self, channel: &Channel, f: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        self.account(&mut self.shard(channel).lock(), channel, f)
    }

    /// Runs `f` on a slot, counts its bytes anew, and removes it where nothing is left of it.
    fn account<R>(
        &self,
        slots: &mut HashMap<Channel, Slot>,
        channel: &Channel,
        f: impl FnOnce(&mut Slot) -> R,
    ) -> Option<R> {
        let slot = slots.get_mut(channel)?;
        let before = slot.bytes();
        let answer = f(slot);
        self.recount(before, slot.bytes());
        if slot.stream.is_none() && !slot.watched {
            slots.remove(channel);
            self.forget_slots(1);
        }
        Some(answer)
    }

    fn recount(&self, before: usize, after: usize) {
        if after >= before {
            self.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    fn take_slot(&self) -> Result<(), BackplaneError> {
        let max = self.settings.max_streams;
        if self.slots.fetch_add(1, Ordering::Relaxed) >= max {
            self.slots.fetch_sub(1, Ordering::Relaxed);
            return Err(refused(format!(
                "the in-process backplane is full: it has {max} channels and takes no new one"
            )));
        }
        self.bytes.fetch_add(SLOT_OVERHEAD, Ordering::Relaxed);
        Ok(())
    }

    fn forget_slots(&self, count: usize) {
        self.slots.fetch_sub(count, Ordering::Relaxed);
        self.bytes.fetch_sub(count * SLOT_OVERHEAD, Ordering::Relaxed);
    }

    /// Makes room for so many bytes. Appends that run at the same time may exceed the bound by one entry each.
    fn make_room(&self, needed: usize) -> Result<(), BackplaneError> {
        let max = self.settings.max_bytes;
        let full = || self.bytes.load(Ordering::Relaxed) + needed > max;
        if !full() {
            return Ok(());
        }
        if needed > max {
            return Err(refused(format!("an entry of {needed} bytes; the in-process backplane holds {max} in all")));
        }
        let _one = self.making_room.lock();
        while full() {
            if !self.halve_the_biggest() {
                return Err(refused(format!("the in-process backplane is full: its channels' names take {max} bytes")));
            }
        }
        Ok(())
    }

    /// Removes the older half of the biggest stream and of those at least half as big, so that the noisy ones pay.
    /// False where there was nothing to remove.
    fn halve_the_biggest(&self) -> bool {
        let biggest = |shard: &Mutex<HashMap<Channel, Slot>>| shard.lock().values().map(Slot::bytes).max();
        let limit = self.shards.iter().filter_map(biggest).max().unwrap_or(0).div_ceil(2);
        if limit == 0 {
            return false;
        }
        let mut removed = 0;
        for shard in &self.shards {
            for (channel, slot) in shard.lock().iter_mut() {
                let before = slot.bytes();
                if before < limit {
                    continue;
                }
                removed += slot.stream.as_mut().map_or(0, |stream| stream.halve());
                self.recount(before, slot.bytes());
                self.report(channel, std::mem::take(&mut slot.watched));
            }
        }
        if self.trimmed_for_room.fetch_add(removed, Ordering::Relaxed) == 0 {
            tracing::warn!(
                max_bytes = self.settings.max_bytes,
                removed,
                "in-process backplane is full: trimming early"
            );
        }
        true
    }
}
