//! Numbers as JSON writes them (RFC 8259, section 6), compared by their exact value. Pure.

use std::cmp::Ordering;

/// Digits of a number at most; a longer text is compared as one.
const MAX_DIGITS: usize = 64;
/// An exponent's size at most.
const MAX_EXPONENT: i32 = 1000;

/// A decimal number without loss: `0.digits × 10^exponent`, where the first digit is not 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Number {
    negative: bool,
    exponent: i32,
    /// Without zeros at either end; empty for zero.
    digits: Box<[u8]>,
}

impl Number {
    /// `None` for a text that JSON would not take for a number: `007`, `+1`, `.5`, `0x10`, `NaN`, and very long ones.
    pub fn parse(text: &[u8]) -> Option<Number> {
        if text.len() > MAX_DIGITS {
            return None;
        }
        let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
            None => (text, 0),
            Some(at) => (&text[..at], exponent(&text[at + 1..])?),
        };
        let (whole, fraction) = match mantissa.iter().position(|b| *b == b'.') {
            None => (mantissa, None),
            Some(at) => (&mantissa[..at], Some(&mantissa[at + 1..])),
        };
        let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        if !digits(whole) || whole.len() > 1 && whole[0] == b'0' || fraction.is_some_and(|part| !digits(part)) {
            return None;
        }
        let all = [whole, fraction.unwrap_or_default()].concat();
        let leading = all.iter().take_while(|b| **b == b'0').count();
        let end = all.iter().rposition(|b| *b != b'0').map_or(leading, |last| last + 1);
        let kept = &all[leading..end];
        match kept.is_empty() {
            true => Some(Number { negative: false, exponent: 0, digits: Box::default() }),
            false => {
                let exponent = exponent + whole.len() as i32 - leading as i32;
                Some(Number { negative, exponent, digits: kept.into() })
            }
        }
    }

    /// -1, 0 or 1.
    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        let size = || self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits));
        self.sign().cmp(&other.sign()).then_with(|| if self.negative { size().reverse() } else { size() })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn exponent(text: &[u8]) -> Option<i32> {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size: i32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let signed = if text[0] == b'-' { -size } else { size };
    (size <= MAX_EXPONENT).then_some(signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_exactly() {
        let ascending = [
            "-1e3",
            "-100.5",
            "-100",
            "-2",
            "-0.001",
            "0",
            "1e-3",
            "0.5",
            "1",
            "1.0000000000000000000001",
            "2",
            "10",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551616",
            "1e100",
        ];
        let numbers: Vec<Number> = ascending.iter().map(|text| Number::parse(text.as_bytes()).expect(text)).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        for (one, same) in [("5", "5.0"), ("0", "-0.00"), ("1e3", "1000"), ("0.05", "5E-2"), ("120", "1.20e+2")] {
            assert_eq!(Number::parse(one.as_bytes()), Number::parse(same.as_bytes()), "{one}");
        }
    }

    #[test]
    fn what_json_takes_for_no_number_is_none() {
        let long = "1".repeat(65);
        for text in ["", "-", "007", "+1", ".5", "5.", "1e", "1e+", "0x10", "NaN", "1_000", " 1", "1e1001", &long] {
            assert_eq!(Number::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
