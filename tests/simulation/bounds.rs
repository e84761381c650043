//! What nodes may hold at any time, and what must be left of a run when it is over.

use super::nodes::Nodes;
use super::plan::Plan;
use super::watchdog::is_alone;
use fantail::invariant;
use fantail::node::simulated::Holds;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::sync::atomic::Ordering;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How much more than their bytes all tails of a node may take for a moment, and beside that for each channel, whose newest
/// event stays until couriers have had it.
const TAIL_SLACK: usize = 512 << 10;
const NEWEST: usize = 64 << 10;
/// Who is over their budget is evicted at the next sweep, and what was written before that is counted, too.
const LEFTOVER_SLACK: usize = 512 << 10;
/// A page of history more than the store has room for is on its way at most.
const REPLAY_SLACK: usize = 512 << 10;
/// Connections of one client at a node at most: those that it left have not been noticed yet.
const CONNECTIONS: usize = 3;
/// Bytes that the process may have allocated during a run, its plan and its journal included.
const MEMORY: usize = 256 << 20;
/// Turns of all couriers in a virtual second at most: more are a loop that does nothing.
const TURNS: u64 = 20_000;
/// Beyond that, for each time that a client has read something.
const TURNS_PER_READ: u64 = 4;

/// Looks at the bounds of one run.
pub struct Bounds {
    most: Holds,
    /// Bytes that were allocated when the run began, where no other one is in this process.
    memory: Option<usize>,
    turns: u64,
    reads: u64,
}

/// Bytes that are allocated in this process now.
pub fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated)
}

/// Descriptors that this process has open now.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

impl Bounds {
    pub fn new(plan: &Plan) -> Bounds {
        let legs = plan.joins().map(|wish| wish.channels.len()).sum::<usize>();
        let most = Holds {
            subscribers: CONNECTIONS * plan.joins().count(),
            subscriptions: CONNECTIONS * legs,
            feeds: plan.channels,
            joins_waiting: CONNECTIONS * legs,
            tail_bytes: plan.shape.tail_bytes + TAIL_SLACK + plan.channels * NEWEST,
            leftover_bytes: plan.shape.leftover_bytes + LEFTOVER_SLACK,
            replay_bytes: plan.shape.replay_bytes + REPLAY_SLACK,
        };
        Bounds { most, memory: is_alone().then(allocated), turns: 0, reads: 0 }
    }

    /// What is more than it may be now; called once in a virtual second at most.
    pub fn look(&mut self, nodes: &Nodes) -> Result<(), String> {
        let turns = nodes.turns.load(Ordering::Relaxed);
        let turned = turns - std::mem::replace(&mut self.turns, turns);
        let reads = nodes.reads.load(Ordering::Relaxed);
        let read = reads - std::mem::replace(&mut self.reads, reads);
        if turned > TURNS + TURNS_PER_READ * read {
            return Err(format!("couriers turn without end: {turned} times within two seconds at most"));
        }
        if let Some(broken) = invariant::broken() {
            return Err(format!("an invariant does not hold: {broken:?}"));
        }
        for (number, holds) in nodes.hold() {
            self.judge(&holds).map_err(|wrong| format!("node {number}: {wrong}"))?;
        }
        if let Some((number, why)) = nodes.unready() {
            return Err(format!("node {number} says that it is not ready: {why}"));
        }
        match self.memory.filter(|_| is_alone()).map(|before| allocated().saturating_sub(before)) {
            Some(bytes) if bytes > MEMORY => Err(format!("{bytes} bytes are allocated, more than {MEMORY}")),
            _ => Ok(()),
        }
    }

    fn judge(&self, holds: &Holds) -> Result<(), String> {
        amounts(holds).into_iter().zip(amounts(&self.most)).try_for_each(|((what, is), (_, most))| match is <= most {
            true => Ok(()),
            false => Err(format!("{is} {what}, more than {most}")),
        })
    }
}

/// What of a node's clients is still there.
pub fn remains(holds: &Holds) -> Option<String> {
    let clients = ["subscribers", "subscriptions", "bytes left over", "bytes of history"];
    let left = amounts(holds).into_iter().find(|(what, is)| clients.contains(what) && *is > 0);
    left.map(|(what, is)| format!("{is} {what}"))
}

fn amounts(holds: &Holds) -> [(&'static str, usize); 7] {
    [
        ("subscribers", holds.subscribers),
        ("subscriptions", holds.subscriptions),
        ("feeds", holds.feeds),
        ("joins that wait", holds.joins_waiting),
        ("bytes of tails", holds.tail_bytes),
        ("bytes left over", holds.leftover_bytes),
        ("bytes of history", holds.replay_bytes),
    ]
}
