//! New frames of one feed, put together once for all its members, and how far the walk over these has come.

use super::leftover::Source;
use super::memory_file::MemoryFile;
use super::mirror::Mirror;
use super::socket::Socket;
use crate::frame::{Frame, Part, Standing};
use crate::hub::bell::FeedNumber;
use crate::hub::offset::Offset;
use crate::telemetry::trace::Delivery;
use std::cell::OnceCell;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Frames of one broadcast whose lag is measured one by one.
const LAGS_PER_BROADCAST: usize = 64;
/// Bytes from which a socket is given the file's pages instead of a copy: a bare loop over loopback sockets costs as much
/// either way at 9 KB, 5 % less at 12 KB and a quarter less at 23 KB.
const PAGED_BYTES: usize = 12 << 10;
/// Members from which the file is made, since making them costs what a few copies do.
const PAGED_MEMBERS: usize = 16;

/// A walk over one feed's members, continued over several turns.
pub struct Broadcast {
    pub feed: FeedNumber,
    /// Offsets of the feed's log that it covers.
    pub from: Offset,
    pub to: Offset,
    bytes: Bytes,
    /// A file in memory with these bytes, from when a socket first takes them so; `None` inside where that cannot be.
    file: Option<OnceCell<Option<MemoryFile>>>,
    /// How many events that is, and the ids' milliseconds of some of them.
    pub events: u64,
    pub times: Vec<u64>,
    /// Of its events those that are traced.
    pub traced: Vec<Arc<Delivery>>,
    /// Where a subscriber is who has all of it.
    pub newest: Standing,
    /// It ends with the channel's last event: who has it is done.
    pub finale: bool,
    /// Other feeds advanced with it, so a subscriber of several may have more due.
    pub several: bool,
    /// The member whose turn it is.
    pub next: usize,
}

/// New frames as one run of bytes.
enum Bytes {
    /// One frame: nothing is copied.
    Shared(Arc<Frame>),
    /// Several frames, copied together once for all members.
    Glued(Arc<Vec<u8>>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Shared(frame) => frame.chunk(),
            Bytes::Glued(bytes) => bytes,
        }
    }
}

impl Broadcast {
    /// Of the frames between two offsets, which are on their way from now on.
    pub fn new(feed: FeedNumber, mirror: &Mirror, offsets: Range<Offset>, finale: bool, several: bool) -> Broadcast {
        let frames = mirror.after(offsets.start).take_while(|(offset, _)| *offset < offsets.end);
        let frames: Vec<&Arc<Frame>> = frames.map(|(_, frame)| frame).collect();
        let events = frames.iter().filter(|frame| frame.is_event());
        let timed = events.clone().map(|frame| frame.position).filter(|position| position.is_time());
        let traced: Vec<_> = frames.iter().filter_map(|frame| frame.delivery.clone()).collect();
        traced.iter().for_each(|delivery| delivery.begins());
        let bytes = match frames[..] {
            [frame] => Bytes::Shared(frame.clone()),
            _ => Bytes::Glued(Arc::new(frames.iter().map(|frame| frame.chunk()).collect::<Vec<_>>().concat())),
        };
        let paged = bytes.as_slice().len() >= PAGED_BYTES && mirror.members.len() >= PAGED_MEMBERS;
        Broadcast {
            feed,
            from: offsets.start,
            to: offsets.end,
            bytes,
            file: paged.then(OnceCell::new),
            events: events.clone().count() as u64,
            times: timed.rev().take(LAGS_PER_BROADCAST).map(|position| position.ms).collect(),
            traced,
            newest: mirror.standing_at(offsets.end),
            finale,
            several,
            next: 0,
        }
    }

    /// Where it stands and what it covers, if it is of this feed.
    pub fn still_serves(&self, feed: FeedNumber) -> Option<(usize, Offset, Offset)> {
        (self.feed == feed).then_some((self.next, self.from, self.to))
    }

    /// What follows an offset that it covers.
    pub fn after(&self, at: Offset) -> &[u8] {
        &self.bytes.as_slice()[at.since(self.from)..]
    }

    /// Its bytes, to be shared.
    pub fn source(&self) -> Source {
        match &self.bytes {
            Bytes::Shared(frame) => Source::Frame(frame.clone(), Part::Chunk, 0),
            Bytes::Glued(bytes) => Source::Glued(bytes.clone()),
        }
    }

    /// Writes what follows an offset, as far as the socket takes it.
    pub fn write(&self, socket: &mut Socket, at: Offset) -> io::Result<usize> {
        let due = self.after(at);
        if let Some(file) = &self.file
            && due.len() >= PAGED_BYTES
            && let Some(socket) = socket.bare()
            && let Some(file) = file.get_or_init(|| MemoryFile::of(self.bytes.as_slice()))
            && let Some(result) = file.send(socket, at.since(self.from) as u64)
        {
            return result;
        }
        io::Write::write(socket, due)
    }
}
