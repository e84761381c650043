use super::*;
use crate::channel::Channel;
use crate::hub::bell::FeedNumber;
use std::sync::Arc;

fn entry(ms: u64) -> Entry {
    Entry { position: Position::new(ms, 0), fields: vec![("data".into(), "x".into())] }
}

/// A feed that follows from the first entry on, and has read up to `last`.
fn feed(last: u64) -> Feed {
    let feed = Feed::new(FeedNumber::new(0), Channel::new("a").unwrap());
    {
        let mut state = feed.lock();
        state.log.begin_at(Position::new(1, 0), None, false);
        let frames = (2..=last).map(entry).map(|e| Frame::new(e.position, Event::from_entry(&e)));
        frames.for_each(|frame| state.log.push(Arc::new(frame)));
    }
    feed
}

#[test]
fn what_was_trimmed_since_the_stream_was_asked_is_not_new() {
    let feed = feed(6);
    // A failover has undone the newest entry.
    let entries: Vec<Entry> = (2..=5).map(entry).collect();
    let state =
        StreamState { length: 5, last: Position::new(5, 0), first: Some(Position::new(1, 0)), ..Default::default() };
    let seen = Seen { state: Some(&state), entries: &entries, count: 100 };
    let Back::Ask(asked) = back(&feed, &state, Witness::Absent, None, &seen) else { panic!("it is asked first") };
    assert_eq!(asked.after(), Position::new(1, 0));
    feed.lock().log.trim(0, 2);
    let found = back(&feed, &state, Witness::Absent, Some(&asked), &seen);
    assert!(matches!(found, Back::On(after) if after == state.last), "all of it was had");
}
