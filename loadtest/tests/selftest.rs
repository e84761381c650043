//! The program as it is run: the checker finds every fault of a faulty server and none of a sound one, and the exit
//! code and the report say what was found.

use std::process::Command;

fn loadtest(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).output().expect("it starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_checker_finds_what_a_faulty_server_does() {
    let (code, text) = loadtest(&["selftest", "--no-pin"]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_run_against_the_floor_is_exact_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (json, results) = (path("all.json"), path("RESULTS.md"));
    let few = ["floor", "--no-pin", "-n", "50", "--rate", "100", "--seconds", "0.5", "--runs", "1", "--workers", "3"];
    let files = ["--json", &json, "--results", &results, "--report", directory.path().to_str().unwrap()];
    let (code, text) = loadtest(&[&few[..], &files[..]].concat());
    assert_eq!(code, Some(0), "{text}");
    let all: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let counted: u64 =
        all["runs"][0]["latency"]["pairs"].as_array().unwrap().iter().map(|pair| pair[1].as_u64().unwrap()).sum();
    assert_eq!(counted, 50 * 50, "50 subscribers, 50 events, over 3 workers");
    assert!(std::fs::read_to_string(results).unwrap().contains("## floor: 50 subscribers"));
    assert!(std::fs::read_to_string(path("report.html")).unwrap().contains("polyline"));
    assert!(std::fs::read_to_string(path("RESULTS.svg")).unwrap().starts_with("<svg"));
}

#[test]
fn a_missing_node_is_named() {
    let few = ["-n", "10", "--rate", "100", "--seconds", "0.1", "--runs", "1", "--no-pin"];
    let (code, text) = loadtest(&[&["fanout", "--node", "/nowhere"], &few[..]].concat());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("/nowhere"), "{text}");
}
