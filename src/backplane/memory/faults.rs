//! What tests do to the in-process backplane, as operators, other producers and failures do to Redis.
//!
//! These act on the streams themselves, so they work while the link is down, too. They report changes where Redis'
//! tracking does: on everything but `XSETID`.

use super::Memory;
use super::stream::refused;
use crate::backplane::{BackplaneError, Keeping, Link};
use crate::channel::Channel;
use crate::position::Position;
use bytes::Bytes;
use std::sync::atomic::Ordering;

impl Memory {
    /// `XADD` with a given id; refused where the stream's last one is not smaller.
    pub fn append_at(
        &self,
        channel: &Channel,
        position: Position,
        fields: &[(Bytes, Bytes)],
    ) -> Result<Position, BackplaneError> {
        self.store.append(channel, Some(position), fields, &Keeping::default())
    }

    /// `XTRIM MAXLEN`: keeps the newest `maxlen` entries. Returns how many were removed.
    pub fn trim(&self, channel: &Channel, maxlen: u64) -> u64 {
        let trimmed = self.store.edit(channel, |slot| {
            let removed = slot.stream.as_mut().map_or(0, |s| s.trim(maxlen));
            (removed, removed > 0)
        });
        trimmed.unwrap_or(0)
    }

    /// `XDEL`. Returns whether the entry was there.
    pub fn delete_entry(&self, channel: &Channel, position: Position) -> bool {
        let deleted = self.store.edit(channel, |slot| {
            let deleted = slot.stream.as_mut().is_some_and(|s| s.delete(position));
            (deleted, deleted)
        });
        deleted.unwrap_or(false)
    }

    /// `DEL`, expiry, eviction: the stream is gone, its ids forgotten. Returns whether there was one.
    pub fn delete_stream(&self, channel: &Channel) -> bool {
        self.store.edit(channel, |slot| (slot.stream.take(), true)).is_some()
    }

    /// `XSETID`: the stream goes on after `last`; refused below an entry that it holds.
    pub fn set_last_id(&self, channel: &Channel, last: Position) -> Result<(), BackplaneError> {
        let set = self.store.edit(channel, |slot| {
            let set = slot.stream.as_mut().map_or(Err(refused("no such key")), |s| s.set_last(last));
            (set, false)
        });
        set.unwrap_or_else(|| Err(refused("no such key")))
    }

    /// Cuts the node off: every call answers [`BackplaneError::Down`], and nothing is reported or watched any more,
    /// as with a lost connection. Brought up again, everything is in doubt.
    pub fn set_link(&self, link: Link) {
        if *self.link.borrow() == link {
            return;
        }
        if link == Link::Up {
            // Before anything can be read.
            self.reconnects.fetch_add(1, Ordering::Relaxed);
            self.store.changes().doubt();
        }
        self.link.send_replace(link);
        if link == Link::Down {
            self.store.unwatch_all();
        }
    }
}
