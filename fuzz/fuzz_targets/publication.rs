//! Any body is refused with a bounded message, or published as entries that become one message each.
#![no_main]

#[path = "../../tests/core/support/event_stream.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod event_stream;

use bytes::Bytes;
use event_stream::Parser;
use fantail::backplane::{Entry, Publication};
use fantail::event::Event;
use fantail::frame::Frame;
use fantail::position::Position;
use fantail::problem::Problem;
use fantail::publication::{Bounds, Limits, parse_batch, parse_single};
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &[u8], &[u8])| {
    let (segment, query, header, body) = input;
    let limits = Limits { max_event_bytes: 500, max_batch_lines: 3, bounds: Bounds::ANY };
    match parse_batch(body, &limits) {
        Ok(batch) => batch.iter().for_each(|(_, publication)| deliver(publication)),
        Err(problem) => refuse(problem),
    }
    let mut headers = HeaderMap::new();
    for name in ["x-event", "x-retry", "x-final", "traceparent", "idempotency-key"] {
        HeaderValue::from_bytes(header).into_iter().for_each(|value| drop(headers.insert(name, value)));
        match parse_single(segment, query, &headers, Bytes::copy_from_slice(body), &limits) {
            Ok(publication) => deliver(&publication),
            Err(problem) => refuse(problem),
        }
        headers.clear();
    }
});

fn deliver(publication: &Publication) {
    assert!(!publication.channel.is_reserved());
    let entry = Entry { position: Position::MAX, fields: publication.fields.clone() };
    let messages = Parser::new().feed(Frame::new(Position::MAX, Event::from_entry(&entry)).block());
    assert_eq!(messages.len(), 1);
    assert!(!messages[0].event.starts_with("fantail."));
}

fn refuse(problem: Problem) {
    assert!(problem.detail.len() < 4_000, "{}", problem.detail.len());
    assert!(problem.into_response().status().is_client_error());
}
