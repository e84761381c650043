//! A page of history: what is asked for a leg that is behind the tail, and what it gets.

use super::feed::Feed;
use super::offset::Offset;
use super::replay::Ration;
use crate::channel::Channel;
use crate::frame::{Frame, Standing};
use crate::position::Position;
use std::sync::{Arc, Weak};

/// Asks for the history that follows a leg's place in a feed, as much as one page holds.
pub struct PageRequest {
    pub feed: Arc<Feed>,
    /// Where the leg stands.
    pub standing: Standing,
    /// Where the feed's log ended when it was known where the leg stands: by that it is known of which stream it is.
    pub known_to: Offset,
    /// Nothing is owed to the leg yet: it begins with whatever comes.
    pub fresh: bool,
    /// Events of history that the leg was given since it fell behind, or gave a page back.
    pub given: u32,
    /// Dead once nobody waits for the answer any more.
    pub here: Weak<()>,
}

/// A piece of history for one leg.
pub struct Page {
    /// Oldest first, control events among them.
    pub frames: Vec<Arc<Frame>>,
    /// Where the leg stands after these frames.
    pub standing: Standing,
    /// Where the leg then goes on in the log; `None`: there is more history.
    pub at: Option<Offset>,
    /// Where the log ended when the page was asked for.
    pub known_to: Offset,
    /// The memory that the frames take; `None` where they take none.
    pub ration: Option<Arc<Ration>>,
}

/// A page as it was read, for all who ask for the same.
#[derive(Clone)]
pub struct SharedPage {
    /// Up to here nothing lies behind the last of its frames, unless it is full. A later reader may ask for more.
    pub newest: Position,
    /// Whether `newest` is an entry, which must be there.
    pub entry: bool,
    pub frames: Arc<[Arc<Frame>]>,
    /// The memory that they take, counted once for all who have them.
    pub ration: Arc<Ration>,
}

impl PageRequest {
    pub fn channel(&self) -> &Channel {
        &self.feed.channel
    }

    /// A request for a leg that has had nothing, from the stream's beginning.
    pub fn at_the_beginning(&self) -> PageRequest {
        let standing = Standing { position: Position::ZERO, due: None, entry: false };
        let (feed, known_to) = (self.feed.clone(), self.feed.lock().log.end());
        PageRequest { feed, standing, known_to, fresh: true, given: self.given, here: self.here.clone() }
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_gone(&self) -> bool {
        self.here.strong_count() == 0
    }
}
