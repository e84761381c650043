//! What others wrote, for the terminal. Pure.

use std::borrow::Cow;

/// Text that cannot steer a terminal: control characters but line break and tab are escaped.
pub fn printable(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if steers(c) { c.escape_default().to_string() } else { c.to_string() }).collect())
}
