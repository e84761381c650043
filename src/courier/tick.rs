//! Time as couriers count it: coarse, in ticks since a courier began.

use std::time::Duration;

/// How long a tick is.
pub const TICK: Duration = Duration::from_millis(100);

/// A moment of a courier, in ticks since it began. They wrap after thirteen years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u32);

impl Tick {
    /// Later than all others.
    pub const NEVER: Tick = Tick(u32::MAX);

    /// The tick in which a courier is so long after it began.
    pub fn at(age: Duration) -> Tick {
        Tick((age.as_millis() / TICK.as_millis()) as u32)
    }

    /// Milliseconds since the courier began.
    pub fn ms(self) -> u64 {
        u64::from(self.0) * TICK.as_millis() as u64
    }

    /// When the next tick begins, after the courier began.
    pub fn end(self) -> Duration {
        TICK * self.0.saturating_add(1)
    }

    /// How many ticks have passed since an earlier one.
    pub fn since(self, earlier: Tick) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// So many ticks later.
    pub fn plus(self, ticks: u32) -> Tick {
        Tick(self.0.saturating_add(ticks))
    }

    /// So many ticks earlier.
    pub fn minus(self, ticks: u32) -> Tick {
        Tick(self.0.saturating_sub(ticks))
    }
}

/// Whole ticks of a duration, at most half of all that there are.
pub fn ticks(duration: Duration) -> u32 {
    (duration.as_millis() / TICK.as_millis()).min(u128::from(u32::MAX / 2)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_tenths_of_a_second_and_stop_at_never() {
        let tick = Tick::at(Duration::from_millis(1_250));
        assert_eq!((tick, tick.end()), (Tick(12), Duration::from_millis(1_300)));
        assert_eq!((tick.plus(3).since(tick), tick.minus(20)), (3, Tick(0)));
        assert_eq!((tick.plus(u32::MAX), ticks(Duration::MAX)), (Tick::NEVER, u32::MAX / 2));
    }
}
