//! Offsets: places in a feed's log.

/// A place in a feed's log: how many bytes all frames before it have, counted from a number that leaves room for more
/// before the first. It lies between two frames or in one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// Where logs begin: leaves room for a terabyte of history before it.
    pub const ORIGIN: Offset = Offset(1 << 40);
    /// Behind all that logs have.
    pub const MAX: Offset = Offset(u64::MAX);

    /// So many bytes later.
    pub const fn plus(self, bytes: usize) -> Offset {
        Offset(self.0 + bytes as u64)
    }

    /// So many bytes earlier.
    pub const fn minus(self, bytes: usize) -> Offset {
        Offset(self.0 - bytes as u64)
    }

    /// Its lower half: enough to tell whether a place has moved.
    pub const fn low(self) -> u32 {
        self.0 as u32
    }

    /// How many bytes lie between an earlier place and this one.
    pub const fn since(self, earlier: Offset) -> usize {
        (self.0 - earlier.0) as usize
    }
}
