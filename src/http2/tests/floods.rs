//! What costs a client little is bounded.

use super::*;

/// How many such frames a connection takes before it ends.
fn taken(mut next: impl FnMut(&mut Pair, u32) -> Vec<u8>) -> u32 {
    let mut pair = Pair::new(100);
    pair.open(1, false);
    for number in 1..100_000 {
        let bytes = next(&mut pair, number);
        match pair.say(&bytes) {
            Ok(_) => assert!(pair.node.streams() <= 100 && pair.node.pending_bytes() <= 100_000),
            Err(code) => {
                assert_eq!(code, ErrorCode::EnhanceYourCalm);
                return number;
            }
        }
        pair.heard();
    }
    panic!("all of them");
}

#[test]
fn cheap_frames_come_to_an_end() {
    for next in [
        frame(PING, 0, 0, &[0; 8]),
        frame(PING, ACK, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 9, 1]),
        frame(DATA, 0, 1, &[]),
        frame(0x99, 0, 0, &[]),
    ] {
        let taken = taken(|_, _| next.clone());
        assert!((900..=1_001).contains(&taken), "{taken}");
    }
    let mut pair = Pair::new(5);
    for second in 0..100 {
        pair.now_ms = second * 1_000;
        for _ in 0..40 {
            pair.say(&frame(PING, 0, 0, &[0; 8])).expect("as many as it may");
        }
    }
}

#[test]
fn a_head_of_many_pieces_comes_to_an_end() {
    let taken = taken(|_, number| match number {
        1 => frame(HEADERS, 0, 3, &[]),
        _ => frame(CONTINUATION, 0, 3, &[]),
    });
    assert!(taken <= 1_001, "{taken}");
}

#[test]
fn resets_before_an_answer_come_to_an_end() {
    let taken = taken(|pair, number| {
        let stream = 1 + 2 * number;
        [pair.request(stream, true), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    });
    assert!((190..=201).contains(&taken), "{taken}");
    // Behind one they are the end of a visit.
    let mut pair = Pair::new(100);
    for stream in (1..2_001).step_by(2) {
        pair.open(stream, true);
        pair.node.answer(stream, &[0x88]);
        pair.say(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])).expect("as many as it likes");
    }
}

#[test]
fn errors_of_streams_come_to_an_end() {
    let taken = taken(|pair, number| {
        let stream = 1 + 2 * number;
        [pair.request(stream, true), window(stream, 0)].concat()
    });
    assert!((120..=129).contains(&taken), "{taken}");
}

#[test]
fn streams_beyond_the_limit_come_to_an_end() {
    let taken = taken(|pair, number| pair.request(1 + 2 * number, true));
    assert!((1_000..=1_200).contains(&taken), "{taken}");
}
