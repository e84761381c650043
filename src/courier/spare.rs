//! Memory of forms that subscribers leave, kept for the next one, so that a write to a single subscriber allocates nothing.

use super::subscriber::{Composed, Leg, Seat, Single};

/// The memory of forms that subscribers leave, for the next one: who is written to goes from single to composed and back.
#[derive(Default)]
pub struct Spare {
    single: Option<Box<Single>>,
    composed: Option<Box<Composed>>,
    /// Empty, with room for one.
    legs: Vec<Leg>,
}

impl Spare {
    /// Puts a composed subscriber of one channel away: nothing is to be written to it.
    pub fn fold(&mut self, mut composed: Box<Composed>, seat: Seat) -> Box<Single> {
        let terms = std::mem::take(&mut composed.terms);
        let single = Single { seat, terms, framing: composed.framing, skipped: composed.skipped };
        self.keep(composed);
        put(self.single.take(), single)
    }

    /// Takes it out again; the leg is its place in full.
    pub fn unfold(&mut self, mut single: Box<Single>, leg: Leg) -> Box<Composed> {
        let mut legs = std::mem::take(&mut self.legs);
        legs.reserve_exact(1);
        legs.push(leg);
        let terms = std::mem::take(&mut single.terms);
        let mut composed = Composed::new(terms, single.framing);
        (composed.legs, composed.skipped) = (legs.into_boxed_slice(), single.skipped);
        self.single = Some(single);
        put(self.composed.take(), composed)
    }

    /// Keeps the memory of a composed form.
    pub fn keep(&mut self, mut composed: Box<Composed>) {
        self.legs = std::mem::take(&mut composed.legs).into_vec();
        self.legs.clear();
        self.composed = Some(composed);
    }
}

/// A value in a box that there is already, or in a new one.
fn put<T>(spare: Option<Box<T>>, value: T) -> Box<T> {
    match spare {
        Some(mut spare) => {
            *spare = value;
            spare
        }
        None => Box::new(value),
    }
}
