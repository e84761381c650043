//! Figures of the documentation are those of the measurements.

use std::path::Path;
use std::process::Command;

#[test]
fn pages_quote_what_was_measured() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("loadtest/figures.py");
    let check = Command::new("python3").arg(script).arg("--check").output().expect("python3");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}
