//! A stream: its entries in nodes, and what it tells of itself.

use super::group::Group;
use super::id::Id;
use super::node::{Fields, Node, Slot};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// A stream with its groups.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    pub(super) nodes: VecDeque<Node>,
    /// Entries that are there.
    pub length: u64,
    /// `last-generated-id`: the greatest id that it has had, or was given.
    pub last: Id,
    /// `recorded-first-entry-id`: the first entry, as it is noted when that changes.
    pub first: Id,
    /// `entries-added`: the entries that it has ever had.
    pub added: u64,
    /// `max-deleted-entry-id`: the greatest id that `XDEL` has removed.
    pub max_deleted: Id,
    /// Consumer groups by their names.
    pub groups: BTreeMap<Bytes, Group>,
}

impl Stream {
    /// Puts an entry with a greater id than any before it behind the others.
    pub fn append(&mut self, id: Id, fields: Fields) {
        match self.nodes.back_mut().filter(|node| node.has_room_for(&fields)) {
            Some(node) => node.push(id, fields),
            None => self.nodes.push_back(Node::new(id, fields)),
        }
        self.length += 1;
        self.added += 1;
        self.last = id;
        if self.length == 1 {
            self.first = id;
        }
    }

    /// Entries within inclusive bounds, ascending.
    pub fn range(&self, from: Id, to: Id) -> impl DoubleEndedIterator<Item = &Slot> {
        let begin = self.nodes.partition_point(|node| node.master <= from).saturating_sub(1);
        let end = self.nodes.partition_point(|node| node.master <= to).max(begin);
        let slots = self.nodes.range(begin..end).flat_map(|node| &node.slots);
        slots.filter(move |slot| !slot.deleted && slot.id >= from && slot.id <= to)
    }

    /// Entries behind a position, ascending.
    pub fn after(&self, id: Id) -> impl DoubleEndedIterator<Item = &Slot> {
        // Behind the last id there is nothing; Redis begins at the first one again.
        self.range(id.after().unwrap_or(Id::MIN), Id::MAX)
    }

    /// The id of the first entry that is there.
    pub fn first_there(&self) -> Option<Id> {
        self.range(Id::MIN, Id::MAX).next().map(|slot| slot.id)
    }

    /// The id of the last entry that is there.
    pub fn last_there(&self) -> Option<Id> {
        self.range(Id::MIN, Id::MAX).next_back().map(|slot| slot.id)
    }

    /// Whether an entry is there.
    pub fn has(&self, id: Id) -> bool {
        self.range(id, id).next().is_some()
    }

    /// Removes an entry, as `XDEL` does; whether it was there. What the stream tells of itself is for the caller to note.
    pub(super) fn remove(&mut self, id: Id) -> bool {
        let Some(at) = self.nodes.partition_point(|node| node.master <= id).checked_sub(1) else { return false };
        if !self.nodes[at].delete(id) {
            return false;
        }
        if self.nodes[at].live == 0 {
            self.nodes.remove(at);
        }
        self.length -= 1;
        true
    }

    /// Removes an entry, and notes its id among those that were deleted; whether it was there.
    pub fn delete(&mut self, id: Id) -> bool {
        let was_there = self.remove(id);
        if was_there {
            self.max_deleted = self.max_deleted.max(id);
        }
        was_there
    }

    /// Notes which entry is the first after some have been removed.
    pub fn note_first(&mut self) {
        self.first = self.first_there().unwrap_or_default();
    }

    /// Nodes of the tree that finds the blocks, each by its 16 bytes: where names part, and where they end.
    pub fn tree_nodes(&self) -> usize {
        let bytes = |node: &Node| (u128::from(node.master.ms) << 64 | u128::from(node.master.seq)).to_be_bytes();
        let names: Vec<[u8; 16]> = self.nodes.iter().map(bytes).collect();
        tree_nodes(&names, 0)
    }
}

fn tree_nodes(names: &[[u8; 16]], depth: usize) -> usize {
    let ([first, ..], [.., last]) = (names, names) else { return 1 };
    // They are sorted: what the first and the last share, all share.
    let shared = first[depth..].iter().zip(&last[depth..]).take_while(|(a, b)| a == b).count();
    let way = usize::from(shared > 0);
    let depth = depth + shared;
    match names.len() {
        1 => way + 1,
        _ => {
            way + 1 + names.chunk_by(|a, b| a[depth] == b[depth]).map(|part| tree_nodes(part, depth + 1)).sum::<usize>()
        }
    }
}
