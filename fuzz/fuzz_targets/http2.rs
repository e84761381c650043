//! Any bytes of an HTTP/2 client mean the same however they are cut, what is kept of them is bounded, what is sent are whole
//! frames, and never more than the windows allow.
#![no_main]

use fantail::http2::connection::{Connection, Event};
use fantail::http2::frame::{FrameHead, HEAD_BYTES, PREFACE};
use libfuzzer_sys::fuzz_target;

const STREAMS: u32 = 5;

/// What a connection makes of pieces: what happened, and what it sent.
fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, Vec<u8>) {
    let mut connection: Connection<u32> = Connection::new(STREAMS);
    let (mut seen, mut events, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    connection.receive(&[&PREFACE[..], &settings].concat(), 0, &mut events).expect("a client says hello");
    for piece in pieces {
        let ended = connection.receive(piece, 0, &mut events).is_err();
        // Whose a stream is that went in the piece it came in, nobody has said yet.
        seen.extend(events.iter().map(|event| match event {
            Event::Gone { stream, .. } => format!("gone {stream}"),
            event => format!("{event:?}"),
        }));
        for event in events.drain(..) {
            match event {
                Event::Request { stream, request, .. } => {
                    assert!(
                        stream % 2 == 1 && request.uri().path().starts_with(['/', '*'])
                            || request.method() == "CONNECT"
                    );
                    connection.owner(stream).into_iter().for_each(|owner| *owner = stream);
                    asked.push(stream);
                }
                Event::Data { stream, bytes, .. } => connection.taken(stream, bytes.len()),
                Event::Gone { stream, owner } => {
                    assert!([0, stream].contains(&owner) && connection.owner(stream).is_none())
                }
            }
        }
        assert!(connection.streams() <= STREAMS as usize && connection.pending_bytes() <= HEAD_BYTES + (96 << 10));
        if ended {
            break;
        }
    }
    // Whoever is there is answered, as far as there is room.
    for stream in asked {
        if let Some(room) = connection.allowance(stream, 1 << 20) {
            assert!(room <= 16 << 10 && (room == 0 || room as i32 <= connection.window()));
            connection.answer(stream, &[0x88]);
            connection.spend(stream, room);
            assert!(connection.finish(stream).is_some());
        }
    }
    assert_eq!(connection.streams(), 0);
    (seen, connection.out)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let (whole, sent) = run(std::iter::once(bytes));
    let mut rest = &sent[..];
    while let Some(head) = rest.first_chunk() {
        let head = FrameHead::read(head);
        assert_eq!(FrameHead::read(&head.bytes()), head);
        rest = &rest[HEAD_BYTES + head.length..];
    }
    assert!(rest.is_empty(), "whole frames");
    // The requests of one piece are all there before any is worked on, so what is sent may be in another order.
    let (pieces, _) = run(bytes.chunks(usize::from(*cut) + 1));
    assert_eq!(pieces, whole);
});
