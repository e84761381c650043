//! Flow control, to the byte.

use super::*;
use proptest::prelude::*;

const MOST: u32 = (1 << 31) - 1;

fn settings(window: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat())
}

#[test]
fn nothing_is_sent_beyond_a_window_of_one_byte() {
    let mut pair = Pair::new(5);
    pair.say(&settings(1)).expect("a window");
    pair.open(1, true);
    assert_eq!(pair.node.allowance(1, 10), Some(1));
    pair.node.spend(1, 1);
    assert_eq!(pair.node.allowance(1, 9), Some(0));
    assert!(pair.node.ready().is_empty());
    pair.say(&window(1, 1)).expect("room");
    assert_eq!((pair.node.ready(), pair.node.ready()), (vec![1], vec![]), "told once");
    assert_eq!(pair.node.allowance(1, 9), Some(1));
}

#[test]
fn a_window_may_be_as_large_as_it_can_be_and_less_than_nothing() {
    let mut pair = Pair::new(5);
    pair.say(&settings(MOST)).expect("a window");
    pair.say(&window(0, MOST - 65_535)).expect("all that there is");
    pair.open(1, true);
    assert_eq!(pair.node.allowance(1, 1 << 20), Some(16_384), "a frame has its own limit");
    pair.node.spend(1, 16_384);
    assert_eq!(pair.node.window(), (MOST - 16_384) as i32);
    pair.say(&settings(0)).expect("a window");
    assert_eq!(pair.node.allowance(1, 1), Some(0), "16,384 below zero");
    pair.say(&window(1, 16_384)).expect("room");
    assert_eq!(pair.node.allowance(1, 1), Some(0));
    pair.say(&window(1, 1)).expect("room");
    assert_eq!(pair.node.allowance(1, 2), Some(1));
    pair.is_refused(&window(1, MOST), 1, ErrorCode::FlowControl);
    pair.open(3, true);
    pair.say(&window(3, MOST)).expect("as large as it can be");
    pair.is_fatal(&settings(1), ErrorCode::FlowControl);
}

#[test]
fn streams_share_the_window_of_their_connection_by_turns() {
    let mut pair = Pair::new(5);
    for stream in [1, 3, 5] {
        pair.open(stream, true);
    }
    for _ in 0..4 {
        assert_eq!(pair.node.allowance(1, 16_383), Some(16_383));
        pair.node.spend(1, 16_383);
    }
    assert_eq!(pair.node.allowance(1, 10), Some(3));
    pair.node.spend(1, 3);
    for stream in [1, 3, 5] {
        assert_eq!(pair.node.allowance(stream, 10), Some(0));
    }
    pair.say(&window(1, 100)).expect("room");
    assert!(pair.node.ready().is_empty(), "the connection has none");
    pair.say(&window(0, 100)).expect("room");
    let first = pair.node.ready();
    for stream in [1, 3, 5] {
        pair.node.wait(stream);
    }
    let second = pair.node.ready();
    assert_eq!((first.len(), second.len()), (3, 3));
    assert_ne!(first[0], second[0], "not always the same is first");
}

#[test]
fn bodies_have_room_as_they_are_taken() {
    let mut pair = Pair::new(5);
    pair.open(1, false);
    for _ in 0..4 {
        pair.say(&frame(DATA, 0, 1, &[0; 16_383])).expect("within the window");
    }
    pair.is_refused(&frame(DATA, 0, 1, &[0; 4]), 1, ErrorCode::FlowControl);
    // What was not taken has no room; of what was, the client is told when it is much.
    pair.open(3, false);
    pair.say(&frame(DATA, 0, 3, &[0; 16_000])).expect("within the window");
    pair.node.taken(3, 16_000);
    assert!(pair.heard().is_empty());
    pair.say(&frame(DATA, 0, 3, &[0; 16_384])).expect("within the window");
    pair.say(&frame(DATA, 0, 3, &[0; 383])).expect("within the window");
    pair.node.taken(3, 16_767);
    let room = 32_767_u32.to_be_bytes().to_vec();
    assert_eq!(
        pair.heard(),
        [(WINDOW_UPDATE, 0, 3, room.clone()), (WINDOW_UPDATE, 0, 0, 32_771_u32.to_be_bytes().to_vec())]
    );
    // Padding is nobody's: it is given back at once.
    pair.open(5, false);
    for _ in 0..129 {
        pair.say(&frame(DATA, PADDED, 5, &[&[255, 0][..], &[0; 255]].concat())).expect("within the window");
        pair.node.taken(5, 1);
    }
    let told: Vec<_> = pair.heard().into_iter().map(|(kind, _, stream, _)| (kind, stream)).collect();
    assert_eq!(told, [(WINDOW_UPDATE, 5), (WINDOW_UPDATE, 0)]);
}

#[test]
fn a_body_that_is_taken_may_be_larger_than_all_windows() {
    let mut pair = Pair::new(5);
    pair.open(1, false);
    for _ in 0..200 {
        let events = pair.say(&frame(DATA, 0, 1, &[0; 16_384])).expect("as much as was taken");
        assert!(matches!(events[..], [Event::Data { stream: 1, .. }]));
        pair.node.taken(1, 16_384);
    }
}

#[test]
fn what_comes_for_a_stream_that_was_ended_has_its_window_too() {
    let mut pair = Pair::new(1);
    pair.open(1, false);
    pair.say(&frame(DATA, 0, 1, &[0; 16_384])).expect("within the window");
    // One beyond the limit has never been open.
    let refused = pair.request(3, false);
    pair.is_refused(&refused, 3, ErrorCode::RefusedStream);
    assert!(pair.node.reset(1, ErrorCode::NoError).is_some());
    for (stream, pieces) in [(1, 2), (3, 3)] {
        for _ in 0..pieces {
            pair.say(&frame(DATA, 0, stream, &[0; 16_384])).expect("on its way");
        }
        pair.say(&frame(DATA, 0, stream, &[0; 16_383])).expect("the last of its window");
    }
    pair.is_fatal(&frame(DATA, 0, 1, &[0]), ErrorCode::FlowControl);
}

#[test]
fn all_bodies_together_have_a_window() {
    let mut pair = Pair::new(100);
    let (mut sent, mut stream) = (0, 1);
    loop {
        pair.open(stream, false);
        for _ in 0..3 {
            sent += 16_384;
            let bytes = frame(DATA, 0, stream, &[0; 16_384]);
            if sent > 1 << 20 {
                return pair.is_fatal(&bytes, ErrorCode::FlowControl);
            }
            pair.say(&bytes).expect("within the window");
        }
        stream += 2;
    }
}

proptest! {
    /// Whatever room is given when, never more is sent than that, and all of it is used.
    #[test]
    fn windows_are_kept_to_the_byte(steps in prop::collection::vec((0_u8..5, 1_u32..100_000), 1..200)) {
        let mut pair = Pair::new(5);
        pair.open(1, true);
        pair.open(3, true);
        let (mut connection, mut first) = (65_535_i64, 65_535_i64);
        let mut streams = [65_535_i64; 2];
        for (what, size) in steps {
            match what {
                0 => {
                    pair.say(&window(0, size)).expect("room");
                    connection += i64::from(size);
                }
                1 => {
                    pair.say(&settings(size)).expect("a window");
                    streams.iter_mut().for_each(|window| *window += i64::from(size) - first);
                    first = i64::from(size);
                }
                2 => {
                    pair.say(&window(1 + 2 * (size % 2), size)).expect("room");
                    streams[size as usize % 2] += i64::from(size);
                }
                what => {
                    let at = usize::from(what) - 3;
                    let stream = 1 + 2 * at as u32;
                    let n = pair.node.allowance(stream, size as usize).expect("there");
                    let most = connection.min(streams[at]).clamp(0, 16_384).min(i64::from(size));
                    prop_assert_eq!(n as i64, most);
                    pair.node.spend(stream, n);
                    (connection, streams[at]) = (connection - most, streams[at] - most);
                }
            }
        }
    }
}
