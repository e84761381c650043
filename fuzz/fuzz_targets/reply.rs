//! Whatever a Redis replies: decoding does not panic, what it lets through is in order, and every decision and frame
//! made of it is sound.
#![no_main]

#[path = "../../tests/core/support/event_stream.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod event_stream;

use event_stream::Parser;
use fantail::backplane::continuity::{Resume, Witness, judge, rank_before};
use fantail::backplane::redis::address::Host;
use fantail::backplane::redis::decode::{self, Value};
use fantail::backplane::redis::fault;
use fantail::backplane::redis::identity::Identity;
use fantail::backplane::redis::slots::{SLOTS, Topology};
use fantail::backplane::{Entry, StreamState};
use fantail::event::Event;
use fantail::frame::Frame;
use fantail::position::Position;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;

/// Deeper than any reply that is looked into.
const DEPTH: usize = 6;
/// What replies are made of, so that the shapes of real ones are found soon.
const WORDS: [&str; 22] = [
    "1-1",
    "2-0",
    "2-18446744073709551615",
    "18446744073709551615-0",
    "0-0",
    "data",
    "event",
    "final",
    "retry",
    "1",
    "length",
    "last-generated-id",
    "entries-added",
    "max-deleted-entry-id",
    "first-entry",
    "last-entry",
    "slave",
    "master",
    "127.0.0.1",
    "fantail.gap",
    "",
    "sse:a",
];

fn text(u: &mut Unstructured) -> Result<Value> {
    Ok(match u.int_in_range(0..=3)? {
        0 => Value::Bytes(u.arbitrary::<Vec<u8>>()?.into()),
        1 => Value::String(u.arbitrary::<String>()?.into()),
        _ => Value::String((*u.choose(&WORDS)?).into()),
    })
}

/// Any tree.
fn value(u: &mut Unstructured, depth: usize) -> Result<Value> {
    let kinds = if depth == 0 { 6 } else { 12 };
    let some = |u: &mut Unstructured| u.int_in_range(0..=5);
    Ok(match u.int_in_range(0..=kinds)? {
        0 => Value::Null,
        1 => Value::Integer(u.arbitrary()?),
        2 => Value::Double(u.arbitrary()?),
        3 => Value::Boolean(u.arbitrary()?),
        4..=6 => text(u)?,
        7 => {
            let count = some(u)?;
            let mut map = HashMap::new();
            for _ in 0..count {
                map.insert((*u.choose(&WORDS)?).to_owned(), value(u, depth - 1)?);
            }
            Value::Map(map.try_into().expect("keys of text"))
        }
        // An entry, which chance would not make.
        8 | 9 => {
            let fields = (0..2 * some(u)?).map(|_| text(u)).collect::<Result<_>>()?;
            Value::Array(vec![text(u)?, Value::Array(fields)])
        }
        _ => {
            let count = some(u)?;
            Value::Array((0..count).map(|_| value(u, depth - 1)).collect::<Result<_>>()?)
        }
    })
}

/// An entry becomes one message that a browser understands, and never one of the cluster's own.
fn deliver(entry: &Entry) {
    let event = Event::from_entry(entry);
    let mut parser = Parser::new();
    let messages = parser.feed(Frame::new(entry.position, event).block());
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].id, entry.position.to_string());
    assert!(!messages[0].event.starts_with("fantail."));
}

fn decide(state: &StreamState, at: Position, rank: Option<u64>) {
    for witness in [Witness::Present, Witness::Absent, Witness::Replaced] {
        for behind in [None, Some(0), Some(state.length)] {
            let _ = judge(Resume { at, rank, entry: true, witness, behind, known: at }, Some(state));
        }
    }
    let _ = rank_before(Some(at), Some(state));
    let _ = rank_before(state.first, Some(state));
}

fn run(u: &mut Unstructured) -> Result<()> {
    let reply = value(u, DEPTH)?;
    for entries in decode::streams(reply.clone()).into_iter().flatten().filter_map(|(_, entries)| entries.ok()) {
        assert!(entries.windows(2).all(|pair| pair[0].position < pair[1].position));
        entries.iter().for_each(deliver);
    }
    if let Ok(entries) = decode::entries("XRANGE", reply.clone()) {
        entries.iter().for_each(deliver);
    }
    if let Ok(state) = decode::state(reply.clone()) {
        decide(&state, Position::new(u.arbitrary()?, u.arbitrary()?), u.arbitrary()?);
        decide(&state, state.last, u.arbitrary()?);
    }
    let _ = (decode::appended(reply.clone()), decode::time(&reply));
    let asked = Host { name: "h".into(), port: 1 };
    if let Some(topology) = Topology::read(&reply, &asked) {
        assert!(topology.owners().values().sum::<usize>() <= SLOTS);
    }
    let mut identity = Identity::default();
    identity.take_role(&reply);
    let words = u.arbitrary::<&str>()?;
    identity.take_info(words);
    let error = fault::reply(words.to_owned());
    let _ = error.refusal().and_then(|refusal| fault::redirect(refusal, &asked));
    let _ = fault::explain(error);
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let _ = run(&mut Unstructured::new(data));
});
