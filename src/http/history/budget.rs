//! What pages of history may take of a node: memory, reads at once, and how many are written at once.

use crate::hash::HashMap;
use crate::limits::client_of;
use crate::problem::{Code, Problem};
use parking_lot::Mutex;
use prometheus::IntGauge;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore};

/// Entries and answers of all pages that are in memory at once, and the share of it that one address has.
const BYTES: usize = 96 << 20;
const SHARE: usize = 3;
/// Reads at once: few, for Redis does nothing else while it puts a page together.
const READS: usize = 4;
/// Answers that are read or written at once, of all and of one address.
const ANSWERS: usize = 512;
const ANSWERS_OF_ADDRESS: usize = 64;

/// What all pages of history together may hold in memory, and who waits for it.
pub struct Budget {
    most: usize,
    all: Mutex<All>,
    freed: Notify,
    gauge: IntGauge,
    pub(super) reads: Semaphore,
}

#[derive(Default)]
struct All {
    used: Use,
    addresses: HashMap<IpAddr, Use>,
}

#[derive(Clone, Copy, Default)]
struct Use {
    answers: usize,
    bytes: usize,
}

impl Budget {
    /// `gauge` says how many bytes are in memory.
    pub fn new(gauge: IntGauge) -> Arc<Budget> {
        Budget::of(BYTES, gauge)
    }

    fn of(most: usize, gauge: IntGauge) -> Arc<Budget> {
        let (all, freed, reads) = (Mutex::default(), Notify::new(), Semaphore::new(READS));
        Arc::new(Budget { most, all, freed, gauge, reads })
    }

    /// A place for one answer.
    pub fn enter(self: &Arc<Budget>, client: IpAddr) -> Result<Arc<Turn>, Problem> {
        let client = client_of(client);
        let mut all = self.all.lock();
        if all.used.answers >= ANSWERS {
            return Err(full());
        }
        let of_address = all.addresses.entry(client).or_default();
        if of_address.answers >= ANSWERS_OF_ADDRESS {
            let detail = format!("an address may read {ANSWERS_OF_ADDRESS} pages of history at once");
            return Err(Problem::new(Code::SubscribeRate, detail));
        }
        of_address.answers += 1;
        all.used.answers += 1;
        drop(all);
        Ok(Arc::new(Turn { budget: self.clone(), client }))
    }
}

/// What a client is told where there is no room.
pub fn full() -> Problem {
    Problem::new(Code::NodeFull, "too many pages of history are being read at once")
}

/// The place of one answer, and on whose account its bytes go.
pub struct Turn {
    pub(super) budget: Arc<Budget>,
    client: IpAddr,
}

impl Turn {
    /// Waits until there is room for so many bytes, at all and for this address; of more than half of its share, for that
    /// half. Cancel safe.
    pub async fn take(self: &Arc<Turn>, bytes: usize) -> Held {
        loop {
            let freed = self.budget.freed.notified();
            match self.try_take(bytes) {
                Some(held) => return held,
                None => freed.await,
            }
        }
    }

    /// Takes bytes where they need not be waited for.
    pub fn try_take(self: &Arc<Turn>, bytes: usize) -> Option<Held> {
        let most = self.budget.most;
        let bytes = bytes.min(most / SHARE / 2);
        let fits = |used: Use, most: usize| used.bytes == 0 || used.bytes + bytes <= most;
        let mut all = self.budget.all.lock();
        let used = all.used;
        let of_address = all.addresses.entry(self.client).or_default();
        if !fits(used, most) || !fits(*of_address, most / SHARE) {
            return None;
        }
        of_address.bytes += bytes;
        all.used.bytes += bytes;
        drop(all);
        self.budget.gauge.add(bytes as i64);
        Some(Held { turn: self.clone(), bytes })
    }

    /// Counts bytes that are there already.
    pub fn count(self: &Arc<Turn>, bytes: usize) -> Held {
        let mut held = Held { turn: self.clone(), bytes: 0 };
        held.resize(bytes);
        held
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // What it held has been given back: whoever holds bytes holds the turn.
        let mut all = self.budget.all.lock();
        all.used.answers -= 1;
        if let Some(of_address) = all.addresses.get_mut(&self.client) {
            of_address.answers -= 1;
            if of_address.answers == 0 {
                all.addresses.remove(&self.client);
            }
        }
    }
}

/// Bytes that are counted until it is dropped.
pub struct Held {
    turn: Arc<Turn>,
    bytes: usize,
}

impl Held {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// They turned out to be more, or less.
    pub fn resize(&mut self, bytes: usize) {
        let budget = &self.turn.budget;
        let mut all = budget.all.lock();
        all.used.bytes = all.used.bytes + bytes - self.bytes;
        let of_address = all.addresses.entry(self.turn.client).or_default();
        of_address.bytes = of_address.bytes + bytes - self.bytes;
        drop(all);
        budget.gauge.add(bytes as i64 - self.bytes as i64);
        if bytes < self.bytes {
            budget.freed.notify_waiters();
        }
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn budget(most: usize) -> Arc<Budget> {
        Budget::of(most, IntGauge::new("a", "b").unwrap())
    }

    fn turn(budget: &Arc<Budget>, client: [u8; 4]) -> Arc<Turn> {
        budget.enter(IpAddr::from(client)).unwrap()
    }

    #[test]
    fn bytes_are_waited_for_and_given_back() {
        let budget = budget(60);
        let (one, other) = (turn(&budget, [10, 0, 0, 1]), turn(&budget, [10, 0, 0, 2]));
        let first = one.count(56);
        let mut second = other.take(5).boxed();
        assert!((&mut second).now_or_never().is_none());
        let more = one.count(3);
        drop(first);
        let mut second = second.now_or_never().expect("room");
        assert_eq!(budget.gauge.get(), 8);
        second.resize(1);
        assert_eq!(
            other.try_take(500).map(|held| held.bytes()),
            Some(10),
            "whatever it is, half a share is waited for"
        );
        drop((second, more));
        assert_eq!(budget.gauge.get(), 0);
    }

    #[test]
    fn an_address_has_its_share() {
        let budget = budget(60);
        let (one, other) = (turn(&budget, [10, 0, 0, 1]), turn(&budget, [10, 0, 0, 2]));
        let held = one.count(15);
        assert!(one.try_take(6).is_none());
        assert!(turn(&budget, [10, 0, 0, 1]).try_take(6).is_none());
        assert!(other.try_take(6).is_some());
        drop(held);
        assert!(one.try_take(6).is_some());
    }

    #[test]
    fn answers_are_counted_by_address() {
        let budget = budget(10);
        let turns: Vec<_> = (0..ANSWERS_OF_ADDRESS).map(|_| turn(&budget, [10, 0, 0, 1])).collect();
        let refused = |client: [u8; 4]| budget.enter(IpAddr::from(client)).err().map(|problem| problem.code);
        assert_eq!(refused([10, 0, 0, 1]), Some(Code::SubscribeRate));
        let others: Vec<_> =
            (ANSWERS_OF_ADDRESS..ANSWERS).map(|n| turn(&budget, [10, 1, (n >> 8) as u8, n as u8])).collect();
        assert_eq!(refused([10, 2, 0, 1]), Some(Code::NodeFull));
        drop((turns, others));
        let all = budget.all.lock();
        assert_eq!((all.used.answers, all.addresses.len()), (0, 0));
    }
}
