//! Events: what a stream entry means. Pure; the wire format is [`crate::frame`]'s.

use crate::backplane::Entry;
use bytes::Bytes;

/// The longest `event:` value that is delivered, in bytes; a longer type is cut.
pub const MAX_TYPE_LENGTH: usize = 256;

/// The longest reconnect delay that is delivered, in milliseconds; a longer one is cut. It counts for the whole
/// connection, so without a limit one channel's producer could keep clients from ever coming back to the others.
pub const MAX_RETRY_MS: u64 = 86_400_000;

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
    pub data: Bytes,
    /// Reconnect delay in milliseconds.
    pub retry: Option<u64>,
    /// The last event of its channel: the stream ends after it.
    pub last: bool,
}

impl Event {
    /// Reads the fields `data`, `event`, `retry` and `final`; of a repeated field the first counts.
    ///
    /// An entry without `data` becomes a JSON object of its fields (`event`, `retry` and `final` included, so
    /// nothing of an existing stream is hidden); of a repeated name the last counts there, as in JSON.
    pub fn from_entry(entry: &Entry) -> Event {
        let field = |name: &[u8]| entry.fields.iter().find(|(n, _)| n.as_ref() == name).map(|(_, v)| v);
        let kind = field(b"event").filter(|kind| !kind.is_empty());
        let renamed = kind.is_some_and(|kind| kind.starts_with(CONTROL_PREFIX.as_bytes()));
        let own = kind.map(|kind| if renamed { Bytes::from([DEFUSED, kind].concat()) } else { kind.clone() });
        Event {
            kind: own.map(|kind| kind.slice(..cut(&kind, MAX_TYPE_LENGTH))),
            renamed,
            data: field(b"data").cloned().unwrap_or_else(|| fields_as_json(&entry.fields)),
            retry: field(b"retry").and_then(|v| milliseconds(v)),
            last: field(b"final").is_some_and(|v| is_true(v)),
        }
    }
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
    Some(ms.min(MAX_RETRY_MS))
}

/// `1` or `true`, as producers write it.
pub fn is_true(value: &[u8]) -> bool {
    value == b"1" || value == b"true"
}

fn fields_as_json(fields: &[(Bytes, Bytes)]) -> Bytes {
    let text = |b: &Bytes| serde_json::Value::from(String::from_utf8_lossy(b));
    let object: serde_json::Map<_, _> =
        fields.iter().map(|(n, v)| (String::from_utf8_lossy(n).into_owned(), text(v))).collect();
    serde_json::Value::Object(object).to_string().into()
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
        let e = event(&[("event", "created"), ("data", "x"), ("retry", "250"), ("final", "1"), ("data", "y")]);
        assert_eq!(
            (e.kind.as_deref(), e.data.as_ref(), e.retry, e.last),
            (Some(&b"created"[..]), &b"x"[..], Some(250), true)
        );
        let e = event(&[("data", ""), ("event", ""), ("retry", "-1"), ("final", "0")]);
        assert_eq!((e.kind, e.data.as_ref(), e.retry, e.last), (None, &b""[..], None, false));
    }

    #[test]
    fn limits() {
        let retry = |value| event(&[("data", ""), ("retry", value)]).retry;
        assert_eq!(
            [retry("0"), retry("86400001"), retry(&"9".repeat(30).leak()[..])],
            [0, MAX_RETRY_MS, MAX_RETRY_MS].map(Some)
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
        assert_eq!(event(&[("a", "1"), ("b", "\"")]).data, r#"{"a":"1","b":"\""}"#);
        assert_eq!(event(&[]).data, "{}");
    }
}
