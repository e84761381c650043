//! Events: what a stream entry means. Pure; the wire format is [`crate::frame`]'s.

pub mod fields;

use crate::entry::Entry;
use crate::hash::HashMap;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::io;

/// The longest `event:` value that is delivered, in bytes; a longer type is cut.
pub const MAX_TYPE_LENGTH: usize = 256;

/// The longest reconnect delay that is delivered, in milliseconds; a longer one is cut. It counts for the whole
/// connection, so without a limit one channel's producer could keep clients from ever coming back to the others.
pub const MAX_RETRY_MS: u64 = 86_400_000;
/// The shortest one; a shorter one is raised. With less, browsers that lose a node ask for it hundreds of times a second.
pub const MIN_RETRY_MS: u64 = 500;

/// Fields that say something about an event, beside its `data`.
const TRAITS: [&[u8]; 4] = [b"event", b"retry", b"final", b"traceparent"];

/// What the names of control events begin with.
pub const CONTROL_PREFIX: &str = "fantail.";
/// What is put before a type that begins so: no producer can tell subscribers of a gap.
const DEFUSED: &[u8] = b"_";

/// What an entry's fields say, still as the producer wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The SSE event type; `None` is EventSource's `message`.
    pub kind: Option<Bytes>,
    /// Whether the type was one of the cluster's own and was renamed: `_fantail.gap` for `fantail.gap`.
    pub renamed: bool,
    /// Whether the data is an object of the entry's fields.
    pub object: bool,
    /// Whether something of it was not UTF-8 and is delivered with U+FFFD in its place.
    pub garbled: bool,
    pub data: Bytes,
    /// Reconnect delay in milliseconds.
    pub retry: Option<u64>,
    /// The last event of its channel: the stream ends after it.
    pub last: bool,
    /// Fields for conditions to look at, as [`fields`] keeps them.
    pub fields: Vec<u8>,
}

impl Event {
    /// Reads the fields `data`, `event`, `retry` and `final`; of a repeated field the first counts.
    ///
    /// An entry without `data` becomes a JSON object of its fields, `event`, `retry` and `final` included, so nothing of an
    /// existing stream is hidden. Their order is the producer's; values of a name that repeats become an array. There
    /// `retry` and `final` may mean anything else, so they count only where nothing but such fields is.
    pub fn from_entry(entry: &Entry) -> Event {
        let fields = &entry.fields;
        let kind = given_type(fields);
        let data = first(fields, b"data");
        let is_text = |text: &Bytes| std::str::from_utf8(text).is_ok();
        let whole = match data {
            Some(data) => is_text(data) && kind.is_none_or(is_text),
            None => fields.iter().all(|(name, value)| is_text(name) && is_text(value)),
        };
        let retry = first(fields, b"retry").filter(|_| steers(fields));
        Event {
            kind: Event::type_of(entry),
            renamed: kind.is_some_and(is_of_the_cluster),
            object: data.is_none(),
            garbled: !whole,
            data: data.cloned().unwrap_or_else(|| fields_as_json(fields)),
            retry: retry.and_then(|v| milliseconds(v)),
            last: closes(fields),
            fields: kept(fields),
        }
    }

    /// The type of an entry's event alone; `None` is EventSource's `message`.
    pub fn type_of(entry: &Entry) -> Option<Bytes> {
        let kind = given_type(&entry.fields)?;
        let own = if is_of_the_cluster(kind) { [DEFUSED, kind].concat().into() } else { kind.clone() };
        Some(own.slice(..cut(&own, MAX_TYPE_LENGTH)))
    }

    /// Reads an entry, but of one without `data` the value of a field is that, where it has the field.
    pub fn with_data_of(entry: &Entry, field: &str) -> Event {
        let event = Event::from_entry(entry);
        match first(&entry.fields, field.as_bytes()) {
            Some(value) if event.object => Event { data: value.clone(), ..event },
            _ => event,
        }
    }
}

/// Fields for conditions to look at; nothing is allocated where there are none.
fn kept(all: &[(Bytes, Bytes)]) -> Vec<u8> {
    let mut length = 0;
    fields::encode(all, |part| length += part.len());
    let mut kept = Vec::with_capacity(length);
    fields::encode(all, |part| kept.extend_from_slice(part));
    kept
}

/// Whether an entry with these fields is the last of its channel.
pub fn closes(fields: &[(Bytes, Bytes)]) -> bool {
    first(fields, b"final").is_some_and(|v| is_true(v)) && steers(fields)
}

/// Whether `retry` and `final` mean what they mean to the cluster: beside `data`, or among nothing but such fields.
fn steers(fields: &[(Bytes, Bytes)]) -> bool {
    first(fields, b"data").is_some() || fields.iter().all(|(name, _)| is_trait(name))
}

fn is_trait(name: &[u8]) -> bool {
    TRAITS.contains(&name)
}

/// The type as the producer wrote it, if it is one.
fn given_type(fields: &[(Bytes, Bytes)]) -> Option<&Bytes> {
    first(fields, b"event").filter(|kind| !kind.is_empty())
}

fn is_of_the_cluster(kind: &Bytes) -> bool {
    kind.starts_with(CONTROL_PREFIX.as_bytes())
}

fn first<'a>(fields: &'a [(Bytes, Bytes)], name: &[u8]) -> Option<&'a Bytes> {
    fields.iter().find(|(n, _)| n.as_ref() == name).map(|(_, value)| value)
}

/// Where to cut a text: at `most` bytes, or a little before so that no character is torn.
fn cut(text: &[u8], most: usize) -> usize {
    let is_start = |i: &usize| text.get(*i).is_none_or(|b| b & 0xc0 != 0x80);
    if text.len() <= most { text.len() } else { (most - 3..=most).rev().find(is_start).unwrap_or(most) }
}

/// Digits only, as the event-stream format has it.
fn milliseconds(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let ms = std::str::from_utf8(value).ok()?.parse().unwrap_or(u64::MAX);
    Some(ms.clamp(MIN_RETRY_MS, MAX_RETRY_MS))
}

/// `1` or `true`, as producers write it.
pub fn is_true(value: &[u8]) -> bool {
    value == b"1" || value == b"true"
}

/// A JSON object of an entry's fields, in the order in which names come first. Its length is counted before it is written,
/// so that a large entry takes its own room once.
fn fields_as_json(fields: &[(Bytes, Bytes)]) -> Bytes {
    let object = Object::of(fields);
    let mut length = Length(0);
    let written = serde_json::to_writer(&mut length, &object);
    let mut json = Vec::with_capacity(length.0);
    let written = written.and_then(|()| serde_json::to_writer(&mut json, &object));
    written.expect("texts are written to memory");
    json.into()
}

/// An entry's fields by name.
struct Object<'a>(Vec<(Cow<'a, str>, Values<'a>)>);

#[derive(Serialize)]
#[serde(untagged)]
enum Values<'a> {
    One(Cow<'a, str>),
    Several(Vec<Cow<'a, str>>),
}

impl Object<'_> {
    fn of(fields: &[(Bytes, Bytes)]) -> Object<'_> {
        let mut places: HashMap<Cow<'_, str>, usize> =
            HashMap::with_capacity_and_hasher(fields.len(), Default::default());
        let mut members: Vec<(Cow<'_, str>, Values<'_>)> = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
            match places.get(&name) {
                Some(place) => members[*place].1.push(value),
                None => {
                    places.insert(name.clone(), members.len());
                    members.push((name, Values::One(value)));
                }
            }
        }
        Object(members)
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, values)| (name, values)))
    }
}

impl<'a> Values<'a> {
    fn push(&mut self, value: Cow<'a, str>) {
        match self {
            Values::One(first) => *self = Values::Several(vec![std::mem::take(first), value]),
            Values::Several(values) => values.push(value),
        }
    }
}

/// Counts the bytes that are written to it.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;

    fn event(fields: &[(&'static str, &'static str)]) -> Event {
        let fields = fields.iter().map(|(n, v)| (Bytes::from(*n), Bytes::from(*v))).collect();
        Event::from_entry(&Entry { position: Position::ZERO, fields })
    }

    #[test]
    fn named_fields() {
        let e = event(&[("event", "created"), ("data", "x"), ("retry", "750"), ("final", "1"), ("data", "y")]);
        assert_eq!(
            (e.kind.as_deref(), e.data.as_ref(), e.retry, e.last),
            (Some(&b"created"[..]), &b"x"[..], Some(750), true)
        );
        let e = event(&[("data", ""), ("event", ""), ("retry", "-1"), ("final", "0")]);
        assert_eq!((e.kind, e.data.as_ref(), e.retry, e.last), (None, &b""[..], None, false));
    }

    #[test]
    fn limits() {
        let retry = |value| event(&[("data", ""), ("retry", value)]).retry;
        assert_eq!(
            [retry("0"), retry("499"), retry("501"), retry("86400001"), retry(&"9".repeat(30).leak()[..])],
            [500, 500, 501, MAX_RETRY_MS, MAX_RETRY_MS].map(Some)
        );
        assert_eq!([retry(""), retry("+5"), retry("5 "), retry("1e3")], [None; 4]);
        let kind = |value: String| event(&[("data", ""), ("event", value.leak())]).kind.unwrap().len();
        assert_eq!([kind("x".repeat(300)), kind("€".repeat(100)), kind("x".repeat(256))], [256, 255, 256]);
    }

    #[test]
    fn types_of_the_cluster_are_renamed() {
        for (given, delivered, renamed) in [
            ("fantail.gap", "_fantail.gap", true),
            ("fantail.", "_fantail.", true),
            ("fantail", "fantail", false),
            ("Fantail.gap", "Fantail.gap", false),
            ("_fantail.gap", "_fantail.gap", false),
            (" fantail.gap", " fantail.gap", false),
        ] {
            let e = event(&[("event", given), ("data", "{}")]);
            assert_eq!((e.kind.as_deref(), e.renamed), (Some(delivered.as_bytes()), renamed));
        }
        let long =
            event(&[("event", Box::leak(format!("fantail.{}", "x".repeat(300)).into_boxed_str())), ("data", "")]);
        assert_eq!(long.kind.unwrap().len(), MAX_TYPE_LENGTH);
    }

    #[test]
    fn an_entry_without_data_is_an_object_of_its_fields() {
        assert_eq!(event(&[("b", "1"), ("a", "\"")]).data, r#"{"b":"1","a":"\""}"#);
        assert_eq!(event(&[]).data, "{}");
        let repeated = [("tag", "a"), ("n", "1"), ("tag", "b"), ("event", "e"), ("tag", "a")];
        let e = event(&repeated);
        assert_eq!(e.data, r#"{"tag":["a","b","a"],"n":"1","event":"e"}"#);
        assert_eq!(e.kind.as_deref(), Some(&b"e"[..]));
    }

    #[test]
    fn delay_and_end_count_beside_data_or_among_nothing_but_such_fields() {
        let said = |fields: &[(&'static str, &'static str)]| {
            let e = event(fields);
            (e.retry, e.last)
        };
        for fields in [
            &[("retry", "900"), ("final", "1")][..],
            &[("event", "e"), ("final", "true"), ("traceparent", "x"), ("retry", "900")],
            &[("attempt", "3"), ("retry", "900"), ("data", ""), ("final", "1")],
        ] {
            assert_eq!(said(fields), (Some(900), true), "{fields:?}");
        }
        for fields in [&[("retry", "900"), ("final", "1"), ("attempt", "3")][..], &[("final", "1"), ("Data", "x")]] {
            assert_eq!(said(fields), (None, false), "{fields:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_told() {
        let garbled = |fields: &[(&'static [u8], &'static [u8])]| {
            let fields = fields.iter().map(|(n, v)| (Bytes::from_static(n), Bytes::from_static(v))).collect();
            Event::from_entry(&Entry { position: Position::ZERO, fields }).garbled
        };
        for fields in [&[(&b"data"[..], &b"\xff"[..])][..], &[(b"event", b"\xff"), (b"data", b"x")], &[(b"\xe2", b"x")]]
        {
            assert!(garbled(fields), "{fields:?}");
        }
        for fields in [&[(&b"data"[..], "€\0".as_bytes())][..], &[(b"data", b"x"), (b"not delivered", b"\xff")]] {
            assert!(!garbled(fields), "{fields:?}");
        }
    }
}
