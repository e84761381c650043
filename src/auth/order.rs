//! Orders of the control stream: to disconnect, which [`revocation`](super::revocation) knows, or to change the sets of
//! channels of streams that are open; and what has been ordered of that kind. Pure.
//!
//! A change has the field `join` or `leave`, with channels and commas between them, and the field `subject` or `token`,
//! which says whose streams it is for.

use super::grant::Identity;
use super::revocation::{Disconnect, OrderError, TOKEN_MEMORY_MS, Target, field, is_time, name};
use crate::backplane::Entry;
use crate::channel::Channel;
use crate::hash::HashMap;
use crate::position::Position;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Channels of one order.
const MOST_CHANNELS: usize = 100;
/// Changes that are remembered; beyond that the oldest are forgotten, and nobody who was away is told of them any more.
const MOST_CHANGES: usize = 20_000;
/// How long they are.
const MEMORY_MS: u64 = TOKEN_MEMORY_MS;

/// What an entry of the control stream orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Disconnect(Disconnect),
    Change(Change),
}

/// An order to change the sets of channels of streams that are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its id.
    pub at: Position,
    /// When it was given, in Unix milliseconds: from then on channels that are joined are read.
    pub since_ms: u64,
    pub kind: ChangeKind,
    pub channels: Box<[Channel]>,
    /// A subject or a token.
    pub target: Target,
    pub name: Arc<str>,
}

/// What is done with the channels of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Join,
    Leave,
}

impl ChangeKind {
    pub const ALL: [ChangeKind; 2] = [ChangeKind::Join, ChangeKind::Leave];

    /// As it stands in entries and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            ChangeKind::Join => "join",
            ChangeKind::Leave => "leave",
        }
    }
}

impl Order {
    /// Reads an entry of the control stream. `now_ms` by the backplane's clock.
    pub fn from_entry(entry: &Entry, now_ms: u64) -> Result<Order, OrderError> {
        let mut changes = Vec::new();
        for kind in ChangeKind::ALL {
            changes.extend(field(entry, kind.label())?.map(|channels| (kind, channels)));
        }
        match (&changes[..], field(entry, "disconnect")?) {
            ([], _) => Disconnect::from_entry(entry, now_ms).map(Order::Disconnect),
            (&[(kind, channels)], None) => Change::read(entry, kind, channels, now_ms).map(Order::Change),
            _ => Err(OrderError::Several),
        }
    }
}

impl Change {
    fn read(entry: &Entry, kind: ChangeKind, channels: &str, now_ms: u64) -> Result<Change, OrderError> {
        let named = |target: Target| Ok(field(entry, target.label())?.map(|name| (target, name)));
        let (target, name_text) = match (named(Target::Subject)?, named(Target::Token)?) {
            (Some(one), None) | (None, Some(one)) => one,
            _ => return Err(OrderError::NoTarget),
        };
        let channel = |name: &str| Channel::new(name).ok().filter(|channel| !channel.is_reserved());
        let channels: Option<Box<[Channel]>> = channels.split(',').map(channel).collect();
        let channels = channels.ok_or(OrderError::BadChannel)?;
        if channels.len() > MOST_CHANNELS {
            return Err(OrderError::TooManyChannels);
        }
        let ms = entry.position.ms;
        let since_ms = if is_time(ms) { ms.min(now_ms) } else { now_ms };
        Ok(Change { at: entry.position, since_ms, kind, channels, target, name: name(name_text)? })
    }

    /// Whether it is for the streams of somebody.
    pub fn concerns(&self, identity: &Identity) -> bool {
        match self.target {
            Target::Subject => identity.subject.as_ref() == Some(&self.name),
            Target::Token => identity.has_token(&self.name),
            Target::Channel | Target::Subscriber => false,
        }
    }
}

/// The changes that have been ordered, as far as they are remembered.
#[derive(Default)]
pub struct ChangeMemory {
    state: Mutex<State>,
    count: AtomicU64,
}

/// A change, and its number: from 1 on, as they came.
type Numbered = (u64, Arc<Change>);

#[derive(Default)]
struct State {
    all: VecDeque<Numbered>,
    by_name: HashMap<(Target, Arc<str>), VecDeque<Numbered>>,
}

impl ChangeMemory {
    /// Takes one in, before couriers are told.
    pub fn add(&self, change: &Arc<Change>, now_ms: u64) {
        let mut state = self.state.lock();
        let over = |state: &State| {
            let first = state.all.front().map(|(_, first)| first.since_ms);
            state.all.len() == MOST_CHANGES || first.is_some_and(|first| first.saturating_add(MEMORY_MS) < now_ms)
        };
        while over(&state) {
            state.forget_first();
        }
        let number = self.count.load(Ordering::Relaxed) + 1;
        state.all.push_back((number, change.clone()));
        state.by_name.entry((change.target, change.name.clone())).or_default().push_back((number, change.clone()));
        // Under the lock, so that who sees the number sees the change.
        self.count.store(number, Ordering::Release);
    }

    /// How many there have been.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Those that came behind the first `count`, for somebody, in the order of their ids.
    pub fn of(&self, identity: &Identity, count: u64) -> Vec<Arc<Change>> {
        if self.count() == count {
            return Vec::new();
        }
        let state = self.state.lock();
        let tokens = identity.token_id.iter().chain(&identity.renewed_by).map(|token| (Target::Token, token.clone()));
        let names = identity.subject.iter().map(|subject| (Target::Subject, subject.clone())).chain(tokens);
        let theirs = names.filter_map(|name| state.by_name.get(&name)).flatten();
        let mut theirs: Vec<_> =
            theirs.filter(|(number, _)| *number > count).map(|(_, change)| change.clone()).collect();
        theirs.sort_by_key(|change| change.at);
        theirs
    }
}

impl State {
    fn forget_first(&mut self) {
        let Some((_, first)) = self.all.pop_front() else { return };
        let key = (first.target, first.name.clone());
        if let Some(theirs) = self.by_name.get_mut(&key) {
            theirs.pop_front();
            if theirs.is_empty() {
                self.by_name.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const NOW: u64 = 1_800_000_000_000;

    fn entry(ms: u64, fields: &[(&'static str, &str)]) -> Entry {
        let fields = fields.iter().map(|(name, value)| (Bytes::from(*name), value.to_string().into())).collect();
        Entry { position: Position::new(ms, 0), fields }
    }

    fn change(ms: u64, fields: &[(&'static str, &str)]) -> Arc<Change> {
        match Order::from_entry(&entry(ms, fields), NOW) {
            Ok(Order::Change(change)) => Arc::new(change),
            other => panic!("{other:?}"),
        }
    }

    fn identity(subject: &str, token: &str) -> Identity {
        Identity { subject: Some(subject.into()), token_id: Some(token.into()), ..Identity::default() }
    }

    #[test]
    fn changes_are_read_or_refused() {
        let read = change(NOW - 5, &[("join", "orders,news"), ("subject", "alice")]);
        let channels = ["orders", "news"].map(|name| Channel::new(name).unwrap());
        assert_eq!((read.kind, &read.channels[..], read.since_ms), (ChangeKind::Join, &channels[..], NOW - 5));
        assert!(read.concerns(&identity("alice", "1")) && !read.concerns(&identity("1", "alice")));
        let read = change(7, &[("leave", "orders"), ("token", "t")]);
        assert_eq!((read.kind, read.since_ms, read.at), (ChangeKind::Leave, NOW, Position::new(7, 0)));
        let mut renewed = identity("alice", "1");
        renewed.renew(Some(&"t".into()), 1);
        assert!(read.concerns(&renewed) && !read.concerns(&identity("t", "1")));
        let many = vec!["a"; 101].join(",");
        for (fields, part) in [
            (&[("join", "a")][..], "neither a subject nor a token, or both"),
            (&[("join", "a"), ("subject", "s"), ("token", "t")], "neither a subject nor a token, or both"),
            (&[("join", "a"), ("subject", "")], "0 bytes"),
            (&[("join", "a"), ("leave", "b"), ("subject", "s")], "more than one order"),
            (&[("join", "a"), ("disconnect", "subject"), ("name", "s")], "more than one order"),
            (&[("join", "a"), ("join", "b"), ("subject", "s")], "join is given twice"),
            (&[("join", ""), ("subject", "s")], "no channel"),
            (&[("join", "a,~control"), ("subject", "s")], "no channel"),
            (&[("leave", &many), ("subject", "s")], "100 channels"),
        ] {
            let error = Order::from_entry(&entry(1, fields), NOW).unwrap_err().to_string();
            assert!(error.contains(part), "{fields:?}: {error}");
        }
    }

    #[test]
    fn somebodys_changes_are_found_in_the_order_of_their_ids() {
        let memory = ChangeMemory::default();
        let alice = identity("alice", "t");
        let orders = [
            change(NOW + 2, &[("join", "a"), ("subject", "alice")]),
            change(NOW + 1, &[("join", "b"), ("token", "t")]),
            change(NOW + 3, &[("join", "c"), ("subject", "bob")]),
            change(NOW + 4, &[("leave", "b"), ("subject", "alice")]),
        ];
        orders.iter().for_each(|order| memory.add(order, NOW));
        let ids = |count| memory.of(&alice, count).iter().map(|change| change.at.ms - NOW).collect::<Vec<_>>();
        assert_eq!((ids(0), ids(1), ids(3), ids(4)), (vec![1, 2, 4], vec![1, 4], vec![4], vec![]));
        let mut renewed = identity("carol", "first");
        renewed.renew(Some(&"t".into()), 1);
        assert_eq!(memory.of(&renewed, 0).len(), 1, "by the token that has renewed it");
    }

    #[test]
    fn changes_are_forgotten_after_a_day_and_when_they_are_too_many() {
        let memory = ChangeMemory::default();
        let of = |name: &str| memory.of(&identity(name, "-"), 0).len();
        memory.add(&change(NOW, &[("join", "a"), ("subject", "old")]), NOW);
        memory.add(&change(NOW, &[("join", "a"), ("subject", "new")]), NOW + MEMORY_MS);
        assert_eq!((of("old"), of("new")), (1, 1));
        memory.add(&change(NOW, &[("join", "a"), ("subject", "newer")]), NOW + MEMORY_MS + 1);
        assert_eq!((of("old"), of("new"), of("newer")), (0, 0, 1));
        (0..MOST_CHANGES).for_each(|_| memory.add(&change(NOW, &[("join", "a"), ("subject", "many")]), NOW));
        assert_eq!((of("newer"), of("many"), memory.state.lock().by_name.len()), (0, MOST_CHANGES, 1));
    }
}
