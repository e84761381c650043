//! What a client must have got, judged by what was published and what it noted. Pure.
//!
//! Numbers of a channel only grow, whatever happens to its stream. Between two events no acknowledged number may be missing, unless a
//! gap stands between them; and what a gap says must be so: its reason one that the fault explains, nothing left out
//! from `continues_at` on, nothing left out that was sent after the client had read it, and `lost` the count.

use crate::publisher::{Fate, Published, Truth};
use crate::subscriber::{Journal, Note, What};
use fantail::position::Position;
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    pub lost: u64,
    pub repeated: u64,
    pub reordered: u64,
    pub gaps: u64,
    /// Gaps that do not say what was, ids that are not the entry's, bytes that mean nothing.
    pub untrue: u64,
}

/// What a case allows.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Reasons that gaps may have.
    pub reasons: &'static [&'static str],
    /// Acknowledged entries that nobody got and that no server has any more: an asynchronous failover lost them.
    pub excused: BTreeSet<(usize, u64)>,
    /// The same of entries that some got before a failover lost them: the others are told of it by a reset, unless they
    /// came later.
    pub undone: BTreeSet<(usize, u64)>,
    /// Some nodes read replicas, which may never have had what is undone: nobody needs to be told of what he has not had.
    pub replicas: bool,
}

/// Counts, and the first few findings in words.
#[derive(Debug, Default)]
pub struct Report {
    pub counts: Counts,
    pub findings: Vec<String>,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        let Counts { lost, repeated, reordered, untrue, .. } = self.counts;
        [lost, repeated, reordered, untrue] == [0; 4]
    }

    fn find(&mut self, what: impl FnOnce() -> String) {
        if self.findings.len() < 20 {
            self.findings.push(what());
        }
    }
}

/// Judges all clients together: they must agree on ids, too.
pub struct Checker<'a> {
    truth: &'a Truth,
    rules: &'a Rules,
    /// Ids that clients were told of events whose publisher was told nothing.
    ids: HashMap<(usize, u64), Position>,
    pub report: Report,
}

/// A leg, on the way through a client's notes.
#[derive(Default)]
struct Leg<'a> {
    seen: BTreeSet<u64>,
    last: Option<(u64, Option<Position>)>,
    /// When its first event came.
    begun: Option<Instant>,
    /// Gaps since the last event.
    gaps: Vec<&'a Note>,
}

impl<'a> Checker<'a> {
    pub fn new(truth: &'a Truth, rules: &'a Rules) -> Checker<'a> {
        Checker { truth, rules, ids: HashMap::new(), report: Report::default() }
    }

    /// Judges one leg; `first` is the first number due, where that is known.
    pub fn leg(&mut self, who: &str, channel: usize, first: Option<u64>, journal: &Journal) {
        let who = format!("{who}, channel {channel}");
        let mut leg = Leg::default();
        for note in journal.notes.iter().filter(|note| note.channel == channel) {
            match &note.what {
                What::Gap { reason, .. } => {
                    self.report.counts.gaps += 1;
                    if !self.rules.reasons.contains(&reason.as_str()) {
                        self.report.counts.untrue += 1;
                        let after = leg.last;
                        self.report.find(|| format!("{who}: a gap that nothing explains, after {after:?}: {note:?}"));
                    }
                    leg.gaps.push(note);
                }
                What::Event { number, id } => {
                    leg.begun.get_or_insert(note.at);
                    self.event(&who, channel, first, &mut leg, note.connection, (*number, *id));
                }
            }
        }
        let end = self.truth[channel].len() as u64;
        self.between(&who, channel, first, &mut leg, journal.connections, end);
    }

    /// Bytes that nobody understood.
    pub fn nonsense(&mut self, who: &str, journal: &Journal) {
        for what in &journal.nonsense {
            self.report.counts.untrue += 1;
            self.report.find(|| format!("{who}: {what}"));
        }
    }

    fn event(
        &mut self,
        who: &str,
        channel: usize,
        first: Option<u64>,
        leg: &mut Leg,
        connection: usize,
        (number, id): (u64, Option<Position>),
    ) {
        self.report.counts.events += 1;
        let last = leg.last;
        if !leg.seen.insert(number) {
            self.report.counts.repeated += 1;
            return self.report.find(|| format!("{who}: {number} once more, after {last:?}"));
        }
        let due = leg.last.map(|(number, _)| number + 1).or(first).unwrap_or(0);
        let backwards = leg.gaps.is_empty() && last.is_some_and(|(_, before)| before >= id);
        if number < due || backwards {
            self.report.counts.reordered += 1;
            return self.report.find(|| format!("{who}: {number} at {id:?} after {last:?}"));
        }
        self.identify(who, channel, number, id);
        self.between(who, channel, first, leg, connection, number);
        leg.gaps.clear();
        leg.last = Some((number, id));
    }

    /// The id is the one that Redis gave.
    fn identify(&mut self, who: &str, channel: usize, number: u64, id: Option<Position>) {
        let fate = self.truth[channel].get(number as usize).map(|published| published.fate);
        let right = match (fate, id) {
            (Some(Fate::Acknowledged(given)), Some(id)) => given == id,
            (Some(Fate::Unknown), Some(id)) => *self.ids.entry((channel, number)).or_insert(id) == id,
            _ => false,
        };
        if !right {
            self.report.counts.untrue += 1;
            self.report.find(|| format!("{who}: {number} came as {id:?}, published as {fate:?}"));
        }
    }

    /// Looks at the numbers that did not come between the leg's last event and `next`.
    fn between(&mut self, who: &str, channel: usize, first: Option<u64>, leg: &mut Leg, connection: usize, next: u64) {
        let Some(from) = leg.last.map(|(number, _)| number + 1).or(first) else { return };
        let truth = self.truth;
        let published = |number: &u64| truth[channel].get(*number as usize);
        let missing: Vec<(u64, &Published)> = (from..next).filter_map(|n| Some((n, published(&n)?))).collect();
        let next_id = published(&next).and_then(|published| match published.fate {
            Fate::Acknowledged(id) => Some(id),
            _ => None,
        });
        for (number, published) in &missing {
            let Fate::Acknowledged(id) = published.fate else { continue };
            let came_later = leg.begun.is_some_and(|begun| published.sent < begun);
            let told = came_later || self.rules.replicas || leg.gaps.iter().any(|gap| is_reset(gap));
            let undone = told && self.rules.undone.contains(&(channel, *number));
            let excused = undone || self.rules.excused.contains(&(channel, *number));
            if excused || covered(&leg.gaps, published, id, next_id) {
                continue;
            }
            self.report.counts.lost += 1;
            let gaps = leg.gaps.clone();
            self.report
                .find(|| format!("{who}: {number} at {id} never came; {from}..{next} are missing, gaps {gaps:?}"));
        }
        // After a gap at one node another one may still have in memory what the stream has not.
        if let [gap] = leg.gaps[..]
            && gap.connection == connection
        {
            self.gap(who, leg.last.and_then(|(_, id)| id), gap, &missing, next_id);
        }
    }

    /// Checks what a gap says of itself.
    fn gap(
        &mut self,
        who: &str,
        last: Option<Position>,
        gap: &Note,
        missing: &[(u64, &Published)],
        next: Option<Position>,
    ) {
        let What::Gap { resume_from, continues_at, lost, .. } = &gap.what else { return };
        let sure = missing.iter().filter(|(_, p)| matches!(p.fate, Fate::Acknowledged(_))).count() as u64;
        let perhaps = missing.iter().filter(|(_, p)| p.fate == Fate::Unknown).count() as u64;
        let wrong = if last.is_some() && *resume_from != last {
            "resume_from is not the last event"
        } else if next.is_some() && continues_at.is_some() && next < *continues_at {
            "the next event lies before continues_at"
        } else if lost.is_some_and(|lost| !(sure..=sure + perhaps).contains(&lost)) {
            "lost is another number"
        } else if *lost == Some(0) {
            "nothing was lost"
        } else {
            return;
        };
        self.report.counts.untrue += 1;
        self.report.find(|| format!("{who}: {wrong}: {:?} after {last:?} before {next:?}; {sure} missing", gap.what));
    }
}

fn is_reset(gap: &Note) -> bool {
    matches!(&gap.what, What::Gap { reason, .. } if reason == "reset")
}

/// Whether gaps say that an entry may be missing.
fn covered(gaps: &[&Note], entry: &Published, id: Position, next: Option<Position>) -> bool {
    let Some(gap) = gaps.last() else { return false };
    let What::Gap { reason, continues_at, .. } = &gap.what else { return false };
    // Within one life of a stream nothing after `continues_at` may be missing.
    let promised = reason == "trimmed" && continues_at.is_some_and(|at| at < id) && next.is_some_and(|next| id < next);
    entry.sent <= gap.at && !promised
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Ten events a millisecond apart, the fourth of unknown fate, and what a client noted of them.
    struct Story {
        begun: Instant,
        truth: Truth,
        journal: Journal,
    }

    fn id(number: u64) -> Position {
        Position::new(1_000 + number, 0)
    }

    impl Story {
        fn new() -> Story {
            let begun = Instant::now();
            let published = |number: u64| Published {
                sent: begun + Duration::from_millis(number),
                fate: if number == 4 { Fate::Unknown } else { Fate::Acknowledged(id(number)) },
            };
            Story { begun, truth: vec![(0..10).map(published).collect()], journal: Journal::default() }
        }

        fn note(mut self, at: u64, what: What) -> Story {
            let at = self.begun + Duration::from_millis(at);
            self.journal.notes.push(Note { at, connection: 0, channel: 0, what });
            self
        }

        fn events(self, numbers: impl IntoIterator<Item = u64>) -> Story {
            numbers
                .into_iter()
                .fold(self, |story, number| story.note(number, What::Event { number, id: Some(id(number)) }))
        }

        /// A gap noted when event `at` was sent.
        fn gap(self, at: u64, reason: &str, resume_from: u64, continues_at: u64, lost: Option<u64>) -> Story {
            let (resume_from, continues_at) = (Some(id(resume_from)), Some(id(continues_at)));
            self.note(at, What::Gap { reason: reason.into(), resume_from, continues_at, lost })
        }

        fn counts(self) -> [u64; 4] {
            self.counts_without([])
        }

        /// Lost, repeated, reordered, untrue, where a failover lost some that others got.
        fn counts_without(self, undone: impl IntoIterator<Item = u64>) -> [u64; 4] {
            self.judged(undone, false)
        }

        /// The counts where some nodes read replicas, or none.
        fn judged(self, undone: impl IntoIterator<Item = u64>, replicas: bool) -> [u64; 4] {
            let undone = undone.into_iter().map(|number| (0, number)).collect();
            let rules = Rules { reasons: &["trimmed", "reset"], undone, replicas, ..Rules::default() };
            let mut checker = Checker::new(&self.truth, &rules);
            checker.leg("a client", 0, Some(0), &self.journal);
            let Counts { lost, repeated, reordered, untrue, .. } = checker.report.counts;
            assert_eq!(checker.report.findings.is_empty(), [lost, repeated, reordered, untrue] == [0; 4]);
            [lost, repeated, reordered, untrue]
        }
    }

    #[test]
    fn what_is_right_passes() {
        assert_eq!(Story::new().events(0..10).counts(), [0; 4]);
        assert_eq!(Story::new().events((0..10).filter(|n| *n != 4)).counts(), [0; 4], "nobody knows of the fourth");
        let gap = |lost| Story::new().events(0..2).gap(6, "trimmed", 1, 6, lost).events(6..10).counts();
        assert_eq!([gap(None), gap(Some(3)), gap(Some(4))], [[0; 4]; 3]);
    }

    #[test]
    fn what_is_wrong_is_counted() {
        assert_eq!(Story::new().events([0, 1, 2, 5, 6, 7, 8, 9]).counts(), [1, 0, 0, 0]);
        assert_eq!(Story::new().events(0..8).counts(), [2, 0, 0, 0], "the end is missing");
        assert_eq!(Story::new().events([0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9]).counts(), [0, 1, 0, 0]);
        assert_eq!(Story::new().events([0, 1, 3, 2, 4, 5, 6, 7, 8, 9]).counts(), [1, 0, 1, 0]);
        let wrong_id = What::Event { number: 9, id: Some(id(8)) };
        assert_eq!(Story::new().events(0..8).note(9, wrong_id).counts(), [1, 0, 0, 1]);
    }

    #[test]
    fn who_reads_a_replica_needs_no_word_of_what_was_never_there() {
        let story = || Story::new().events(0..2).events(4..10);
        assert_eq!(story().judged([2, 3], false), [2, 0, 0, 0], "at the primary they were");
        assert_eq!(story().judged([2, 3], true), [0; 4]);
        assert_eq!(story().judged([2], true), [1, 0, 0, 0], "the third is in the stream");
    }

    #[test]
    fn gaps_must_be_true() {
        let gap = |at, reason, from, to, lost| {
            Story::new().events(0..2).gap(at, reason, from, to, lost).events(6..10).counts()
        };
        assert_eq!(gap(6, "trimmed", 1, 6, Some(2)), [0, 0, 0, 1], "more was lost");
        assert_eq!(gap(6, "trimmed", 1, 6, Some(5)), [0, 0, 0, 1], "less was lost");
        assert_eq!(gap(6, "trimmed", 0, 6, None), [0, 0, 0, 1], "not where the client was");
        assert_eq!(gap(6, "trimmed", 1, 7, None), [0, 0, 0, 1], "it goes on before");
        assert_eq!(gap(6, "trimmed", 1, 2, None), [2, 0, 0, 0], "it should have gone on earlier");
        assert_eq!(gap(6, "reset", 1, 2, None), [0; 4], "ids of another life");
        assert_eq!(gap(3, "reset", 1, 6, None), [1, 0, 0, 0], "the fifth was sent after the client knew of the gap");
        let undone = |reason| {
            let story = Story::new().events(0..2).gap(3, reason, 1, 6, None).events(6..10);
            story.counts_without([5])
        };
        assert_eq!(undone("reset"), [0; 4], "another server's life had the fifth");
        assert_eq!(undone("trimmed"), [1, 0, 0, 0], "which only a reset tells");
        assert_eq!(gap(6, "missing", 1, 6, None), [0, 0, 0, 1], "a reason that the fault does not explain");
    }
}
