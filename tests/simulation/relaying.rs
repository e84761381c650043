//! Busy streams that a node reads for others, as the backplane's contract has it: nodes become relays and cease to be, some at
//! once, and what they pass on comes late, in any order, or not at all.

use super::backplane::reachable;
use super::chance::{Draw, source};
use super::redis::{Line, Redis};
use fantail::backplane::Relayed;
use fantail::channel::Channel;
use fastrand::Rng;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Of how many messages one is lost.
const LOST: u32 = 16;

/// See the module.
pub struct Relaying {
    on: bool,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    /// By stream, the numbers of the nodes for which it is busy, and those of its relays.
    busy: BTreeMap<Channel, (BTreeSet<usize>, BTreeSet<usize>)>,
}

impl Relaying {
    /// In every third run.
    pub fn new(seed: u64) -> Relaying {
        let mut rng = source(seed, "relays");
        Relaying { on: rng.once_in(3), state: Mutex::new(State { rng, busy: BTreeMap::new() }) }
    }

    pub fn is_on(&self) -> bool {
        self.on
    }

    pub fn busy(&self, number: usize, channel: &Channel, is: bool) {
        let mut state = self.state.lock();
        let (nodes, relays) = state.busy.entry(channel.clone()).or_default();
        relays.remove(&number);
        if is {
            nodes.insert(number)
        } else {
            nodes.remove(&number)
        };
    }

    /// Whether a node is a relay of a stream; it may become one with that, or cease to be.
    pub fn relays(&self, number: usize, channel: &Channel) -> bool {
        let State { rng, busy } = &mut *self.state.lock();
        let Some((_, relays)) = busy.get_mut(channel).filter(|(nodes, _)| nodes.contains(&number)) else {
            return false;
        };
        let changes = rng.once_in(if relays.is_empty() { 3 } else { 30 });
        if changes && !relays.remove(&number) {
            relays.insert(number);
        }
        relays.contains(&number)
    }

    /// A node's connection has ended.
    pub fn ended(&self, number: usize) {
        for (_, relays) in self.state.lock().busy.values_mut() {
            relays.remove(&number);
        }
    }

    /// Who is sent what a node passes on of a stream.
    fn hearers(&self, channel: &Channel) -> Vec<usize> {
        let State { rng, busy } = &mut *self.state.lock();
        let Some((nodes, relays)) = busy.get(channel) else { return Vec::new() };
        nodes.difference(relays).copied().filter(|_| !rng.once_in(LOST)).collect()
    }
}

impl Redis {
    /// A node passes on what it has read, unless it has lost its connection meanwhile.
    pub fn relay(self: &Arc<Redis>, from: &Arc<Line>, relayed: Relayed, doubts: u32) {
        let Some(generation) = from.generation().filter(|_| from.changes.about_all() <= doubts) else { return };
        let (redis, from) = (self.clone(), from.clone());
        tokio::spawn(async move {
            if !from.pass(generation).await || reachable(&redis, &relayed.channel).is_err() {
                return;
            }
            for number in redis.relaying.hearers(&relayed.channel) {
                let line = redis.line(number);
                let Some(generation) = line.generation() else { continue };
                let relayed = relayed.clone();
                tokio::spawn(async move {
                    if line.pass(generation).await {
                        line.changes.relayed(relayed, &AtomicBool::new(false));
                    }
                });
            }
        });
    }
}
