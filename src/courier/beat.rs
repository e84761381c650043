//! A subscriber's own heartbeat: how long it may be sent nothing, in one byte, and whether it is told by an event.

use super::tick::{TICK, ticks};
use crate::subscription::Subscription;
use std::time::Duration;

/// What a subscriber asked of its heartbeats. The default is the node's interval, and a comment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    every: Interval,
    /// It is an event.
    pub told: bool,
}

/// An interval up to thirteen minutes, no longer than the one that was asked for, and by no more than a thirty-second shorter. Three
/// bits are an exponent, five a mantissa; 0 is the node's interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Interval(u8);

/// Ticks that an interval is counted by.
const UNIT: u32 = 2;
const MANTISSA: u32 = 5;
/// How many values an interval has.
pub const INTERVALS: usize = 256;

impl Interval {
    fn of(asked: Duration) -> Interval {
        let longest = ((2 << MANTISSA) - 1) << 6;
        let units = (ticks(asked) / UNIT).clamp(1, longest);
        let exponent = units.ilog2().saturating_sub(MANTISSA - 1);
        let mantissa = units >> exponent.saturating_sub(1);
        Interval((exponent << MANTISSA | mantissa & ((1 << MANTISSA) - 1)) as u8)
    }

    fn ticks(self) -> Option<u32> {
        let (exponent, mantissa) = (u32::from(self.0) >> MANTISSA, u32::from(self.0) & ((1 << MANTISSA) - 1));
        let units = if exponent == 0 { mantissa } else { (mantissa | 1 << MANTISSA) << (exponent - 1) };
        (units > 0).then_some(units * UNIT)
    }
}

impl Beat {
    /// What a subscription asks for.
    pub fn of(subscription: &Subscription) -> Beat {
        let every = subscription.heartbeat.map_or(Interval::default(), Interval::of);
        Beat { every, told: subscription.heartbeat_event }
    }

    /// Its interval in ticks; `None`: the node's.
    pub fn ticks(self) -> Option<u32> {
        self.every.ticks()
    }

    /// Its interval in milliseconds, where the node's own is `usual`.
    pub fn every_ms(self, usual: Duration) -> u64 {
        let own = self.ticks().map(|ticks| u64::from(ticks) * TICK.as_millis() as u64);
        own.unwrap_or(usual.as_millis() as u64)
    }

    /// Which of [`INTERVALS`] it has.
    pub(super) fn number(self) -> usize {
        self.every.0 as usize
    }

    /// The interval of that number in ticks.
    pub(super) fn ticks_of(number: usize) -> Option<u32> {
        Interval(number as u8).ticks()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_what_was_asked_for_or_a_little_less() {
        assert_eq!((size_of::<Interval>(), Interval::default().ticks()), (1, None));
        for (asked, kept) in
            [(200, 200), (1_000, 1_000), (4_000, 4_000), (4_100, 4_000), (12_600, 12_600), (15_000, 14_800)]
        {
            let ticks = Interval::of(Duration::from_millis(asked)).ticks().expect("its own");
            assert_eq!(u64::from(ticks) * 100, kept, "{asked}");
        }
        let mut last = 0;
        for seconds in 1..=800 {
            let ticks = Interval::of(Duration::from_secs(seconds)).ticks().expect("its own");
            let asked = seconds as u32 * 10;
            assert!(ticks <= asked && ticks >= asked - asked.div_ceil(32) && ticks >= last, "{seconds}: {ticks}");
            last = ticks;
        }
        assert_eq!(Interval::of(Duration::MAX).ticks(), Some(63 * 64 * UNIT));
    }
}
