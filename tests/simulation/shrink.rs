//! Makes a plan in which something goes wrong as small as it can: whatever can be left out, is.

use super::plan::Plan;
use super::world::run;
use std::time::{Duration, Instant};

/// The smallest plan that was found within `limit` in which something is still wrong.
pub fn shrink(mut plan: Plan, limit: Duration) -> Plan {
    let until = Instant::now() + limit;
    let mut piece = plan.steps.len().div_ceil(2);
    while piece > 0 && Instant::now() < until {
        let mut from = 0;
        while from < plan.steps.len() && Instant::now() < until {
            let mut smaller = plan.clone();
            let end = (from + piece).min(smaller.steps.len());
            smaller.steps.drain(from..end);
            match run(&smaller).wrong {
                Some(_) => plan = smaller,
                None => from += piece,
            }
        }
        piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
    }
    plan
}
