//! What others wrote, for lines that people read: it must neither begin a line of its own, nor speak to a terminal, nor turn
//! the order of what stands beside it.

use std::fmt::{self, Display, Write};

/// Displays a value with escapes (`\n`, `\u{1b}`) for what is no printable text.
pub struct Printable<T>(pub T);

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(to), "{}", self.0)
    }
}

/// Passes text on with such escapes.
pub struct Escaping<W>(pub W);

impl<W: Write> Write for Escaping<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_unprintable) {
            self.0.write_str(&rest[..at])?;
            let mut behind = rest[at..].chars();
            if let Some(unprintable) = behind.next() {
                write!(self.0, "{}", unprintable.escape_default())?;
            }
            rest = behind.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Controls (C0, DEL, C1), separators of lines and paragraphs, and what sets the direction of text (Unicode, UAX 9).
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_escaped_and_all_else_left() {
        let shown = |text: &str| Printable(text).to_string();
        assert_eq!(shown("a\nb\r\tc"), "a\\nb\\r\\tc");
        assert_eq!(shown("\u{1b}[31m\u{7}\u{7f}\u{9b}0m"), "\\u{1b}[31m\\u{7}\\u{7f}\\u{9b}0m");
        assert_eq!(shown("\u{202e}x\u{2028}\u{2066}"), "\\u{202e}x\\u{2028}\\u{2066}");
        for left in ["", "plain \"quoted\" \\n", "Ünïcödé 日本 🦀 e\u{301}"] {
            assert_eq!(shown(left), left);
        }
    }
}
