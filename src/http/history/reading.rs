//! Reading a page of history piece by piece: no more of it is in memory than what is written next.
//!
//! A page that ends at an id is read from there back, to find where it begins; what was read then and does not fit into
//! what may be held is read again when its turn comes. Nothing can come between, for ids only grow.

use super::budget::{Held, Turn};
use super::page::{Page, raw_size, written_size};
use crate::backplane::{BackplaneError, Entry, Span, Toward, may_hold_more};
use crate::hub::Hub;
use crate::position::Position;
use std::collections::VecDeque;
use std::sync::Arc;

/// What an answer may weigh; then it is shorter than asked for, and says that there is more. One event always fits.
const PAGE_BYTES: usize = 4 << 20;
/// What one read should weigh, and what is kept of a page while its beginning is looked for.
const PIECE_BYTES: usize = 256 << 10;
/// Entries of the first read, whose sizes nobody knows yet; how many times as many the next ones may have; and of any.
const FIRST: usize = 2;
const GROWTH: usize = 4;
const MOST: usize = 256;
/// Entries that are looked at for one answer where a filter may show few of them.
const MOST_LOOKED_AT: usize = 20_000;
/// What an entry is taken to weigh before one was seen.
const USUAL_BYTES: usize = 1 << 10;

/// Entries that are written next, oldest first.
pub struct Piece {
    pub entries: Vec<Entry>,
    held: Held,
}

/// A page of history that is being read.
pub struct Reading {
    page: Page,
    hub: Arc<Hub>,
    turn: Arc<Turn>,
    /// What is still to be read; `None`: nothing.
    bounds: Option<(Position, Position)>,
    /// Events that may still come.
    left: usize,
    bytes_left: usize,
    begun: bool,
    /// Where it begins has been looked for; whether there is more is known.
    found: bool,
    kept: VecDeque<Piece>,
    /// Events that were found and are not kept.
    dropped: usize,
    next_count: usize,
    largest: usize,
    more: bool,
    /// Entries that were looked at, and where a filtered page stopped since they were enough.
    looked_at: usize,
    stopped_at: Option<Position>,
}

impl Reading {
    pub fn new(page: Page, hub: Arc<Hub>, turn: Arc<Turn>) -> Reading {
        Reading {
            bounds: page.bounds(),
            left: page.limit,
            page,
            hub,
            turn,
            bytes_left: PAGE_BYTES,
            begun: false,
            found: false,
            kept: VecDeque::new(),
            dropped: 0,
            next_count: FIRST,
            largest: 0,
            more: false,
            looked_at: 0,
            stopped_at: None,
        }
    }

    /// The next piece; `None` at the end. Waits for room.
    pub async fn next(&mut self) -> Result<Option<Piece>, BackplaneError> {
        if self.page.toward == Toward::Oldest && !self.found {
            self.find_beginning().await?;
        }
        if let Some(piece) = self.kept.pop_front() {
            return Ok(Some(piece));
        }
        let Some((oldest, newest)) = self.bounds else { return Ok(None) };
        let count = self.count();
        let mut piece = self.read(oldest, newest, count).await?;
        let mut whole = !may_hold_more(&piece.entries, count);
        // The first read knew no sizes; what is too much for a piece is read again when its turn comes.
        let light = piece.light();
        whole &= light == piece.entries.len();
        piece.keep(..light);
        let fits = self.fitting(piece.entries.iter());
        let full = fits < piece.entries.len();
        piece.keep(..fits);
        self.bounds = match piece.entries.last() {
            Some(last) if !whole && !full && last.position < newest && !self.is_enough(last.position) => {
                Some((last.position.after(), newest))
            }
            _ => None,
        };
        Ok(Some(self.shown(piece)))
    }

    /// A piece with what is shown of it.
    fn shown(&self, mut piece: Piece) -> Piece {
        if !self.page.filter.is_all() {
            piece.entries.retain(|entry| self.page.filter.shows(entry));
            piece.keep(..);
        }
        piece
    }

    /// Whether a filtered page ends at a position because it has looked at enough; then there may be more.
    fn is_enough(&mut self, at: Position) -> bool {
        if self.page.filter.is_all() || self.is_found() || self.looked_at < MOST_LOOKED_AT {
            return false;
        }
        (self.more, self.stopped_at) = (true, Some(at));
        true
    }

    /// Where to go on behind a filtered page that ended before it was full: the id for the next `after` or `before`.
    pub fn stopped_at(&self) -> Option<Position> {
        self.stopped_at
    }

    /// Whether all has been given.
    pub fn is_over(&self) -> bool {
        self.bounds.is_none() && self.kept.is_empty()
    }

    /// Whether there is more in the direction of the page; known when it [is over](Reading::is_over).
    pub fn more(&self) -> bool {
        self.more
    }

    /// Goes back from the newest event until the page is full, and keeps what is written first.
    async fn find_beginning(&mut self) -> Result<(), BackplaneError> {
        self.found = true;
        let (mut newest_of_all, mut oldest_of_all) = (None, None);
        while let Some((oldest, newest)) = self.bounds {
            let count = self.count();
            let mut piece = self.read(oldest, newest, count).await?;
            let whole = !may_hold_more(&piece.entries, count);
            let fits = self.fitting(piece.entries.iter().rev());
            piece.keep(piece.entries.len() - fits..);
            newest_of_all = newest_of_all.or(piece.entries.last().map(|entry| entry.position));
            oldest_of_all = piece.entries.first().map(|entry| entry.position).or(oldest_of_all);
            self.bounds = match piece.entries.first() {
                Some(first) if !whole && !self.more && first.position > oldest && !self.is_enough(first.position) => {
                    Some((oldest, first.position.before()))
                }
                _ => None,
            };
            let piece = self.shown(piece);
            if !piece.entries.is_empty() {
                self.kept.push_front(piece);
            }
            let kept = |pieces: &VecDeque<Piece>| pieces.iter().map(|piece| piece.held.bytes()).sum::<usize>();
            while self.kept.len() > 1 && kept(&self.kept) > PIECE_BYTES {
                self.let_go();
            }
        }
        let last = self.kept.back().and_then(|piece| piece.entries.last()).map(|entry| entry.position);
        if let (true, Some(oldest), Some(newest)) = (self.dropped > 0, oldest_of_all, newest_of_all) {
            self.bounds = Some((last.map_or(oldest, Position::after), newest));
        }
        (self.left, self.bytes_left) = (self.dropped, usize::MAX);
        Ok(())
    }

    /// Keeps the newest piece no longer: it is read again.
    fn let_go(&mut self) {
        self.dropped += self.kept.pop_back().map_or(0, |piece| piece.entries.len());
    }

    /// How many entries of a read still belong to the page; notes whether there are more.
    fn fitting<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> usize {
        let mut fits = 0;
        for entry in entries {
            if !self.page.filter.shows(entry) && self.left > 0 {
                fits += 1;
                continue;
            }
            let size = if self.bytes_left == usize::MAX { 0 } else { written_size(entry) };
            if self.left == 0 || (self.begun && size > self.bytes_left) {
                // What lies behind the page was found out when its beginning was.
                self.more |= !self.is_found();
                break;
            }
            self.begun = true;
            self.left -= 1;
            self.bytes_left = self.bytes_left.saturating_sub(size);
            fits += 1;
        }
        fits
    }

    fn is_found(&self) -> bool {
        self.bytes_left == usize::MAX
    }

    /// Entries of the next read: as many as are still wanted, and one to tell whether there is more.
    fn count(&self) -> usize {
        let by_size = (PIECE_BYTES / self.largest.max(1)).clamp(1, MOST);
        let wanted = if self.page.filter.is_all() { self.left + usize::from(!self.is_found()) } else { MOST };
        self.next_count.min(by_size).min(wanted).max(1)
    }

    async fn read(&mut self, oldest: Position, newest: Position, count: usize) -> Result<Piece, BackplaneError> {
        let expected = count * if self.largest > 0 { self.largest } else { USUAL_BYTES };
        let mut held = match self.turn.try_take(expected) {
            Some(held) => held,
            None => {
                // Nobody holds on to something while waiting for more.
                while !self.kept.is_empty() {
                    self.let_go();
                }
                self.turn.take(expected).await
            }
        };
        let toward = if self.is_found() { Toward::Newest } else { self.page.toward };
        let span = Span { channel: self.page.channel.clone(), oldest, newest, count, toward };
        // Closed only with the node.
        let place = self.turn.budget.reads.acquire().await;
        let entries = self.hub.read_history(span).await?;
        drop(place);
        self.looked_at += entries.len();
        self.next_count = (count * GROWTH).min(MOST);
        self.largest = entries.iter().map(raw_size).max().unwrap_or(0).max(self.largest);
        held.resize(entries.iter().map(raw_size).sum());
        Ok(Piece { entries, held })
    }
}

impl Piece {
    /// What its entries weigh.
    pub fn bytes(&self) -> usize {
        self.held.bytes()
    }

    /// How many entries are what a piece should weigh; at least one.
    fn light(&self) -> usize {
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += raw_size(entry);
            bytes <= PIECE_BYTES
        };
        self.entries.iter().take_while(fits).count().max(1).min(self.entries.len())
    }

    /// Keeps a part of its entries.
    fn keep(&mut self, range: impl std::ops::RangeBounds<usize>) {
        self.entries = self.entries.drain(range).collect();
        self.held.resize(self.entries.iter().map(raw_size).sum());
    }
}
