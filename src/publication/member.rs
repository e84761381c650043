//! Members of a batch line, and errors that name them. Pure.

use crate::problem::{Code, Problem, shortened};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The value of a member that need not be there.
pub fn optional<'a, T: Deserialize<'a>>(name: &str, value: Option<&'a RawValue>) -> Result<Option<T>, Problem> {
    value.map(|value| member(name, value)).transpose()
}

/// The value of a member.
pub fn member<'a, T: Deserialize<'a>>(name: &str, value: &'a RawValue) -> Result<T, Problem> {
    serde_json::from_str(value.get()).map_err(|e| in_member(name, reason(&e)))
}

/// The refusal of a member's value.
pub fn in_member(name: &str, why: impl std::fmt::Display) -> Problem {
    Problem::new(Code::BadBody, format!("member {name:?}: {why}"))
}

/// A JSON error without its place, which would count lines within the line; of bounded length.
pub fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    shortened(text)
}
