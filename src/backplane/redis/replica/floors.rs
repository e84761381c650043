//! What is told of a stream must not go back: where its primary was asked, what a replica says counts only when that is as
//! far as the primary was. Until then, the primary's answer stands.
//!
//! So for each stream of which the primary was asked there is a *floor*: how far the primary was, and what it said.
//! Bounded; where there are too many, all streams have one.

use crate::backplane::{Entry, StreamState};
use crate::channel::Channel;
use crate::hash::HashMap;
use crate::planted::{self, Fault};
use parking_lot::Mutex;

/// Streams with a floor of their own.
const STREAMS: usize = 4_096;
/// A larger entry is not remembered, in bytes.
const ENTRY: usize = 4 << 10;

/// What replicas' answers are of before what was said already.
#[derive(Default)]
pub struct Floors(Mutex<State>);

#[derive(Default)]
struct State {
    /// Changes with each session.
    session: u64,
    /// How far the replica is at least.
    passed: u64,
    /// The floor of all streams.
    all: u64,
    streams: HashMap<Channel, Floor>,
}

struct Floor {
    offset: u64,
    said: Option<Said>,
}

/// What the primary said of a stream, all of one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// `None`: there is no such stream.
    pub state: Option<StreamState>,
    /// Its newest entry, if that was seen.
    pub newest: Option<Entry>,
}

impl Said {
    /// What was said, of which those entries are the last, if they end with the newest one.
    pub fn new(state: Option<StreamState>, entries: &[Entry]) -> Said {
        let last = state.as_ref().map(|state| state.last);
        let newest = entries.last().filter(|entry| Some(entry.position) == last && entry.size() <= ENTRY).cloned();
        Said { state, newest }
    }
}

impl Floors {
    /// A session begins at a replica that is so far, which is as far as anybody has been asked.
    pub fn begin(&self, offset: u64) {
        let mut state = self.0.lock();
        let session = state.session + 1;
        *state = State { session, passed: offset, ..State::default() };
    }

    /// Which session there is: what was asked in another one is of another server.
    pub fn session(&self) -> u64 {
        self.0.lock().session
    }

    /// The replica is so far.
    pub fn passed(&self, offset: u64) {
        let mut state = self.0.lock();
        if offset > state.passed {
            state.passed = offset;
            state.streams.retain(|_, floor| floor.offset > offset);
        }
    }

    /// Whether the replica may be behind what was said of a stream.
    pub fn is_ahead(&self, channel: &Channel) -> bool {
        let state = self.0.lock();
        let heard = !planted::is(Fault::FloorForgotten);
        let own = state.streams.get(channel).map_or(0, |floor| floor.offset);
        heard && state.all.max(own) > state.passed
    }

    /// What stands for a stream while the replica is behind that.
    pub fn said(&self, channel: &Channel) -> Option<Said> {
        let state = self.0.lock();
        let own = state.streams.get(channel).filter(|floor| floor.offset >= state.all)?;
        own.said.clone()
    }

    /// The primary, which was so far, said this of a stream; whether the session is still the same.
    pub fn raise(&self, session: u64, channel: &Channel, offset: u64, said: Option<Said>) -> bool {
        let mut state = self.0.lock();
        if state.session != session {
            return false;
        }
        let stands = |floor: &Floor| floor.offset > offset || floor.offset == offset && said.is_none();
        if offset <= state.passed || state.streams.get(channel).is_some_and(stands) {
            return true;
        }
        if state.streams.len() >= STREAMS && !state.streams.contains_key(channel) {
            let most = state.streams.values().map(|floor| floor.offset).max().unwrap_or_default();
            state.all = state.all.max(most);
            state.streams.clear();
        }
        state.streams.insert(channel.clone(), Floor { offset, said });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;

    fn channel(name: &str) -> Channel {
        Channel::new(name).unwrap()
    }

    fn said(last: u64) -> Said {
        let state = StreamState { last: Position::new(last, 0), ..StreamState::default() };
        Said { state: Some(state), newest: None }
    }

    #[test]
    fn what_was_said_stands_until_the_replica_is_as_far() {
        let (floors, a) = (Floors::default(), channel("a"));
        floors.begin(100);
        let session = floors.session();
        assert!(floors.raise(session, &a, 100, Some(said(1))) && !floors.is_ahead(&a), "it is as far already");
        assert!(floors.raise(session, &a, 120, Some(said(2))));
        assert!(floors.is_ahead(&a) && !floors.is_ahead(&channel("b")));
        assert!(floors.raise(session, &a, 110, Some(said(1))), "it was asked before, and answered later");
        assert_eq!(floors.said(&a), Some(said(2)));
        floors.passed(119);
        assert!(floors.is_ahead(&a));
        floors.passed(120);
        assert!(!floors.is_ahead(&a) && floors.said(&a).is_none());
        floors.begin(0);
        assert!(!floors.raise(session, &a, 500, None), "of another session");
        assert!(!floors.is_ahead(&a));
    }

    #[test]
    fn where_there_are_too_many_all_streams_have_one() {
        let floors = Floors::default();
        floors.begin(0);
        let session = floors.session();
        for number in 0..STREAMS {
            floors.raise(session, &channel(&number.to_string()), 1 + number as u64, Some(said(1)));
        }
        assert!(!floors.is_ahead(&channel("another")));
        floors.raise(session, &channel("more"), 1, Some(said(7)));
        assert!(floors.is_ahead(&channel("another")));
        assert_eq!(floors.said(&channel("more")), None, "it is of before the others'");
        floors.passed(STREAMS as u64);
        assert!(!floors.is_ahead(&channel("another")) && !floors.is_ahead(&channel("more")));
    }

    #[test]
    fn an_entry_is_remembered_that_is_the_newest() {
        let entry = |n| Entry { position: Position::new(n, 0), fields: Vec::new() };
        let state = said(5).state;
        assert!(Said::new(state.clone(), &[entry(4), entry(5)]).newest.is_some());
        assert_eq!(Said::new(state.clone(), &[entry(4)]).newest, None, "more follow");
        assert_eq!(Said::new(state, &[]).newest, None);
    }
}
