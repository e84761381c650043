//! Answers that are late: those that come after a stream was given up and followed anew are not believed, for they are of
//! before; and while a feed lags behind its stream nobody begins too early.

use crate::support::client::Connection;
use crate::support::node::eventually;
use crate::support::stream::Stream;
use fantail::backplane::memory::{Memory, Settings};
use fantail::backplane::{
    Answer, Ask, Backplane, BackplaneError, Changes, Entry, Examined, Facts, Link, Publication, Span, StreamState,
};
use fantail::channel::Channel;
use fantail::clock::Clock;
use fantail::command::settings_of;
use fantail::node::Node;
use fantail::position::Position;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// The backplane in memory, whose first examination is made at once and answered when the test says so; the same for
/// all reads.
struct Slow {
    memory: Arc<Memory>,
    examinations: AtomicUsize,
    released: watch::Sender<bool>,
    answered: AtomicBool,
    reads: watch::Sender<bool>,
    /// Inspections are made at once, too, and answered when the test says so.
    inspections: AtomicUsize,
    told: watch::Sender<bool>,
    unfollowed: AtomicUsize,
}

impl Slow {
    fn new(memory: Arc<Memory>) -> Arc<Slow> {
        Arc::new(Slow {
            memory,
            examinations: AtomicUsize::new(0),
            released: watch::Sender::new(false),
            answered: AtomicBool::new(false),
            reads: watch::Sender::new(true),
            inspections: AtomicUsize::new(0),
            told: watch::Sender::new(true),
            unfollowed: AtomicUsize::new(0),
        })
    }
}

impl Backplane for Slow {
    fn read(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        Box::pin(async move {
            let _ = self.reads.subscribe().wait_for(|released| *released).await;
            self.memory.read(asks).await
        })
    }

    fn inspect(&self, channels: Vec<Channel>) -> Answer<'_, Vec<Result<Option<StreamState>, BackplaneError>>> {
        Box::pin(async move {
            let answer = self.memory.inspect(channels).await;
            self.inspections.fetch_add(1, Ordering::SeqCst);
            let _ = self.told.subscribe().wait_for(|told| *told).await;
            answer
        })
    }

    fn examine(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Examined, BackplaneError>>> {
        Box::pin(async move {
            let number = self.examinations.fetch_add(1, Ordering::SeqCst);
            let answer = self.memory.examine(asks).await;
            if number == 0 {
                let _ = self.released.subscribe().wait_for(|released| *released).await;
                self.answered.store(true, Ordering::SeqCst);
            }
            answer
        })
    }

    fn history(&self, spans: Vec<Span>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        self.memory.history(spans)
    }

    fn append(&self, publications: Vec<Publication>) -> Answer<'_, Vec<Result<Position, BackplaneError>>> {
        self.memory.append(publications)
    }

    fn followed(&self, channel: &Channel, position: Position) {
        self.memory.followed(channel, position);
    }

    fn unfollowed(&self, channel: &Channel) {
        self.memory.unfollowed(channel);
        self.unfollowed.fetch_add(1, Ordering::SeqCst);
    }

    fn changes(&self) -> &Arc<Changes> {
        self.memory.changes()
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.memory.link()
    }

    fn facts(&self) -> Facts {
        self.memory.facts()
    }
}

/// A node on a slow backplane.
fn started() -> (Arc<Memory>, Arc<Slow>, Node) {
    let flags = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let memory = Memory::new(Settings { maxlen: 0, ..Settings::default() });
    let slow = Slow::new(memory.clone());
    let settings = settings_of(&flags).expect("good flags");
    let node = Node::start_with(settings, slow.clone(), Clock::default()).expect("a node");
    (memory, slow, node)
}

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
