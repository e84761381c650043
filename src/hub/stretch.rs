//! A stretch of a log: frames with their offsets, oldest first. Most channels are quiet, so without frames it is one word.

use crate::frame::Frame;
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

type Frames = VecDeque<(u64, Arc<Frame>)>;

static NONE: Frames = Frames::new();

/// See the module.
#[derive(Default)]
pub struct Stretch(Option<Box<Frames>>);

impl Stretch {
    /// For changing it.
    pub fn make(&mut self) -> &mut Frames {
        self.0.get_or_insert_default()
    }
}

impl Deref for Stretch {
    type Target = Frames;

    fn deref(&self) -> &Frames {
        self.0.as_deref().unwrap_or(&NONE)
    }
}
