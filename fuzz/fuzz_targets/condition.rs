//! Conditions say the same of an entry as of the frame that is made of it, whatever they and its fields are.
#![no_main]

use bytes::Bytes;
use fantail::backplane::Entry;
use fantail::condition::Conditions;
use fantail::event::Event;
use fantail::frame::Frame;
use fantail::position::Position;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, Vec<(&[u8], &[u8])>)| {
    let (text, given) = input;
    let Ok(conditions) = Conditions::parse(text) else { return };
    let field = |(name, value): (&[u8], &[u8])| (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value));
    let fields: Vec<(Bytes, Bytes)> =
        given.into_iter().filter(|(name, _)| *name != b"event").map(field).chain([field((b"data", b"x"))]).collect();
    let entry = Entry { position: Position::new(1, 0), fields };
    let frame = Frame::new(entry.position, Event::from_entry(&entry));
    let of_entry =
        conditions.hold(|name| if name == "event" { Some(b"message") } else { entry.field(name.as_bytes()) });
    assert_eq!(conditions.hold(|name| frame.field(name)), of_entry);
    let twice = Conditions::and(Some(conditions.clone()), Some(conditions));
    assert!(twice.is_some_and(|twice| twice.hold(|name| frame.field(name)) == of_entry));
});
