//! The watchdog of the tests, on a run of its own.

use crate::support::node::PATIENCE;
use crate::support::watchdog::watched;
use std::process::Command;

/// What a forgotten limit looks like; run by the test below alone.
#[test]
#[ignore = "it does not end by itself"]
fn stands_still() {
    watched();
    std::thread::sleep(PATIENCE);
}

#[test]
fn a_test_that_stands_still_is_named_and_ends_the_run() {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "watchdog::stands_still", "--include-ignored", "--test-threads=2"])
        .env("FANTAIL_TEST_LIMIT", "1")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(101), "{said}");
    assert!(said.contains(r#"there is no end of ["watchdog::stands_still"]"#), "{said}");
}
