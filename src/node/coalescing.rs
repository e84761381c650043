//! Coalescing, as of a network card's interrupts: a thread that is woken for each of many small things lets a moment pass,
//! so that what comes meanwhile is taken at once. Of an event that one subscriber reads, wakes cost more than all else.

use crate::backplane::Awaited;
use parking_lot::Mutex;
use prometheus::IntCounter;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// So many wakes within that time are many: at less, nothing waits.
const WAKES: u32 = 8;
const WITHIN: Duration = Duration::from_millis(4);
/// A thread that waits for so long after a pause is not woken often any more.
const CALM: Duration = Duration::from_millis(2);

/// A runtime of one thread, which lets so much time pass before it looks for more while that is much, and no answer is `awaited`;
/// zero: never. `pauses` counts.
pub fn runtime(pause: Duration, awaited: Awaited, pauses: IntCounter) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    if !pause.is_zero() {
        let wakes = Arc::new(Mutex::new(Wakes::new(Instant::now())));
        let known = wakes.clone();
        builder.on_thread_park(move || {
            if wakes.lock().are_many && !awaited.any() {
                pauses.inc();
                std::thread::sleep(pause);
            }
            wakes.lock().wait(Instant::now());
        });
        builder.on_thread_unpark(move || known.lock().woken(Instant::now()));
    }
    builder.build()
}

/// How often a thread is woken.
struct Wakes {
    are_many: bool,
    /// How many there were since when.
    count: u32,
    since: Instant,
    waits_since: Instant,
}

impl Wakes {
    fn new(now: Instant) -> Wakes {
        Wakes { are_many: false, count: 0, since: now, waits_since: now }
    }

    /// The thread waits from now on.
    fn wait(&mut self, now: Instant) {
        self.waits_since = now;
    }

    /// The thread was woken.
    fn woken(&mut self, now: Instant) {
        self.count += 1;
        if self.are_many {
            self.are_many = now.duration_since(self.waits_since) < CALM;
        } else if self.count < WAKES {
            return;
        } else {
            self.are_many = now.duration_since(self.since) < WITHIN;
        }
        (self.count, self.since) = (0, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether wakes are many after some more that come so far apart.
    fn are_many(wakes: &mut Wakes, now: &mut Instant, apart: Duration, count: u32) -> bool {
        for _ in 0..count {
            wakes.wait(*now);
            *now += apart;
            wakes.woken(*now);
        }
        wakes.are_many
    }

    #[test]
    fn many_wakes_are_coalesced_until_they_are_few() {
        let mut now = Instant::now();
        let mut wakes = Wakes::new(now);
        assert!(!are_many(&mut wakes, &mut now, Duration::from_millis(1), 100), "a thousand a second are few");
        assert!(!are_many(&mut wakes, &mut now, Duration::from_micros(100), 3), "so are some at once");
        assert!(are_many(&mut wakes, &mut now, Duration::from_micros(400), 16));
        assert!(are_many(&mut wakes, &mut now, Duration::from_millis(1), 1), "after a pause, that is often");
        assert!(!are_many(&mut wakes, &mut now, Duration::from_millis(3), 1));
        assert!(!are_many(&mut wakes, &mut now, Duration::from_millis(1), 100), "and without one, it is not");
    }

    /// What a thread is told while it pauses is done then, be it told by another one.
    #[test]
    fn a_runtime_that_pauses_does_all_that_it_is_given() {
        let pauses = IntCounter::new("pauses", "Pauses.").unwrap();
        let awaited = Awaited::default();
        let runtime = runtime(Duration::from_millis(1), awaited.clone(), pauses.clone()).unwrap();
        let (give, mut given) = tokio::sync::mpsc::unbounded_channel();
        let (done, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                while let Some(number) = given.recv().await {
                    done.send(number).unwrap();
                }
            });
        });
        let mut number = 0;
        while pauses.get() < 3 {
            assert!(number < 1_000_000, "it was woken as often, and never paused");
            give.send(number).unwrap();
            assert_eq!(told.recv(), Ok(number));
            number += 1;
        }
        let _answer = awaited.one();
        // One that began before may still go on.
        give.send(number).unwrap();
        assert_eq!(told.recv(), Ok(number));
        let paused = pauses.get();
        for number in 0..1_000 {
            give.send(number).unwrap();
            assert_eq!(told.recv(), Ok(number));
        }
        assert_eq!(pauses.get(), paused, "it pauses for no answer");
        drop(give);
        thread.join().unwrap();
    }
}
