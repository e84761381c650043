//! What a peer may do that costs it a few bytes and the node an answer or a walk through its tables, and that the protocol
//! does not bound.

/// So much at once, and so much per second from then on.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    most: f32,
    per_second: f32,
    left: f32,
    /// Milliseconds at which it was counted last.
    at: u64,
}

impl Budget {
    /// A full budget.
    pub const fn new(most: f32, per_second: f32) -> Budget {
        Budget { most, per_second, left: most, at: 0 }
    }

    /// Takes one; whether there was one.
    pub fn take(&mut self, now_ms: u64) -> bool {
        let rested = now_ms.saturating_sub(self.at) as f32 / 1_000.0;
        (self.left, self.at) = ((self.left + rested * self.per_second).min(self.most) - 1.0, now_ms);
        self.left >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_filled_again() {
        let mut budget = Budget::new(3.0, 2.0);
        assert!((0..3).all(|_| budget.take(5_000)) && !budget.take(5_000));
        assert!(budget.take(6_000) && !budget.take(6_000), "half a second pays for the one that was refused");
        assert!((0..3).all(|_| budget.take(60_000)) && !budget.take(60_000), "no more than there is room for");
    }
}
