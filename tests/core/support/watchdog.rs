//! Names a test that stands still, and ends the run: each wait of a test has a limit, but one may have been forgotten, and
//! a run that hangs tells nobody where.
//!
//! libtest gives each test a thread of the test's name. Who sets something up in it is watched until the thread ends.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

/// Several times what the longest test takes on a busy machine. `FANTAIL_TEST_LIMIT` is another one, in seconds.
const LIMIT: Duration = Duration::from_secs(600);

static RUNNING: LazyLock<Mutex<BTreeMap<String, Instant>>> = LazyLock::new(|| {
    std::thread::Builder::new().name("watchdog".into()).spawn(watch).expect("a thread");
    Mutex::default()
});

thread_local! {
    static HERE: OnceCell<Watched> = const { OnceCell::new() };
}

/// A test, until its thread ends.
struct Watched(String);

impl Drop for Watched {
    fn drop(&mut self) {
        RUNNING.lock().unwrap().remove(&self.0);
    }
}

/// From here on the test of this thread is watched.
pub fn watched() {
    let thread = std::thread::current();
    let Some(name) = thread.name() else { return };
    // With one thread tests run in the main one, one after the other, and their names are printed before they begin.
    if name == "main" {
        RUNNING.lock().unwrap().insert(name.into(), Instant::now());
        return;
    }
    HERE.with(|here| {
        here.get_or_init(|| {
            RUNNING.lock().unwrap().insert(name.into(), Instant::now());
            Watched(name.into())
        });
    });
}

fn watch() {
    let limit = std::env::var("FANTAIL_TEST_LIMIT").ok().and_then(|seconds| seconds.parse().ok());
    let limit = limit.map_or(LIMIT, Duration::from_secs);
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let running = RUNNING.lock().unwrap();
        let late: Vec<&str> =
            running.iter().filter(|(_, since)| since.elapsed() > limit).map(|(name, _)| name.as_str()).collect();
        if !late.is_empty() {
            let others: Vec<&str> = running.keys().map(String::as_str).filter(|name| !late.contains(name)).collect();
            // Not by a macro, whose output libtest keeps until the test ends.
            let text = format!("\nwatchdog: after {limit:?} there is no end of {late:?}; beside it ran {others:?}\n");
            let _ = std::io::stderr().write_all(text.as_bytes());
            std::process::exit(101);
        }
    }
}
