//! A piece of a stream as Redis keeps it: some entries in one block of memory. Trimming by `~` removes whole ones, so where
//! one ends decides what is there afterwards.
//!
//! An entry that is deleted stays as a mark until its node goes.

use super::id::Id;
use bytes::Bytes;
use std::sync::Arc;

/// `stream-node-max-bytes`, as it is by default.
const MOST_BYTES: usize = 4096;
/// `stream-node-max-entries`, as it is by default; those that are deleted count, too.
pub const MOST_ENTRIES: usize = 100;
/// The head of a block and its last byte.
const FRAME: usize = 7;

/// Names and values of an entry, in turn.
pub type Fields = Arc<[Bytes]>;

/// One entry, or the mark of one that is deleted.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its id.
    pub id: Id,
    /// Its fields; none where it is deleted.
    pub fields: Fields,
    /// Whether only the mark is left.
    pub deleted: bool,
}

/// Some entries of one block.
#[derive(Clone, Debug)]
pub struct Node {
    /// The id of the entry that began it, which is its name.
    pub master: Id,
    /// Names of that entry's fields: who has the same ones does not repeat them.
    pub names: Vec<Bytes>,
    /// Bytes of the block.
    pub bytes: usize,
    /// Entries that are there.
    pub live: usize,
    /// All of them, ascending.
    pub slots: Vec<Slot>,
}

impl Node {
    /// A node that begins with this entry.
    pub fn new(id: Id, fields: Fields) -> Node {
        let names: Vec<Bytes> = fields.iter().step_by(2).cloned().collect();
        let head = [1, 0, names.len() as i64, 0].map(integer).iter().sum::<usize>();
        let bytes = FRAME + head + names.iter().map(|name| element(name)).sum::<usize>();
        let mut node = Node { master: id, names, bytes, live: 0, slots: Vec::new() };
        node.push(id, fields);
        node
    }

    /// Whether a further entry has room.
    pub fn has_room_for(&self, fields: &[Bytes]) -> bool {
        let length: usize = fields.iter().map(Bytes::len).sum();
        self.bytes + length < MOST_BYTES && self.slots.len() < MOST_ENTRIES
    }

    /// Puts an entry behind the others.
    pub fn push(&mut self, id: Id, fields: Fields) {
        let pairs = fields.len() / 2;
        let same = fields.iter().step_by(2).eq(&self.names);
        let ids = [id.ms.wrapping_sub(self.master.ms), id.seq.wrapping_sub(self.master.seq)];
        let mut bytes = integer(i64::from(same) * 2) + ids.iter().map(|n| integer(*n as i64)).sum::<usize>();
        bytes += fields.iter().skip(1).step_by(2).map(|value| element(value)).sum::<usize>();
        let mut pieces = pairs + 3;
        if !same {
            bytes += integer(pairs as i64) + fields.iter().step_by(2).map(|name| element(name)).sum::<usize>();
            pieces += pairs + 1;
        }
        self.bytes += bytes + integer(pieces as i64);
        self.live += 1;
        self.slots.push(Slot { id, fields, deleted: false });
    }

    /// The id of the last entry, be it deleted.
    pub fn last(&self) -> Id {
        self.slots.last().map_or(self.master, |slot| slot.id)
    }

    /// Leaves only the mark of an entry; whether it was there.
    pub fn delete(&mut self, id: Id) -> bool {
        let Ok(at) = self.slots.binary_search_by_key(&id, |slot| slot.id) else { return false };
        let slot = &mut self.slots[at];
        let was_there = !std::mem::replace(&mut slot.deleted, true);
        slot.fields = Arc::new([]);
        self.live -= usize::from(was_there);
        was_there
    }
}

/// Bytes that a string takes in a block: one that is written like a number is kept as one.
fn element(bytes: &[u8]) -> usize {
    let number = std::str::from_utf8(bytes).ok().and_then(|text| Some((text, text.parse::<i64>().ok()?)));
    if let Some((_, number)) = number.filter(|(text, number)| number.to_string() == **text) {
        return integer(number);
    }
    with_length_behind(match bytes.len() {
        length @ 0..64 => length + 1,
        length @ 64..4096 => length + 2,
        length => length + 5,
    })
}

/// Bytes that a number takes in a block.
fn integer(number: i64) -> usize {
    with_length_behind(match number {
        0..=127 => 1,
        -4096..=4095 => 2,
        -32_768..=32_767 => 3,
        -8_388_608..=8_388_607 => 4,
        -2_147_483_648..=2_147_483_647 => 5,
        _ => 9,
    })
}

/// Each element is followed by its length, to be read backwards.
fn with_length_behind(length: usize) -> usize {
    length
        + match length {
            0..=127 => 1,
            128..16_383 => 2,
            16_383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
            _ => 5,
        }
}
