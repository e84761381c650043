//! Trimming: what goes, in which pieces, and what groups have to say in it.

use super::group::References;
use super::id::Id;
use super::stream::Stream;

/// Until where a stream is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// So many entries are left.
    Length(u64),
    /// No entry has a smaller id.
    Id(Id),
}

/// How a stream is trimmed.
#[derive(Clone, Copy, Debug)]
pub struct Trim {
    /// Until where.
    pub until: Until,
    /// Whether only whole nodes go (`~`).
    pub whole_nodes: bool,
    /// Entries that may go at once; 0: all.
    pub limit: u64,
    /// What becomes of groups' references.
    pub references: References,
    /// Whether what may not go whole is looked through by `~`, too, where groups have a say.
    pub looks_within: bool,
}

impl Stream {
    /// Removes entries from the beginning on; how many.
    pub fn trim(&mut self, trim: &Trim) -> u64 {
        let (mut removed, mut at) = (0, 0);
        while let Some(node) = self.nodes.get(at) {
            let live = node.live as u64;
            if trim.until.is_reached(self.length, None) || trim.limit > 0 && removed + live > trim.limit {
                break;
            }
            let may_go = match trim.until {
                Until::Length(most) => self.length - live >= most,
                Until::Id(least) => node.last() < least,
            };
            if trim.references == References::Keep && may_go {
                removed += live;
                self.length -= live;
                self.nodes.remove(at);
                continue;
            }
            if trim.whole_nodes && !(trim.looks_within && trim.references != References::Keep) {
                break;
            }
            let within = self.trim_within(at, trim);
            removed += within;
            match may_go {
                true if within == live => drop(self.nodes.remove(at)),
                // It stays for what is still referred to.
                true => at += 1,
                false => break,
            }
        }
        if removed > 0 || self.length == 0 {
            self.note_first();
        }
        removed
    }

    /// Takes entries out of a node, which stays though it may have only marks then; how many.
    fn trim_within(&mut self, at: usize, trim: &Trim) -> u64 {
        let ids: Vec<Id> = self.nodes[at].slots.iter().map(|slot| slot.id).collect();
        let mut removed = 0;
        for id in ids {
            if trim.until.is_reached(self.length, Some(id)) {
                break;
            }
            match trim.references {
                References::Acknowledged if self.is_referenced(id) => continue,
                References::Delete => self.forget(id),
                _ => {}
            }
            if self.nodes[at].delete(id) {
                self.length -= 1;
                removed += 1;
            }
        }
        removed
    }
}

impl Until {
    /// Whether nothing more is to be removed of so many entries, or from this one on.
    fn is_reached(self, length: u64, next: Option<Id>) -> bool {
        match self {
            Until::Length(most) => length <= most,
            Until::Id(least) => next.is_some_and(|next| next >= least),
        }
    }
}
