//! The gap rule against the truth: over random histories of a stream it never says "continuous" where entries were
//! lost, and where it can count it counts right.

use super::bench::*;
use fantail::backplane::continuity::{Resume, Verdict, judge};
use fantail::control_event::GapReason;
use fantail::position::Position;
use futures_util::FutureExt as _;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Trim(u64),
    /// The n-th of the entries held.
    Delete(usize),
    /// Deletes the key; what follows are greater ids of a new life.
    DeleteStream,
}

fn step(deleting: bool, recreating: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1u64..4).prop_map(Step::Append),
        3 => (0u64..8).prop_map(Step::Trim),
        2 * u32::from(deleting) => (0usize..8).prop_map(Step::Delete),
        u32::from(recreating) => Just(Step::DeleteStream),
    ]
}

/// What really happened to one channel, over all lives of its key.
#[derive(Default)]
struct Truth {
    /// The last id of each life but the present one.
    ended: Vec<u64>,
    /// Every id ever given.
    given: Vec<u64>,
    held: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
}

impl Truth {
    fn apply(&mut self, bench: &MemoryBench, step: &Step) {
        let a = channel("a");
        match step {
            Step::Append(count) => {
                for _ in 0..*count {
                    let next = self.given.len() as u64 + 1;
                    fill(bench, &a, [next]);
                    self.given.push(next);
                    self.held.insert(next);
                }
            }
            Step::Trim(maxlen) => {
                bench.trim(&a, *maxlen);
                while self.held.len() as u64 > *maxlen {
                    self.held.pop_first();
                }
            }
            Step::Delete(nth) => {
                if let Some(n) = self.held.iter().nth(*nth).copied() {
                    assert!(bench.delete_entry(&a, id(n)));
                    self.held.remove(&n);
                    self.deleted.insert(n);
                }
            }
            Step::DeleteStream => {
                bench.delete_stream(&a);
                self.held.clear();
                self.ended.push(self.given.len() as u64);
            }
        }
    }

    /// Entries after `at` that a subscriber can no longer get.
    fn lost(&self, at: u64) -> u64 {
        self.given.iter().filter(|n| **n > at && !self.held.contains(n)).count() as u64
    }

    /// What a read that saw all would have seen; every other position is asked for without.
    fn behind(&self, at: u64) -> Option<u64> {
        at.is_multiple_of(2).then(|| self.held.range(at + 1..).count() as u64)
    }

    /// The ids of the life that an id is of: from the one before its first on.
    fn life(&self, at: u64) -> (u64, u64) {
        let before = self.ended.iter().filter(|end| **end < at).max();
        let last = self.ended.iter().find(|end| **end >= at);
        (before.copied().unwrap_or_default(), last.copied().unwrap_or(self.given.len() as u64))
    }

    /// What is said to who stands at a position in a node that has read all of its life.
    fn verdict(&self, bench: &MemoryBench, at: u64, rank: Option<u64>) -> Verdict {
        self.verdict_of_node(bench, (at, rank), self.life(at).1.max(at))
    }

    /// The same, of a node that has read up to `read`.
    fn verdict_of_node(&self, bench: &MemoryBench, (at, rank): (u64, Option<u64>), read: u64) -> Verdict {
        let state = inspect(&*bench.backplane(), &channel("a")).now_or_never().expect("an answer at once");
        let witness = self.held.contains(&at).into();
        let behind = self.behind(at);
        judge(Resume { at: id(at), rank, entry: true, witness, behind, known: id(read) }, state.as_ref())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Ids are dense here, so that the rank of `n-0` is `n`.
    #[test]
    fn exact_while_entries_are_only_trimmed(steps in prop::collection::vec(step(false, false), 1..30)) {
        let (bench, mut truth) = (MemoryBench::new(), Truth::default());
        for step in steps {
            truth.apply(&bench, &step);
            for at in 0..=truth.given.len() as u64 {
                let expected = match truth.lost(at) {
                    0 => Verdict::Continuous,
                    lost => {
                        // Where nothing is left, it goes on after what was last.
                        let after = if truth.held.is_empty() { truth.given.len() as u64 } else { at };
                        Verdict::Broken { reason: GapReason::Trimmed, after: id(after), lost: Some(lost) }
                    }
                };
                prop_assert_eq!(truth.verdict(&bench, at, Some(at)), expected, "{} after {:?}", at, step);
            }
        }
    }

    #[test]
    fn no_loss_is_silent_where_entries_are_deleted(steps in prop::collection::vec(step(true, false), 1..30)) {
        let (bench, mut truth) = (MemoryBench::new(), Truth::default());
        for step in steps {
            truth.apply(&bench, &step);
            for at in 0..=truth.given.len() as u64 {
                for rank in [None, Some(at)] {
                    let verdict = truth.verdict(&bench, at, rank);
                    let silent = verdict == Verdict::Continuous && truth.lost(at) > 0;
                    prop_assert!(!silent, "{} lost after {} (rank {:?}), {:?}", truth.lost(at), at, rank, step);
                    let told = |lost: u64| matches!(verdict, Verdict::Broken { lost: Some(n), .. } if n == lost);
                    let counts = rank.is_some() && truth.behind(at).is_some();
                    prop_assert!(!counts || truth.lost(at) == 0 || told(truth.lost(at)), "{} after {}: {:?}", truth.lost(at), at, verdict);
                    let taken_back = truth.deleted.iter().any(|n| *n > at);
                    if truth.held.contains(&at) && !taken_back {
                        prop_assert_eq!(verdict, Verdict::Continuous, "{} is there", at);
                    }
                }
            }
        }
    }

    /// Without a rank, and not from `0-0`, which is before the first entry of every life.
    #[test]
    fn no_loss_is_silent_where_keys_are_deleted(steps in prop::collection::vec(step(true, true), 1..30)) {
        let (bench, mut truth) = (MemoryBench::new(), Truth::default());
        for step in steps {
            truth.apply(&bench, &step);
            for at in 1..=truth.given.len() as u64 {
                let silent = truth.verdict(&bench, at, None) == Verdict::Continuous && truth.lost(at) > 0;
                prop_assert!(!silent, "{} lost after {}, {:?}", truth.lost(at), at, step);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// A stream that was made anew, with ids that go on, has counts of its own.
    #[test]
    fn no_number_is_wrong_where_keys_are_deleted(steps in prop::collection::vec(step(true, true), 1..30)) {
        let (bench, mut truth) = (MemoryBench::new(), Truth::default());
        for step in steps {
            truth.apply(&bench, &step);
            for at in 1..=truth.given.len() as u64 {
                let (before, last) = truth.life(at);
                for read in [at, at.midpoint(last), last] {
                    let verdict = truth.verdict_of_node(&bench, (at, Some(at - before)), read);
                    if let Verdict::Broken { lost: Some(lost), .. } = verdict {
                        prop_assert_eq!(lost, truth.lost(at), "after {} by {}, {:?}", at, read, step);
                    }
                }
            }
        }
    }
}

/// The truth's own test: a rule that always says "continuous" must be found out.
#[test]
fn the_truth_knows_of_losses() {
    let (bench, mut truth) = (MemoryBench::new(), Truth::default());
    truth.apply(&bench, &Step::Append(3));
    truth.apply(&bench, &Step::Trim(1));
    assert_eq!((truth.lost(0), truth.lost(1), truth.lost(2), truth.lost(3)), (2, 1, 0, 0));
    truth.apply(&bench, &Step::Delete(0));
    assert_eq!((truth.lost(0), truth.lost(2)), (3, 1));
    assert_eq!(
        truth.verdict(&bench, 2, Some(2)),
        Verdict::Broken { reason: GapReason::Deleted, after: Position::new(3, 0), lost: Some(1) }
    );
}
