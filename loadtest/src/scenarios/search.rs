//! The greatest rate that something keeps up with: doubled until it fails, then narrowed down.

/// Ends when the least rate that failed is so many times the greatest that was kept up with.
const CLOSE: f64 = 1.06;
/// Rates beyond which nothing is tried, events per second.
const BOUNDS: std::ops::RangeInclusive<f64> = 10.0..=200_000.0;

/// What is known so far.
pub struct Search {
    start: f64,
    kept: Option<f64>,
    failed: Option<f64>,
}

impl Search {
    pub fn from(start: f64) -> Search {
        Search { start, kept: None, failed: None }
    }

    /// The rate to try next; `None` at the end.
    pub fn next(&self) -> Option<f64> {
        let rate = match (self.kept, self.failed) {
            (None, None) => self.start,
            (Some(kept), None) => kept * 2.0,
            (None, Some(failed)) => failed / 2.0,
            (Some(kept), Some(failed)) if failed / kept > CLOSE => (kept * failed).sqrt(),
            (Some(_), Some(_)) => return None,
        };
        BOUNDS.contains(&rate).then_some(rate)
    }

    /// What a try came to.
    pub fn note(&mut self, rate: f64, kept_up: bool) {
        *(if kept_up { &mut self.kept } else { &mut self.failed }) = Some(rate);
    }

    /// The greatest rate that was kept up with; zero for none.
    pub fn most(&self) -> f64 {
        self.kept.unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(start: f64, limit: f64) -> (f64, usize) {
        let (mut search, mut tries) = (Search::from(start), 0);
        while let Some(rate) = search.next() {
            search.note(rate, rate <= limit);
            tries += 1;
        }
        (search.most(), tries)
    }

    #[test]
    fn it_comes_close_from_either_side_in_few_tries() {
        for limit in [900.0, 4_000.0, 9_700.0, 60_000.0] {
            let (most, tries) = search(4_000.0, limit);
            assert!(most <= limit && most * CLOSE >= limit, "{most} for {limit}");
            assert!(tries <= 10, "{tries} tries for {limit}");
        }
    }

    #[test]
    fn it_ends_where_everything_or_nothing_is_kept_up_with() {
        assert_eq!(search(4_000.0, 0.0).0, 0.0);
        assert_eq!(search(4_000.0, f64::INFINITY).0, 128_000.0);
    }
}
