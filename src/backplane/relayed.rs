//! What a relay passes on of a stream: what it read, from the entry on that it knew, as others would have read it. Pure.
//!
//! The known entry is the witness: who has the same one as its newest, as many before it, goes on behind it without a question.

use super::Entry;
use crate::channel::Channel;
use crate::position::Position;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What a message begins with; another form has another one, so that nodes of two versions pass each other's over.
const FORM: &[u8] = b"fantail1";

/// Entries of a stream that one node has read and passes on to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed {
    pub channel: Channel,
    /// How many entries the stream ever had up to the first of these.
    pub rank: u64,
    /// The one that was known, and those behind it. None: there are new ones, which everybody is to read.
    pub entries: Vec<Entry>,
}

impl Relayed {
    /// What of it counts as memory, in bytes.
    pub fn size(&self) -> usize {
        self.entries.iter().map(Entry::size).sum()
    }

    /// The message that carries it.
    pub fn message(&self) -> Bytes {
        let strings = self.entries.iter().map(|entry| 20 + 8 * entry.fields.len()).sum::<usize>();
        let mut message = BytesMut::with_capacity(FORM.len() + 12 + self.size() + strings);
        message.put_slice(FORM);
        message.put_u64(self.rank);
        message.put_u32(self.entries.len() as u32);
        for entry in &self.entries {
            message.put_u64(entry.position.ms);
            message.put_u64(entry.position.seq);
            message.put_u32(entry.fields.len() as u32);
            for string in entry.fields.iter().flat_map(|(name, value)| [name, value]) {
                message.put_u32(string.len() as u32);
                message.put_slice(string);
            }
        }
        message.freeze()
    }

    /// What a message carries; `None` where it is none of this form.
    pub fn of_message(channel: Channel, mut message: Bytes) -> Option<Relayed> {
        if message.len() < FORM.len() || message.split_to(FORM.len()) != FORM {
            return None;
        }
        let rank = message.try_get_u64().ok()?;
        let count = message.try_get_u32().ok()?;
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..count {
            let entry = entry(&mut message)?;
            if entries.last().is_some_and(|before| before.position >= entry.position) {
                return None;
            }
            entries.push(entry);
        }
        message.is_empty().then_some(Relayed { channel, rank, entries })
    }
}

/// The next entry of a message, which has fields as any of Redis has.
fn entry(message: &mut Bytes) -> Option<Entry> {
    let position = Position::new(message.try_get_u64().ok()?, message.try_get_u64().ok()?);
    let fields = message.try_get_u32().ok()?;
    let mut entry = Entry { position, fields: Vec::new() };
    for _ in 0..fields {
        entry.fields.push((string(message)?, string(message)?));
    }
    (fields > 0).then_some(entry)
}

fn string(message: &mut Bytes) -> Option<Bytes> {
    let length = message.try_get_u32().ok()? as usize;
    (length <= message.len()).then(|| message.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ms: u64, fields: &[(&'static str, &'static str)]) -> Entry {
        let fields = fields.iter().map(|(name, value)| (Bytes::from(*name), Bytes::from(*value))).collect();
        Entry { position: Position::new(ms, 1), fields }
    }

    fn relayed(entries: Vec<Entry>) -> Relayed {
        Relayed { channel: Channel::new("a").expect("a name"), rank: 7, entries }
    }

    fn read(message: Bytes) -> Option<Relayed> {
        Relayed::of_message(Channel::new("a").expect("a name"), message)
    }

    #[test]
    fn what_is_passed_on_comes_as_it_was() {
        let whole = relayed(vec![entry(1, &[("data", "x")]), entry(2, &[("a", ""), ("a", "y"), ("", "z")])]);
        assert_eq!(read(whole.message()), Some(whole));
        assert_eq!(read(relayed(Vec::new()).message()), Some(relayed(Vec::new())));
    }

    #[test]
    fn whatever_else_comes_is_passed_over() {
        let message = relayed(vec![entry(1, &[("data", "x")]), entry(2, &[("data", "y")])]).message();
        for cut in 0..message.len() {
            assert_eq!(read(message.slice(..cut)), None, "cut at {cut}");
        }
        assert_eq!(read([&message[..], b"x"].concat().into()), None, "more behind it");
        assert_eq!(read(relayed(vec![entry(2, &[("a", "")]), entry(2, &[("a", "")])]).message()), None, "not in order");
        assert_eq!(read(relayed(vec![entry(1, &[])]).message()), None, "Redis has no such entry");
        assert_eq!(read(Bytes::from_static(b"hello")), None);
        let mut huge = message[..FORM.len() + 8].to_vec();
        huge.extend(u32::MAX.to_be_bytes());
        assert_eq!(read(huge.into()), None);
    }
}
