//! The log against a plain list of all that ever passed by.

use super::*;
use crate::event::Event;
use bytes::Bytes;
use fastrand::Rng;

fn event(n: u64, size: usize) -> Arc<Frame> {
    let data = Bytes::from(vec![b'x'; size]);
    Arc::new(Frame::new(
        Position::new(n, 0),
        Event {
            kind: None,
            renamed: false,
            object: false,
            garbled: false,
            data,
            retry: None,
            last: false,
            fields: Vec::new(),
        },
    ))
}

fn gap(n: u64) -> Arc<Frame> {
    Arc::new(Frame::control(Position::new(n, 0), b"event: fantail.gap\ndata: {}\n\n"))
}

fn position(n: u64) -> Position {
    Position::new(n, 0)
}

/// A stream's events from 1 on, the gaps that were found between them, and a log that follows from `begin` on.
struct Bench {
    rng: Rng,
    /// Every frame that ever was in the log or before it, oldest first: its number, and whether it is an event.
    passed: Vec<(u64, bool)>,
    next: u64,
    log: Log,
}

impl Bench {
    fn new(seed: u64) -> Bench {
        let mut rng = Rng::with_seed(seed);
        let begin = rng.u64(1..30);
        let mut log = Log::new();
        log.begin_at(position(begin), Some(begin), false);
        Bench { passed: (1..=begin).map(|n| (n, true)).collect(), next: begin + 1, rng, log }
    }

    fn step(&mut self) {
        match self.rng.u8(0..10) {
            0..5 => {
                self.log.push(event(self.next, self.rng.usize(0..300)));
                self.passed.push((self.next, true));
                self.next += 1;
            }
            5 => {
                self.log.push(gap(self.next - 1));
                self.passed.push((self.next - 1, false));
            }
            6 | 7 => {
                let limit = self.rng.usize(0..=self.log.bytes());
                self.log.trim(limit, self.rng.usize(0..2));
            }
            _ if self.log.extendable() && self.log.base() > Position::ZERO => {
                let base = self.log.base().ms;
                let from = self.rng.u64(0..base);
                let older = (from + 1..=base).map(|n| event(n, 10)).collect();
                self.log.prepend(older, position(from), true);
            }
            _ => {}
        }
    }

    /// Whoever is placed gets exactly what comes after its position; whoever is not, is not where frames are.
    fn check(&self) {
        for n in 0..self.next + 2 {
            let expected = match n {
                0 => &self.passed[..],
                _ => match self.passed.iter().position(|frame| *frame == (n, true)) {
                    Some(index) => &self.passed[index + 1..],
                    None => {
                        assert_eq!(self.log.locate(position(n)), Err(NotInLog::Ahead), "{n}");
                        continue;
                    }
                },
            };
            match self.log.locate(position(n)) {
                Ok(at) => assert_eq!(self.after(at), one_gap_each(expected.to_vec()), "after {n}"),
                Err(NotInLog::Older) => assert!(position(n) < self.log.base(), "{n}"),
                // Its event has left, but a gap behind it has not: the stream is asked, and then this is the place.
                Err(NotInLog::Absent(at)) => assert_eq!(self.after(at), one_gap_each(expected.to_vec()), "after {n}"),
                Err(NotInLog::Ahead) => panic!("{n} has passed by"),
            }
        }
        let count = self.rng.clone().usize(1..20);
        let at = self.log.newest(count);
        let before = self.log.standing_at(at).position;
        let events = self.after(at).iter().filter(|(_, is_event)| *is_event).count();
        assert_eq!(events, count.min(self.log.events()));
        assert!(self.after(at).iter().all(|(n, is_event)| !is_event || position(*n) > before));
    }

    fn after(&self, at: Offset) -> Vec<(u64, bool)> {
        let mut frames = Vec::new();
        self.log.copy_from(at, &mut frames);
        if let Some((offset, _)) = frames.first() {
            assert_eq!(*offset, at, "a place is a frame's beginning");
        }
        let ends = frames.windows(2).all(|two| two[0].0.plus(two[0].1.chunk().len()) == two[1].0);
        assert!(ends, "frames follow each other without a hole");
        one_gap_each(frames.iter().map(|(_, frame)| (frame.position.ms, frame.is_event())).collect())
    }
}

/// Of several gaps in the same place one tells enough.
fn one_gap_each(mut frames: Vec<(u64, bool)>) -> Vec<(u64, bool)> {
    frames.dedup();
    frames
}

#[test]
fn a_place_is_followed_by_exactly_what_came_after_its_position() {
    for seed in 0..300 {
        let mut bench = Bench::new(seed);
        for step in 0..60 {
            bench.step();
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.check()));
            assert!(checked.is_ok(), "seed {seed}, step {step}");
        }
    }
}

#[test]
fn nobody_begins_right_behind_a_gap_that_was_trimmed() {
    let mut log = Log::new();
    log.begin_at(position(7), Some(7), false);
    log.push(gap(7));
    log.trim(0, 0);
    assert_eq!(log.locate(position(7)), Ok(log.start()), "a gap alone stays");
    log.push(event(12, 10));
    log.trim(log.bytes() - 1, 1);
    assert_eq!(log.locate(position(7)), Err(NotInLog::Older));
}

#[test]
fn offsets_are_not_given_twice() {
    let mut log = Log::new();
    log.begin_at(position(5), None, false);
    log.prepend(vec![event(5, 10)], position(4), true);
    assert!(log.extendable());
    log.push(event(6, 10));
    log.trim(log.bytes() - 1, 1);
    assert!(!log.extendable());
    log.begin_at(position(6), None, false);
    assert!(log.extendable());
}

#[test]
fn after_ids_went_back_only_the_new_ones_have_places() {
    let mut log = Log::new();
    log.begin_at(position(100), None, false);
    log.push(event(101, 10));
    log.continue_after(position(4), None, Some(gap(4)));
    let floor = log.end();
    log.push(event(5, 10));
    // Of the life before there may have been another entry: the stream must be asked.
    assert_eq!(log.locate(position(4)), Err(NotInLog::Absent(floor)));
    assert_eq!(log.locate(position(5)), Ok(log.end()));
    assert_eq!(log.locate(position(101)), Err(NotInLog::Ahead));
    assert_eq!(log.locate(position(3)), Err(NotInLog::Older));
    assert_eq!((log.events(), log.standing_at(log.start()).position.ms), (1, 100));
}

#[test]
fn what_was_trimmed_is_not_counted_to() {
    let mut log = Log::new();
    log.begin_at(position(5), Some(5), false);
    let before = log.end();
    for n in 6..=8 {
        let frame = Arc::into_inner(event(n, 10)).expect("nobody else has it");
        log.push(Arc::new(frame.ranked(std::num::NonZeroU64::new(n))));
    }
    assert_eq!(log.counted_to(before), Some(5));
    log.trim(0, 1);
    assert_eq!(log.counted_to(before), None, "another frame stands first");
    assert_eq!(log.counted_to(log.start()), Some(7));
}

#[test]
fn who_was_here_before_a_reset_is_of_the_life_before_unless_that_comes_back() {
    let mut log = Log::new();
    log.begin_at(position(5), Some(5), false);
    log.prepend(vec![event(5, 10)], position(4), true);
    assert_eq!(log.renewed_since(log.start()), Renewed::No, "it reaches back");
    let (begun, before) = (log.begun(), log.end());
    log.continue_after(position(5), Some(6), Some(gap(5)));
    assert_eq!(log.renewed_since(before), Renewed::No, "some of it was lost");
    log.continue_after(position(3), Some(3), Some(gap(3)));
    log.begin_life();
    assert_eq!((log.renewed_since(before), log.renewed_since(log.end())), (Renewed::Perhaps, Renewed::No));
    log.continue_after(Position::ZERO, Some(0), Some(gap(0)));
    log.begin_life();
    assert_eq!((log.renewed_since(before), log.renewed_since(log.end())), (Renewed::Yes, Renewed::No));
    log.return_to(position(5), Some(6), begun);
    assert_eq!(log.renewed_since(before), Renewed::No);
    log.begin_at(position(7), None, false);
    assert_eq!(log.renewed_since(before), Renewed::Yes, "nobody knows");
}
