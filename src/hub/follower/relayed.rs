//! Streams that another node reads for this one: what it passes on is delivered if it follows what is known, and the stream is
//! read all the same now and then, which finds whatever did not come that way. When that is done is `passed_on`'s business.
//!
//! What a relay passes on is the answer to a read of its own, with the known entry as witness. It is taken as an answer that came
//! late, and so says nothing of what is known of doubts or of the stream's end.

use crate::backplane::{Entry, Relayed};
use crate::channel::Channel;
use crate::hash::HashMap;
use crate::hub::feed::{Feed, Life};
use crate::position::Position;
use std::time::Duration;
use tokio::time::Instant;

/// Streams that may be relayed at once.
const MOST: usize = 1_024;
/// A stream that had something new twice within this time is busy.
const CLOSE: Duration = Duration::from_secs(2);
/// It is so until it has had nothing for so long.
const QUIET: Duration = Duration::from_secs(10);
/// A stream of which nothing was heard for so long is read as others are.
const RECENT: Duration = Duration::from_secs(3);
/// What was reported must be heard within this time, and a stream that is never silent so long may be so no longer.
const LATE: Duration = Duration::from_millis(50);
/// A stream is silent if nothing was heard for so many times its usual pause.
const PAUSES: u32 = 8;
/// Pauses of a stream that is read when it is silent.
const SHORT: Duration = Duration::from_millis(100);
/// After so many entries that were passed on, the stream is read.
const ENTRIES: usize = 100;

/// How what was passed on follows what is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// All of it is known.
    Known,
    /// These are new.
    New(Vec<Entry>),
    /// It does not: the stream must be read.
    Unclear,
}

/// A busy stream.
struct Stream {
    /// When it had something new last.
    active: Instant,
    /// The backplane knows that it is busy.
    wanted: bool,
    /// When something was heard of it last, and how much time there is between two of those.
    heard: Option<Instant>,
    pause: Duration,
    /// Since it was asked for: the newest entry that was heard of, how many came by what was passed on, and when it was reported first.
    newest: Position,
    taken: usize,
    reported: Option<Instant>,
    /// It is asked for because nothing was heard.
    missed: bool,
}

/// The busy streams, of which some are relayed.
#[derive(Default)]
pub(super) struct Busy {
    streams: HashMap<Channel, Stream>,
}

impl Busy {
    /// Whether a stream is known to be busy.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// How many are relayed.
    pub fn relayed(&self, now: Instant) -> usize {
        self.streams.values().filter(|stream| stream.is_relayed(now)).count()
    }

    /// Whether what is new in a stream is passed on to this node.
    pub fn is_relayed(&self, channel: &Channel, now: Instant) -> bool {
        self.streams.get(channel).is_some_and(|stream| stream.is_relayed(now))
    }

    /// A stream was read, and had so many new entries; whether it has become busy with that.
    pub fn grew(&mut self, channel: &Channel, grown: usize, now: Instant) -> bool {
        let full = self.streams.len() >= MOST;
        match self.streams.get_mut(channel) {
            Some(stream) => {
                if std::mem::take(&mut stream.missed) && grown > 0 {
                    // Nobody passes on what is new.
                    stream.heard = None;
                }
                if grown == 0 {
                    return false;
                }
                let is_close = now.saturating_duration_since(stream.active) < CLOSE;
                stream.active = now;
                is_close && !std::mem::replace(&mut stream.wanted, true)
            }
            None if grown > 0 && !full => {
                self.streams.insert(channel.clone(), Stream::new(now));
                false
            }
            None => false,
        }
    }

    /// A stream is asked for now: what is heard from now on counts anew.
    pub fn asked(&mut self, channel: &Channel) {
        if let Some(stream) = self.streams.get_mut(channel) {
            (stream.newest, stream.taken, stream.reported) = (Position::ZERO, 0, None);
        }
    }

    /// A stream was reported as changed; whether that waits for what a relay passes on.
    pub fn holds(&mut self, channel: &Channel, now: Instant) -> bool {
        match self.streams.get_mut(channel) {
            Some(stream) if stream.is_relayed(now) => {
                stream.reported.get_or_insert(now);
                true
            }
            _ => false,
        }
    }

    /// Something was heard of a stream, whose newest entry then was this one.
    pub fn heard(&mut self, channel: &Channel, newest: Position, now: Instant) {
        let Some(stream) = self.streams.get_mut(channel) else { return };
        if let Some(before) = stream.heard.replace(now) {
            stream.pause = (stream.pause * 7 + now.saturating_duration_since(before)) / 8;
        }
        stream.newest = stream.newest.max(newest);
        (stream.active, stream.taken) = (now, stream.taken.max(1));
    }

    /// So many entries were taken that were passed on; whether so many that the stream must be read.
    pub fn took(&mut self, channel: &Channel, entries: usize) -> bool {
        self.streams.get_mut(channel).is_some_and(|stream| {
            stream.reported = None;
            stream.taken += entries;
            stream.taken > ENTRIES
        })
    }

    /// The newest entry that was heard of since the stream was asked for.
    pub fn newest(&self, channel: &Channel) -> Position {
        self.streams.get(channel).map_or(Position::ZERO, |stream| stream.newest)
    }

    /// Of streams of which nothing is heard though something should be, and with each `second` of all of which something was, those
    /// that must be read.
    pub fn due(&mut self, second: bool, now: Instant) -> Vec<Channel> {
        let mut due = Vec::new();
        for (channel, stream) in &mut self.streams {
            if stream.is_late(now) {
                stream.missed = true;
                due.push(channel.clone());
            } else if second && stream.taken > 0 {
                due.push(channel.clone());
            }
        }
        due
    }

    /// Forgets streams that are quiet.
    pub fn prune(&mut self, now: Instant) -> Vec<Channel> {
        let is_quiet = |stream: &mut Stream| now.saturating_duration_since(stream.active) > QUIET;
        let quiet = self.streams.extract_if(|_, stream| is_quiet(stream));
        quiet.filter(|(_, stream)| stream.wanted).map(|(channel, _)| channel).collect()
    }

    /// Forgets a stream.
    pub fn remove(&mut self, channel: &Channel) -> bool {
        self.streams.remove(channel).is_some_and(|stream| stream.wanted)
    }

    /// Nothing that was heard counts any more.
    pub fn forget(&mut self) {
        self.streams
            .values_mut()
            .for_each(|stream| *stream = Stream { wanted: stream.wanted, ..Stream::new(stream.active) });
    }
}

impl Stream {
    fn new(now: Instant) -> Stream {
        Stream {
            active: now,
            wanted: false,
            heard: None,
            pause: RECENT,
            newest: Position::ZERO,
            taken: 0,
            reported: None,
            missed: false,
        }
    }

    fn is_relayed(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < RECENT)
    }

    /// Whether nothing is heard though it should be: what was reported, or what comes so often.
    fn is_late(&self, now: Instant) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        let is_silent = |heard| self.pause < SHORT && since(heard) >= LATE.max(self.pause * PAUSES);
        self.reported.is_some_and(|reported| since(reported) >= LATE)
            || self.taken > 0 && self.heard.is_some_and(is_silent)
    }
}

/// How what was passed on follows what a feed has, as far as `doubts` say that this is the stream's.
pub(super) fn fit(feed: &Feed, relayed: Relayed, about_all: u32) -> Fit {
    let Relayed { rank, mut entries, .. } = relayed;
    let mut state = feed.lock();
    let position = state.log.position();
    let Some(last) = entries.last() else { return Fit::Unclear };
    if last.position < position {
        return Fit::Known;
    }
    let is_known = state.life == Life::Live && state.digest != 0 && state.verified >= about_all.max(state.doubted);
    let at = entries.iter().position(|entry| entry.position == position);
    let Some(at) = at.filter(|_| is_known) else { return Fit::Unclear };
    let counts = state.log.rank().is_some_and(|own| rank.checked_add(at as u64) == Some(own));
    match counts && state.recognizes(&entries[at]) {
        false => Fit::Unclear,
        true if at + 1 == entries.len() => Fit::Known,
        true => Fit::New(entries.split_off(at + 1)),
    }
}

#[cfg(test)]
mod tests;
