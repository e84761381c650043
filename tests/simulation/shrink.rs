//! Makes a plan in which something goes wrong as small as it can: whatever can be left out, is.

use super::plan::Plan;
use super::world::run;
use std::time::{Duration, Instant};

/// The smallest plan that was found within `limit` in which the same goes wrong.
pub fn shrink(mut plan: Plan, limit: Duration) -> Plan {
    let until = Instant::now() + limit;
    let Some(wrong) = run(&plan).wrong else { return plan };
    let mut piece = plan.steps.len().div_ceil(2);
    while piece > 0 && Instant::now() < until {
        let mut from = 0;
        while from < plan.steps.len() && Instant::now() < until {
            let mut smaller = plan.clone();
            let end = (from + piece).min(smaller.steps.len());
            smaller.steps.drain(from..end);
            match run(&smaller).wrong {
                Some(other) if kind(&other) == kind(&wrong) => plan = smaller,
                _ => from += piece,
            }
        }
        piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
    }
    plan
}

/// The words of a complaint's first line, without numbers and what is printed of a value. Without it, a plan that lacks the
/// step that mends a fault would pass for a smaller one, as its nodes are rightly found to be down.
fn kind(wrong: &str) -> Vec<&str> {
    let line = wrong.lines().next().unwrap_or_default();
    let line = line.split(['{', '[', '(']).next().unwrap_or_default();
    line.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit())).collect()
}
