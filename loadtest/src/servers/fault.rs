//! A server's faults, injected on purpose: the checker has to find each one.

use std::borrow::Cow;
use std::collections::HashMap;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Drop,
    Repeat,
    /// Held back and sent behind the next one.
    Reorder,
}

/// One delivery in `every` goes wrong.
pub struct Fault {
    kind: Kind,
    every: u64,
    deliveries: u64,
    held: HashMap<usize, Vec<u8>>,
}

impl Fault {
    pub fn new(kind: Kind, every: u64) -> Fault {
        Fault { kind, every, deliveries: 0, held: HashMap::new() }
    }

    /// What a socket gets instead of a frame.
    pub fn alter<'a>(&mut self, socket: usize, frame: &'a [u8]) -> Cow<'a, [u8]> {
        self.deliveries += 1;
        if !self.deliveries.is_multiple_of(self.every) {
            return match self.held.remove(&socket) {
                Some(held) => Cow::Owned([frame, &held].concat()),
                None => Cow::Borrowed(frame),
            };
        }
        match self.kind {
            Kind::Drop => Cow::Borrowed(b""),
            Kind::Repeat => Cow::Owned([frame, frame].concat()),
            Kind::Reorder => {
                self.held.insert(socket, frame.to_vec());
                Cow::Borrowed(b"")
            }
        }
    }
}
