//! Ends the process, with the seed, where a run stands still: a thread that waits for itself would hang for ever.

use super::plan::Plan;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// A virtual second takes some milliseconds. So long in real time, and it will not come.
const STANDS_STILL: Duration = Duration::from_secs(120);

/// Runs of this process by their threads: the seed, and when their virtual time went on last.
static RUNS: Mutex<Option<HashMap<ThreadId, (u64, Instant)>>> = Mutex::new(None);

/// A run that is watched for as long as this lives.
pub struct Running;

impl Running {
    pub fn begin(plan: &Plan) -> Running {
        note(Some(plan.seed));
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        note(None);
    }
}

fn note(seed: Option<u64>) {
    let mut runs = RUNS.lock();
    let runs = runs.get_or_insert_default();
    match seed {
        Some(seed) => runs.insert(thread::current().id(), (seed, Instant::now())),
        None => runs.remove(&thread::current().id()),
    };
}

/// The virtual time of this thread's run goes on.
pub fn alive() {
    if let Some((_, at)) = RUNS.lock().as_mut().and_then(|runs| runs.get_mut(&thread::current().id())) {
        *at = Instant::now();
    }
}

/// Whether one run alone is in this process.
pub fn is_alone() -> bool {
    RUNS.lock().as_ref().is_none_or(|runs| runs.len() <= 1)
}

/// Watches all runs of this process.
pub fn start() {
    thread::spawn(|| {
        loop {
            thread::sleep(Duration::from_secs(1));
            let still = |(seed, at): &(u64, Instant)| (at.elapsed() > STANDS_STILL).then_some(*seed);
            let Some(seed) = RUNS.lock().as_ref().and_then(|runs| runs.values().find_map(still)) else { continue };
            println!("seed {seed}: its virtual time has stood still for {STANDS_STILL:?}");
            println!("test simulation::it_goes_on ... FAILED\ntest result: FAILED. 0 passed; 1 failed");
            std::process::exit(1);
        }
    });
}
