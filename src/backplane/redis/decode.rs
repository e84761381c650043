//! Replies: from fred's values to entries, stream states and positions. Pure, and never panics.
//!
//! The same reply has several shapes: RESP3 maps or RESP2 arrays, nil or nothing for "no data". What has none of
//! them, or has entries out of order, is an error for the caller to judge. Fuzzed.

use crate::backplane::{Entry, StreamState};
use crate::channel::Channel;
use crate::event::closes;
use crate::position::Position;
use bytes::Bytes;
pub use fred::types::Value;

/// The reply has a shape that the command never replies with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unexpected reply to {command}: {what}")]
pub struct Unexpected {
    /// The command that was replied to.
    pub command: &'static str,
    /// What is wrong with the reply.
    pub what: &'static str,
}

type Decoded<T> = Result<T, Unexpected>;

fn unexpected<T>(command: &'static str, what: &'static str) -> Decoded<T> {
    Err(Unexpected { command, what })
}

/// A stream's key, and its entries or what is wrong with them.
pub type Stream = (Bytes, Decoded<Vec<Entry>>);

/// A reply to `XREAD`: its streams in their order.
///
/// nil where there is nothing new; RESP3 a map, which the readers' connections bring as a list of its names and values; RESP2 (and
/// some servers in RESP3 too) an array of pairs.
pub fn streams(reply: Value) -> Decoded<Vec<Stream>> {
    match reply {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) if matches!(list.first(), Some(Value::Array(_))) => list.into_iter().map(stream).collect(),
        map => Ok(pairs("XREAD", map)?.into_iter().map(|(key, entries)| (key, after(entries))).collect()),
    }
}

fn stream(pair: Value) -> Decoded<Stream> {
    let Value::Array(pair) = pair else { return unexpected("XREAD", "a stream that is no pair") };
    let Ok([key, entries]) = <[Value; 2]>::try_from(pair) else {
        return unexpected("XREAD", "a stream that is no pair");
    };
    match text(key) {
        Some(key) => Ok((key, after(entries))),
        None => unexpected("XREAD", "a key that is no string"),
    }
}

/// A stream's entries in an `XREAD`: oldest first.
fn after(reply: Value) -> Decoded<Vec<Entry>> {
    let entries = entries("XREAD", reply)?;
    match is_ascending(&entries) {
        true => Ok(entries),
        false => unexpected("XREAD", "entries out of order"),
    }
}

/// Whether each entry is newer than the one before it: nothing else may get into a log.
pub fn is_ascending(entries: &[Entry]) -> bool {
    entries.is_sorted_by(|a, b| a.position < b.position)
}

/// A list of entries, in the reply's order, which the caller checks.
pub fn entries(command: &'static str, reply: Value) -> Decoded<Vec<Entry>> {
    match reply {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => list.into_iter().map(|value| entry(command, value)).collect(),
        _ => unexpected(command, "entries that are no array"),
    }
}

fn entry(command: &'static str, value: Value) -> Decoded<Entry> {
    let Value::Array(pair) = value else { return unexpected(command, "an entry that is no array") };
    let Ok([id, list]) = <[Value; 2]>::try_from(pair) else { return unexpected(command, "an entry that is no pair") };
    let Some(position) = position(&id) else { return unexpected(command, "an entry without a stream id") };
    let list = match list {
        Value::Array(list) => list,
        // In their place: they were too large to be read.
        Value::Integer(_) => Vec::new(),
        _ => return unexpected(command, "an entry whose fields are no array"),
    };
    if list.len() % 2 != 0 {
        return unexpected(command, "an entry with a field without a value");
    }
    let mut fields = Vec::with_capacity(list.len() / 2);
    let mut list = list.into_iter();
    while let (Some(name), Some(value)) = (list.next(), list.next()) {
        match (text(name), text(value)) {
            (Some(name), Some(value)) => fields.push((name, value)),
            _ => return unexpected(command, "a field that is no string"),
        }
    }
    Ok(Entry { position, fields })
}

/// A reply to `XADD`: the id; `None` where there is no stream, and none was to be made.
pub fn appended(reply: Value) -> Decoded<Option<Position>> {
    match position(&reply) {
        Some(position) => Ok(Some(position)),
        None if reply.is_null() => Ok(None),
        None => unexpected("XADD", "no stream id"),
    }
}

/// For how many seconds a stream remembers keys, and how many of a producer, by a reply to `XINFO STREAM`; `None` before
/// Redis 8.6.
pub fn kept_keys(reply: Value) -> Decoded<Option<(u64, u64)>> {
    let (mut seconds, mut most) = (None, None);
    for (name, value) in pairs("XINFO", reply)? {
        match name.as_ref() {
            b"idmp-duration" => seconds = value.as_u64(),
            b"idmp-maxsize" => most = value.as_u64(),
            _ => {}
        }
    }
    Ok(seconds.zip(most))
}

/// A reply to `XINFO STREAM`, read by field name: servers add fields with each version.
pub fn state(reply: Value) -> Decoded<StreamState> {
    let mut state = StreamState::default();
    let (mut length, mut last, mut newest) = (None, None, None);
    for (name, value) in pairs("XINFO", reply)? {
        match name.as_ref() {
            b"length" => length = value.as_u64(),
            b"last-generated-id" => last = position(&value),
            b"entries-added" => state.added = value.as_u64(),
            b"max-deleted-entry-id" => state.max_deleted = position(&value),
            b"first-entry" => state.first = edge(value)?.map(|entry| entry.position),
            b"last-entry" => newest = edge(value)?,
            _ => {}
        }
    }
    let (Some(length), Some(last)) = (length, last) else {
        return unexpected("XINFO", "no length or no last-generated-id");
    };
    (state.length, state.last) = (length, last);
    state.finished = newest.is_some_and(|entry| entry.position == last && closes(&entry.fields));
    Ok(state)
}

/// The configuration that a sentinel knows a primary by (`config-epoch`), by a reply to `SENTINEL MASTER`.
pub fn config_epoch(reply: Value) -> Option<u64> {
    let (_, epoch) =
        pairs("SENTINEL MASTER", reply).ok()?.into_iter().find(|(name, _)| name.as_ref() == b"config-epoch")?;
    str(&epoch)?.parse().ok()
}

/// The first or last entry in an `XINFO`; an empty stream has none.
fn edge(value: Value) -> Decoded<Option<Entry>> {
    match value {
        Value::Null => Ok(None),
        Value::Array(list) if list.is_empty() => Ok(None),
        value => entry("XINFO", value).map(Some),
    }
}

/// A RESP3 map, or the flat array that it is in RESP2.
fn pairs(command: &'static str, reply: Value) -> Decoded<Vec<(Bytes, Value)>> {
    match reply {
        Value::Map(map) => Ok(map.inner().into_iter().map(|(key, value)| (key.into_bytes(), value)).collect()),
        Value::Array(list) if list.len() % 2 == 0 => {
            let mut pairs = Vec::with_capacity(list.len() / 2);
            let mut list = list.into_iter();
            while let (Some(name), Some(value)) = (list.next(), list.next()) {
                match text(name) {
                    Some(name) => pairs.push((name, value)),
                    None => return unexpected(command, "a name that is no string"),
                }
            }
            Ok(pairs)
        }
        _ => unexpected(command, "neither a map nor pairs"),
    }
}

/// The channel whose stream's key ends with these bytes behind the prefix; `None` for a name that no client could ask
/// for.
pub fn channel(name: &[u8]) -> Option<Channel> {
    Channel::new(std::str::from_utf8(name).ok()?).ok()
}

/// A reply to `TIME`: milliseconds since the Unix epoch.
pub fn time(reply: &Value) -> Option<i64> {
    let Value::Array(list) = reply else { return None };
    let [seconds, micros] = list.as_slice() else { return None };
    seconds.as_i64()?.checked_mul(1000)?.checked_add(micros.as_i64()? / 1000)
}

/// The server's time in `INFO server` (`server_time_usec`, where it is told): milliseconds since the Unix epoch.
pub fn info_time(info: &str) -> Option<i64> {
    let micros = info.lines().find_map(|line| line.strip_prefix("server_time_usec:"))?;
    Some(micros.trim_end().parse::<i64>().ok()? / 1000)
}

fn position(value: &Value) -> Option<Position> {
    std::str::from_utf8(value.as_bytes()?).ok()?.parse().ok()
}

/// A string's bytes. Numbers and booleans are not taken for strings: they would be a sign of shifted replies.
fn text(value: Value) -> Option<Bytes> {
    match value {
        Value::String(text) => Some(text.into_inner()),
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// A reply that is a text.
pub fn str(value: &Value) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn s(text: &str) -> Value {
        Value::String(text.into())
    }

    fn a(list: impl IntoIterator<Item = Value>) -> Value {
        Value::Array(list.into_iter().collect())
    }

    fn m(list: Vec<(&str, Value)>) -> Value {
        Value::Map(
            list.into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<std::collections::HashMap<_, _>>()
                .try_into()
                .unwrap(),
        )
    }

    fn one(id: &str, fields: &[&str]) -> Value {
        a([s(id), a(fields.iter().map(|f| s(f)))])
    }

    #[test]
    fn xread_in_every_shape() {
        assert_eq!(streams(Value::Null), Ok(Vec::new()));
        let list = || a([one("1-2", &["a", "x", "a", "y"]), a([s("3-0"), a([s("b"), Value::Bytes("\u{0}z".into())])])]);
        for reply in [m(vec![("k", list())]), a([a([s("k"), list()])]), a([s("k"), list()])] {
            let [(key, Ok(entries))] = <[Stream; 1]>::try_from(streams(reply).unwrap()).unwrap() else { panic!() };
            assert_eq!(key, "k");
            assert_eq!(entries[0].position, Position::new(1, 2));
            assert_eq!(entries[0].fields, [("a".into(), "x".into()), ("a".into(), Bytes::from("y"))]);
            assert_eq!(entries[1].fields, [("b".into(), Bytes::from("\u{0}z"))]);
        }
    }

    #[test]
    fn one_odd_stream_spoils_only_itself() {
        let streams = streams(a([s("good"), a([one("1-1", &[])]), s("bad"), a([one("1+1", &[])])])).unwrap();
        assert_eq!(streams[0].1.as_ref().unwrap().len(), 1);
        assert_eq!(streams[1].1.as_ref().unwrap_err().what, "an entry without a stream id");
    }

    #[test]
    fn entries_out_of_order_are_an_error() {
        for ids in [["2-0", "1-0"], ["1-1", "1-0"], ["1-0", "1-0"]] {
            let list = a(ids.map(|id| one(id, &["data", "x"])));
            let streams = streams(m(vec![("k", list)])).unwrap();
            assert_eq!(streams[0].1.as_ref().unwrap_err().what, "entries out of order");
        }
    }

    #[test]
    fn odd_shapes_are_errors() {
        for reply in [Value::Integer(1), s("OK"), a([s("k")]), a([a([s("k")])]), a([a([Value::Integer(1), a([])])])] {
            assert!(streams(reply.clone()).is_err(), "{reply:?}");
        }
        for reply in [
            s("x"),
            a([s("1-1")]),
            a([a([s("1-1")])]),
            a([a([s("1-1"), Value::Null])]),
            a([one("1-1", &["odd"])]),
            a([a([s("1-1"), a([s("f"), Value::Integer(1)])])]),
            a([a([Value::Integer(1), a([])])]),
        ] {
            assert!(entries("XRANGE", reply.clone()).is_err(), "{reply:?}");
        }
        for reply in [Value::Null, s("1"), Value::Integer(1), a([])] {
            // No stream, where none was to be made.
            assert!(appended(reply.clone()).is_err() || reply.is_null(), "{reply:?}");
        }
        for reply in [Value::Null, s("OK"), a([s("length")]), m(vec![("length", Value::Integer(1))])] {
            assert!(state(reply.clone()).is_err(), "{reply:?}");
        }
        for reply in [Value::Null, a([s("1")]), a([s("x"), s("y")]), a([Value::Integer(i64::MAX), s("1")])] {
            assert_eq!(time(&reply), None, "{reply:?}");
        }
        assert_eq!(info_time("# Server\r\nserver_time_usec:1700000000123456\r\n"), Some(1_700_000_000_123));
        for odd in ["", "server_time_usec:", "server_time_usec:-", "server_time_usec:99999999999999999999"] {
            assert_eq!(info_time(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn xinfo_in_every_shape() {
        let fields = || {
            vec![
                ("length", Value::Integer(2)),
                ("radix-tree-keys", Value::Integer(1)),
                ("last-generated-id", s("5-1")),
                ("max-deleted-entry-id", s("0-0")),
                ("entries-added", Value::Integer(9)),
                ("first-entry", one("4-0", &["data", "x"])),
                ("last-entry", one("5-1", &["final", "1", "final", "0"])),
                ("from-the-future", m(vec![])),
            ]
        };
        let flat = a(fields().into_iter().flat_map(|(name, value)| [s(name), value]));
        for reply in [m(fields()), flat] {
            let expected = StreamState {
                length: 2,
                last: Position::new(5, 1),
                first: Some(Position::new(4, 0)),
                added: Some(9),
                max_deleted: Some(Position::ZERO),
                finished: true,
            };
            assert_eq!(state(reply), Ok(expected));
        }
    }

    #[test]
    fn finished_needs_the_last_id_and_a_true_field() {
        let stream = |last: &str, entry: Value| {
            state(m(vec![("length", Value::Integer(1)), ("last-generated-id", s(last)), ("last-entry", entry)]))
                .unwrap()
        };
        assert!(stream("5-1", one("5-1", &["final", "true"])).finished);
        assert!(!stream("5-1", one("5-1", &["final", "0", "final", "1"])).finished);
        // A field of the producer's own, in an entry that is its own altogether.
        assert!(!stream("5-1", one("5-1", &["round", "2", "final", "1"])).finished);
        assert!(stream("5-1", one("5-1", &["round", "2", "final", "1", "data", ""])).finished);
        // The final entry was not the last: another was added and deleted.
        assert!(!stream("6-0", one("5-1", &["final", "1"])).finished);
        let empty = stream("6-0", Value::Null);
        assert_eq!((empty.finished, empty.first, empty.added), (false, None, None));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Integer),
            any::<bool>().prop_map(Value::Boolean),
            any::<f64>().prop_map(Value::Double),
            "([0-9]{1,3}-[0-9]|length|last-generated-id|last-entry|first-entry|.{0,4})".prop_map(|t| s(&t)),
            any::<Vec<u8>>().prop_map(|b| Value::Bytes(b.into())),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
                prop::collection::hash_map("[a-z-]{1,17}", inner, 0..4)
                    .prop_map(|map| Value::Map(map.try_into().unwrap())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_panics(reply in any_value()) {
            let _ = streams(reply.clone());
            let _ = entries("XRANGE", reply.clone());
            let _ = state(reply.clone());
            let _ = appended(reply.clone());
            let _ = time(&reply);
        }
    }
}
