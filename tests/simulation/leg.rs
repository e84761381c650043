//! What a client must be sent of one channel, and whether what it was sent is that.

use super::gaps::Gap;
use super::owed::{Here, Moment};
use super::truth::{History, How, Record};
use std::time::Duration;

/// Within this time every node has found out what nobody told it: so long takes a sweep over all streams.
pub const FOUND_OUT: Duration = Duration::from_secs(30);

/// A stream that is back has so many new events at most within this time, if nobody is to fall behind them at once.
const MOST_AT_RETURN: usize = 10;
const BACK: Duration = Duration::from_secs(3);

/// What a client asks for as its beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Begin {
    Latest,
    Earliest,
    Tail(usize),
}

/// What a client knows of one channel.
#[derive(Clone, Debug, Default)]
pub struct Leg {
    /// The record that it is behind; `None`: before all, or nobody knows.
    pub last: Option<usize>,
    /// When its first head had come: what was gone by then is no loss.
    pub headed: Option<Duration>,
    /// Whether its beginning is known, so that nothing from there on may be missing.
    pub begun: bool,
    /// It got an event: what is lost from then on must be announced.
    pub received: bool,
    /// How many entries were told to be too large since the last event: on this connection, and on those before it.
    pub large: (usize, usize),
    /// Gaps that were announced since the last event.
    pub gaps: Vec<Gap>,
    /// It was told at some time that ids went back, or that the stream was missing.
    pub set_back: bool,
    /// A reset goes on behind this record.
    pub reset_to: Option<usize>,
    /// It was told that the channel waits for its part of Redis.
    pub held: bool,
    /// What happened to it on its present connection.
    pub here: Here,
}

impl Leg {
    /// Takes an event of the channel, by its number.
    pub fn take(
        &mut self,
        history: &History,
        index: usize,
        (filtered, begin): (bool, Begin),
        moment: &Moment,
    ) -> Result<(), String> {
        let now = moment.now;
        let record = history.records.get(index).ok_or("never published")?;
        if let Some(last) = self.last.filter(|last| index <= *last) {
            // A reset has set it back, and a node that has not found out about the failover still has this one; or the
            // stream was missing, which set it back to the beginning, and is there again.
            let undone = record.was_gone || record.gone.is_some_and(|gone| gone.how == How::Undone);
            // "Other streams that changed are counted within seconds": a node that nobody tells of a stream that goes away still
            // has what it had of it for so long, be it trimmed before.
            let lately = record.gone.is_some() && history.broke_since(now.saturating_sub(FOUND_OUT));
            // The same stream is known by what was its newest entry when it went.
            let undone_since = |record: &Record| record.gone.is_some_and(|gone| gone.how == How::Undone);
            // Nor by who falls behind as soon as it is back.
            let gone_at = self.gaps.last().map_or(now, |gap| gap.at);
            let burst = |r: &&Record| gone_at < r.added && r.added < gone_at + BACK;
            let burst = history.records[last..].iter().filter(burst).count() > MOST_AT_RETURN;
            let known = self.here.was_there(history) && !burst && !history.records[last..].iter().any(undone_since);
            if (undone || lately) && self.set_back && !known {
                return Ok(());
            }
            // What an older copy has behind this one's id comes after a gap that is none of ids: "before the first … more are
            // gone than were had: `trimmed`, or `deleted`".
            if record.was_gone && !self.gaps.is_empty() && history.records[last].id < record.id {
                return Ok(());
            }
            // An older one that is back under ids that go on may count as many gone as were had of this one: see "Open" in
            // CONTRIBUTING.md.
            if record.was_gone && history.records[last].id < record.id && history.counts_coincide(last, index) {
                return Ok(());
            }
            // A tail that slept may end with another stream's entry, if the counts of the one that is there now allow it: see "Open"
            // in CONTRIBUTING.md.
            let another = record.gone.is_some_and(|gone| gone.how == How::Away) && record.stream != history.stream;
            if another && self.set_back && self.gaps.last().is_some_and(|gap| gap.reason == "trimmed") {
                return Ok(());
            }
            return Err(format!("{index} after {last}: again, or out of order: {record:?}"));
        }
        if filtered && record.kind != b'a' {
            return Err(format!("{index} does not pass the filter"));
        }
        if self.begun || begin == Begin::Earliest {
            self.between(history, (self.last.map_or(0, |last| last + 1), index), filtered)?;
        } else if let Some(from) = self.owed_from(history, begin) {
            self.between(history, (from, index), filtered)?;
        }
        let Leg { headed, set_back, mut here, .. } = *self;
        if !filtered {
            here.take(history, (self.last, index), moment)?;
        }
        *self = Leg { last: Some(index), headed, set_back, here, begun: true, received: true, ..Leg::default() };
        Ok(())
    }

    /// From which record on who has had nothing is owed what comes: what is published once it has its head. Of who is held that
    /// is known only by ids, which must not have gone back, and not of who wants the newest few.
    fn owed_from(&self, history: &History, begin: Begin) -> Option<usize> {
        let headed = self.headed?;
        if self.held && (begin != Begin::Latest || !history.breaks.is_empty()) {
            return None;
        }
        Some(history.records.partition_point(|record| record.added <= headed))
    }

    /// Nothing that lies from a record on, which it is owed, to this one may be missing in silence.
    fn between(&self, history: &History, (from, next): (usize, usize), filtered: bool) -> Result<(), String> {
        let from = from.min(next);
        // Where a filter passes over events, its node knows that it has had them, too.
        let passed = history.records[from..next].iter().take_while(|record| filtered && record.kind != b'a').count();
        let mut had = (from..=from + passed).filter_map(|next| next.checked_sub(1)).filter(|_| self.last.is_some());
        if had.any(|last| history.counts_coincide(last, next)) {
            return Ok(());
        }
        let begun = self.last.is_some() || from == 0;
        self.too_large(&history.records[from..next], begun)?;
        for (index, record) in history.records[from..next].iter().enumerate().filter(|(_, record)| !record.large) {
            let excused = self.excuses(record, &history.records[next]) || self.lies_before(history, record);
            if filtered && record.kind != b'a' || excused {
                continue;
            }
            let index = from + index;
            return Err(format!("{index} is missing before {next}: {record:?}"));
        }
        Ok(())
    }

    /// Each entry that is too large is told of once on a connection, and need not be again on the next. `begun`: none of them lies
    /// before these records.
    fn too_large(&self, records: &[Record], begun: bool) -> Result<(), String> {
        let count = records.iter().filter(|record| record.large).count();
        let (here, before) = self.large;
        if begun && here > count || here + before < count {
            return Err(format!("{count} of those before are too large, {here} are told, and {before} were before"));
        }
        Ok(())
    }

    /// Whether an event may be missing.
    fn excuses(&self, record: &Record, next: &Record) -> bool {
        if self.gaps.iter().any(|gap| gap.passes_over(record)) || record.was_gone && !self.gaps.is_empty() {
            return true;
        }
        // It was read while its producer had taken it back, and is there again.
        if record.was_deleted {
            return true;
        }
        // Who begins while the stream is missing passes over what it holds when it is back: see "Open" in CONTRIBUTING.md.
        if record.was_gone && !self.received {
            return true;
        }
        let Some(gone) = record.gone else { return false };
        // What a failover loses before a node has read it, nobody can be told of.
        if gone.how == How::Undone {
            return true;
        }
        if self.last.is_none() && (gone.how == How::Away || record.life != next.life) {
            return true;
        }
        // Who has had nothing is owed what there is when it is read.
        if !self.received {
            return true;
        }
        // Within one life of a stream nothing from `continues_at` on may be missing.
        let covers = |gap: &Gap| {
            record.life != next.life || gap.continues_at.is_none_or(|at| record.id < at) || gone.at <= gap.at
        };
        // Who stands before a stream that was missing is told nothing of one that came and went unseen.
        let unseen = |gap: &Gap| gap.reason == "missing" && record.life != next.life;
        self.gaps.iter().any(|gap| unseen(gap) || ["trimmed", "deleted"].contains(&gap.reason.as_str()) && covers(gap))
    }

    /// Whether an event of another life has a smaller id than the one that a client came back with, the last that it had or an older one
    /// in the other place. "Gone from between two": it is told, and gets what lies behind that id.
    fn lies_before(&self, history: &History, record: &Record) -> bool {
        let is_another = |at: Option<usize>| at.is_some_and(|at| history.records[at].life != record.life);
        let lies_before = |from| record.id < from && (is_another(self.last) || is_another(history.index_of(from)));
        self.gaps.iter().any(|gap| gap.resume_from.is_some_and(lies_before) && gap.goes_on_behind(record))
    }

    /// Whether it has the channel's last event.
    pub fn is_complete(&self, history: &History) -> bool {
        // Who comes back after a reset begins behind what the stream holds.
        let newest = history.records.len().checked_sub(1);
        // Who has had a channel's end while others of its connection go on hears no more of it there.
        let ended = self.last.is_some_and(|last| history.records[last].last);
        newest.is_some() && (self.last == newest || self.reset_to == newest || ended)
    }
}
