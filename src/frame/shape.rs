//! Forms of a frame that few ask for, each encoded when the first subscriber needs it, once for all who ask for the same. Pure.

use super::{Frame, Part};
use crate::channel::Channel;
use std::sync::OnceLock;

/// Forms that one frame keeps. Who asks for another one has it encoded for itself: names of fields are the clients' own.
const KEPT: usize = 8;

/// How an event, or a gap, looks to who did not want it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// A gap is a comment.
    pub comment: bool,
}

impl Shape {
    /// Of a gap that is no event.
    pub const COMMENT: Shape = Shape { comment: true };
}

/// What a frame does not know of what it is sent as.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    pub channel: &'a Channel,
}

/// The forms of a frame that were asked for so far.
#[derive(Debug, Default)]
pub(super) struct Shapes(OnceLock<Box<Shaped>>);

#[derive(Debug)]
struct Shaped {
    part: Part,
    bytes: Box<[u8]>,
    next: Shapes,
}

impl Shapes {
    /// What was made before.
    pub fn made(&self, part: Part) -> Option<&[u8]> {
        let mut here = self;
        while let Some(shaped) = here.0.get() {
            if shaped.part == part {
                return Some(&shaped.bytes);
            }
            here = &shaped.next;
        }
        None
    }

    /// What was made before, or is made now; `None` where there are too many. `make` must not ask for another one here.
    pub fn made_or(&self, part: Part, make: impl FnOnce() -> Box<[u8]>) -> Option<&[u8]> {
        let mut here = self;
        let mut make = Some(make);
        for _ in 0..KEPT {
            let shaped = here.0.get_or_init(|| {
                let bytes = make.take().map(|make| make()).unwrap_or_default();
                Box::new(Shaped { part, bytes, next: Shapes::default() })
            });
            if shaped.part == part {
                return Some(&shaped.bytes);
            }
            here = &shaped.next;
        }
        None
    }
}

impl Frame {
    /// The frame in another form, without the end of its chunk.
    pub fn shaped(&self, shape: Shape, names: Names<'_>) -> Vec<u8> {
        let _ = names;
        match shape.comment {
            true => self.comment(),
            false => self.rest().to_vec(),
        }
    }

    /// A gap as a comment of one line; anything else as it is.
    fn comment(&self) -> Vec<u8> {
        let rest = self.rest();
        let said = std::str::from_utf8(rest).ok().filter(|_| !self.is_event());
        match said.and_then(|said| said.trim_end().strip_prefix("event: ")?.split_once("\ndata: ")) {
            Some((name, data)) => format!(": {name} {data}\n").into_bytes(),
            None => rest.to_vec(),
        }
    }
}
