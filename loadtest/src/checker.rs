//! What each subscriber must receive, by the sequence numbers in the data, and what it received instead.
//!
//! Ids play no part in this; [`ids_advance`] compares them apart from it.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What was wrong, summed over subscribers. All zero but `announced*` is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Never arrived and not announced as a gap.
    pub lost: u64,
    /// Arrived again.
    pub repeated: u64,
    /// Arrived behind a later one.
    pub reordered: u64,
    /// Gap announcements.
    pub announced: u64,
    /// Events that did not arrive, within announced gaps.
    pub announced_lost: u64,
    /// Ids that did not advance.
    pub id_disorder: u64,
    /// Events of a channel that was not subscribed to, or whose data is not the publisher's.
    pub foreign: u64,
}

impl Tally {
    /// Nothing lost silently, nothing twice, nothing out of order.
    pub fn is_exact(&self) -> bool {
        self.lost + self.repeated + self.reordered + self.id_disorder + self.foreign == 0
    }

    pub fn add(&mut self, other: &Tally) {
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.announced += other.announced;
        self.announced_lost += other.announced_lost;
        self.id_disorder += other.id_disorder;
        self.foreign += other.foreign;
    }
}

/// A subscriber's place in one channel: the greatest sequence number it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg(u64);

impl Leg {
    /// Subscribed before the first event, so that number 1 is due.
    pub const START: Leg = Leg(0);
    /// Joined in the middle: whatever comes first is right.
    pub const ANYWHERE: Leg = Leg(u64::MAX);
    /// As [`Leg::ANYWHERE`], and what is missing before it was announced; the place is in [`Checker`]'s book.
    const AFTER_GAP: Leg = Leg(u64::MAX - 1);

    /// The last number received, where one was.
    pub fn last(self) -> Option<u64> {
        (self.0 < Leg::AFTER_GAP.0).then_some(self.0)
    }
}

/// Most missing ranges remembered per leg; a later arrival from a forgotten one counts as repeated.
const MOST_HOLES: usize = 1_000;

/// Checks arrivals of many legs. A leg is named by client and channel.
#[derive(Default)]
pub struct Checker {
    pub tally: Tally,
    /// Missing numbers, as inclusive ranges, of the few legs that miss any.
    holes: HashMap<(u32, u32), Vec<(u64, u64)>>,
    /// Where legs in a gap stood when it was announced.
    gaps: HashMap<(u32, u32), u64>,
}

impl Checker {
    /// An event arrived. Returns whether it is one that was due (not a repeat).
    pub fn arrived(&mut self, client: u32, channel: u32, leg: &mut Leg, sequence: u64) -> bool {
        match *leg {
            Leg(last) if sequence == last.wrapping_add(1) && leg.last().is_some() => {}
            Leg::ANYWHERE => {}
            Leg::AFTER_GAP => {
                if let Some(stood) = self.gaps.remove(&(client, channel)) {
                    self.tally.announced_lost += sequence.saturating_sub(stood + 1);
                }
            }
            Leg(last) if sequence > last => {
                self.tally.lost += sequence - last - 1;
                let holes = self.holes.entry((client, channel)).or_default();
                if holes.len() < MOST_HOLES {
                    holes.push((last + 1, sequence - 1));
                }
            }
            Leg(_) => return self.arrived_late(client, channel, sequence),
        }
        *leg = Leg(sequence);
        true
    }

    /// Not greater than the last: it fills a hole, or it is a repeat.
    fn arrived_late(&mut self, client: u32, channel: u32, sequence: u64) -> bool {
        let holes = self.holes.get_mut(&(client, channel));
        let found = holes.and_then(|holes| {
            let at = holes.iter().position(|&(from, to)| (from..=to).contains(&sequence))?;
            let (from, to) = holes.swap_remove(at);
            holes.extend([(from, sequence - 1), (sequence + 1, to)].into_iter().filter(|(from, to)| from <= to));
            Some(())
        });
        match found {
            Some(()) => {
                self.tally.lost -= 1;
                self.tally.reordered += 1;
            }
            None => self.tally.repeated += 1,
        }
        found.is_some()
    }

    /// The server announced that events of this channel are missing before the next one.
    pub fn gap(&mut self, client: u32, channel: u32, leg: &mut Leg) {
        self.tally.announced += 1;
        if let Some(last) = leg.last() {
            self.gaps.insert((client, channel), last);
        }
        if *leg != Leg::ANYWHERE {
            *leg = Leg::AFTER_GAP;
        }
    }

    /// What a leg still misses when nothing more will come: `published` is the channel's last number.
    pub fn missing_at_end(leg: Leg, published: u64) -> u64 {
        leg.last().map_or(0, |last| published.saturating_sub(last))
    }

    /// Forgets a client that begins anew.
    pub fn forget(&mut self, client: u32, channel: u32) {
        if !self.holes.is_empty() {
            self.holes.remove(&(client, channel));
        }
        if !self.gaps.is_empty() {
            self.gaps.remove(&(client, channel));
        }
    }
}

/// Whether an id follows another: `<ms>-<seq>`, or a list of `channel=<ms>-<seq>` of which none goes back and one
/// advances. Ids of another form, or of other channels, are not judged.
pub fn ids_advance(before: &[u8], after: &[u8]) -> bool {
    let (Some(before), Some(after)) = (positions(before), positions(after)) else { return true };
    if before.len() != after.len() || before.iter().zip(&after).any(|(b, a)| b.0 != a.0) {
        return true;
    }
    let mut advanced = false;
    for (before, after) in before.iter().zip(&after) {
        if after.1 < before.1 {
            return false;
        }
        advanced |= after.1 > before.1;
    }
    advanced
}

/// Channel (empty for a bare id) and position of each part.
fn positions(id: &[u8]) -> Option<Vec<(&str, (u64, u64))>> {
    std::str::from_utf8(id).ok()?.split(',').map(position).collect()
}

fn position(part: &str) -> Option<(&str, (u64, u64))> {
    let (channel, position) = part.split_once('=').unwrap_or(("", part));
    let (ms, seq) = position.split_once('-')?;
    Some((channel, (ms.parse().ok()?, seq.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(leg: Leg, arrivals: &[u64]) -> (Tally, Leg) {
        let (mut checker, mut leg) = (Checker::default(), leg);
        for &sequence in arrivals {
            checker.arrived(1, 2, &mut leg, sequence);
        }
        (checker.tally, leg)
    }

    #[test]
    fn exact() {
        let (tally, leg) = check(Leg::START, &[1, 2, 3]);
        assert!(tally.is_exact());
        assert_eq!(Checker::missing_at_end(leg, 3), 0);
        assert_eq!(Checker::missing_at_end(leg, 5), 2);
        assert!(check(Leg::ANYWHERE, &[9, 10]).0.is_exact());
        assert_eq!(Checker::missing_at_end(Leg::ANYWHERE, 9), 0);
        assert_eq!(Checker::missing_at_end(Leg::START, 9), 9);
    }

    #[test]
    fn lost_repeated_reordered_are_told_apart() {
        assert_eq!(check(Leg::START, &[2, 3]).0, Tally { lost: 1, ..Tally::default() });
        assert_eq!(check(Leg::START, &[1, 2, 5, 6]).0, Tally { lost: 2, ..Tally::default() });
        assert_eq!(check(Leg::START, &[1, 2, 2, 3, 1]).0, Tally { repeated: 2, ..Tally::default() });
        assert_eq!(check(Leg::START, &[1, 3, 2, 4]).0, Tally { reordered: 1, ..Tally::default() });
        let all = check(Leg::START, &[1, 5, 3, 3, 6]).0;
        assert_eq!(all, Tally { lost: 2, reordered: 1, repeated: 1, ..Tally::default() });
    }

    #[test]
    fn an_announced_gap_is_no_loss() {
        let (mut checker, mut leg) = (Checker::default(), Leg::START);
        checker.arrived(1, 2, &mut leg, 1);
        checker.gap(1, 2, &mut leg);
        checker.arrived(1, 2, &mut leg, 8);
        checker.arrived(1, 2, &mut leg, 10);
        assert_eq!(checker.tally, Tally { announced: 1, announced_lost: 6, lost: 1, ..Tally::default() });
    }

    #[test]
    fn ids() {
        assert!(ids_advance(b"5-1", b"5-2") && ids_advance(b"5-9", b"6-0"));
        assert!(!ids_advance(b"5-1", b"5-1") && !ids_advance(b"6-0", b"5-9"));
        assert!(ids_advance(b"a=1-0,b=2-0", b"a=1-0,b=3-0"));
        assert!(!ids_advance(b"a=2-0,b=2-0", b"a=1-0,b=3-0") && !ids_advance(b"a=2-0", b"a=2-0"));
        assert!(ids_advance(b"1700000000:0", b"1600000000:0") && ids_advance(b"", b"1-1"));
    }
}
