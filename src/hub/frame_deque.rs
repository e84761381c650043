//! Frames with their offsets, oldest first. Most channels are quiet, so without frames it is one word.

use super::offset::Offset;
use crate::frame::Frame;
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

type Frames = VecDeque<(Offset, Arc<Frame>)>;

static NONE: Frames = Frames::new();

/// Frames of a log with their offsets, oldest first; one word where there are none.
#[derive(Default)]
pub struct FrameDeque(Option<Box<Frames>>);

impl FrameDeque {
    /// The frames, to be changed.
    pub fn make(&mut self) -> &mut Frames {
        self.0.get_or_insert_default()
    }
}

impl Deref for FrameDeque {
    type Target = Frames;

    fn deref(&self) -> &Frames {
        self.0.as_deref().unwrap_or(&NONE)
    }
}
