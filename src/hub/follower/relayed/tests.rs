use super::*;
use crate::hub::bell::FeedNumber;
use bytes::Bytes;

const POSITION: Position = Position::new(5, 0);

fn channel() -> Channel {
    Channel::new("a").expect("a name")
}

fn entry(ms: u64, data: &'static str) -> Entry {
    Entry { position: Position::new(ms, 0), fields: vec![(Bytes::from("data"), Bytes::from(data))] }
}

/// A feed that is live at entry 5, the third of its stream, verified behind the first doubt.
fn feed() -> Feed {
    let feed = Feed::new(FeedNumber::new(0), channel());
    {
        let mut state = feed.lock();
        state.log.begin_at(POSITION, Some(3), false);
        (state.life, state.digest, state.verified) = (Life::Live, entry(5, "x").digest(), 1);
    }
    feed
}

fn fits(feed: &Feed, rank: u64, entries: &[Entry]) -> Fit {
    fit(feed, Relayed { channel: channel(), rank, entries: entries.to_vec() }, 1)
}

#[test]
fn what_follows_the_newest_entry_is_new() {
    let new = || Fit::New(vec![entry(6, "y")]);
    assert_eq!(fits(&feed(), 3, &[entry(5, "x"), entry(6, "y")]), new());
    assert_eq!(fits(&feed(), 2, &[entry(4, "w"), entry(5, "x"), entry(6, "y")]), new(), "some of it is known");
    assert_eq!(fits(&feed(), 2, &[entry(4, "w"), entry(5, "x")]), Fit::Known);
    assert_eq!(fits(&feed(), 1, &[entry(3, "v"), entry(4, "w")]), Fit::Known, "all of it is older");
}

#[test]
fn what_does_not_follow_it_is_read() {
    let next = || [entry(5, "x"), entry(6, "y")];
    assert_eq!(fits(&feed(), 3, &[entry(6, "y"), entry(7, "z")]), Fit::Unclear, "something is missing");
    assert_eq!(fits(&feed(), 3, &[entry(4, "w"), entry(6, "y")]), Fit::Unclear, "its newest entry is not there");
    assert_eq!(fits(&feed(), 3, &[entry(5, "other"), entry(6, "y")]), Fit::Unclear, "it is another one");
    assert_eq!(fits(&feed(), 4, &next()), Fit::Unclear, "more were counted");
    assert_eq!(fits(&feed(), u64::MAX, &next()), Fit::Unclear);
    assert_eq!(fits(&feed(), 3, &[]), Fit::Unclear, "a mere note");
    let unlike = |change: fn(&mut crate::hub::feed::State)| {
        let feed = feed();
        change(&mut feed.lock());
        fits(&feed, 3, &next())
    };
    assert_eq!(unlike(|state| state.log.set_rank(None)), Fit::Unclear, "nothing was counted");
    assert_eq!(unlike(|state| state.digest = 0), Fit::Unclear, "its newest entry is not known");
    assert_eq!(unlike(|state| state.life = Life::Dormant), Fit::Unclear);
    assert_eq!(unlike(|state| state.verified = 0), Fit::Unclear, "a doubt is open");
    assert_eq!(unlike(|state| state.doubted = 2), Fit::Unclear, "a doubt about this stream is open");
}

/// A stream that is busy since `now` and of which something is heard.
fn heard(now: Instant) -> Busy {
    let mut busy = Busy::default();
    assert!(!busy.grew(&channel(), 1, now));
    assert!(busy.grew(&channel(), 1, now), "twice");
    assert!(!busy.grew(&channel(), 1, now), "known by now");
    assert!(!busy.is_relayed(&channel(), now) && !busy.holds(&channel(), now));
    (0..60).for_each(|_| busy.heard(&channel(), POSITION, now));
    busy
}

#[test]
fn a_report_waits_for_what_is_passed_on_but_not_long() {
    let now = Instant::now();
    let mut busy = heard(now);
    busy.asked(&channel());
    assert!(busy.holds(&channel(), now));
    assert_eq!(busy.due(false, now), []);
    assert!(!busy.took(&channel(), 1));
    assert_eq!(busy.due(false, now + LATE / 2), [], "it has come");
    assert!(busy.holds(&channel(), now));
    assert_eq!(busy.due(false, now + LATE), [channel()]);
    assert!(busy.is_relayed(&channel(), now + LATE));
    busy.grew(&channel(), 1, now + LATE);
    assert!(!busy.is_relayed(&channel(), now + LATE), "nobody passes on what is new");
}

#[test]
fn a_relayed_stream_is_read_now_and_then() {
    let now = Instant::now();
    let mut busy = heard(now);
    assert_eq!((busy.due(false, now), busy.due(true, now)), (vec![], vec![channel()]), "each second");
    assert_eq!(busy.due(false, now + LATE), [channel()], "silent");
    busy.asked(&channel());
    assert_eq!((busy.due(true, now + LATE), busy.newest(&channel())), (vec![], Position::ZERO), "nothing since");
    assert!(!busy.took(&channel(), ENTRIES) && busy.took(&channel(), 1), "after so many");
    assert!(!busy.is_relayed(&channel(), now + RECENT), "silent for long");
    assert_eq!(busy.prune(now + QUIET), []);
    assert_eq!(busy.prune(now + QUIET + LATE), [channel()]);
    assert!(busy.is_empty());
}

#[test]
fn streams_that_are_seldom_busy_are_not_heard_of() {
    let (mut busy, now) = (Busy::default(), Instant::now());
    assert!(!busy.grew(&channel(), 1, now) && !busy.grew(&channel(), 1, now + CLOSE));
    assert!(!busy.grew(&channel(), 0, now + CLOSE));
    assert_eq!(busy.prune(now + 2 * QUIET), [], "nobody was told");
    for number in 0..2 * MOST {
        busy.grew(&Channel::new(&format!("c{number}")).expect("a name"), 1, now);
    }
    assert_eq!(busy.streams.len(), MOST);
}
