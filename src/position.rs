//! Positions: the ids of Redis stream entries, which are also what an SSE `id:` is made of.

use std::fmt;
use std::str::FromStr;

/// An entry id `<ms>-<seq>`: milliseconds since the Unix epoch by the Redis clock, then a sequence number.
///
/// Ordered as Redis orders entries. `0-0` lies before every entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub ms: u64,
    pub seq: u64,
}

impl Position {
    /// Before every entry.
    pub const ZERO: Position = Position { ms: 0, seq: 0 };
    /// After every entry.
    pub const MAX: Position = Position { ms: u64::MAX, seq: u64::MAX };

    pub const fn new(ms: u64, seq: u64) -> Position {
        Position { ms, seq }
    }

    /// The greatest position before this one; `0-0` is its own.
    ///
    /// Reading exclusively after it is the inclusive read that `XREAD` lacks.
    pub const fn before(self) -> Position {
        if self.seq > 0 {
            Position::new(self.ms, self.seq - 1)
        } else if self.ms > 0 {
            Position::new(self.ms - 1, u64::MAX)
        } else {
            Position::ZERO
        }
    }

    /// Whether the first part can be a time in milliseconds, as where Redis chose the id: Redis has had streams since 2018,
    /// and what lies beyond the year 5138 is a count of something else, or of shorter units.
    pub const fn is_time(self) -> bool {
        self.ms >= 1_500_000_000_000 && self.ms < 100_000_000_000_000
    }

    /// The smallest position after this one; the greatest is its own.
    pub const fn after(self) -> Position {
        if self.seq < u64::MAX {
            Position::new(self.ms, self.seq + 1)
        } else if self.ms < u64::MAX {
            Position::new(self.ms + 1, 0)
        } else {
            self
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Not of the form `<ms>-<seq>` in plain decimal digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an entry id of the form <ms>-<seq>")]
pub struct ParsePositionError;

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Position, ParsePositionError> {
        let (ms, seq) = text.split_once('-').ok_or(ParsePositionError)?;
        Ok(Position::new(decimal(ms)?, decimal(seq)?))
    }
}

/// Digits only: `u64::from_str` would also take a sign.
fn decimal(text: &str) -> Result<u64, ParsePositionError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParsePositionError);
    }
    text.parse().map_err(|_| ParsePositionError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_order() {
        for text in ["0-0", "1700000000000-3", "18446744073709551615-18446744073709551615"] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
        assert!(Position::new(1, 9) < Position::new(2, 0));
    }

    #[test]
    fn refuses_what_is_no_id() {
        for text in ["", "-", "1", "1-", "-1", "+1-0", "1-0-0", "1-a", "18446744073709551616-0", " 1-0"] {
            assert_eq!(text.parse::<Position>(), Err(ParsePositionError), "{text:?}");
        }
    }

    #[test]
    fn neighbours() {
        assert_eq!(Position::new(5, 0).before(), Position::new(4, u64::MAX));
        assert_eq!(Position::new(4, u64::MAX).after(), Position::new(5, 0));
        assert_eq!(Position::ZERO.before(), Position::ZERO);
        assert_eq!(Position::MAX.after(), Position::MAX);
    }
}
