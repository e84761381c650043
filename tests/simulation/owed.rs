//! What a reader is owed whom nothing hinders: each event soon, each loss by its number, and nothing again.

use super::gaps::Gap;
use super::truth::{History, Record};
use std::time::Duration;

/// Within this time an event is with a reader whose node is well, who is connected, and who reads.
const SOON: Duration = Duration::from_secs(5);
/// "Other streams that changed are counted within seconds": within this time of a loss its number has been told.
const COUNTED: Duration = Duration::from_secs(10);
/// Who has an event within this time of its publication is abreast of the stream.
const ABREAST: Duration = Duration::from_millis(500);
/// Within this time a node that is well has found out what became of a stream.
const SETTLED: Duration = Duration::from_secs(2);
/// With nothing else published for so long, what came and went is told in its place.
const QUIET: Duration = Duration::from_secs(1);

/// What hinders a reader.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Duration,
    /// Since when its node has been well, it has been connected, and it has read; `None`: something hinders it.
    pub free: Option<Duration>,
    /// Whether it takes much at once.
    pub quick: bool,
    /// Whether losses are told in their place: few streams, of small entries, none of them waited for.
    pub in_place: bool,
}

/// What happened to a leg on its present connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Here {
    /// It has had an event.
    received: bool,
    /// It was there when its stream went missing.
    left: bool,
    /// As many breaks of its stream it must know of.
    knows: usize,
    /// The event before came at once.
    abreast: bool,
    /// What was published up to here does not count.
    from: usize,
    /// How many losses were told since.
    told: u64,
    /// When a loss was told without its number: streams are counted again within seconds.
    unnumbered: Option<Duration>,
    /// Losses that nobody has told of yet, and since when there are some.
    debt: i64,
    since: Option<Duration>,
}

impl Here {
    /// Takes note of a gap. `behind`: it had not had all of a stream that went missing, and has that whole when it is back: see
    /// "Open" in CONTRIBUTING.md.
    pub fn gap(&mut self, gap: &Gap, behind: bool) {
        self.told += gap.lost.unwrap_or_default();
        self.unnumbered = if gap.lost.is_none() { Some(gap.at) } else { self.unnumbered };
        // Who was behind then gets the stream whole if it comes back: see "Open" in CONTRIBUTING.md.
        if gap.reason == "missing" {
            self.left = self.received && self.abreast && !behind;
        }
    }

    /// Takes note of what it must know by now.
    pub fn settle(&mut self, history: &History, moment: &Moment) {
        let newest = history.breaks.last().copied().unwrap_or_default();
        if moment.free.is_some_and(|free| moment.now > free.max(newest) + SETTLED) {
            self.knows = history.breaks.len();
        }
    }

    /// Whether what comes again is not excused: it has seen the stream go, and knows of all that has happened to it since.
    pub fn was_there(&self, history: &History) -> bool {
        self.left && self.knows == history.breaks.len()
    }

    /// Judges an event that follows `last`, which it had on this connection or an earlier one.
    pub fn take(
        &mut self,
        history: &History,
        (last, next): (Option<usize>, usize),
        moment: &Moment,
    ) -> Result<(), String> {
        let record = &history.records[next];
        // What was gone can come once it is back.
        let back = history.breaks.last().copied().filter(|_| record.was_gone).unwrap_or_default();
        let owed = moment.free.map(|free| free.max(record.added).max(back));
        if last.is_some() && moment.quick && owed.is_some_and(|owed| moment.now > owed + SOON) {
            let late = moment.now.saturating_sub(owed.unwrap_or_default());
            return Err(format!("{next} comes {late:?} after it could have: {record:?}"));
        }
        let abreast = moment.now.saturating_sub(record.added) < ABREAST;
        self.settle(history, moment);
        let counts = self.received && self.abreast && abreast && history.breaks.is_empty();
        // What had been lost by then is a part of that.
        let later = |at: Duration| {
            let missing = last.and_then(|last| history.records.get(last + 1));
            moment.now > at + COUNTED && missing.is_none_or(|record| record.added > at)
        };
        let counts = counts && self.unnumbered.is_none_or(later);
        match last.filter(|_| counts) {
            Some(last) if last + 1 >= self.from => self.count(history, next, (next - last - 1) as i64, moment)?,
            _ => (self.debt, self.since, self.from) = (0, None, history.records.len()),
        }
        (self.received, self.abreast, self.told) = (true, abreast, 0);
        Ok(())
    }

    /// Whether as many were told as are missing.
    fn count(&mut self, history: &History, next: usize, missing: i64, moment: &Moment) -> Result<(), String> {
        self.debt += missing - self.told as i64;
        // Of entries that were read together it is not known between which of them others were.
        let ahead = history.records[next + 1..].iter().filter(|record| record.gone.is_some()).count() as i64;
        // What was lost before all that counts here may be told late.
        let before = &history.records[..self.from.min(next)];
        let late = before.iter().rev().filter_map(|record| record.gone).any(|gone| moment.now < gone.at + COUNTED);
        if self.debt + ahead < 0 && late {
            self.debt = 0;
        } else if self.debt + ahead < 0 {
            return Err(format!("{missing} are missing before {next}, and {} more than those were told", -self.debt));
        }
        self.since = (self.debt > 0).then(|| self.since.unwrap_or(moment.now));
        let Some(since) = self.since else { return Ok(()) };
        let free =
            |since: Duration, time: Duration| moment.free.is_some_and(|free| moment.now > free.max(since) + time);
        let quiet = history.records[next + 1..].is_empty() && is_quiet(&history.records[..next], moment.now);
        if moment.in_place && quiet && free(Duration::ZERO, QUIET) {
            return Err(format!("{} are missing before {next}, which is not told in their place", self.debt));
        }
        match free(since, COUNTED) {
            true => Err(format!("{} are missing before {next} and nobody told of them", self.debt)),
            false => Ok(()),
        }
    }
}

/// Whether of what was published lately all came at one moment.
fn is_quiet(records: &[Record], now: Duration) -> bool {
    let mut lately = records.iter().rev().take_while(|record| now < record.added + QUIET).map(|record| record.added);
    let newest = lately.next();
    lately.all(|added| Some(added) == newest)
}
