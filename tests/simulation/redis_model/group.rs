//! Consumer groups: as far as they decide what is deleted, and what their readers are given.

use super::id::Id;
use super::stream::Stream;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of groups' references to an entry that is to be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum References {
    /// They stay (`KEEPREF`).
    #[default]
    Keep,
    /// They go with the entry (`DELREF`).
    Delete,
    /// The entry goes only where there are none, and every group was given it (`ACKED`).
    Acknowledged,
}

impl References {
    /// Reads the word of a command, if it is one.
    pub fn parse(word: &[u8]) -> Option<References> {
        match word.to_ascii_uppercase().as_slice() {
            b"KEEPREF" => Some(References::Keep),
            b"DELREF" => Some(References::Delete),
            b"ACKED" => Some(References::Acknowledged),
            _ => None,
        }
    }
}

/// A group of consumers.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The last entry that it was given.
    pub last: Id,
    /// Who has which entry, not acknowledged yet.
    pub pending: BTreeMap<Id, Bytes>,
    /// All that have ever asked.
    pub consumers: BTreeSet<Bytes>,
}

impl Stream {
    /// Whether a group still needs an entry: it has not been given it, or has not acknowledged it.
    pub fn is_referenced(&self, id: Id) -> bool {
        self.groups.values().any(|group| id > group.last || group.pending.contains_key(&id))
    }

    /// Removes all references of groups to an entry.
    pub fn forget(&mut self, id: Id) {
        for group in self.groups.values_mut() {
            group.pending.remove(&id);
        }
    }

    /// Acknowledges entries in a group; how many of them were pending.
    pub fn acknowledge(&mut self, group: &[u8], ids: &[Id]) -> usize {
        let Some(group) = self.groups.get_mut(group) else { return 0 };
        ids.iter().filter(|id| group.pending.remove(id).is_some()).count()
    }
}
