//! Gaps that a client is told of: each must be true.

use super::leg::{FOUND_OUT, Leg};
use super::truth::{History, How, Record};
use fantail::position::Position;
use std::time::Duration;

/// What a gap said.
#[derive(Clone, Debug)]
pub struct Gap {
    pub at: Duration,
    pub reason: String,
    pub resume_from: Option<Position>,
    pub continues_at: Option<Position>,
    pub lost: Option<u64>,
    /// The connection that it was told on has ended since.
    pub over: bool,
}

impl Gap {
    /// Whether a stream that was made anew, or is missing, excuses that a record is not sent: it was there by then, and it is gone, or lies
    /// up to where its reader goes on.
    pub fn passes_over(&self, record: &Record) -> bool {
        let sets_back = ["reset", "missing"].contains(&self.reason.as_str());
        // What is trimmed later has to be told.
        let gone = record.gone.is_some_and(|gone| gone.at <= self.at || gone.how != How::Trimmed);
        // "A subscriber that is connected gets every event that its node has not seen before."
        let had = self.over || self.resume_from.is_none_or(|from| record.id <= from);
        sets_back && record.added <= self.at && (gone || had && self.goes_on_behind(record))
    }

    /// Whether its reader goes on behind a record, by ids: "a client that comes back later, or to another node, goes on after its own
    /// id, or where that lies ahead of the stream, at the stream's end".
    pub fn goes_on_behind(&self, record: &Record) -> bool {
        let own = self.resume_from.filter(|_| self.over);
        self.continues_at.max(own).is_none_or(|at| record.id <= at)
    }
}

impl Leg {
    /// Takes a gap, which must be true; `opened`: when its connection was opened.
    pub fn take_gap(&mut self, history: &History, gap: Gap, opened: Duration) -> Result<(), String> {
        if gap.reason == "too_large" {
            return self.take_too_large(history, &gap);
        }
        if !self.may_be_told(history, &gap, opened)? {
            return Err(format!("nothing of that kind happened since {:?}: {gap:?}", self.last));
        }
        if gap.lost == Some(0) {
            return Err(format!("nothing was lost: {gap:?}"));
        }
        if gap.reason == "trimmed" {
            self.may_be_so_many(history, &gap, opened)?;
        }
        let went = |record: &Record| record.was_gone || record.gone.is_some_and(|gone| gone.how == How::Away);
        let behind = history.records[self.next()..].iter().any(went);
        self.here.gap(&gap, behind);
        self.set_back |= ["reset", "missing"].contains(&gap.reason.as_str());
        if gap.reason == "reset" {
            self.reset_to = gap.continues_at.and_then(|at| history.index_of(at));
        }
        self.gaps.push(gap);
        Ok(())
    }

    /// Takes one that is too large.
    fn take_too_large(&mut self, history: &History, gap: &Gap) -> Result<(), String> {
        if gap.lost != Some(1) || !history.records.iter().any(|record| record.large) {
            return Err(format!("one that is too large is one, and is there: {gap:?}"));
        }
        self.large.0 += 1;
        self.here.gap(gap, false);
        Ok(())
    }

    /// The record that comes next.
    fn next(&self) -> usize {
        self.last.map_or(0, |last| last + 1)
    }

    /// Whether something of that kind happened.
    fn may_be_told(&self, history: &History, gap: &Gap, opened: Duration) -> Result<bool, String> {
        let records = &history.records;
        let had = |how: How| {
            records[self.next().saturating_sub(1)..].iter().any(|r| r.gone.is_some_and(|g| g.how == how) || r.was_gone)
        };
        // Where a filter passes over events, the id that it came with is of none that it has had.
        let came_with = gap.resume_from.and_then(|from| history.index_of(from));
        let at_gone = [self.last, came_with].into_iter().flatten().any(|at| records[at].gone.is_some());
        let gone_up_to = |at: Position| records.iter().filter(|r| r.id <= at && r.gone.is_some()).count();
        let behind_some = |at: Position| history.index_of(at).is_none() && gone_up_to(at) > 1;
        Ok(match gap.reason.as_str() {
            // Of who comes back with an id that is gone, nobody knows whether more than that is; nor of who comes back with a place before
            // whose first entry some are: see "Open" in CONTRIBUTING.md.
            "trimmed" => {
                had(How::Trimmed) || at_gone || gap.resume_from.is_some_and(behind_some) || !history.breaks.is_empty()
            }
            "deleted" => records.iter().any(|r| r.gone.is_some_and(|g| g.how == How::Deleted) || r.was_gone),
            "missing" | "reset" => {
                // A place where no entry is says nothing of when it was had.
                let unknown = gap.resume_from.is_some() && came_with.is_none();
                let had = [self.last, came_with].into_iter().flatten().map(|at| records[at].added).min();
                let had = had.filter(|_| !unknown).unwrap_or_default();
                history.broke_since(had.min(opened).min(gap.at.saturating_sub(FOUND_OUT)))
            }
            other => return Err(format!("no such reason: {other}")),
        })
    }

    /// Whether as many can have been trimmed as it says.
    fn may_be_so_many(&self, history: &History, gap: &Gap, opened: Duration) -> Result<(), String> {
        let (Some(lost), Some(resume), Some(at)) = (gap.lost, gap.resume_from, gap.continues_at) else { return Ok(()) };
        if resume >= at {
            return Ok(());
        }
        let (before, behind) = history.records.split_at(self.next());
        // Who was set back is told from there.
        let behind = if self.set_back { &history.records[..] } else { behind };
        let between = behind.iter().filter(|r| resume < r.id && (r.id < at || r.id == at && r.gone.is_some()));
        // What was deleted while it read history is told late, by its number: see "Open" in CONTRIBUTING.md.
        let late = |r: &&Record| r.gone.is_some_and(|gone| gone.how == How::Deleted && gone.at >= opened);
        let most = (between.count() + before.iter().filter(late).count()) as u64;
        // A node that was away may count from another stream's entries, if ids go on: see "Open" in CONTRIBUTING.md.
        let had = self.last.map_or(Duration::ZERO, |last| history.records[last].added);
        if lost > most && !history.broke_since(had.min(self.headed.unwrap_or_default())) {
            return Err(format!("{most} lie between, not {lost}: {gap:?}"));
        }
        Ok(())
    }
}
