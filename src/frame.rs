//! Frames: an event's wire bytes, encoded once per node and shared by all who receive it. Pure.
//!
//! Encoding follows the event-stream format of the WHATWG HTML standard, section 9.2.5 and 9.2.6, and the chunked
//! coding of RFC 9112, section 7.1. A frame's bytes are laid out so that every kind of subscriber finds its part:
//!
//! ```text
//! 5a\r\n | id: 1700000000000-0\n | event: created\ndata: {"id":1}\n\n | \r\n
//! size     id line                rest                                  end of chunk
//! ```

mod shape;

pub use shape::{Names, Shape};

use crate::backplane::Entry;
use crate::channel::Channel;
use crate::control_event::{ControlEvent, Gap};
use crate::event::{Event, fields};
use crate::gzip;
use crate::planted::{self, Fault};
use crate::position::Position;
use crate::telemetry::trace::Delivery;
use bytes::Bytes;
use std::borrow::Cow;
use std::hash::BuildHasher;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::sync::{Arc, LazyLock, OnceLock};

/// A hashed event type, for filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(u64);

/// Seeded per process, so that nobody can craft two types that collide.
static KINDS: LazyLock<std::hash::RandomState> = LazyLock::new(std::hash::RandomState::new);

impl Kind {
    /// The kind of an event type; an empty one is EventSource's default, `message`.
    pub fn of(name: &[u8]) -> Kind {
        let name = if name.is_empty() { b"message" } else { name };
        Kind(KINDS.hash_one(name))
    }
}

/// How many entries a stream ever had up to one of them, itself included; `None` where that is not known. With it a
/// gap tells how many events were lost.
pub type Rank = Option<NonZeroU64>;

/// Where somebody stands in a stream, between two of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// All up to here has been passed.
    pub position: Position,
    /// The rank that the next entry has; entries before it that are gone are no loss.
    pub due: Rank,
    /// Whether `position` is an entry, or was one when it was passed, so that its absence means something. Otherwise
    /// it is a time, or any other place between two entries.
    pub entry: bool,
}

impl Standing {
    /// Behind a frame. What a gap stands behind is gone, so it is no witness.
    pub fn behind(frame: &Frame, next: Rank) -> Standing {
        match frame.is_entry() {
            true => Standing { position: frame.position, due: following(frame.rank), entry: true },
            false => Standing { position: frame.position, due: next, entry: false },
        }
    }

    /// How many entries before the next one are no loss.
    pub fn rank(&self) -> Option<u64> {
        self.due.map(|due| due.get() - 1)
    }
}

/// The rank after a rank.
pub fn following(rank: Rank) -> Rank {
    rank.and_then(|rank| rank.checked_add(1))
}

/// What is due where so many entries have been passed.
pub fn due_after(passed: Option<u64>) -> Rank {
    passed.and_then(|passed| NonZeroU64::MIN.checked_add(passed))
}

/// What a frame was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// No entry has its place in the stream.
    Node,
    /// An entry that is too large, which it announces.
    TooLarge,
    /// An entry with `data`.
    Data,
    /// An entry without `data`, whose fields are the data as an object.
    Fields,
}

/// One event, or one control event, as it goes over the wire.
#[derive(Debug)]
pub struct Frame {
    bytes: Bytes,
    /// Where the block begins, behind the chunk size line.
    block: u8,
    /// Where the rest begins, behind the id line.
    rest: u8,
    /// Where the chunk ends, and fields begin that conditions look at.
    end: u32,
    /// The entry's id; for a control event the position that it stands behind.
    pub position: Position,
    /// What a filter looks at; `None` passes every filter (control events).
    pub kind: Option<Kind>,
    /// The last of its channel.
    pub last: bool,
    origin: Origin,
    /// Which entry of its stream's life it is.
    pub rank: Rank,
    /// Where its way to subscribers is noted, if it is traced.
    pub delivery: Option<Arc<Delivery>>,
    /// Other parts, where somebody needs them.
    further: OnceLock<Box<Further>>,
}

/// A node holds as many as its tails have events: what few need is behind a word of its own.
const _: () = assert!(size_of::<Frame>() <= 104);

/// Parts of a frame that few channels need, each made when the first subscriber needs it. All end with CR LF.
#[derive(Debug, Default)]
struct Further {
    /// The rest for subscribers that asked for `envelope=1`.
    enveloped: OnceLock<Box<[u8]>>,
    /// What [`gzip::pack`] makes of the parts that many have in common.
    packed_block: OnceLock<Box<[u8]>>,
    packed_rest: OnceLock<Box<[u8]>>,
    packed_envelope: OnceLock<Box<[u8]>>,
    shapes: shape::Shapes,
}

impl Frame {
    /// Encodes an event.
    pub fn new(position: Position, event: Event) -> Frame {
        // By the type that is on the wire, which is the one that subscribers know.
        let kind = event.kind.as_deref().map(one_line).unwrap_or_default();
        let id = format!("id: {position}\n");
        // Written once, into memory that is exactly as large: events may be.
        let mut length = id.len();
        encode_rest(&kind, &event, |part| length += part.len());
        let chunk = size_line(length).len() + length + END_OF_CHUNK;
        let mut bytes = Vec::with_capacity(chunk + event.fields.len());
        bytes.extend_from_slice(size_line(length).as_bytes());
        let start = bytes.len();
        bytes.extend_from_slice(id.as_bytes());
        encode_rest(&kind, &event, |part| bytes.extend_from_slice(part));
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&event.fields);
        let frame = Frame { end: chunk as u32, ..Frame::of_chunk(position, bytes, start, id.len()) };
        let origin = if event.object { Origin::Fields } else { Origin::Data };
        Frame { kind: Some(Kind::of(kind.as_bytes())), last: event.last, origin, ..frame }
    }

    /// What stands in the place of an entry that is too large to be delivered.
    pub fn too_large(position: Position, gap: &Gap) -> Frame {
        let block = if planted::is(Fault::TooLargeInSilence) {
            ":

"
            .to_owned()
        } else {
            gap.block()
        };
        Frame { origin: Origin::TooLarge, ..Frame::control(position, block.as_bytes()) }
    }

    /// The frame with its rank.
    pub fn ranked(self, rank: Rank) -> Frame {
        Frame { rank, ..self }
    }

    /// The frame, traced by a delivery where there is one.
    pub fn traced(self, delivery: Option<Arc<Delivery>>) -> Frame {
        Frame { delivery, ..self }
    }

    /// A control event, which carries no id and passes every filter.
    pub fn control(position: Position, block: &[u8]) -> Frame {
        let mut bytes = Vec::with_capacity(block.len() + 12);
        chunked(&mut bytes, block);
        Frame::of_chunk(position, bytes, size_line(block.len()).len(), 0)
    }

    /// `start`: where the block begins; `id`: the length of its id line.
    fn of_chunk(position: Position, bytes: Vec<u8>, start: usize, id: usize) -> Frame {
        Frame {
            end: bytes.len() as u32,
            bytes: bytes.into(),
            block: start as u8,
            rest: (start + id) as u8,
            position,
            kind: None,
            last: false,
            origin: Origin::Node,
            rank: None,
            delivery: None,
            further: OnceLock::new(),
        }
    }

    /// The whole as one HTTP chunk: what a subscriber of one channel gets.
    pub fn chunk(&self) -> &[u8] {
        self.made(Part::Chunk)
    }

    /// A field of its entry by name, as far as conditions look at it; `event` is the type that subscribers know.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        if name != "event" {
            return fields::find(&self.bytes[self.end as usize..], name.as_bytes());
        }
        let line = self.rest().strip_prefix(b"event: ").map(|rest| &rest[..memchr::memchr(b'\n', rest).unwrap_or(0)]);
        self.is_event().then(|| line.unwrap_or(b"message"))
    }

    /// Bytes that it keeps for conditions beside what it sends.
    pub fn beside(&self) -> usize {
        self.bytes.len() - self.end as usize
    }

    /// The event without chunk framing, its id line included.
    pub fn block(&self) -> &[u8] {
        without_end(self.made(Part::Block))
    }

    /// Whether its data is an object of its entry's fields.
    pub fn is_object(&self) -> bool {
        self.origin == Origin::Fields
    }

    /// The event without its id line: what goes behind a cursor of several channels.
    pub fn rest(&self) -> &[u8] {
        without_end(self.made(Part::Rest))
    }

    /// Whether it is an event of the channel, not a control event.
    pub fn is_event(&self) -> bool {
        self.kind.is_some()
    }

    /// Whether an entry has its place in the stream, so that its presence there means something.
    pub fn is_entry(&self) -> bool {
        self.origin != Origin::Node
    }

    /// The rest for `envelope=1`: a `message` event whose data is `{"channel","id","event","data"}`.
    ///
    /// Control events are not wrapped.
    pub fn enveloped(&self, channel: &Channel) -> &[u8] {
        without_end(self.part(Part::Envelope, Names { channel, field: None }).unwrap_or_default())
    }

    /// The gap that it announces, if it does.
    pub fn gap(&self) -> Option<Gap> {
        let text = std::str::from_utf8(self.rest()).ok().filter(|_| !self.is_event())?;
        let (name, data) = text.trim_end().strip_prefix("event: ")?.split_once("\ndata: ")?;
        match ControlEvent::parse(name, data)? {
            ControlEvent::Gap(gap) => Some(gap),
            _ => None,
        }
    }

    /// A part, with the end of its chunk behind it; made when the first one needs it. `None`: it is of a shape for which there is no room.
    pub fn part(&self, part: Part, names: Names<'_>) -> Option<&[u8]> {
        if part.is_of_chunk() {
            return Some(self.made(part));
        }
        let further = || self.further.get_or_init(Box::default);
        // What is packed must be there before its own place is taken.
        let plain = if part == part.plain() { &[][..] } else { self.part(part.plain(), names)? };
        let pack = || ended(gzip::pack(without_end(plain)));
        Some(match part {
            Part::Chunk | Part::Block | Part::Rest => self.made(part),
            Part::Envelope if !self.is_event() => self.made(Part::Rest),
            Part::Envelope => {
                further().enveloped.get_or_init(|| ended(envelope(names.channel, self.position, self.rest())))
            }
            Part::PackedBlock => further().packed_block.get_or_init(pack),
            Part::PackedRest => further().packed_rest.get_or_init(pack),
            Part::PackedEnvelope => further().packed_envelope.get_or_init(pack),
            Part::Shaped(shape) => return further().shapes.made_or(part, || ended(self.shaped(shape, names))),
            Part::PackedShaped(_) => return further().shapes.made_or(part, pack),
        })
    }

    /// The bytes of a part that was made before; empty where it was not.
    pub fn made(&self, part: Part) -> &[u8] {
        let further = |of: fn(&Further) -> &OnceLock<Box<[u8]>>| {
            self.further.get().and_then(|further| of(further).get()).map_or(&[][..], |bytes| bytes)
        };
        match part {
            Part::Chunk => &self.bytes[..self.end as usize],
            Part::Block => &self.bytes[self.block as usize..self.end as usize],
            Part::Rest => &self.bytes[self.rest as usize..self.end as usize],
            Part::Envelope if !self.is_event() => self.made(Part::Rest),
            Part::Envelope => further(|further| &further.enveloped),
            Part::PackedBlock => further(|further| &further.packed_block),
            Part::PackedRest => further(|further| &further.packed_rest),
            Part::PackedEnvelope => further(|further| &further.packed_envelope),
            Part::Shaped(_) | Part::PackedShaped(_) => {
                self.further.get().and_then(|further| further.shapes.made(part)).unwrap_or_default()
            }
        }
    }
}

/// What ends a chunk: CR, LF.
pub const END_OF_CHUNK: usize = 2;

fn ended(mut bytes: Vec<u8>) -> Box<[u8]> {
    bytes.extend_from_slice(b"\r\n");
    bytes.into_boxed_slice()
}

fn without_end(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len() - END_OF_CHUNK]
}

/// A part of a frame that many have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole, with its size line.
    Chunk,
    /// The event without chunk framing, its id line included.
    Block,
    /// The event without its id line.
    Rest,
    /// See [`Frame::enveloped`].
    Envelope,
    /// [`Part::Block`] as a piece of a gzip stream.
    PackedBlock,
    /// [`Part::Rest`] as a piece of a gzip stream.
    PackedRest,
    /// [`Part::Envelope`] as a piece of a gzip stream.
    PackedEnvelope,
    /// In another form, behind an id line of the subscriber's own.
    Shaped(Shape),
    /// [`Part::Shaped`] as a piece of a gzip stream.
    PackedShaped(Shape),
}

impl Part {
    /// Whether it is a piece of the frame's chunk, and takes no memory of its own.
    pub fn is_of_chunk(self) -> bool {
        matches!(self, Part::Chunk | Part::Block | Part::Rest)
    }

    /// The part as a piece of a gzip stream.
    pub fn packed(self) -> Part {
        match self {
            Part::Block => Part::PackedBlock,
            Part::Rest => Part::PackedRest,
            Part::Envelope => Part::PackedEnvelope,
            Part::Shaped(shape) => Part::PackedShaped(shape),
            other => other,
        }
    }

    /// What is packed in it, or itself.
    fn plain(self) -> Part {
        match self {
            Part::PackedBlock => Part::Block,
            Part::PackedRest => Part::Rest,
            Part::PackedEnvelope => Part::Envelope,
            Part::PackedShaped(shape) => Part::Shaped(shape),
            other => other,
        }
    }
}

/// The line before a chunk of that many bytes.
fn size_line(length: usize) -> String {
    format!("{length:x}\r\n")
}

/// `event:`, `retry:` and `data:` lines and the empty line, part by part. `kind`: the event's type on one line.
fn encode_rest(kind: &str, event: &Event, mut put: impl FnMut(&[u8])) {
    if event.kind.is_some() {
        [b"event: ", kind.as_bytes(), b"\n"].into_iter().for_each(&mut put);
    }
    if let Some(retry) = event.retry {
        put(format!("retry: {retry}\n").as_bytes());
    }
    put(b"data: ");
    data_lines(&event.data, &mut put);
    put(b"\n\n");
}

/// An event's data behind its first `data: `. What is no UTF-8 becomes U+FFFD, as in `String::from_utf8_lossy`, which
/// would copy it.
fn data_lines(data: &[u8], mut put: impl FnMut(&[u8])) {
    for chunk in data.utf8_chunks() {
        for (number, line) in lines(chunk.valid()).enumerate() {
            if number > 0 {
                put(b"\ndata: ");
            }
            put(line.as_bytes());
        }
        if !chunk.invalid().is_empty() {
            put("\u{fffd}".as_bytes());
        }
    }
}

/// Whether an entry takes no more than `most` bytes on the wire.
pub fn is_within(entry: &Entry, most: usize) -> bool {
    // What a byte becomes at most: a line of its own.
    const WIDEST: usize = b"\ndata: ".len();
    /// Of an event beside its data, and of a member of an object beside its name and value.
    const BESIDE: usize = 512;
    const MEMBER: usize = 6;
    let members = entry.fields.len().saturating_mul(MEMBER);
    if entry.size().saturating_mul(WIDEST).saturating_add(members + BESIDE) <= most {
        return true;
    }
    let mut length = BESIDE;
    match entry.field(b"data") {
        Some(data) => data_lines(data, |part| length += part.len()),
        None => {
            length += members;
            let texts = entry.fields.iter().flat_map(|(name, value)| [name, value]);
            length += texts.map(|text| text.iter().map(|byte| as_json(*byte)).sum::<usize>()).sum::<usize>();
        }
    }
    length.max(entry.size()) <= most
}

/// Bytes that a byte takes in a JSON string, at most.
fn as_json(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..0x20 => 6,
        // It may not belong to a character, and is replaced by one of three.
        0x80.. => 3,
        _ => 1,
    }
}

/// Lines as an event-stream parser would see them: ended by CRLF, LF or CR. `a\n` has two, the second empty.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut left = Some(text);
    std::iter::from_fn(move || {
        let text = left?;
        let Some(end) = memchr::memchr2(b'\r', b'\n', text.as_bytes()) else { return left.take() };
        let width = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        left = Some(&text[end + width..]);
        Some(&text[..end])
    })
}

/// An event's data as an EventSource has it: text, with its line ends as line feeds.
pub fn plain_data(event: &Event) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(&event.data);
    match memchr::memchr(b'\r', text.as_bytes()) {
        None => text,
        Some(_) => lines(&text).collect::<Vec<_>>().join("\n").into(),
    }
}

/// An event's type as an EventSource has it.
pub fn plain_type(kind: Option<&[u8]>) -> String {
    kind.map_or_else(|| "message".into(), one_line)
}

/// A field value that must stay on its line: CR, LF and NUL become spaces.
fn one_line(value: &[u8]) -> String {
    String::from_utf8_lossy(value).replace(['\r', '\n', '\0'], " ")
}

/// An envelope without a type of its own.
fn envelope(channel: &Channel, position: Position, rest: &[u8]) -> Vec<u8> {
    let said = shape::Said::read(rest);
    let mut out = Vec::with_capacity(rest.len() + 100);
    out.extend_from_slice(said.retry.as_bytes());
    let _ = write!(out, "data: {}\n\n", said.envelope(channel, position, &said.data));
    out
}

/// Wraps a block in chunk framing.
pub fn chunked(into: &mut Vec<u8>, block: &[u8]) {
    let _ = write!(into, "{:x}\r\n", block.len());
    into.extend_from_slice(block);
    into.extend_from_slice(b"\r\n");
}
