//! A courier whose sockets answer as a script says: full, interrupted, a part taken.

use super::beat::Beat;
use super::ending::Reason;
use super::event_loop::{EventLoop, Readiness};
use super::inquiry::{Inquiry, Listed, Sought, State};
use super::key::Key;
use super::mailbox::{FirstLegs, LegBatch, LegStart, Mailbox, Message, NewSubscriber};
use super::metrics::CourierMetrics;
use super::ordered::Ordered;
use super::socket::Socket;
use super::state::Courier;
use super::subscriber::Ticket;
use super::terms::{Framing, Terms};
use super::tick::Tick;
use super::{CourierDeps, Ledger};
use crate::auth::revocation::Revocations;
use crate::backplane::Entry;
use crate::channel::Channel;
use crate::clock::Clock;
use crate::config::RetryRange;
use crate::event::Event;
use crate::frame::Frame;
use crate::hub::Idle;
use crate::hub::bell::{Bell, FeedNumber};
use crate::hub::feed::Feed;
use crate::limits::{self, Caps};
use crate::metrics::Registry;
use crate::position::Position;
use crate::random::Random;
use crate::subscription::{Limits, Subscription, Texts};
use parking_lot::Mutex;
use prometheus::IntGauge;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

const FEED: FeedNumber = FeedNumber::new(7);
const KEY: Key = Key::of(0);
const HEARTBEAT_TICKS: u32 = 100;
const BEAT: &[u8] = b"2\r\n:\n\r\n";

/// What a socket says to a write.
#[derive(Clone, Copy)]
enum Says {
    Interrupted,
    Full,
    Takes(usize),
}

/// A socket that says what its script has next, and takes everything behind it.
#[derive(Clone, Default)]
struct Script {
    next: Arc<Mutex<VecDeque<Says>>>,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Script {
    fn says(&self, answers: impl IntoIterator<Item = Says>) {
        self.next.lock().extend(answers);
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = match self.next.lock().pop_front() {
            Some(Says::Interrupted) => return Err(ErrorKind::Interrupted.into()),
            Some(Says::Full) => return Err(ErrorKind::WouldBlock.into()),
            Some(Says::Takes(most)) => most.min(bytes.len()),
            None => bytes.len(),
        };
        self.taken.lock().extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A courier with one subscriber of one feed.
struct Stage {
    courier: Courier,
    feed: Arc<Feed>,
    script: Script,
    events: u64,
    sent: Vec<u8>,
}

impl Stage {
    fn new(terms: Terms) -> Stage {
        Stage::beating(terms, Beat::default())
    }

    fn beating(terms: Terms, beat: Beat) -> Stage {
        let feed = Arc::new(Feed::new(FEED, Channel::new("a").expect("a name")));
        let poll = mio::Poll::new().expect("a poll");
        let registry = poll.registry().try_clone().expect("a registry");
        let mailbox = Arc::new(Mailbox::new(|| {}));
        let courier = Courier::new(0, registry, mailbox, deps(), Instant::now);
        let script = Script::default();
        let mut stage = Stage { courier, feed, script, events: 0, sent: Vec::new() };
        stage.script = stage.join(terms, beat);
        stage
    }

    /// Another plain subscriber; its socket.
    fn joined(&mut self, beat: Beat) -> Script {
        self.join(Terms::default(), beat)
    }

    fn join(&mut self, terms: Terms, beat: Beat) -> Script {
        let feed = &self.feed;
        feed.lock().legs += 1;
        let at = feed.lock().log.end();
        let standing = feed.lock().log.standing_at(at);
        let leg = LegStart { feed: feed.clone(), standing, at: Some(at), known_to: at, fresh: false, finished: false };
        self.join_with(terms, beat, FirstLegs::All(LegBatch { legs: vec![leg], preamble: Vec::new(), behind_id: None }))
    }

    fn join_with(&mut self, terms: Terms, beat: Beat, legs: FirstLegs) -> Script {
        let script = Script::default();
        self.courier.join(NewSubscriber {
            first: Vec::new(),
            socket: Socket::Scripted(Box::new(script.clone())),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            framing: Framing::Chunked,
            terms,
            beat,
            gzip: None,
            legs,
            max_age_ms: None,
            admission: None,
            seen: 0,
            changes: None,
            ordered: Ordered::default(),
        });
        script
    }

    /// An event with that much data comes and is delivered.
    fn event(&mut self, bytes: usize) {
        self.events += 1;
        let fields = vec![("data".into(), vec![b'a' + (self.events % 26) as u8; bytes].into())];
        let entry = Entry { position: Position::new(self.events, 0), fields };
        let frame = Arc::new(Frame::new(entry.position, Event::from_entry(&entry)));
        self.sent.extend_from_slice(frame.chunk());
        self.feed.change(usize::MAX, &[self.courier.mailbox.clone() as Arc<dyn Bell>], |log| log.push(frame));
        self.courier.advance([FEED].into_iter());
        self.courier.deliver();
    }

    /// So much time passes that a heartbeat is due.
    fn heartbeat(&mut self) {
        self.courier.now = self.courier.now.plus(HEARTBEAT_TICKS);
        self.courier.sweep();
    }

    /// The socket has room until all is out.
    fn drain(&mut self) {
        while self.courier.subscribers[KEY].blocked {
            self.courier.writable(KEY);
        }
    }

    /// Why the subscriber is to end, if it is.
    fn ends(&mut self) -> Option<Reason> {
        self.courier.subscribers.take_dead().map(|(_, reason)| reason)
    }

    fn taken(&self) -> Vec<u8> {
        self.script.taken.lock().clone()
    }
}

fn deps() -> CourierDeps {
    let gauge = || IntGauge::new("g", "g").expect("a name");
    CourierDeps {
        expiring: Duration::ZERO,
        revocations: Arc::new(Revocations::new(Clock::default())),
        changes: Arc::default(),
        joins: mpsc::unbounded_channel().0,
        extends: true,
        heartbeat: Duration::from_secs(10),
        stall_timeout: Duration::from_secs(1_000_000),
        idle_timeout: Duration::ZERO,
        retry: RetryRange { from: Duration::from_secs(1), to: Duration::from_secs(1) },
        metrics: Arc::new(CourierMetrics::new(&Registry::default())),
        limits: Arc::new(limits::Limits::new(1, Caps::default(), Caps::default(), &gauge())),
        idle: Arc::new(Idle::default()),
        catch_ups: mpsc::unbounded_channel().0,
        leftovers: Ledger::new(usize::MAX, gauge()),
        clock: Clock::default(),
        random: Random::default(),
    }
}

/// Terms of which each event has an `id:` line of its own, so that it is drafted.
fn enveloped() -> Terms {
    Terms { envelope: true, ..Terms::default() }
}

#[test]
fn an_interrupted_write_ends_nobody() {
    for terms in [Terms::default(), enveloped()] {
        let mut stage = Stage::new(terms);
        stage.script.says([Says::Interrupted]);
        stage.heartbeat();
        assert_eq!((stage.ends(), stage.taken()), (None, BEAT.to_vec()));
        stage.script.says([Says::Interrupted, Says::Interrupted, Says::Takes(20), Says::Interrupted]);
        stage.event(1_000);
        stage.drain();
        let events = stage.taken().len() - BEAT.len();
        assert!(stage.ends().is_none() && events > 1_000, "{events} bytes of an event");
    }
}

#[test]
fn a_full_socket_took_nothing_and_is_asked_when_it_has_room() {
    let now = Tick::default().plus(5);
    let mut stage = Stage::new(Terms::default());
    stage.courier.now = now;
    stage.script.says([Says::Full]);
    stage.event(10);
    let subscriber = &stage.courier.subscribers[KEY];
    assert!(subscriber.blocked, "full");
    assert_eq!(subscriber.connection.wrote, Tick::default(), "the time of the stall timeout runs");
    assert_eq!(stage.courier.tally.bytes, 0);
    stage.drain();
    assert_eq!(stage.taken(), stage.sent);
    assert_eq!(stage.courier.tally.bytes, stage.sent.len() as u64);
    assert_eq!(stage.courier.subscribers[KEY].connection.wrote, now);
}

/// However a socket takes what it is given, its client gets the same bytes as one whose socket takes all at once.
#[test]
fn no_byte_is_lost_or_sent_twice() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let terms = if seed % 2 == 0 { Terms::default() } else { enveloped() };
        let (mut stage, mut reference) = (Stage::new(terms.clone()), Stage::new(terms));
        for _ in 0..20 {
            let answers = (0..random.usize(..4)).map(|_| match random.u8(..4) {
                0 => Says::Interrupted,
                1 => Says::Full,
                _ => Says::Takes(random.usize(1..40_000)),
            });
            stage.script.says(answers.collect::<Vec<_>>());
            match random.u8(..4) {
                0 => stage.heartbeat(),
                1 => stage.courier.writable(KEY),
                _ => {
                    let bytes = if random.u8(..3) > 0 { random.usize(..50) } else { random.usize(..150_000) };
                    stage.event(bytes);
                    reference.event(bytes);
                }
            }
        }
        stage.drain();
        assert_eq!(stage.ends(), None, "seed {seed}");
        assert!(without_beats(&stage.taken()) == reference.taken(), "seed {seed}");
        assert!(!stage.sent.is_empty() && (seed % 2 == 1 || reference.taken() == reference.sent), "seed {seed}");
        assert_eq!(stage.courier.tally.bytes as usize, stage.taken().len(), "seed {seed}");
    }
}

#[test]
fn a_courier_goes_by_the_time_that_it_is_given() {
    let Stage { courier, script, .. } = Stage::new(Terms::default());
    let (mailbox, metrics) = (courier.mailbox.clone(), courier.deps.metrics.clone());
    let begin = Instant::now();
    let mut turns = EventLoop::new(courier, begin);
    for second in 0..=60 {
        turns.turn(begin + Duration::from_secs(second), std::iter::empty());
    }
    // Each is early by an eighth of ten seconds, and no turn is at that moment: one every nine.
    assert_eq!(*script.taken.lock(), BEAT.repeat(6));
    let end = begin + Duration::from_secs(61);
    assert_eq!(turns.wait(end), Duration::from_millis(1), "a tick has begun since the last turn");
    turns.turn(end, [(KEY, Readiness::PeerGone)].into_iter());
    assert_eq!((metrics.connections.get(), turns.is_stopped()), (0, false));
    mailbox.send(Message::Stop);
    assert_eq!(turns.wait(end), Duration::from_millis(101));
    turns.turn(end, std::iter::empty());
    assert!(turns.is_stopped());
}

/// A subscriber's own heartbeats.
fn asked(heartbeat: &str) -> Beat {
    let query = format!("channels=a&{heartbeat}");
    let limits = Limits { max_channels: 1, max_tail: 0, heartbeat: (Duration::from_secs(1), Duration::from_secs(600)) };
    let texts = Texts { query: &query, ..Texts::default() };
    Beat::of(&Subscription::parse(&texts, &limits, 0).expect("a subscription"))
}

#[test]
fn each_has_heartbeats_at_its_own_pace_and_in_its_own_form() {
    let event = |ms: u32| {
        let block = format!("event: fantail.heartbeat\ndata: {{\"every_ms\":{ms}}}\n\n");
        format!("{:x}\r\n{block}\r\n", block.len()).into_bytes()
    };
    for terms in [Terms::default(), enveloped()] {
        for (heartbeat, beats, beat) in [
            // Of a minute, each early by an eighth, and no tick is at that moment.
            ("", 6, BEAT.to_vec()),
            ("heartbeat=1s", 66, BEAT.to_vec()),
            ("heartbeat=4s", 17, BEAT.to_vec()),
            ("heartbeat=4s&heartbeatEvent=1", 17, event(4_000)),
            ("heartbeatEvent=1", 6, event(10_000)),
            ("heartbeat=40s", 1, BEAT.to_vec()),
            ("heartbeat=10m", 0, BEAT.to_vec()),
        ] {
            let mut stage = Stage::beating(terms.clone(), asked(heartbeat));
            for _ in 0..600 {
                stage.courier.now = stage.courier.now.plus(1);
                stage.courier.sweep();
            }
            let taken = String::from_utf8_lossy(&stage.taken()).into_owned();
            assert_eq!(taken, String::from_utf8_lossy(&beat.repeat(beats)), "{heartbeat}, {terms:?}");
        }
    }
}

#[test]
fn heartbeats_of_a_second_are_on_time_among_many_and_others_are_not_looked_at_more_often() {
    let mut stage = Stage::beating(Terms::default(), asked("heartbeat=1s"));
    let more: Vec<Script> =
        (1..1_000).map(|n| stage.joined(asked(if n % 2 == 0 { "heartbeat=1s" } else { "" }))).collect();
    for _ in 0..100 {
        stage.courier.now = stage.courier.now.plus(1);
        stage.courier.sweep();
    }
    let beats = |script: &Script| script.taken.lock().len() / BEAT.len();
    for (n, script) in (1..).zip(&more) {
        let expected = if n % 2 == 0 { 9..=11 } else { 1..=1 };
        assert!(expected.contains(&beats(script)), "{n}: {}", beats(script));
    }
}

/// Without the chunks that are a comment.
fn without_beats(mut chunks: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    while !chunks.is_empty() {
        let line = chunks.windows(2).position(|end| end == b"\r\n").expect("a size line");
        let size = std::str::from_utf8(&chunks[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let (chunk, rest) = chunks.split_at(line + 2 + size.expect("a size") + 2);
        if chunk != BEAT {
            kept.extend_from_slice(chunk);
        }
        chunks = rest;
    }
    kept
}

#[test]
fn what_left_memory_before_its_turn_came_is_asked_for_at_once() {
    for terms in [enveloped(), Terms::default()] {
        let mut stage = Stage::new(terms);
        stage.event(10);
        let entry = Entry { position: Position::new(2, 0), fields: vec![("data".into(), "b".into())] };
        let frame = Arc::new(Frame::new(entry.position, Event::from_entry(&entry)));
        let bell = stage.courier.mailbox.clone() as Arc<dyn Bell>;
        stage.feed.change(usize::MAX, &[bell], |log| log.push(frame));
        stage.feed.lock().log.trim(0, 0);
        stage.courier.advance([FEED].into_iter());
        stage.courier.deliver();
        let composed = stage.courier.subscribers.composed_mut(KEY).expect("it has nothing to write that is here");
        assert!(composed.behind(0).is_some_and(|behind| behind.asked.is_some()), "not with the next event");
    }
}

/// A clock by which each look is a second after the one before.
fn hurried() -> Instant {
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    *BEGUN + Duration::from_secs(LOOKS.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn who_has_not_had_its_turn_keeps_its_place_when_an_event_leaves_memory() {
    let mut stage = Stage::new(enveloped());
    let others: Vec<Script> = (0..150).map(|_| stage.join(enveloped(), Beat::default())).collect();
    stage.event(10);
    stage.courier.stopwatch = hurried;
    stage.event(10);
    let lengths: Vec<usize> = others.iter().map(|script| script.taken.lock().len()).collect();
    let late = lengths.iter().position(|length| *length < lengths[0]).expect("the turn has ended");
    stage.feed.lock().log.trim(0, 0);
    stage.courier.advance([FEED].into_iter());
    stage.courier.stopwatch = Instant::now;
    stage.courier.deliver();
    let composed = stage.courier.subscribers.composed_mut(Key::of(late + 1)).expect("it waits for a page");
    assert_eq!(composed.legs[0].position, Position::new(1, 0), "it has had one event");
    assert!(composed.behind(0).is_some_and(|behind| behind.asked.is_some()));
}

/// What is told of those who are asked for, from the first place on.
fn listed(stage: &Stage, sought: Sought, most: usize) -> Listed {
    let (answer, mut listed) = oneshot::channel();
    stage.courier.list(Inquiry { sought, from: 0, most, channels: 5, answer });
    listed.try_recv().expect("an answer")
}

#[test]
fn who_has_a_full_socket_is_seen_as_blocked_and_behind() {
    let mut stage = Stage::new(Terms::default());
    let _other = stage.joined(Beat::default());
    stage.script.says([Says::Takes(10), Says::Full]);
    stage.event(100);
    stage.script.says([Says::Full]);
    stage.event(100);
    let blocked = listed(&stage, Sought { state: Some(State::Blocked), ..Sought::default() }, 9).seen;
    assert_eq!((blocked.len(), blocked[0].behind, blocked[0].channels[0].behind), (1, Some(2), Some(2)));
    assert_eq!(blocked[0].channels[0].newest, Some(Position::new(2, 0)));
    let live = listed(&stage, Sought { state: Some(State::Live), ..Sought::default() }, 9).seen;
    assert_eq!((live.len(), live[0].behind, live[0].channels[0].position), (1, Some(0), Some(Position::new(2, 0))));
    assert_eq!(listed(&stage, Sought { serial: Some(2), ..Sought::default() }, 9).seen[0].id, live[0].id);
}

#[test]
fn what_a_full_socket_left_over_is_told_of_its_subscriber() {
    let mut stage = Stage::new(enveloped());
    stage.script.says([Says::Takes(10), Says::Full]);
    stage.event(100);
    let seen = listed(&stage, Sought::default(), 9).seen.remove(0);
    let before = stage.taken().len();
    stage.drain();
    assert_eq!((seen.state, stage.taken().len() - before), (State::Blocked, seen.leftover_bytes));
    assert!(seen.composed && seen.leftover_bytes > 100, "{seen:?}");
}

#[test]
fn a_question_is_answered_by_a_bounded_look_and_goes_on_from_there() {
    let mut stage = Stage::new(Terms::default());
    (0..1_500).for_each(|_| drop(stage.joined(Beat::default())));
    let none = Sought { subject: Some("nobody".into()), ..Sought::default() };
    // A place and a leg of each of 512.
    assert_eq!(listed(&stage, none, 9).next, Some(512));
    let few = listed(&stage, Sought::default(), 3);
    assert_eq!((few.seen.len(), few.next), (3, Some(3)));
}

#[test]
fn channels_that_have_not_come_are_seen_as_held() {
    let mut stage = Stage::new(Terms::default());
    let (here, _gone) = oneshot::channel();
    let owed = vec![(Channel::new("b").expect("a name"), Position::new(7, 0))];
    let ticket = Ticket { number: 1, here, seen: 0, ordered: Ordered::default(), owed };
    let none = LegBatch { legs: Vec::new(), preamble: Vec::new(), behind_id: None };
    stage.join_with(Terms::default(), Beat::default(), FirstLegs::Part(ticket, none));
    let held = listed(&stage, Sought { state: Some(State::Held), ..Sought::default() }, 9).seen;
    assert_eq!((held.len(), held[0].count, held[0].channels[0].channel.as_str()), (1, 1, "b"));
    assert_eq!((held[0].channels[0].position, held[0].channels[0].behind), (Some(Position::new(7, 0)), None));
    let by_channel = listed(&stage, Sought { channel: Channel::new("b").ok(), ..Sought::default() }, 9).seen;
    assert_eq!((by_channel.len(), by_channel[0].id), (1, held[0].id));
}
