//! What an event's data says: sequence number, intended send time, channel. Written and read by this crate alone.

use std::io::Write as _;

/// What the checker reads out of an event's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// 1 for the first event of a channel, then without holes.
    pub sequence: u64,
    /// When it should have been sent, by [`crate::clock::now`].
    pub intended: u64,
    pub channel: u32,
}

impl Payload {
    /// Appends the data, `{"s":1,"t":2,"c":3,"p":"…"}`, padded to `size` bytes where it is shorter.
    pub fn write(&self, into: &mut Vec<u8>, size: usize) {
        let start = into.len();
        write!(into, r#"{{"s":{},"t":{},"c":{},"p":""#, self.sequence, self.intended, self.channel)
            .expect("writing to memory");
        let padding = (start + size).saturating_sub(into.len() + 2);
        fill(into, padding, self.sequence);
        into.extend_from_slice(br#""}"#);
    }

    /// Reads data back; `None` for anything that [`Payload::write`] did not write.
    pub fn read(data: &[u8]) -> Option<Payload> {
        let (sequence, rest) = number(data.strip_prefix(br#"{"s":"#)?)?;
        let (intended, rest) = number(rest.strip_prefix(br#","t":"#)?)?;
        let (channel, rest) = number(rest.strip_prefix(br#","c":"#)?)?;
        if !rest.starts_with(br#","p":""#) || !rest.ends_with(br#""}"#) {
            return None;
        }
        Some(Payload { sequence, intended, channel: channel.try_into().ok()? })
    }
}

/// What stands in for an application's data: words and numbers, other ones in each event, about as redundant as JSON is.
fn fill(into: &mut Vec<u8>, padding: usize, seed: u64) {
    let end = into.len() + padding;
    let mut dice = fastrand::Rng::with_seed(seed);
    while into.len() < end {
        match dice.u8(..4) {
            0 => write!(into, "{} ", dice.u32(..100_000)).expect("writing to memory"),
            _ => into.extend_from_slice(WORDS[dice.usize(..WORDS.len())].as_bytes()),
        }
    }
    into.truncate(end);
}

const WORDS: [&str; 32] = [
    "order: ",
    "customer: ",
    "status: ",
    "open, ",
    "shipped, ",
    "price: ",
    "EUR, ",
    "created ",
    "updated ",
    "by ",
    "name: ",
    "message ",
    "channel ",
    "the ",
    "and ",
    "from ",
    "to ",
    "amount ",
    "title: ",
    "Berlin, ",
    "Lisbon, ",
    "true, ",
    "false, ",
    "user ",
    "reply ",
    "temperature ",
    "volume ",
    "quantity ",
    "pending, ",
    "error ",
    "latency ",
    "minutes ",
];

/// A decimal number at the start, and what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let digits = std::str::from_utf8(&text[..end]).ok()?;
    Some((digits.parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let payload = Payload { sequence: 7, intended: 123_456_789_012, channel: 3 };
        let mut bytes = Vec::new();
        payload.write(&mut bytes, 200);
        assert_eq!(bytes.len(), 200);
        assert_eq!(Payload::read(&bytes), Some(payload));
        let mut small = Vec::new();
        payload.write(&mut small, 1);
        assert_eq!(Payload::read(&small), Some(payload));
    }

    #[test]
    fn refuses_what_was_cut_or_changed() {
        let mut bytes = Vec::new();
        Payload { sequence: 7, intended: 9, channel: 3 }.write(&mut bytes, 60);
        assert_eq!(Payload::read(&bytes[..59]), None);
        assert_eq!(Payload::read(&bytes[1..]), None);
        assert_eq!(Payload::read(br#"{"s":,"t":1,"c":1,"p":""}"#), None);
        assert_eq!(Payload::read(b"hello"), None);
    }
}
