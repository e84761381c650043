//! Answers that are late: those that come after a stream was given up and followed anew are not believed, for they are of
//! before; while a feed lags behind its stream nobody begins too early; and a state of another life counts nothing of the first.

mod slow;

use crate::support::client::Connection;
use crate::support::node::eventually;
use crate::support::stream::Stream;
use fantail::backplane::memory::Memory;
use fantail::backplane::{Backplane, Link};
use fantail::channel::Channel;
use fantail::position::Position;
use serde_json::json;
use slow::started;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

#[test]
fn an_answer_of_before_the_channel_was_followed_anew_is_no_reset() {
    let (memory, slow, node) = started();
    let a = Channel::new("a").expect("a name");
    let add = |n: u64| drop(memory.append_at(&a, Position::new(n, 0), &[("data".into(), n.to_string().into())]));
    let open = || Stream::open(node.listen()[0], "/events/a", &[("Last-Event-ID", "0-0")]);

    let first = open().begun();
    // The stream's first entry is examined, and the answer is long on its way.
    add(1);
    eventually("an examination", || slow.examinations.load(Ordering::SeqCst) == 1);
    drop(first);
    eventually("nobody wants the channel", || slow.unfollowed.load(Ordering::SeqCst) == 1);
    let mut second = open();
    assert_eq!(second.numbers(1), [1]);
    for n in 2..=3 {
        add(n);
        assert_eq!(second.numbers(1), [n]);
    }
    slow.released.send_replace(true);
    eventually("the old answer", || slow.answered.load(Ordering::SeqCst));
    for n in 4..=6 {
        add(n);
        assert_eq!(second.numbers(1), [n], "and no gap");
    }
}

#[test]
fn who_asks_for_a_time_gets_nothing_of_before_it_from_a_feed_that_lags() {
    let (memory, slow, node) = started();
    slow.released.send_replace(true);
    let a = Channel::new("a").expect("a name");
    let add = |n: u64| drop(memory.append_at(&a, Position::new(n, 0), &[("data".into(), n.to_string().into())]));
    let open = |query: &str| {
        let mut connection = Connection::open(node.listen()[0]);
        connection.send_request("GET", &format!("/events{query}"), &[], b"");
        connection
    };

    add(10);
    let mut live = Stream::answered(open("/a?since=earliest"));
    assert_eq!(live.numbers(1), [10]);
    slow.reads.send_replace(false);
    (20..=50).step_by(10).for_each(add);
    let late: Vec<Connection> = [
        "/a?since=35",
        "/a?since=35&tail=9",
        "?channels=a,b&since=35",
        "?channels=a,b&since=35&tail=9",
        "/a?since=9999&tail=2",
    ]
    .map(open)
    .into();
    // They wait for what the stream held when they asked, however long that takes.
    let looks = || slow.examinations.load(Ordering::SeqCst);
    eventually("each has looked", || looks() >= late.len());
    slow.reads.send_replace(true);
    assert_eq!(live.numbers(4), [20, 30, 40, 50]);
    let mut late: Vec<Stream> = late.into_iter().map(Stream::answered).collect();
    add(60);
    late[..4].iter_mut().for_each(|stream| assert_eq!(stream.numbers(3), [40, 50, 60]));
    assert_eq!(late[4].numbers(1), [60], "a time to come is now");
}

#[test]
fn who_asks_for_a_time_gets_nothing_of_before_it_from_a_feed_that_others_have_begun() {
    let (memory, slow, node) = started();
    slow.released.send_replace(true);
    let a = Channel::new("a").expect("a name");
    let add = |n: u64| drop(memory.append_at(&a, Position::new(n, 0), &[("data".into(), n.to_string().into())]));
    let open = |query: &str| Stream::open(node.listen()[0], query, &[]);

    add(10);
    slow.told.send_replace(false);
    let mut first = open("/events/a");
    eventually("the stream is looked at", || slow.inspections.load(Ordering::SeqCst) == 1);
    // What was seen there is of before these, and so is the time that others ask for.
    (20..=50).step_by(10).for_each(add);
    let mut late = ["/events/a?since=35", "/events/a?since=35&tail=9"].map(open);
    slow.told.send_replace(true);
    assert_eq!(first.numbers(4), [20, 30, 40, 50]);
    add(60);
    late.iter_mut().for_each(|stream| assert_eq!(stream.numbers(3), [40, 50, 60]));
}

#[test]
fn who_is_held_gets_nothing_of_before_it_asked_though_ids_lie_ahead_of_the_clock() {
    let (memory, slow, node) = started();
    slow.released.send_replace(true);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    // In an hour, now, and ids that are no times.
    for (name, ms) in [("ahead", now + 3_600_000), ("now", now - 60_000), ("counted", 7)] {
        let channel = Channel::new(name).expect("a name");
        let add =
            |n: u64| drop(memory.append_at(&channel, Position::new(ms, n), &[("data".into(), n.to_string().into())]));
        (1..=3).for_each(add);
        let looked = slow.inspections.load(Ordering::SeqCst);
        slow.told.send_replace(false);
        let targets =
            [format!("/events/{name}"), format!("/events?channels={name},other"), format!("/events/{name}?tail=0")];
        let mut held = targets.map(|target| Stream::open(node.listen()[0], &target, &[]));
        assert!(held.iter().all(|stream| stream.last_event_id().is_empty()), "a head, and no position");
        eventually("the stream is looked at", || slow.inspections.load(Ordering::SeqCst) > looked);
        (4..=5).for_each(add);
        slow.told.send_replace(true);
        held.iter_mut().for_each(|stream| assert_eq!(stream.numbers(2), [4, 5], "{name}"));
        add(6);
        held.iter_mut().for_each(|stream| assert_eq!(stream.numbers(1), [6], "{name}"));
    }
}

#[test]
fn who_is_held_gets_what_a_node_had_not_seen_when_it_asked() {
    let (memory, slow, node) = started();
    slow.released.send_replace(true);
    let a = Channel::new("a").expect("a name");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let add = |n: u64| {
        drop(memory.append_at(&a, Position::new(now + 3_600_000, n), &[("data".into(), n.to_string().into())]))
    };
    add(1);
    let mut first = Stream::open(node.listen()[0], "/events/a?since=earliest", &[]);
    assert_eq!(first.numbers(1), [1]);
    drop(first);
    eventually("nobody wants the channel", || slow.unfollowed.load(Ordering::SeqCst) == 1);
    memory.set_link(Link::Down);
    let mut held = Stream::open(node.listen()[0], "/events/a", &[]);
    assert!(held.last_event_id().is_empty(), "a head, and no position");
    // More than are worth reading for a feed that slept.
    (2..=1_500).for_each(add);
    memory.set_link(Link::Up);
    assert_eq!(held.numbers(1_499), (2..=1_500).collect::<Vec<_>>());
}

/// A stream's state is asked for behind its entries, and may be of another life: then its counts say nothing of the first.
#[test]
fn a_stream_made_anew_between_its_entries_and_its_count_has_lost_nothing() {
    let (memory, slow, node) = started();
    slow.released.send_replace(true);
    let a = Channel::new("a").expect("a name");
    let append = |memory: &Memory, a: &Channel, seq: u64, n: u64| {
        memory.append_at(a, Position::new(9, seq), &[("data".into(), n.to_string().into())]).expect("a greater id");
    };
    let mut stream = Stream::open(node.listen()[0], "/events/a", &[]).begun();
    append(&memory, &a, 1, 1);
    append(&memory, &a, 9, 2);
    assert_eq!(stream.numbers(2), [1, 2]);

    // The same newest id, and one entry more than were ever added before.
    let channel = a.clone();
    slow.behind_read(move |memory| {
        memory.trim(&channel, 0);
        memory.set_last_id(&channel, Position::new(9, 1)).expect("an empty stream");
        append(memory, &channel, 9, 11);
    });
    slow.changes().changed([a.clone()]);
    let told = stream.gap();
    assert_eq!((&told["reason"], &told["continues_at"]), (&json!("reset"), &json!("9-9")), "{told}");
    assert_eq!(stream.numbers(1), [11]);
    append(&memory, &a, 10, 777);
    assert_eq!(stream.numbers(1), [777], "nothing more, and nothing twice");
}

/// Found by the simulation, seed 1796037677579343527: its node had come back to Redis and had not read the stream yet.
#[test]
fn who_is_ahead_of_a_stream_begins_where_that_ends_though_its_feed_lags() {
    let (memory, slow, node) = started();
    slow.released.send_replace(true);
    let a = Channel::new("a").expect("a name");
    let add = |n: u64| drop(memory.append_at(&a, Position::new(n, 0), &[("data".into(), n.to_string().into())]));
    add(10);
    let mut live = Stream::open(node.listen()[0], "/events/a?since=earliest", &[]);
    assert_eq!(live.numbers(1), [10]);
    slow.reads.send_replace(false);
    [20, 30].into_iter().for_each(add);
    let looked = slow.examinations.load(Ordering::SeqCst);
    let mut ahead = Connection::open(node.listen()[0]);
    ahead.send_request("GET", "/events/a?lastEventId=99-0", &[], b"");
    // That its id is ahead, what became of it, and what its node has to read first.
    eventually("it has looked", || slow.examinations.load(Ordering::SeqCst) >= looked + 3);
    slow.reads.send_replace(true);
    assert_eq!(live.numbers(2), [20, 30]);
    let mut ahead = Stream::answered(ahead);
    let told = ahead.gap();
    assert_eq!((&told["reason"], &told["continues_at"]), (&json!("reset"), &json!("30-0")), "{told}");
    add(40);
    assert_eq!(ahead.numbers(1), [40], "of what it may have had nothing comes again");
}
