//! A courier's carriers, and those that have something to do.

use super::carrier::{Carrier, News, Unsent};
use super::requests::Requests;
use super::tick::Tick;
use crate::records::MOST_RECORD;
use slab::Slab;
use std::sync::Arc;

/// What is read at once: the longest record of TLS has room.
const BUFFER_BYTES: usize = MOST_RECORD;

/// A courier's carriers. A place stands for one of them until [`remove`](Carriers::remove), and what is told of a place
/// that another one has taken since does no harm.
#[derive(Default)]
pub struct Carriers {
    pub slab: Slab<Seat>,
    /// Carriers that have something to send.
    pub unsent: Unsent,
    /// Carriers of which not all was read.
    pub unread: Vec<usize>,
    pub buffers: CarrierBuffers,
}

/// Memory that is used again and again; nothing in it outlives its use.
#[derive(Default)]
pub struct CarrierBuffers {
    pub bytes: Vec<u8>,
    pub news: News,
    unsent: Vec<usize>,
}

/// A carrier, and what its courier knows of it.
pub struct Seat {
    pub carrier: Arc<Carrier>,
    pub requests: Arc<dyn Requests>,
    /// When somebody had a stream on it, last.
    pub used: Tick,
    /// A request has come.
    pub asked: bool,
    /// It was told to go, and is closed then.
    pub farewell: Option<Tick>,
}

impl Carriers {
    /// Sends what they have to send.
    pub fn send(&mut self, now: Tick) {
        std::mem::swap(&mut *self.unsent.lock(), &mut self.buffers.unsent);
        for place in self.buffers.unsent.drain(..) {
            if let Some(seat) = self.slab.get(place) {
                seat.carrier.send(now);
            }
        }
    }

    /// Those whose full sockets have left something, and since when they have taken nothing.
    pub fn full(&self) -> impl Iterator<Item = (Tick, usize)> {
        self.slab.iter().filter_map(|(place, seat)| Some((seat.carrier.full_since()?, place)))
    }

    /// Takes the buffers, ready for use.
    pub fn take_buffers(&mut self) -> CarrierBuffers {
        let mut buffers = std::mem::take(&mut self.buffers);
        buffers.bytes.resize(BUFFER_BYTES, 0);
        buffers
    }
}
