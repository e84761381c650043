//! How long the machine ran nothing of the test: a busy one must not be taken for a slow cluster.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often a thread of the lowest needs wants to run.
const TICK: Duration = Duration::from_millis(10);
/// A delay of the scheduler that is none.
const USUAL: Duration = Duration::from_millis(15);

/// Watches for as long as it lives.
pub struct Stalls {
    stop: Arc<AtomicBool>,
    /// From when, for how long.
    seen: Arc<Mutex<Vec<(Instant, Duration)>>>,
}

impl Stalls {
    pub fn watch() -> Stalls {
        let stalls = Stalls { stop: Arc::default(), seen: Arc::default() };
        let (stop, seen) = (stalls.stop.clone(), stalls.seen.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                std::thread::sleep(TICK);
                let late = begun.elapsed().saturating_sub(TICK);
                if late > USUAL {
                    seen.lock().unwrap().push((begun + TICK, late));
                }
            }
        });
        stalls
    }

    /// How much of a time this thread should have run and did not.
    pub fn during(&self, from: Instant, until: Instant) -> Duration {
        let seen = self.seen.lock().unwrap();
        let overlap =
            |(begun, late): &(Instant, Duration)| until.min(*begun + *late).saturating_duration_since(from.max(*begun));
        seen.iter().map(overlap).sum()
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn only_what_overlaps_counts() {
    let (begun, ms) = (Instant::now(), Duration::from_millis);
    let stalls = Stalls { stop: Arc::default(), seen: Arc::new(Mutex::new(vec![(begun + ms(100), ms(50))])) };
    let during = |from, until| stalls.during(begun + ms(from), begun + ms(until));
    assert_eq!([during(0, 90), during(0, 120), during(120, 400), during(160, 400)], [0, 20, 30, 0].map(ms));
}
