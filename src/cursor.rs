//! Cursors: what an SSE `id:` carries, so that a subscriber goes on exactly where it was, on any node.
//!
//! Pure: formats and reads text. Whether a position can still be served is decided in
//! [`crate::backplane::continuity`].
//!
//! | form | text | for |
//! |---|---|---|
//! | single | `1700000000000-0` | one channel; shared by all its subscribers as part of the frame |
//! | vector | `orders=1700000000000-0,user.42=1700000000001-3` | up to [`VECTOR_LEGS`] channels |
//! | compact | `AQ…`, base64url without padding | more channels |
//! | changed | a vector or a compact one, `,+news=1700000000002-0,-user.42,~control=1700000000003-0` | a set that orders have [changed](changes) |
//!
//! The compact form is, before base64: the byte 1, its version; the newest `ms` of all as a varint; then for each channel
//! the CRC-32 (ISO-HDLC) of its name, little endian; how many ms it lies before the newest, as a varint; its `seq`, as a
//! varint. Varints are LEB128. That is about 12 characters a channel, and 32 at most: for 100 channels about 1.2 KB,
//! never more than 3,215 bytes. Where two names of a set have the same hash the set keeps the vector form, which is the
//! longest that there is: 242 bytes a channel, 24,299 for 100 channels of 200 bytes. Changes take 3 KiB at most, and 51 bytes.
//!
//! No form contains a CR, LF, NUL or space.

mod changes;

pub use changes::{Changed, Changes, Since, write_changed};

use crate::channel::Channel;
use crate::position::Position;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smallvec::SmallVec;

/// The most channels whose positions are written in full.
pub const VECTOR_LEGS: usize = 4;

/// The compact form's first byte: its version.
const COMPACT: u8 = 1;

/// What a client handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Of the one channel that was subscribed to.
    Single(Position),
    /// By name, sorted.
    Vector(Vec<(Channel, Position)>),
    /// By the name's hash, sorted.
    Compact(Vec<(u32, Position)>),
    /// Of a set that has changed.
    Changed(Box<Changed>),
}

/// Where a client says that it was in one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub position: Position,
    /// What it says besides, of an earlier time: it counts where `position` lies ahead of the stream.
    pub earlier: Option<Position>,
}

impl Cursor {
    /// Reads a cursor; `None` where the text is none of ours.
    pub fn parse(text: &str) -> Option<Cursor> {
        if let Ok(position) = text.parse() {
            Some(Cursor::Single(position))
        } else if let Some(changed) = Changed::parse(text) {
            Some(Cursor::Changed(Box::new(changed)))
        } else if text.contains('=') {
            parse_vector(text).map(Cursor::Vector)
        } else {
            parse_compact(&URL_SAFE_NO_PAD.decode(text).ok()?).map(Cursor::Compact)
        }
    }

    /// Where the subscriber is in `channel`; `only` says that it asks for no other channel.
    ///
    /// A single position names no channel, so it belongs to the only one that is asked for, and to none of several.
    pub fn position_of(&self, channel: &Channel, only: bool) -> Option<Position> {
        match self {
            Cursor::Single(position) => only.then_some(*position),
            Cursor::Vector(legs) => find(legs, channel),
            Cursor::Compact(legs) => find(legs, &name_hash(channel)),
            Cursor::Changed(changed) => changed.position_of(channel),
        }
    }

    /// How the set has changed, where that is said.
    pub fn changes(&self) -> Option<&Changes> {
        match self {
            Cursor::Changed(changed) => Some(&changed.changes),
            _ => None,
        }
    }

    /// All positions that it says.
    pub fn positions(&self) -> Vec<Position> {
        match self {
            Cursor::Single(position) => vec![*position],
            Cursor::Vector(legs) => legs.iter().map(|(_, position)| *position).collect(),
            Cursor::Compact(legs) => legs.iter().map(|(_, position)| *position).collect(),
            Cursor::Changed(changed) => changed.positions().collect(),
        }
    }
}

fn find<K: Ord>(sorted: &[(K, Position)], key: &K) -> Option<Position> {
    sorted.binary_search_by(|(k, _)| k.cmp(key)).ok().map(|i| sorted[i].1)
}

/// Sorts by key; `None` where a key is repeated, which nothing of ours writes.
fn sorted<K: Ord>(mut legs: Vec<(K, Position)>) -> Option<Vec<(K, Position)>> {
    legs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    legs.windows(2).all(|pair| pair[0].0 != pair[1].0).then_some(legs)
}

fn parse_vector(text: &str) -> Option<Vec<(Channel, Position)>> {
    let leg = |leg: &str| {
        let (name, position) = leg.split_once('=')?;
        Some((Channel::new(name).ok()?, position.parse().ok()?))
    };
    sorted(text.split(',').map(leg).collect::<Option<_>>()?)
}

fn parse_compact(bytes: &[u8]) -> Option<Vec<(u32, Position)>> {
    let mut left = bytes.strip_prefix(&[COMPACT])?;
    let newest = take_varint(&mut left)?;
    let mut legs = Vec::with_capacity(left.len() / 6);
    while let Some((hash, behind)) = left.split_first_chunk::<4>() {
        left = behind;
        let ms = newest.checked_sub(take_varint(&mut left)?)?;
        legs.push((u32::from_le_bytes(*hash), Position::new(ms, take_varint(&mut left)?)));
    }
    // A rest of one to three bytes is a cursor that was cut.
    if left.is_empty() && !legs.is_empty() { sorted(legs) } else { None }
}

/// Takes a LEB128 number off the front; `None` where it is cut or exceeds 64 bits.
fn take_varint(left: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = left.split_first()?;
        *left = behind;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_varint(into: &mut SmallVec<[u8; SCRATCH]>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Bytes of a compact cursor that are built without allocating: some 150 channels.
const SCRATCH: usize = 1536;

/// The hash by which a compact cursor knows a channel: the same on every node and in every release.
pub fn name_hash(channel: &Channel) -> u32 {
    crc32fast::hash(channel.as_str().as_bytes())
}

/// How the cursors of a set of channels are written; decided once per subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Vector,
    Compact,
}

impl Form {
    /// The form for channels with these [`name_hash`]es.
    pub fn of(hashes: impl IntoIterator<Item = u32>) -> Form {
        let mut hashes: SmallVec<[u32; 16]> = hashes.into_iter().collect();
        hashes.sort_unstable();
        match hashes.len() > VECTOR_LEGS && hashes.windows(2).all(|pair| pair[0] != pair[1]) {
            true => Form::Compact,
            false => Form::Vector,
        }
    }
}

/// A subscriber's place in one channel, as the writer needs it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub channel: &'a Channel,
    /// The channel's [`name_hash`]; looked at for [`Form::Compact`] alone.
    pub hash: u32,
    pub at: Position,
}

/// Appends the cursor of a subscriber of several channels. Does not allocate beyond `into` up to some 150 channels.
///
/// `form` must be [`Form::of`] the same set, else names with equal hashes could not be told apart.
pub fn write_cursor<'a>(into: &mut Vec<u8>, form: Form, places: impl Iterator<Item = Place<'a>> + Clone) {
    match form {
        Form::Vector => write_vector(into, places),
        Form::Compact => write_compact(into, places),
    }
}

/// Appends one position.
pub fn write_position(into: &mut Vec<u8>, at: Position) {
    let mut digits = itoa::Buffer::new();
    into.extend_from_slice(digits.format(at.ms).as_bytes());
    into.push(b'-');
    into.extend_from_slice(digits.format(at.seq).as_bytes());
}

fn write_vector<'a>(into: &mut Vec<u8>, places: impl Iterator<Item = Place<'a>>) {
    for (i, place) in places.enumerate() {
        if i > 0 {
            into.push(b',');
        }
        into.extend_from_slice(place.channel.as_str().as_bytes());
        into.push(b'=');
        write_position(into, place.at);
    }
}

fn write_compact<'a>(into: &mut Vec<u8>, places: impl Iterator<Item = Place<'a>> + Clone) {
    let newest = places.clone().map(|place| place.at.ms).max().unwrap_or_default();
    let mut bytes = SmallVec::<[u8; SCRATCH]>::new();
    bytes.push(COMPACT);
    put_varint(&mut bytes, newest);
    for place in places {
        bytes.extend_from_slice(&place.hash.to_le_bytes());
        put_varint(&mut bytes, newest - place.at.ms);
        put_varint(&mut bytes, place.at.seq);
    }
    let start = into.len();
    into.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = URL_SAFE_NO_PAD.encode_slice(&bytes, &mut into[start..]).expect("room for the padded length");
    into.truncate(start + written);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::new(name).unwrap()
    }

    fn written(form: Form, legs: &[(Channel, Position)]) -> String {
        let mut out = Vec::new();
        let places = legs.iter().map(|(channel, at)| Place { channel, hash: name_hash(channel), at: *at });
        write_cursor(&mut out, form, places);
        String::from_utf8(out).unwrap()
    }

    fn form(legs: &[(Channel, Position)]) -> Form {
        Form::of(legs.iter().map(|(c, _)| name_hash(c)))
    }

    #[test]
    fn single() {
        let cursor = Cursor::parse("1700000000000-3").unwrap();
        assert_eq!(cursor.position_of(&channel("a"), true), Some(Position::new(1_700_000_000_000, 3)));
        assert_eq!(cursor.position_of(&channel("a"), false), None);
    }

    #[test]
    fn vector() {
        let legs = [
            (channel("orders"), Position::new(1_700_000_000_000, 0)),
            (channel("a:b"), Position::new(1_700_000_000_001, 3)),
        ];
        let text = written(form(&legs), &legs);
        assert_eq!(text, "orders=1700000000000-0,a:b=1700000000001-3");
        let cursor = Cursor::parse(&text).unwrap();
        for (channel, at) in &legs {
            assert_eq!(cursor.position_of(channel, false), Some(*at));
            assert_eq!(cursor.position_of(channel, true), Some(*at));
        }
        assert_eq!(cursor.position_of(&channel("other"), true), None);
    }

    #[test]
    fn compact_is_small_and_stable() {
        let legs: Vec<_> = (0..100)
            .map(|i| (channel(&format!("user.{i}")), Position::new(1_700_000_000_000 + i * 7_919, i % 3)))
            .collect();
        let text = written(form(&legs), &legs);
        assert!(text.len() <= 1200, "{}", text.len());
        let cursor = Cursor::parse(&text).unwrap();
        assert!(legs.iter().all(|(channel, at)| cursor.position_of(channel, false) == Some(*at)));
        assert_eq!(cursor.position_of(&channel("other"), false), None);
        // The format is on the wire: clients come back with it to other releases.
        let five: Vec<_> = (0..5).map(|i| (channel(&i.to_string()), Position::new(1_000 + i, i))).collect();
        assert_eq!(written(form(&five), &five), "AewHId_b9AQAt-_cgwMBDb7VGgICm47SbQEDOBu28wAE");
    }

    #[test]
    fn the_form_depends_on_the_number_and_on_collisions() {
        assert_eq!(Form::of(0..4), Form::Vector);
        assert_eq!(Form::of(0..5), Form::Compact);
        assert_eq!(Form::of([1, 2, 3, 4, 5, 1]), Form::Vector);
        // Two names with one hash.
        assert_eq!(name_hash(&channel("plumless")), name_hash(&channel("buckeroo")));
    }

    #[test]
    fn documented_lengths() {
        let long = |i| channel(&format!("{i:0>200}"));
        let legs: Vec<_> =
            (0..100).map(|i| (long(i), if i == 0 { Position::MAX } else { Position::new(0, u64::MAX) })).collect();
        assert!(written(Form::Compact, &legs).len() <= 3_215);
        let legs: Vec<_> = (0..100).map(|i| (long(i), Position::MAX)).collect();
        assert_eq!(written(Form::Vector, &legs).len(), 24_299);
    }

    #[test]
    fn foreign_texts() {
        let huge = URL_SAFE_NO_PAD.encode([&[COMPACT][..], &[0xff; 9], &[2, 0, 0, 0, 0, 0, 0]].concat());
        let twice = URL_SAFE_NO_PAD.encode([COMPACT, 0, 1, 2, 3, 4, 0, 0, 1, 2, 3, 4, 0, 0]);
        let before_zero = URL_SAFE_NO_PAD.encode([COMPACT, 0, 1, 2, 3, 4, 1, 0]);
        let of_later_version = URL_SAFE_NO_PAD.encode([COMPACT + 1, 0, 1, 2, 3, 4, 0, 0]);
        let texts =
            ["", "17", "=", "a=", "a=1-0,", ",a=1-0", "a=1-0,a=2-0", "a b=1-0", "AQ", "AQA", "AQAB", "AewHId_b9AQAt-"];
        for text in texts.into_iter().chain([&huge[..], &twice, &before_zero, &of_later_version, "ÄÖ", "1-0\0"]) {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
    }
}
