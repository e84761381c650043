//! Reading the words of a command.

use super::reply::{NO_INTEGER, SYNTAX};
use bytes::Bytes;

/// A whole number, as Redis reads one: no sign but a minus, no space, no leading zero.
pub fn integer(word: &[u8]) -> Result<i64, String> {
    let text = std::str::from_utf8(word).ok();
    let number = text.and_then(|text| text.parse::<i64>().ok().filter(|number| number.to_string() == text));
    number.ok_or_else(|| NO_INTEGER.to_owned())
}

/// Whether a word is this one, in capitals or not.
pub fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

/// A word in capitals, for a `match`.
pub fn upper(word: &[u8]) -> Vec<u8> {
    word.to_ascii_uppercase()
}

/// A word as text, for what is told.
pub fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

/// The words of a command one after the other.
pub struct Rest<'a> {
    words: &'a [Bytes],
    at: usize,
}

impl<'a> Rest<'a> {
    /// The words from this one on.
    pub fn new(words: &'a [Bytes], at: usize) -> Rest<'a> {
        Rest { words, at }
    }

    /// The next word.
    pub fn next(&mut self) -> Option<&'a Bytes> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// The next word, which must be there.
    pub fn value(&mut self) -> Result<&'a Bytes, String> {
        self.next().ok_or_else(|| SYNTAX.to_owned())
    }

    /// The next word, which must be a number.
    pub fn number(&mut self) -> Result<i64, String> {
        integer(self.value()?)
    }

    /// Where the next word stands.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many words are left.
    pub fn left(&self) -> usize {
        self.words.len() - self.at
    }

    /// The next words, so many of them.
    pub fn take(&mut self, count: usize) -> &'a [Bytes] {
        let words = &self.words[self.at..self.at + count];
        self.at += count;
        words
    }

    /// The next word, which stays.
    pub fn peek(&self) -> Option<&'a Bytes> {
        self.words.get(self.at)
    }
}
