//! Fields of an entry that are kept beside its event, for conditions to look at. Pure.
//!
//! `data` is left out, which conditions do not look into, and so is `event`, which the event's own bytes have. Of a long
//! value only so much is kept as can matter to a condition, whose text is bounded.

use crate::condition::MAX_TEXT;
use bytes::Bytes;

/// Fields that no condition can be about, or that are found elsewhere.
const LEFT_OUT: [&[u8]; 3] = [b"data", b"event", b"traceparent"];
/// Bytes of a value that are kept: with one more than a condition has, an order or a beginning is decided.
const MOST: usize = MAX_TEXT + 1;
/// Bytes before a name and its value: the length of each.
const LENGTHS: usize = 4;

/// Calls `put` with the parts that stand for an entry's fields; with none where there is nothing to keep.
pub fn encode(fields: &[(Bytes, Bytes)], mut put: impl FnMut(&[u8])) {
    for (index, (name, value)) in fields.iter().enumerate() {
        let repeated = || fields[..index].iter().any(|(other, _)| other == name);
        if LEFT_OUT.contains(&name.as_ref()) || name.len() > MAX_TEXT || repeated() {
            continue;
        }
        let value = &value[..value.len().min(MOST)];
        put(&(name.len() as u16).to_le_bytes());
        put(&(value.len() as u16).to_le_bytes());
        put(name);
        put(value);
    }
}

/// The value of a field in what [`encode`] gave.
pub fn find<'a>(mut kept: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    while let Some((lengths, rest)) = kept.split_at_checked(LENGTHS) {
        let length = |at: usize| u16::from_le_bytes([lengths[at], lengths[at + 1]]) as usize;
        let (this, rest) = rest.split_at_checked(length(0))?;
        let (value, rest) = rest.split_at_checked(length(2))?;
        if this == name {
            return Some(value);
        }
        kept = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(fields: &[(&str, &str)]) -> Vec<u8> {
        let owned = |text: &str| Bytes::from(text.to_owned());
        let fields: Vec<(Bytes, Bytes)> = fields.iter().map(|(n, v)| (owned(n), owned(v))).collect();
        let mut bytes = Vec::new();
        encode(&fields, |part| bytes.extend_from_slice(part));
        bytes
    }

    #[test]
    fn fields_are_found_by_name_and_of_a_repeated_one_the_first() {
        let bytes =
            kept(&[("team", "red"), ("data", "x"), ("", "none"), ("team", "blue"), ("level", "5"), ("event", "e")]);
        for (name, value) in
            [("team", Some("red")), ("level", Some("5")), ("", Some("none")), ("data", None), ("x", None)]
        {
            assert_eq!(find(&bytes, name.as_bytes()), value.map(str::as_bytes), "{name}");
        }
        assert!(kept(&[("data", "x"), ("event", "e"), ("traceparent", "t")]).is_empty());
    }

    #[test]
    fn a_long_value_is_kept_as_far_as_a_condition_reaches() {
        let bytes = kept(&[("a", &"x".repeat(5_000)), (&"n".repeat(5_000), "v"), ("b", "1")]);
        assert_eq!(find(&bytes, b"a").map(<[u8]>::len), Some(MAX_TEXT + 1));
        assert_eq!((find(&bytes, b"b"), bytes.len()), (Some(&b"1"[..]), 4 + 1 + MAX_TEXT + 1 + 4 + 2));
    }
}
