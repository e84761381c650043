//! Forms of a frame that few ask for, each encoded when the first subscriber needs it, once for all who ask for the same. Pure.

use super::{Frame, Kind, Part, data_lines};
use crate::channel::Channel;
use crate::event::CONTROL_PREFIX;
use crate::position::Position;
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// Forms that one frame keeps. Who asks for another one has it encoded for itself: names of fields are the clients' own.
const KEPT: usize = 8;

/// How an event, or a gap, looks to who did not want it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// A gap is a comment.
    pub comment: bool,
    /// The data is `{"channel","id","event","data"}`.
    pub envelope: bool,
    /// The type is the channel's name.
    pub typed: bool,
    /// Of data that is an object of fields, one of them, by its hashed name.
    pub field: Option<Kind>,
}

impl Shape {
    /// Of a gap that is no event.
    pub const COMMENT: Shape = Shape { comment: true, envelope: false, typed: false, field: None };
}

/// What a frame does not know of what it is sent as.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    pub channel: &'a Channel,
    /// The field whose value is the data.
    pub field: Option<&'a str>,
}

/// What an event says, read back from its own encoding, so that a frame need not keep the event's fields beside its bytes.
pub(super) struct Said<'a> {
    /// Its type, where it has one of its own.
    kind: Option<&'a str>,
    /// The whole `retry:` line, or nothing.
    pub retry: &'a str,
    pub data: String,
}

impl<'a> Said<'a> {
    pub fn read(rest: &'a [u8]) -> Said<'a> {
        let rest = std::str::from_utf8(rest).expect("encoded from text");
        let (mut kind, mut retry, mut data) = (None, "", Vec::new());
        for line in rest.split_inclusive('\n') {
            match line.trim_end_matches('\n').split_once(": ") {
                Some(("data", value)) => data.push(value),
                Some(("event", value)) => kind = Some(value),
                Some(("retry", _)) => retry = line,
                _ => {}
            }
        }
        Said { kind, retry, data: data.join("\n") }
    }

    /// The data of `envelope=1`.
    pub fn envelope(&self, channel: &Channel, position: Position, data: &str) -> Value {
        json!({
            "channel": channel.as_str(),
            "id": position.to_string(),
            "event": self.kind.unwrap_or("message"),
            "data": data,
        })
    }
}

/// The forms of a frame that were asked for so far.
#[derive(Debug, Default)]
pub(super) struct Shapes(OnceLock<Box<Shaped>>);

#[derive(Debug)]
struct Shaped {
    part: Part,
    bytes: Box<[u8]>,
    next: Shapes,
}

impl Shapes {
    /// What was made before.
    pub fn made(&self, part: Part) -> Option<&[u8]> {
        let mut here = self;
        while let Some(shaped) = here.0.get() {
            if shaped.part == part {
                return Some(&shaped.bytes);
            }
            here = &shaped.next;
        }
        None
    }

    /// What was made before, or is made now; `None` where there are too many. `make` must not ask for another one here.
    pub fn made_or(&self, part: Part, make: impl FnOnce() -> Box<[u8]>) -> Option<&[u8]> {
        let mut here = self;
        let mut make = Some(make);
        for _ in 0..KEPT {
            let shaped = here.0.get_or_init(|| {
                let bytes = make.take().map(|make| make()).unwrap_or_default();
                Box::new(Shaped { part, bytes, next: Shapes::default() })
            });
            if shaped.part == part {
                return Some(&shaped.bytes);
            }
            here = &shaped.next;
        }
        None
    }
}

impl Frame {
    /// The frame in another form, without its id line and the end of its chunk.
    pub fn shaped(&self, shape: Shape, names: Names<'_>) -> Vec<u8> {
        if shape.comment || !self.is_event() {
            return if shape.comment { self.comment() } else { self.rest().to_vec() };
        }
        let said = Said::read(self.rest());
        let field = names.field.filter(|_| shape.field.is_some() && self.is_object());
        let own = field.and_then(|name| value_of(&said.data, name));
        let data = own.as_deref().unwrap_or(&said.data);
        let channel_type = shape.typed.then(|| type_of(names.channel));
        let kind = channel_type.as_deref().or(said.kind.filter(|_| !shape.envelope));
        let mut out = Vec::with_capacity(data.len() + 100);
        if let Some(kind) = kind {
            out.extend_from_slice(format!("event: {kind}\n").as_bytes());
        }
        out.extend_from_slice(said.retry.as_bytes());
        out.extend_from_slice(b"data: ");
        match shape.envelope {
            true => out.extend_from_slice(said.envelope(names.channel, self.position, data).to_string().as_bytes()),
            false => data_lines(data.as_bytes(), |part| out.extend_from_slice(part)),
        }
        out.extend_from_slice(b"\n\n");
        out
    }

    /// A gap as a comment of one line; anything else as it is.
    fn comment(&self) -> Vec<u8> {
        let rest = self.rest();
        let said = std::str::from_utf8(rest).ok().filter(|_| !self.is_event());
        match said.and_then(|said| said.trim_end().strip_prefix("event: ")?.split_once("\ndata: ")) {
            Some((name, data)) => format!(": {name} {data}\n").into_bytes(),
            None => rest.to_vec(),
        }
    }
}

/// The type that a channel's name is; none that looks like the cluster's own.
fn type_of(channel: &Channel) -> String {
    let name = channel.as_str();
    if name.starts_with(CONTROL_PREFIX) { format!("_{name}") } else { name.to_owned() }
}

/// The value of a field in an object of an entry's fields; of several the first.
fn value_of(object: &str, field: &str) -> Option<String> {
    let mut fields: Map<String, Value> = serde_json::from_str(object).ok()?;
    match fields.remove(field)? {
        Value::String(value) => Some(value),
        Value::Array(values) => values.into_iter().next()?.as_str().map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Entry;
    use crate::event::Event;

    fn frame(fields: &[(&'static str, &'static str)]) -> Frame {
        let fields = fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let entry = Entry { position: Position::new(5, 1), fields };
        Frame::new(entry.position, Event::from_entry(&entry))
    }

    fn text(frame: &Frame, shape: Shape, channel: &str, field: Option<&str>) -> String {
        let channel = Channel::new(channel).expect("a name");
        let shape = Shape { field: field.map(|name| Kind::of(name.as_bytes())), ..shape };
        String::from_utf8(frame.shaped(shape, Names { channel: &channel, field })).expect("text")
    }

    #[test]
    fn a_type_is_the_channels_name_and_an_envelope_keeps_the_producers() {
        let (plain, typed) = (Shape::default(), Shape { typed: true, ..Shape::default() });
        let wrapped = Shape { envelope: true, ..typed };
        let event = frame(&[("event", "created"), ("retry", "700"), ("data", "a\nb")]);
        assert_eq!(text(&event, typed, "orders", None), "event: orders\nretry: 700\ndata: a\ndata: b\n\n");
        assert_eq!(text(&event, typed, "fantail.gap", None).lines().next(), Some("event: _fantail.gap"));
        let json = r#"{"channel":"orders","data":"a\nb","event":"created","id":"5-1"}"#;
        assert_eq!(text(&event, wrapped, "orders", None), format!("event: orders\nretry: 700\ndata: {json}\n\n"));
        assert_eq!(text(&event, plain, "orders", None).as_bytes(), event.rest());
        assert_eq!(text(&frame(&[("data", "")]), typed, "a", None), "event: a\ndata: \n\n");
    }

    #[test]
    fn data_of_an_entry_without_it_is_one_of_its_fields() {
        let entry = frame(&[("event", "e"), ("text", "x\r\ny\"\u{1}"), ("tag", "1"), ("tag", "2")]);
        let raw = |name| text(&entry, Shape::default(), "a", Some(name));
        assert_eq!(raw("text"), "event: e\ndata: x\ndata: y\"\u{1}\n\n");
        assert_eq!((raw("tag"), raw("event")), ("event: e\ndata: 1\n\n".into(), "event: e\ndata: e\n\n".into()));
        assert_eq!(raw("none").as_bytes(), entry.rest(), "nothing is hidden");
        let data = frame(&[("data", r#"{"text":"x"}"#), ("text", "y")]);
        assert_eq!(text(&data, Shape::default(), "a", Some("text")).as_bytes(), data.rest(), "it has data");
        let wrapped = Shape { envelope: true, ..Shape::default() };
        let json = r#"{"channel":"a","data":"1","event":"e","id":"5-1"}"#;
        assert_eq!(text(&entry, wrapped, "a", Some("tag")), format!("data: {json}\n\n"));
    }

    #[test]
    fn forms_are_made_once_and_only_so_many() {
        let (frame, channel) = (frame(&[("a", "1")]), Channel::new("a").expect("a name"));
        let part = |n: usize| {
            let name = format!("f{n}");
            let part = Part::Shaped(Shape { field: Some(Kind::of(name.as_bytes())), ..Shape::default() });
            frame.part(part, Names { channel: &channel, field: Some(&name) }).map(<[u8]>::as_ptr)
        };
        let first: Vec<_> = (0..10).map(part).collect();
        assert!(first[..KEPT].iter().all(Option::is_some) && first[KEPT..].iter().all(Option::is_none), "{first:?}");
        assert_eq!((0..10).map(part).collect::<Vec<_>>(), first);
        let packed = Part::PackedShaped(Shape { typed: true, ..Shape::default() });
        assert_eq!(
            frame.part(packed, Names { channel: &channel, field: None }),
            None,
            "nor what would be packed of them"
        );
    }

    #[test]
    fn a_gap_is_a_comment_of_one_line() {
        let gap = Frame::control(Position::ZERO, b"event: fantail.gap\ndata: {\"channel\":\"a\"}\n\n");
        assert_eq!(text(&gap, Shape::COMMENT, "a", None), ": fantail.gap {\"channel\":\"a\"}\n");
        assert_eq!(text(&Frame::control(Position::ZERO, b":\n"), Shape::COMMENT, "a", None), ":\n");
    }
}
