//! How a producer asks for its entry and stream to be kept: once, so many, for so long. Pure.

use super::member::{in_member, optional};
use crate::backplane::{Keeping, Once};
#[cfg(feature = "testing")]
use crate::config::values::{DAY, SECOND};
use crate::config::values::{RetryRange, shown};
use crate::problem::Problem;
use hyper::HeaderMap;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// Names an entry, so that it is published once (draft-ietf-httpapi-idempotency-key-header).
const KEY_HEADER: &str = "idempotency-key";
/// The longest key, in bytes.
const MOST_KEY_BYTES: usize = 128;

/// What a producer may say of its streams.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most entries that a stream may be said to keep; 0: any number.
    pub maxlen: u64,
    /// How soon, and how late, a stream may be said to go.
    pub ttl: RetryRange,
}

/// Why a wish is not taken: the second half of a line that names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum KeepingError {
    #[error("a key has 1 to {MOST_KEY_BYTES} visible ASCII characters")]
    BadKey,
    #[error("not a whole number of entries")]
    NoNumber,
    #[error("this node takes {from} to {to}")]
    Outside { from: String, to: String },
    #[error("not a duration such as 30s or 1h")]
    NoDuration,
    #[error("given more than once")]
    Twice,
    #[error("the lines of a batch have keys of their own: member \"key\"")]
    OfABatch,
}

/// Reads the wishes of a single publication: `maxlen` and `ttl` of the query, and the header `Idempotency-Key`.
pub(super) fn parse(query: &str, headers: &HeaderMap, bounds: &Bounds) -> Result<Keeping, Problem> {
    let wrong = |name: &str, value: &str, why| Problem::bad_parameter(name, value, why);
    let given = |name: &str| {
        let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(given, _)| given == name);
        match (values.next(), values.next()) {
            (Some(_), Some((_, second))) => Err(wrong(name, &second, KeepingError::Twice)),
            (first, _) => Ok(first.map(|(_, value)| value.into_owned())),
        }
    };
    let mut keeping = Keeping::default();
    if let Some(value) = given("maxlen")? {
        let number = value.parse().map_err(|_| KeepingError::NoNumber);
        let maxlen = number.and_then(|number| bounds.maxlen(number));
        keeping.maxlen = Some(maxlen.map_err(|why| wrong("maxlen", &value, why))?);
    }
    if let Some(value) = given("ttl")? {
        keeping.ttl = Some(bounds.ttl(&value).map_err(|why| wrong("ttl", &value, why))?);
    }
    let mut keys = headers.get_all(KEY_HEADER).iter();
    if let Some(value) = keys.next() {
        let text = String::from_utf8_lossy(value.as_bytes());
        let key = if keys.next().is_some() { Err(KeepingError::Twice) } else { bare(&text).and_then(once) };
        keeping.once = Some(key.map_err(|why| wrong(KEY_HEADER, &text, why))?);
    }
    Ok(keeping)
}

/// Refuses a key of a whole batch: which of its lines has been published could not be told.
pub fn refuse_of_batch(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(KEY_HEADER) {
        None => Ok(()),
        Some(value) => {
            let value = String::from_utf8_lossy(value.as_bytes());
            Err(Problem::bad_parameter(KEY_HEADER, &value, KeepingError::OfABatch))
        }
    }
}

/// Reads the wishes of a batch's line.
pub(super) fn of_members(
    key: Option<&RawValue>,
    maxlen: Option<&RawValue>,
    ttl: Option<&RawValue>,
    bounds: &Bounds,
) -> Result<Keeping, Problem> {
    let once = optional::<String>("key", key)?.map(once).transpose();
    let maxlen = optional("maxlen", maxlen)?.map(|number| bounds.maxlen(number)).transpose();
    let ttl = optional::<String>("ttl", ttl)?.map(|text| bounds.ttl(&text)).transpose();
    Ok(Keeping {
        once: once.map_err(|why| in_member("key", why))?,
        maxlen: maxlen.map_err(|why| in_member("maxlen", why))?,
        ttl: ttl.map_err(|why| in_member("ttl", why))?,
    })
}

impl Bounds {
    /// As much as there can be.
    #[cfg(feature = "testing")]
    pub const ANY: Bounds =
        Bounds { maxlen: 0, ttl: RetryRange { from: SECOND, to: Duration::from_secs(365 * DAY.as_secs()) } };

    fn maxlen(&self, number: u64) -> Result<u64, KeepingError> {
        let most = if self.maxlen == 0 { i64::MAX as u64 } else { self.maxlen };
        match (1..=most).contains(&number) {
            true => Ok(number),
            false => Err(KeepingError::Outside { from: "1".into(), to: most.to_string() }),
        }
    }

    fn ttl(&self, text: &str) -> Result<Duration, KeepingError> {
        let ttl = humantime::parse_duration(text).map_err(|_| KeepingError::NoDuration)?;
        match (self.ttl.from..=self.ttl.to).contains(&ttl) {
            true => Ok(ttl),
            false => Err(KeepingError::Outside { from: shown(self.ttl.from), to: shown(self.ttl.to) }),
        }
    }
}

/// The draft's key is a string of RFC 9651, section 3.3.3, in quotes; many clients leave them out.
fn bare(value: &str) -> Result<String, KeepingError> {
    let Some(rest) = value.strip_prefix('"') else { return Ok(value.to_owned()) };
    let inner = rest.strip_suffix('"').ok_or(KeepingError::BadKey)?;
    let (mut key, mut escaped) = (String::with_capacity(inner.len()), false);
    for c in inner.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return Err(KeepingError::BadKey),
            _ if escaped && c != '"' && c != '\\' => return Err(KeepingError::BadKey),
            _ => {
                key.push(c);
                escaped = false;
            }
        }
    }
    if escaped { Err(KeepingError::BadKey) } else { Ok(key) }
}

/// Whether a text can name an entry.
pub fn is_key(text: &str) -> bool {
    (1..=MOST_KEY_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The value of the header `Idempotency-Key` for a key.
pub fn key_value(key: &str) -> String {
    format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A key whose producer is still to be said.
fn once(key: String) -> Result<Once, KeepingError> {
    if is_key(&key) { Ok(Once { producer: Arc::from(""), key: key.into() }) } else { Err(KeepingError::BadKey) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::HOUR;
    use hyper::header::HeaderValue;

    const BOUNDS: Bounds = Bounds { maxlen: 100, ttl: RetryRange { from: SECOND, to: HOUR } };

    fn read(query: &str, keys: &[&[u8]]) -> Result<Keeping, String> {
        let mut headers = HeaderMap::new();
        for key in keys {
            headers.append(KEY_HEADER, HeaderValue::from_bytes(key).unwrap());
        }
        parse(query, &headers, &BOUNDS).map_err(|problem| problem.detail)
    }

    fn key(value: &str) -> Result<String, String> {
        read("", &[value.as_bytes()]).map(|keeping| keeping.once.unwrap().key.to_string())
    }

    #[test]
    fn a_key_comes_bare_or_in_quotes() {
        let longest = "k".repeat(MOST_KEY_BYTES);
        for (value, expected) in
            [("a-1", "a-1"), ("\"8e03\"", "8e03"), (r#""a\"\\b""#, r#"a"\b"#), ("~!{}'", "~!{}'"), (&longest, &longest)]
        {
            assert_eq!(key(value).as_deref(), Ok(expected));
        }
        for text in ["a", r#"a"\b"#, "\"", "\\"] {
            assert!(is_key(text) && key(&key_value(text)).as_deref() == Ok(text));
        }
        assert_eq!(read("", &[]), Ok(Keeping::default()));
    }

    #[test]
    fn what_is_no_key_is_refused_by_its_name() {
        let long = "k".repeat(MOST_KEY_BYTES + 1);
        for value in ["", "\"\"", "\"a", "\"a\"b\"", "\"a\\\"", "\"a\\b\"", "a b", "a\tb", "ä", &long] {
            let why = key(value).unwrap_err();
            assert!(why.starts_with("idempotency-key=") && why.len() < 300, "{value:?}: {why}");
        }
        assert!(read("", &[b"a", b"b"]).unwrap_err().ends_with("given more than once"));
        assert!(read("", &[b"\xff"]).is_err());
    }

    #[test]
    fn streams_are_kept_within_the_nodes_bounds() {
        let keeping = read("maxlen=100&ttl=1h&x=1", &[]).unwrap();
        assert_eq!((keeping.maxlen, keeping.ttl), (Some(100), Some(HOUR)));
        for (query, why) in [
            ("maxlen=101", "maxlen=\"101\": this node takes 1 to 100"),
            ("maxlen=0", "maxlen=\"0\": this node takes 1 to 100"),
            ("maxlen=-1", "maxlen=\"-1\": not a whole number of entries"),
            ("ttl=61m", "ttl=\"61m\": this node takes 1s to 1h"),
            ("ttl=10ms", "ttl=\"10ms\": this node takes 1s to 1h"),
            ("ttl=60", "ttl=\"60\": not a duration such as 30s or 1h"),
            ("ttl=1m&ttl=2m", "ttl=\"2m\": given more than once"),
        ] {
            assert_eq!(read(query, &[]).unwrap_err(), why);
        }
        assert_eq!(Bounds::ANY.maxlen(1 << 60), Ok(1 << 60));
    }
}
