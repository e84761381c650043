use super::*;
use crate::channel::Channel;
use crate::hub::bell::FeedNumber;
use std::sync::Arc;

fn entry(ms: u64) -> Entry {
    Entry { position: Position::new(ms, 0), fields: vec![("data".into(), "x".into())] }
}

fn entries(ms: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    ms.map(entry).collect()
}

/// A stream from its first entry on.
fn state(last: u64) -> StreamState {
    StreamState { length: last, last: Position::new(last, 0), first: Some(Position::new(1, 0)), ..Default::default() }
}

/// A feed that follows from behind `base` on, and has read up to `last`.
fn feed(base: u64, last: u64) -> Feed {
    let feed = Feed::new(FeedNumber::new(0), Channel::new("a").unwrap());
    {
        let mut state = feed.lock();
        state.log.begin_at(Position::new(base, 0), None, false);
        let frames = (base + 1..=last).map(entry).map(|e| Frame::new(e.position, Event::from_entry(&e)));
        frames.for_each(|frame| state.log.push(Arc::new(frame)));
    }
    feed
}

#[test]
fn what_was_trimmed_since_the_stream_was_asked_is_not_new() {
    // A log that begins with the stream covers no less of it.
    for base in [1, 0] {
        let feed = feed(base, 6);
        // A failover has undone the newest entry.
        let (entries, state) = (entries(base + 1..=5), state(5));
        let seen = Seen { state: Some(&state), entries: &entries, count: 100 };
        let Back::Ask(asked) = back(&feed, &state, Witness::Absent, None, &seen) else { panic!("it is asked first") };
        assert_eq!(asked.after(), Position::new(base, 0));
        feed.lock().log.trim(0, 2);
        let found = back(&feed, &state, Witness::Absent, Some(&asked), &seen);
        assert!(matches!(found, Back::On(after) if after == state.last), "all of it was had");
    }
}

#[test]
fn of_another_stream_all_is_new_however_many_reads_it_takes() {
    let feed = feed(8, 9);
    let (first, rest, state) = (entries(1..=3), entries(4..=7), state(7));
    let seen = Seen { state: Some(&state), entries: &first, count: 3 };
    let Back::Ask(asked) = back(&feed, &state, Witness::Replaced, None, &seen) else { panic!("it is asked first") };
    assert_eq!(asked.after(), Position::ZERO);
    let seen = Seen { state: Some(&state), entries: &rest, count: 100 };
    let Retrace::After { another, .. } = asked else { panic!("what is new is looked for") };
    let asked = Retrace::After { position: Position::new(3, 0), another };
    let found = back(&feed, &state, Witness::Absent, Some(&asked), &seen);
    assert!(
        matches!(found, Back::On(after) if after == Position::new(3, 0)),
        "what the log begins behind is not of it"
    );
}
