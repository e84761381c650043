//! What is told of an exchange with a node that failed, in one line. Pure.

use super::printable::printable;
use crate::trust::in_words;
use hyper::StatusCode;
use std::error::Error;

/// Why an exchange with a node brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// The connection, or the request on it, failed.
    #[error("{}", deepest(.0))]
    Broken(#[from] hyper_util::client::legacy::Error),
    /// The answer's body did not come, or was too long.
    #[error(transparent)]
    Body(Box<dyn Error + Send + Sync>),
    /// The node refused: its status, and what it says of it.
    #[error("{0}")]
    Refused(String),
}

/// A refusal in one line: its status, and code and detail where they are problem+json (RFC 9457).
pub(super) fn problem(status: StatusCode, body: &[u8]) -> String {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let member = |name: &str| problem[name].as_str().map(|text| printable(text).replace('\n', " "));
    match (member("code"), member("detail").or_else(|| member("title"))) {
        (Some(code), Some(detail)) => format!("{} {code}: {detail}", status.as_u16()),
        _ => format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or("unknown status")),
    }
}

/// The innermost cause, which is what a person can act on: `Connection refused (os error 111)`.
pub(super) fn deepest(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    in_words(cause.to_string())
}
