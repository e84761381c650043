//! Further fields of an event that comes over HTTP, for conditions (`where=`) to look at. Pure.

use super::member::{in_member, reason};
use crate::problem::Problem;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// What the name of a parameter with a field begins with: `field.team=red`.
const PREFIX: &str = "field.";
/// Fields of an event at most, and bytes of all their names and values.
const MOST: usize = 32;
const MOST_BYTES: usize = 4096;
/// Fields that say something else, or are given in another way.
const TAKEN: [&str; 5] = ["data", "event", "retry", "final", "traceparent"];

/// Names and values, in the producer's order; no name twice.
pub type Fields = Vec<(String, String)>;

/// Why a field is not taken: the second half of a line that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum FieldError {
    #[error("a field has a name")]
    NoName,
    #[error("this field has a way of its own to be given")]
    Taken,
    #[error("given more than once")]
    Repeated,
    #[error("an event has {MOST} such fields at most")]
    Many,
    #[error("the fields of an event have {MOST_BYTES} bytes at most, names included")]
    Long,
    #[error("a text, a number, true or false")]
    NoValue,
}

/// Reads `field.NAME=VALUE` of a query.
pub fn of_query(query: &str) -> Result<Fields, Problem> {
    let mut fields = Fields::new();
    for (parameter, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(name) = parameter.strip_prefix(PREFIX) else { continue };
        let added = add(&mut fields, name.to_owned(), value.clone().into_owned());
        added.map_err(|why| Problem::bad_parameter(&parameter, &value, why))?;
    }
    Ok(fields)
}

/// Reads the member `fields` of a batch line: an object of texts, numbers and switches.
pub fn of_member(value: &RawValue) -> Result<Fields, Problem> {
    let Members(members) = serde_json::from_str(value.get()).map_err(|e| in_member("fields", reason(&e)))?;
    let mut fields = Fields::new();
    for (name, value) in members {
        let text = match value.get().as_bytes() {
            [b'"', ..] => serde_json::from_str(value.get()).map_err(|e| in_member("fields", reason(&e)))?,
            [b'{' | b'[', ..] | b"null" => {
                return Err(in_member(
                    "fields",
                    format!("{:?}: {}", crate::problem::shortened(&name), FieldError::NoValue),
                ));
            }
            _ => value.get().to_owned(),
        };
        let shown = crate::problem::shortened(&name);
        add(&mut fields, name, text).map_err(|why| in_member("fields", format!("{shown:?}: {why}")))?;
    }
    Ok(fields)
}

fn add(fields: &mut Fields, name: String, value: String) -> Result<(), FieldError> {
    let bytes = |fields: &Fields| fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    match &*name {
        "" => Err(FieldError::NoName),
        name if TAKEN.contains(&name) => Err(FieldError::Taken),
        name if fields.iter().any(|(other, _)| other == name) => Err(FieldError::Repeated),
        _ if fields.len() == MOST => Err(FieldError::Many),
        name if bytes(fields) + name.len() + value.len() > MOST_BYTES => Err(FieldError::Long),
        _ => {
            fields.push((name, value));
            Ok(())
        }
    }
}

/// The members of an object in their order, repeated ones included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_json(text: &str) -> Result<Fields, Problem> {
        of_member(&RawValue::from_string(text.to_owned()).unwrap())
    }

    fn pairs(fields: &Fields) -> Vec<(&str, &str)> {
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn fields_keep_their_order_and_their_text() {
        let fields = of_query("field.team=red&event=x&field.n=1%2C0&field.=").err();
        assert!(fields.unwrap().detail.starts_with("field.=\"\": a field has a name"));
        assert_eq!(
            pairs(&of_query("field.team=red&event=x&field.a.b=1%2C0").unwrap()),
            [("team", "red"), ("a.b", "1,0")]
        );
        let fields = of_json(r#"{"z": "\u00e4", "n": 1.50, "yes": true, "a": ""}"#).unwrap();
        assert_eq!(pairs(&fields), [("z", "ä"), ("n", "1.50"), ("yes", "true"), ("a", "")]);
    }

    #[test]
    fn a_field_that_is_not_taken_is_named() {
        let long = format!("field.a={}", "x".repeat(MOST_BYTES));
        let many: String = (0..=MOST).map(|n| format!("&field.n{n}=")).collect();
        for (query, part) in [
            ("field.data=x", "way of its own"),
            ("field.a=1&field.a=2", "more than once"),
            (&long, "4096 bytes"),
            (&many, "32 such fields"),
        ] {
            let problem = of_query(query).unwrap_err();
            assert!(problem.detail.starts_with("field.") && problem.detail.contains(part), "{}", problem.detail);
            assert!(problem.detail.len() < 300);
        }
        for (text, part) in [
            (r#"{"a": null}"#, "\"a\": a text, a number"),
            (r#"{"a": {"b": 1}}"#, "\"a\": a text, a number"),
            (r#"{"a": 1, "a": 2}"#, "\"a\": given more than once"),
            (r#"["a"]"#, "an object"),
            (r#"{"final": 1}"#, "\"final\": this field"),
        ] {
            let detail = of_json(text).unwrap_err().detail;
            assert!(detail.starts_with("member \"fields\":") && detail.contains(part), "{detail}");
        }
    }
}
